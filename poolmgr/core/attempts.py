"""Follows an assignment: claimed, revoked, refused, under way, asked to leave, ended, or its worker lost.

Only the current attempt of a bot counts. Events of other attempts change nothing, and a bot that is still in a meeting
under another attempt is told to leave. policy.py decides whether a bot is sent in again.
"""

from common.wire.messages import (
    BotEnded,
    BotMoved,
    BotRecorded,
    BotSaw,
    BotStreamed,
    BotTranscribed,
    Fact,
    JoinRefused,
    OfAttempt,
    WorkerGone,
    WorkerReport,
)
from common.wire.vocabulary import LOBBY_AGAIN, BotState, GoneCause, Reason, RefusalCause, outward_status
from poolmgr.core import backoff, bots, canaries, policy, reservations, workers
from poolmgr.core.bots import Ending
from poolmgr.core.decisions import (
    Ask,
    EndByForce,
    Move,
    Note,
    NoteFailed,
    NoteRecorded,
    Pause,
    Remember,
    Revoke,
    Say,
    Unsaid,
    Why,
)
from poolmgr.core.events import LeaveRequested, PauseRequested, Revoked, SayRequested
from poolmgr.core.model import Bot, Vm, Worker
from poolmgr.core.state import PoolState
from poolmgr.core.timers import AttemptOf, Timer

_UNCOUNTED = frozenset({RefusalCause.STOPPING, RefusalCause.LOW_MEMORY})
"""Refusals that count neither against the bot nor against the worker."""


# Before and in the meeting


def _current(pool: PoolState, event: OfAttempt) -> Bot | None:
    """The bot of the event, if the event is of its current attempt."""
    bot = pool.bots.get(event.bot_id)
    same = bot and bot.is_on_vm and (bot.attempt, bot.worker_id) == (event.attempt, event.worker_id)
    return bot if same else None


def on_bot_moved(pool: PoolState, event: BotMoved) -> None:
    bot = _current(pool, event)
    if bot is None:
        # The VM was cut off, or the bot has ended meanwhile: that bot has to leave.
        supersede(pool, event.vm_id, event.worker_id, event.bot_id, event.attempt)
    elif bot.state.rank < event.state.rank < BotState.STOPPED.rank:
        if event.state is BotState.IN_MEETING:
            canaries.joined(pool, bot.vm_id)
        bots.move(bot, event.state)
        backoff.note_begun(pool, bot.vm_id)
        pool.decided.append(
            Move(bot.bot_id, bot.attempt, event.state, event.at, event.screen, event.rule, event.first_request_at)
        )


def supersede(pool: PoolState, vm_id: str, worker_id: str, bot_id: str, attempt: int) -> None:
    pool.decided.append(Ask(vm_id, worker_id, bot_id, attempt, Reason.SUPERSEDED))


def on_fact(pool: PoolState, event: Fact) -> None:
    if bot := _current(pool, event):
        pool.decided.append(Note(event, bot.job.platform, _status(bot, event)))


def _status(bot: Bot, event: Fact) -> str:
    """The outward status of a bot that was put back into the lobby, or let in again. It still counts as admitted."""
    if bot.state is not BotState.IN_MEETING or not isinstance(event, BotSaw) or event.did:
        return ""
    return outward_status(BotState.WAITING_ROOM if event.screen == LOBBY_AGAIN else BotState.IN_MEETING)


def on_bot_recorded(pool: PoolState, event: BotRecorded | BotStreamed | BotTranscribed) -> None:
    """The bot may have ended and be unknown to the pool. Its record says whether this is the current attempt."""
    pool.decided.append(NoteRecorded(event))


def on_say_requested(pool: PoolState, event: SayRequested) -> None:
    bot = pool.bots.get(event.bot_id)
    if bot and bot.state is BotState.IN_MEETING:
        pool.decided.append(Say(bot.vm_id, bot.worker_id, bot.bot_id, bot.attempt, event.message))
    else:
        pool.decided.append(Unsaid(event.bot_id, bot.state if bot else None))


def on_pause_requested(pool: PoolState, event: PauseRequested) -> None:
    """Kept also while nobody serves the bot: it may have lost its worker since it was asked for."""
    if bot := pool.bots.get(event.bot_id):
        bot.paused = event.paused
        where = (bot.vm_id, bot.worker_id) if bot.is_on_vm else ("", "")
        pool.decided.append(Pause(*where, bot.bot_id, bot.attempt, event.paused))


# Its end


def on_bot_ended(pool: PoolState, event: BotEnded) -> None:
    bot = _current(pool, event)
    if bot is None:
        return
    backoff.note_begun(pool, bot.vm_id)
    ending = Ending(event.reason, event.detail, event.at, event.audio_packets, event.evidence)
    if event.reason.end.retry:
        failed(pool, bot, Why.RETRY, ending)
    else:
        _judge(pool, bot, ending.reason)
        # The bot may have ended for another reason just before the order to leave. The client's order counts first.
        if bot.leave_requested:
            ending = ending._replace(reason=Reason.USER_REQUESTED)
        bots.end(pool, bot, ending, by_force=event.reason is Reason.OVERDUE)


