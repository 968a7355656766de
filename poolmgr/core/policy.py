"""The policy, one function a choice: how many to warm, which to trim, who gets the next bot, which bot goes in again.

To change a choice, change its function here and its table in tests/core/test_policy.py. The other files carry choices
out (see pool.py).
"""

import math
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

from common.config.settings import PoolSettings
from common.wire.vocabulary import UNSERVED, Attribution, BotState, OnWorkerLost, Reason
from poolmgr.core.load import JobKind, cost, expected_processors, wants_display
from poolmgr.core.model import Bot, Joins, Vm, Worker

# how many orders to end a worker gets before it is ended by force, one for each warm-up timeout
ORDERS_BEFORE_FORCE: Final = 3
_ROUNDING: Final = 1e-9  # shares are decimal fractions
LOST_AT_LEAST: Final = 2  # at least so many VMs, so that a fleet of three does not wait for a majority

_LOST: Final = frozenset({
    Reason.WORKER_LOST, Reason.HEARTBEAT_TIMEOUT, Reason.CUT_OFF, Reason.SHUTDOWN, *UNSERVED,
})  # fmt: skip
"""Reasons that say nothing about the meeting or the bot."""

_WORKER_LOST: Final = _LOST | {Reason.BROWSER_CRASHED, Reason.BROWSER_HUNG, Reason.MEMORY_LIMIT}


def can_warm(vm: Vm, settings: PoolSettings, now: float, *, display: bool = False) -> bool:
    """Whether one more warm-up keeps every limit: VM size, warm-ups at once, memory reserve, backoff. `display`: of a
    worker with a display, which takes more memory.
    """
    return (
        vm.takes_work
        and now >= vm.backoff_until
        and len(vm.workers) < settings.max_workers
        and vm.warming < settings.warmups_at_once
        and vm.room > 0
        and (not display or (vm.makes_displays and vm.display_room > 0))
    )


def target(vm: Vm, settings: PoolSettings, *, display: bool) -> int:
    """How many idle workers the VM is to have, of those with a display or of the others."""
    if display:
        return settings.min_idle_display if vm.makes_displays else 0
    return settings.min_idle


def shortfall(vm: Vm, settings: PoolSettings, *, display: bool = False) -> int:
    """How many workers the VM lacks to have its target, of those with a display or of the others. Workers that are too
    old count as missing: their replacement starts before they end.
    """
    displays = vm.warming_displays
    lacking = target(vm, settings, display=display) - (displays if display else vm.warming - displays)
    for worker in vm.idle.values():  # a plain loop: it runs at every event, and a generator takes twice as long
        if not worker.aged and worker.display is display:
            lacking -= 1
    return lacking


def surplus(vm: Vm, settings: PoolSettings, *, display: bool = False) -> int:
    """How many idle workers the VM has above its target, of those with a display or of the others."""
    displays = vm.idle_displays
    return (displays if display else len(vm.idle) - displays) - target(vm, settings, display=display)


def vm_to_finish(vms: Iterable[Vm], own: str, unmade_by: str = "") -> str | None:
    """Which VM makes the files of a recording that its own VM has not made: that one if it is there, whose disk may
    have more than the store; else one with the fewest bots. The one that said last that it cannot (`unmade_by`) is
    asked again only if there is no other. None: there is none now.
    """
    there = [vm for vm in vms if not (vm.silent or vm.lost)]
    if own != unmade_by and any(vm.vm_id == own for vm in there):
        return own
    takers = [vm for vm in there if vm.takes_work]
    others = [vm for vm in takers if vm.vm_id != unmade_by] or takers
    return min(others, key=lambda vm: vm.bots).vm_id if others else None


def to_trim(vm: Vm, settings: PoolSettings, now: float) -> Iterator[Worker]:
    """The surplus workers to retire now, oldest first: those that are too old, then those idle past their TTL."""
    for display in (False, True) if vm.idle_displays else (False,):
        yield from _surplus_to_trim(vm, settings, now, display=display)


def _surplus_to_trim(vm: Vm, settings: PoolSettings, now: float, *, display: bool) -> Iterator[Worker]:
    left = surplus(vm, settings, display=display)
    if left <= 0:
        return
    candidates = [worker for worker in vm.idle.values() if worker.display is display]
    for worker in [w for w in candidates if w.aged] + [w for w in candidates if not w.aged]:
        if left <= 0:
            return
        if worker.aged or now >= worker.since + settings.idle_ttl_s:
            left -= 1
            yield worker


