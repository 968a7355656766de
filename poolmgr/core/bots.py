"""Takes a bot to a worker (accepted, scheduled or queued, assigned) and ends it, once.

queue.py and policy.py choose which bot is next and which worker it gets. attempts.py decides whether a bot is sent in
again.
"""

from typing import Final, NamedTuple

import msgspec

from common.jobs.naming import name_in_meeting
from common.jobs.record import Job
from common.wire.labels import named
from common.wire.messages import Feeds, Join
from common.wire.vocabulary import BotState, Reason, WorkerState
from poolmgr.core import policy
from poolmgr.core.decisions import Accept, Assign, End, Enqueue, Why
from poolmgr.core.events import JobAccepted
from poolmgr.core.load import kind_of
from poolmgr.core.model import Bot, Vm, Worker, labels_of
from poolmgr.core.queue import MOST_LINES
from poolmgr.core.state import PoolState
from poolmgr.core.timers import AttemptOf, PlanOf, Timer
from poolmgr.core.transitions import check_move

_LOOK_S: Final = 3600.0


class Ending(NamedTuple):
    """How a bot, or one attempt of it, ended. `at`: wall clock, epoch seconds; None: now. `evidence`: the name of its
    bundle; empty: none is kept.
    """

    reason: Reason
    detail: str = ""
    at: float | None = None
    audio_packets: int = 0
    evidence: str = ""


def on_job_accepted(pool: PoolState, event: JobAccepted) -> None:
    if event.bot_id in pool.bots:
        return
    pool.last_seq += 1
    scheduled = event.job.join_at is not None and event.job.join_at > event.at
    state = BotState.SCHEDULED if scheduled else BotState.QUEUED
    job, requires = event.job, labels_of(event.job.requires)
    unmet = bool(requires) and not pool.fleet.has(requires)
    if unmet:
        warning = f"requires: no VM of the fleet has {named(job.requires)} at present; the bot waits for one"
        job = msgspec.structs.replace(job, warnings=(*job.warnings, warning))
    kind = kind_of(job, pool.capture)
    bot = Bot(event.bot_id, job, pool.last_seq, event.at, state, kind=kind, requires=requires)
    pool.bots[bot.bot_id] = bot
    pool.decided.append(Accept(bot.bot_id, job, state, event.at, bot.seq, unmet and not scheduled))
    if scheduled:
        put_on_calendar(pool, bot)
    elif event.at > policy.latest_start(bot, pool.settings):
        miss(pool, bot, event.at)
    else:
        stand_in_line(pool, bot)


def put_on_calendar(pool: PoolState, bot: Bot) -> None:
    at = due(bot)
    pool.calendar.set(at - pool.settings.reserve_ahead_s, Timer.RESERVE, PlanOf(bot.bot_id, at))
    pool.calendar.set(at, Timer.DUE, PlanOf(bot.bot_id, at))


def due(bot: Bot) -> float:
    """When a scheduled bot is to join (calendar time, epoch seconds)."""
    return bot.job.join_at or bot.created_at


def stand_in_line(pool: PoolState, bot: Bot, *, since: float | None = None) -> None:
    bot.queued_since = pool.now if since is None else since
    pool.queued_in[bot.bot_id] = pool.events
    if not pool.wait(pool.queue, bot):
        detail = f"jobs wait for VMs with {MOST_LINES} different sets of labels; this one requires another"
        end(pool, bot, most_telling(bot, Ending(Reason.NO_CAPACITY, detail)))
        return
    pool.timers.set(bot.queued_since + policy.patience_s(bot, pool.settings), Timer.QUEUE, bot.bot_id)
    if bot.job.join_at is not None and not bot.attempt:
        pool.calendar.set(policy.latest_start(bot, pool.settings), Timer.MISSED, bot.bot_id)


def enqueue(pool: PoolState, bot: Bot, why: Why | None = None) -> None:
    """Put the bot in the queue, because its time has come or (`why`) an attempt failed. An attempt that was never begun
    does not count as waiting time.
    """
    never_began = bot.state is BotState.ASSIGNED and why is not None
    move(bot, BotState.QUEUED)
    bot.vm_id = bot.worker_id = ""
    unmet = bool(bot.requires) and not pool.fleet.has(bot.requires)
    pool.decided.append(Enqueue(bot.bot_id, bot.attempt, why, bot.failed, unmet))
    stand_in_line(pool, bot, since=bot.queued_since if never_began else None)


def queue_overdue(pool: PoolState, bot_id: str) -> None:
    bot = pool.bots.get(bot_id)
    waited = pool.now - bot.queued_since if bot else 0.0
    if bot and bot.state is BotState.QUEUED and waited >= policy.patience_s(bot, pool.settings):
        end(pool, bot, most_telling(bot, _not_served(pool, bot, waited)))