def failed(pool: PoolState, bot: Bot, why: Why, ending: Ending, *, is_out: bool = True, counts: bool = True) -> None:
    """The attempt failed. `is_out`: as in policy.is_sent_in_again. `counts`: it counts towards pool.max_attempts."""
    bot.failed += counts
    if counts:
        _judge(pool, bot, ending.reason)
    if policy.is_sent_in_again(bot, pool.settings, ending.reason, is_out=is_out):
        pool.decided.append(NoteFailed(bot.bot_id, bot.attempt, ending.reason, ending.detail, ending.evidence))
        _remember(pool, bot, bots.most_telling(bot, ending))
        bots.enqueue(pool, bot, why)
    elif bot.leave_requested:
        bots.end(pool, bot, ending._replace(reason=Reason.USER_REQUESTED, detail=""))
    else:
        bots.end(pool, bot, bots.most_telling(bot, ending))


def _judge(pool: PoolState, bot: Bot, reason: Reason) -> None:
    """The attempt came to nothing. If the bot was not in its meeting, that may speak against its VM."""
    if bot.state.is_admitted or bot.state is BotState.LEAVING or bot.leave_requested:
        return
    if out := canaries.failed(pool, bot.vm_id, reason):
        reservations.free_all(pool, out)


def _remember(pool: PoolState, bot: Bot, ending: Ending) -> None:
    if (bot.failure, bot.failure_detail) != (ending.reason, ending.detail):
        bot.failure, bot.failure_detail = ending.reason, ending.detail
        pool.decided.append(Remember(bot.bot_id, bot.attempt, ending.reason, ending.detail))


def on_join_refused(pool: PoolState, event: JoinRefused) -> None:
    bot = _current(pool, event)
    worker = pool.fleet.worker(event.vm_id, event.worker_id)
    vm = pool.fleet.get(event.vm_id)
    if bot is None or vm is None:
        return
    if worker and event.cause is RefusalCause.NO_SUCH_WORKER:
        workers.drop(pool, vm, worker, GoneCause.MISSING)
    elif worker and event.cause in (RefusalCause.UNKNOWN_PLATFORM, RefusalCause.LOW_MEMORY):
        workers.make_idle(pool, vm, worker)
    elif event.cause is RefusalCause.STOPPING:
        if not vm.stopping:
            vm.stopping = True
            pool.keep_vm(vm)
        pool.touch(vm)
    if event.cause is RefusalCause.UNKNOWN_PLATFORM:
        detail = f"the agent of {vm.vm_id} has no adapter for {bot.job.platform}"
        bots.end(pool, bot, Ending(Reason.UNSUPPORTED_PLATFORM, detail))
    else:
        if event.cause is RefusalCause.LOW_MEMORY:
            backoff.shun(pool, vm)
        counts = event.cause not in _UNCOUNTED
        failed(pool, bot, Why.REFUSED, Ending(Reason.WORKER_LOST, f"refused: {event.cause}"), counts=counts)


# Claimed or revoked: Redis knows which came first.


def claim_overdue(pool: PoolState, whose: AttemptOf) -> None:
    bot = pool.bots.get(whose.bot_id)
    if bot and bot.state is BotState.ASSIGNED and bot.attempt == whose.attempt:
        take_back(pool, bot)


def take_back(pool: PoolState, bot: Bot) -> None:
    """Revoke the assignment in Redis, unless the agent has claimed it. The answer is the event `Revoked`."""
    pool.decided.append(Revoke(bot.bot_id, bot.attempt))


def on_revoked(pool: PoolState, event: Revoked) -> None:
    bot = pool.bots.get(event.bot_id)
    if bot is None or bot.state is not BotState.ASSIGNED or bot.attempt != event.attempt:
        return
    vm, worker = pool.fleet.get(bot.vm_id), pool.fleet.worker(bot.vm_id, bot.worker_id)
    if vm and worker and vm.lost:
        lost_with_vm(pool, vm, worker, is_out=event.revoked)
    elif not event.revoked:  # the agent claimed it just in time; its first event will come
        bots.await_claim(pool, bot)
    else:
        not_claimed(pool, bot)
        if vm and worker:
            workers.retire(pool, vm, worker, Why.CLAIM_OVERDUE)
            backoff.shun(pool, vm)


def not_claimed(pool: PoolState, bot: Bot) -> None:
    failed(pool, bot, Why.CLAIM_OVERDUE, Ending(Reason.WORKER_LOST, "no agent claimed the assignment in time"))


# Leaving


def on_leave_requested(pool: PoolState, event: LeaveRequested) -> None:
    bot = pool.bots.get(event.bot_id)
    if bot is None:
        return
    if bot.is_on_vm:
        bot.leave_requested = True
        _ask(pool, bot, event.reason)
        return
    if reserved := pool.fleet.worker(bot.vm_id, bot.worker_id):
        workers.make_idle(pool, pool.fleet.vms[bot.vm_id], reserved)
    bots.end(pool, bot, Ending(event.reason))