def recycled_first(vm: Vm, settings: PoolSettings) -> Worker | None:
    """The worker that is too old and has to end before its replacement starts. There is one only if the VM is full of
    idle workers: otherwise the replacement fits beside them.
    """
    full_of_idle = len(vm.idle) == len(vm.workers) == settings.max_workers
    return next((worker for worker in vm.idle.values() if worker.aged), None) if full_of_idle else None


def bears(vm: Vm, kind: JobKind, settings: PoolSettings) -> int:
    """How many more bots of that kind the VM bears, beside its bots and those for whom a worker is reserved.

    If nothing is recorded, only max_workers limits a VM. Too little processor time makes a bot slow that only listens,
    but it damages a recording. A VM without a bot bears one of any kind, because otherwise such a bot might never get a
    VM.
    """
    by_processors = vm.processors and settings.cpu_limit
    # With `get`, because Counter calls a function for a missing key, and this runs three times at every event.
    records = kind is not JobKind.LISTENS or vm.carried.get(JobKind.SOUND) or vm.carried.get(JobKind.PICTURE)
    if not records or not (by_processors or vm.free_mb is not None):
        return settings.max_workers
    takes, bearable = cost(kind, settings), settings.max_workers
    if by_processors:
        left = vm.processors * settings.cpu_limit - expected_processors(vm.carried, settings)
        bearable = min(bearable, math.floor(left / takes.cpu_share + _ROUNDING))
    if vm.free_mb is not None and takes.memory_mb:
        bearable = min(bearable, vm.free_mb // takes.memory_mb)
    return max(bearable, 0 if vm.carried.total() else 1)


def may_pass(bot: Bot, held: Bot) -> bool:
    """Whether the bot may be served before `held`, which is ahead of it in the queue and which no VM bears now.

    So no bot is late because of another bot's recording. A bot of higher priority is never passed by one of lower
    priority.

    A bot that requires labels is ahead only of those that require all of them, too. Others get VMs that it cannot have,
    or VMs that do not bear it now.
    """
    return bot.job.priority >= held.job.priority or not held.requires <= bot.requires


def pick_worker(vm: Vm, kind: JobKind) -> Worker:
    """The newest idle worker for a bot of that kind, so that surplus workers age and are trimmed. `vm` has one.

    With a display for a bot whose picture is recorded, without one for any other. If the VM has only workers of the
    other kind, the bot gets one of those: to be in its meeting in time counts more than the way of recording.
    """
    newest, wanted = next(reversed(vm.idle.values())), wants_display(kind)
    if newest.display is wanted:
        return newest
    return next((worker for worker in reversed(vm.idle.values()) if worker.display is wanted), newest)


def patience_s(bot: Bot, settings: PoolSettings) -> float:
    """How long the bot waits for a worker, in seconds. For the first attempt the job may say so; the setting is
    the limit.
    """
    asked_s = bot.job.queue_timeout_s
    if asked_s is None or bot.attempt:
        return settings.queue_timeout_s
    return min(asked_s, settings.queue_timeout_s)


def is_sent_in_again(bot: Bot, settings: PoolSettings, reason: Reason, *, is_out: bool) -> bool:
    """Whether a bot whose attempt failed for `reason` gets another attempt.

    A bot that was in the meeting gets one only if its job asks for it and it lost its worker. A page that no longer
    shows the meeting may have shown a refusal in words that no rule knows.

    `is_out`: its agent reported that the bot is in no meeting. If the VM is only silent, the bot may still be in the
    meeting or the lobby. Then it is sent in only if it must have left by itself by now (`leave_when_cut_off_s`).
    """
    if bot.leave_requested or bot.state is BotState.LEAVING or bot.failed >= settings.max_attempts:
        return False
    if is_out and not bot.state.is_admitted:
        return True
    return _rejoins(bot, settings) and reason in _WORKER_LOST


def latest_start(bot: Bot, settings: PoolSettings) -> float:
    """Until when a bot may be sent in for the first time (calendar time, epoch seconds); infinity without a join_at."""
    if bot.job.join_at is None:
        return math.inf
    limit_s = bot.job.join_late_limit_s
    return bot.job.join_at + (settings.join_late_limit_s if limit_s is None else limit_s)


class Step(StrEnum):
    """What to do about a bot that was asked to leave and has not left."""

    ASK = "ask"
    END_BY_FORCE = "end_by_force"
    GIVE_UP = "give_up"


def after_asking(for_s: float, settings: PoolSettings) -> Step:
    """The step that is due. `for_s`: how long ago the bot was first asked."""
    if for_s < settings.leave_within_s:
        return Step.ASK
    return Step.END_BY_FORCE if for_s < 2 * settings.leave_within_s else Step.GIVE_UP


def tells_more(reason: Reason, earlier: Reason) -> bool:
    """Whether a bot whose earlier attempt failed for `earlier` ends with `reason` instead.

    What others did is more specific than a failure on our side, which is more specific than a loss of the VM. Of two
    equal ones the later one counts.
    """
    return _weight(reason) >= _weight(earlier)


def _weight(reason: Reason) -> int:
    if reason in _LOST:
        return 0
    return 1 if reason.end.attribution is Attribution.US else 2


def leave_when_cut_off_s(bot: Bot, settings: PoolSettings) -> float:
    """How long the bot's agent may be cut off before the bot has to leave; 0: without limit.

    It is half the time after which its VM counts as lost. The other half is for leaving.
    """
    return settings.lost_after_s / 2 if _rejoins(bot, settings) else 0.0


def _rejoins(bot: Bot, settings: PoolSettings) -> bool:
    return (bot.job.on_worker_lost or settings.on_worker_lost) is OnWorkerLost.REJOIN


A_TURN: Final = 1 - _ROUNDING
CANARYS_JOINS_KEPT: Final = 200
"""So many joins of a canary count in full. With more, those before them count half."""
OTHERS_JOINS_KEPT: Final = 2000
CANARYS_LEAST: Final = 10
CANARYS_LEAST_FAILED: Final = 4
OTHERS_LEAST: Final = 50
"""So many joins there have to be before a canary is judged: its own, those of them that failed, and those of others."""
_BY_CHANCE: Final = 0.001
"""A canary is unlike the others if so many failures are less likely on a VM that is like them. That is asked again with
each failure: of 450 simulated canaries that were like the others 2 were taken out within 1,000 joins each.
"""
_NOT_OF_JOINING: Final = _LOST - {Reason.WORKER_LOST}


def is_failed_join(reason: Reason) -> bool:
    """Whether a bot that ended before it was admitted failed by our doing, and perhaps by its VM's. That its VM was cut
    off, stopped or silent says nothing about the browsers there.
    """
    return reason.end.attribution is Attribution.US and reason not in _NOT_OF_JOINING


def with_one_more(joins: Joins, one: Joins, kept: int) -> Joins:
    if joins.total >= kept:
        joins = Joins(round(joins.ok / 2), round(joins.failed / 2))
    return Joins(joins.ok + one.ok, joins.failed + one.failed)


def stands_out(canary: Joins, others: Joins) -> bool:
    """Whether the canary's joins fail more often than those of the others, and not by chance (Fisher's exact test,
    one-sided). Where there are too few joins nothing is said.
    """
    is_judged = canary.failed >= CANARYS_LEAST_FAILED and canary.total >= CANARYS_LEAST and others.total >= OTHERS_LEAST
    return is_judged and chance_of(canary, others) < _BY_CHANCE


def chance_of(canary: Joins, others: Joins) -> float:
    """How likely at least as many of the failures of both would be the canary's if both were alike (hypergeometric
    distribution).
    """
    failed, total = canary.failed + others.failed, canary.total + others.total
    most = min(failed, canary.total)
    each = math.exp(
        _log_choose(canary.total, canary.failed) + _log_choose(others.total, others.failed) - _log_choose(total, failed)
    )
    chance = each
    for number in range(canary.failed, most):  # from one number of the canary's failures to the next
        each *= (canary.total - number) * (failed - number)
        each /= (number + 1) * (others.total - failed + number + 1)
        chance += each
    return min(chance, 1.0)


def _log_choose(of: int, number: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(number + 1) - math.lgamma(of - number + 1)


def most_lost_at_once(vms: int, settings: PoolSettings) -> int:
    """How many of `vms` may be declared lost within lost_after_s. If more are silent, a network fault is more likely
    than the loss of them all.
    """
    return max(LOST_AT_LEAST, math.ceil(vms * settings.lost_share))


def backoff_s(failures: int, settings: PoolSettings) -> float:
    """How long a VM waits after its `failures`-th failure in a row."""
    return min(settings.backoff_s * 2 ** min(failures - 1, 32), settings.backoff_max_s)