def _not_served(pool: PoolState, bot: Bot, waited_s: float) -> Ending:
    what = f"waited {waited_s:.0f} s for a warm worker"
    if bot.requires:
        what += f" of a VM with {named(bot.job.requires)}"
        if not pool.fleet.has(bot.requires):
            return Ending(Reason.REQUIREMENT_UNMET, f"{what}; no VM of the fleet has that")
    pool.fleet.refresh(pool.now)
    place = pool.fleet.occupied.get(bot.requires)
    if place and place.serving.has_idle:
        what += "; some stand idle, on VMs that do not bear it beside what is recorded there (pool.cpu_limit)"
    return Ending(Reason.NO_CAPACITY, what)


def start_missed(pool: PoolState, bot_id: str) -> None:
    bot = pool.bots.get(bot_id)
    if bot and bot.state is BotState.QUEUED and has_missed(pool, bot):
        miss(pool, bot, pool.wall)


def has_missed(pool: PoolState, bot: Bot) -> bool:
    """Whether it is too late, by the calendar, to send the bot in for the first time."""
    return not bot.attempt and pool.wall >= policy.latest_start(bot, pool.settings)


def miss(pool: PoolState, bot: Bot, wall: float) -> None:
    late_s = wall - due(bot)
    end(pool, bot, Ending(Reason.MISSED_START, f"it was to join {late_s:.0f} s ago (join_late_limit)"))


def assign(pool: PoolState, bot: Bot, vm: Vm, worker: Worker) -> None:
    """Give the bot to the worker. The bot has left the queue; the worker is idle or reserved for it."""
    move(bot, BotState.ASSIGNED)
    bot.attempt += 1
    bot.vm_id, bot.worker_id = vm.vm_id, worker.worker_id
    pool.fleet.change_worker(vm, worker, WorkerState.BUSY, pool.now, bot.bot_id, bot.kind)
    pool.touch(vm)
    bot.asked_since = None
    await_claim(pool, bot)
    await_end(pool, bot)
    job = bot.job
    pool.decided.append(
        Assign(
            vm.vm_id,
            Join(
                worker_id=worker.worker_id,
                bot_id=bot.bot_id,
                attempt=bot.attempt,
                platform=job.platform,
                meeting_url=job.meeting_url,
                bot_name=name_in_meeting(job, pool.capture),
                automatic_leave=job.automatic_leave,
                leave_when_cut_off_s=policy.leave_when_cut_off_s(bot, pool.settings),
                message=job.bot_message,
                passcode=job.passcode,
                is_probe=job.is_probe,
                no_audio=job.no_audio,
                feeds=_feeds(job),
                video=job.video,
                traceparent=job.traceparent,
                paused=bot.paused,
            ),
            born=worker.born,
            warm=pool.queued_in.pop(bot.bot_id, -1) == pool.events,
            waited_s=pool.now - bot.queued_since,
            kind=bot.kind,
            display=worker.display,
        )
    )


def _feeds(job: Job) -> Feeds:
    if not (job.live_audio_url or job.live_transcription_url or job.transcript):
        return Feeds()
    said = (job.custom_attributes, job.transcript, job.speech_live, job.language)
    return Feeds(job.live_audio_url, job.live_transcription_url, *said)


def await_claim(pool: PoolState, bot: Bot) -> None:
    pool.timers.set(pool.now + pool.settings.claim_timeout_s, Timer.CLAIM, AttemptOf(bot.bot_id, bot.attempt))


def await_end(pool: PoolState, bot: Bot, *, since: float | None = None) -> None:
    """Set the timer for an overdue bot. `since`: when it was assigned, if not now."""
    bot.overdue_at = (pool.now if since is None else since) + pool.settings.overdue_after_s
    look_at_age(pool, bot)


def look_at_age(pool: PoolState, bot: Bot) -> None:
    """The timer fired. If the bot is overdue, ask it to leave; otherwise set the timer again. The bot may have
    ended.
    """
    pool.timers.set(min(bot.overdue_at, pool.now + _LOOK_S), Timer.OVERDUE, AttemptOf(bot.bot_id, bot.attempt))


def most_telling(bot: Bot, ending: Ending) -> Ending:
    """The ending with its own reason, or with a more specific one of an earlier attempt."""
    if bot.failure is None or policy.tells_more(ending.reason, bot.failure):
        return ending
    return ending._replace(reason=bot.failure, detail=bot.failure_detail)


def move(bot: Bot, state: BotState) -> None:
    """Raises: IllegalMoveError."""
    check_move(bot, state)
    bot.state = state


def end(pool: PoolState, bot: Bot, ending: Ending, *, by_force: bool = False, given_up: bool = False) -> None:
    """The bot ends. `by_force`, `given_up`: as in the decision End."""
    move(bot, BotState.STOPPED)
    pool.queue.leave(bot.bot_id)
    pool.queued_in.pop(bot.bot_id, None)
    pool.to_reserve.leave(bot.bot_id)
    del pool.bots[bot.bot_id]
    owner = bot.job.owner
    pool.decided.append(
        End(
            bot.bot_id,
            bot.attempt,
            ending.reason,
            ending.detail,
            ending.at,
            ending.audio_packets,
            owner=owner,
            evidence=ending.evidence,
            by_force=by_force,
            given_up=given_up,
        )
    )