def _ask(pool: PoolState, bot: Bot, reason: Reason) -> None:
    pool.decided.append(Ask(bot.vm_id, bot.worker_id, bot.bot_id, bot.attempt, reason))
    if bot.asked_since is None:  # repeated requests do not move the deadline
        await_leaving(pool, bot)


def await_leaving(pool: PoolState, bot: Bot) -> None:
    bot.asked_since = pool.now
    _look_again(pool, bot)


def _look_again(pool: PoolState, bot: Bot) -> None:
    pool.timers.set(pool.now + pool.settings.claim_timeout_s, Timer.LEAVE, AttemptOf(bot.bot_id, bot.attempt))


def leave_overdue(pool: PoolState, whose: AttemptOf) -> None:
    """A bot that was asked to leave is still there. Three steps follow, each at its deadline: ask again, because the
    order may have been lost with its stream; have its browser ended; give the bot up. While its VM is silent nothing is
    done: silence has its own deadlines.
    """
    bot = _on_vm(pool, whose)
    if bot is None or bot.asked_since is None:
        return
    vm = pool.fleet.get(bot.vm_id)
    if vm is None or vm.silent:
        bot.asked_since = pool.now
    match policy.after_asking(pool.now - bot.asked_since, pool.settings):
        case policy.Step.ASK:
            reason = Reason.USER_REQUESTED if bot.leave_requested else Reason.OVERDUE
            pool.decided.append(Ask(bot.vm_id, bot.worker_id, bot.bot_id, bot.attempt, reason))
        case policy.Step.END_BY_FORCE:
            pool.decided.append(EndByForce(bot.vm_id, bot.worker_id, bot.bot_id, bot.attempt))
        case _:  # GIVE_UP
            _give_up(pool, bot)
            return
    _look_again(pool, bot)


def overdue(pool: PoolState, whose: AttemptOf) -> None:
    """Ask the bot to leave if it is overdue: its agent should have ended it long ago."""
    bot = _on_vm(pool, whose)
    if bot and pool.now < bot.overdue_at:
        bots.look_at_age(pool, bot)
    elif bot:
        _ask(pool, bot, Reason.OVERDUE)


def _on_vm(pool: PoolState, whose: AttemptOf) -> Bot | None:
    """The bot of a timer, if it is still in that attempt."""
    bot = pool.bots.get(whose.bot_id)
    return bot if bot and bot.is_on_vm and bot.attempt == whose.attempt else None


def _give_up(pool: PoolState, bot: Bot) -> None:
    """End the bot in the records. Its worker counts as long as the agent reports it, because it takes a
    worker's place.
    """
    reason = Reason.USER_REQUESTED if bot.leave_requested else Reason.OVERDUE
    detail = "given up: it did not leave when it was asked to, and its agent did not end its browser"
    bots.end(pool, bot, Ending(reason, detail), given_up=True)


# A bot whose worker is gone


def bot_on(pool: PoolState, worker: Worker) -> Bot | None:
    """The bot that the worker serves in its current attempt."""
    bot = pool.bots.get(worker.bot_id)
    return bot if bot and bot.is_on_vm and bot.worker_id == worker.worker_id else None


def counts(pool: PoolState, worker_id: str, report: WorkerReport) -> bool:
    """Whether the bot that an agent reports on a worker is there in its current attempt."""
    bot = pool.bots.get(report.bot_id)
    return bot is not None and bot.is_on_vm and (bot.worker_id, bot.attempt) == (worker_id, report.attempt)


def on_worker_gone(pool: PoolState, event: WorkerGone) -> None:
    vm = pool.fleet.get(event.vm_id)
    worker = pool.fleet.worker(event.vm_id, event.worker_id)
    if vm and worker:
        worker_gone(pool, vm, worker, event.cause, event.detail)


def worker_gone(
    pool: PoolState,
    vm: Vm,
    worker: Worker,
    cause: GoneCause,
    detail: str = "",
    *,
    reason: Reason = Reason.WORKER_LOST,
    is_out: bool = True,
) -> None:
    """The worker is gone. `is_out`: its agent reported that. Otherwise its VM is silent, and its bot may still be in
    its meeting.
    """
    reservations.free(pool, worker)
    bot = bot_on(pool, worker)
    workers.drop(pool, vm, worker, cause)
    if bot:
        why = Why.VM_LOST if vm.lost else Why.WORKER_LOST
        failed(pool, bot, why, Ending(reason, detail or f"worker {cause}"), is_out=is_out)


def lost_with_vm(pool: PoolState, vm: Vm, worker: Worker, *, is_out: bool) -> None:
    reason, detail = Reason.HEARTBEAT_TIMEOUT, "its VM fell silent"
    worker_gone(pool, vm, worker, GoneCause.MISSING, detail, reason=reason, is_out=is_out)
