"""The choices, one function each: how many to warm, which to trim, who gets the next bot, which bot goes in again.

To change a choice, change it here and its table in tests/core/test_policy.py; the other files carry out (see pool.py).
"""

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from common.config.settings import PoolSettings
from common.wire.vocabulary import ENDS, Attribution, BotState, OnWorkerLost, Reason, WorkerState
from poolmgr.core.model import Bot, Vm, Worker

ORDERS_BEFORE_FORCE: Final = 3  # to a worker to end, each as far from the last as a warm-up may last
LOST_AT_LEAST: Final = 2  # a fleet of three is not to wait for a quorum

_LOST: Final = frozenset({
    Reason.WORKER_LOST, Reason.HEARTBEAT_TIMEOUT, Reason.CUT_OFF, Reason.SHUTDOWN, Reason.NO_CAPACITY,
})  # fmt: skip
"""What says nothing of the meeting, nor of the bot in it."""

_WORKER_LOST: Final = _LOST | {Reason.BROWSER_CRASHED, Reason.BROWSER_HUNG, Reason.MEMORY_LIMIT}


def can_warm(vm: Vm, settings: PoolSettings, now: float) -> bool:
    """True if one more warm-up keeps every limit: VM size, warm-ups at once, memory reserve, backoff."""
    return (
        vm.takes_work
        and now >= vm.backoff_until
        and len(vm.workers) < settings.max_workers
        and vm.count(WorkerState.WARMING) < settings.warmups_at_once
        and vm.room > 0
    )


def shortfall(vm: Vm, settings: PoolSettings) -> int:
    """How many workers the VM lacks of its min_idle. Those too old count as absent: their replacement comes first."""
    young = sum(not worker.aged for worker in vm.idle.values())
    return settings.min_idle - young - vm.count(WorkerState.WARMING)


def surplus(vm: Vm, settings: PoolSettings) -> int:
    """How many idle workers stand above min_idle."""
    return len(vm.idle) - settings.min_idle


def to_trim(vm: Vm, settings: PoolSettings, now: float) -> Iterator[Worker]:
    """The surplus workers that have to go now, oldest first: those too old, then those idle past their TTL."""
    left = surplus(vm, settings)
    candidates = list(vm.idle.values())
    for worker in [w for w in candidates if w.aged] + [w for w in candidates if not w.aged]:
        if left <= 0:
            return
        if worker.aged or now >= worker.since + settings.idle_ttl_s:
            left -= 1
            yield worker


def recycled_first(vm: Vm, settings: PoolSettings) -> Worker | None:
    """The old worker to end before its replacement starts: only when the VM is so full of idle workers that no
    replacement would ever fit beside them.
    """
    full_of_idle = len(vm.idle) == len(vm.workers) == settings.max_workers
    return next((worker for worker in vm.idle.values() if worker.aged), None) if full_of_idle else None


def pick_worker(vm: Vm) -> Worker:
    """The newest idle worker, so that the surplus ages at the other end. `vm` has one."""
    return next(reversed(vm.idle.values()))


def patience_s(bot: Bot, settings: PoolSettings) -> float:
    """How long the bot waits for a worker: for its first as its job says, and never longer than the settings say."""
    asked_s = bot.job.queue_timeout_s
    if asked_s is None or bot.attempt:
        return settings.queue_timeout_s
    return min(asked_s, settings.queue_timeout_s)


def is_sent_in_again(bot: Bot, settings: PoolSettings, reason: Reason, *, is_out: bool) -> bool:
    """Whether a bot whose attempt came to nothing for `reason` is given another one.

    Once it was in the meeting, only if the job asks for it and what it lost is its worker: a page that shows no meeting
    any more may have shown the bot the door, in words that nobody knows yet.

    `is_out`: whoever had it says that it is in no meeting. A VM that is merely not heard of may still have it in there,
    or in the lobby: then only a bot that would have left by itself meanwhile may be sent in (`leave_when_cut_off_s`).
    """
    if bot.leave_requested or bot.state is BotState.LEAVING or bot.failed >= settings.max_attempts:
        return False
    if is_out and not bot.state.is_admitted:
        return True
    return _rejoins(bot, settings) and reason in _WORKER_LOST


def latest_start(bot: Bot, settings: PoolSettings) -> float:
    """Until when, by the calendar, a bot may be sent in for the first time; infinity for one without a time."""
    if bot.job.join_at is None:
        return math.inf
    limit_s = bot.job.join_late_limit_s
    return bot.job.join_at + (settings.join_late_limit_s if limit_s is None else limit_s)


class Step(StrEnum):
    """What is done about a bot that was asked to leave, and has not left."""

    ASK = "ask"
    END_BY_FORCE = "end_by_force"
    GIVE_UP = "give_up"


def after_asking(for_s: float, settings: PoolSettings) -> Step:
    """`for_s`: how long it has been asked."""
    if for_s < settings.leave_within_s:
        return Step.ASK
    return Step.END_BY_FORCE if for_s < 2 * settings.leave_within_s else Step.GIVE_UP


def tells_more(reason: Reason, earlier: Reason) -> bool:
    """Whether a bot that failed for `earlier` first ends with `reason`, or still with `earlier`.

    What others did to it tells more than what failed on our side, and that more than that it was lost. Of two that
    tell as much the later counts.
    """
    return _weight(reason) >= _weight(earlier)


def _weight(reason: Reason) -> int:
    if reason in _LOST:
        return 0
    return 1 if ENDS[reason].attribution is Attribution.US else 2


def leave_when_cut_off_s(bot: Bot, settings: PoolSettings) -> float:
    """How long the bot's agent may be cut off before the bot has to leave; 0 for as long as it takes.

    Half the time after which its VM is taken for lost: the other half is for leaving.
    """
    return settings.lost_after_s / 2 if _rejoins(bot, settings) else 0.0


def _rejoins(bot: Bot, settings: PoolSettings) -> bool:
    return (bot.job.on_worker_lost or settings.on_worker_lost) is OnWorkerLost.REJOIN


def most_lost_at_once(vms: int, settings: PoolSettings) -> int:
    """How many of `vms` may be taken for lost within lost_after_s. When more fall silent, it is likelier that nobody
    can be heard than that all of them are gone.
    """
    return max(LOST_AT_LEAST, math.ceil(vms * settings.lost_share))


def backoff_s(failures: int, settings: PoolSettings) -> float:
    """How long a VM waits after its `failures`-th failure in a row."""
    return min(settings.backoff_s * 2 ** min(failures - 1, 32), settings.backoff_max_s)
