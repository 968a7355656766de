"""The state machine of one worker, from the order that starts it to its end. Pure.

`step(status, event, now)` is the only entry point. It takes what happened, and returns the new status and the effects
that the agent carries out. `now` is in epoch seconds. Only the moves in LEGAL are made:

    WARMING -----> IDLE <-- stale ---- CLAIMING ----+
       |            |  --- assigned ---> ^ |        v
       |            |       adopted -----+ |     SERVING <-- RETURNING <-- adopted
       |            |                      |        |            |
       +------------+------------+---------+--------+------------+
                                 v
                             RETIRING --> GONE

A worker serves at most one bot. An assigned bot gets exactly one answer: it is refused, or it ends, or its assignment
was stale. The step that retires a worker gives that answer, so a retiring worker reports nothing more but its removal.
When several causes end a worker, the first one is reported.
"""

from enum import StrEnum
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from common.errors import AgentError
from common.wire.messages import BotEnded, Event, Join, JoinRefused, WorkerGone, WorkerWarm
from common.wire.vocabulary import GoneCause, Reason, RefusalCause, WorkerState
from worker.decide.state import State
from worker.decide.words import BrowserGone, Finish, LeaveRequested

STORY_LENGTH: Final = 8  # moves that a story keeps


class Phase(StrEnum):
    """What a worker is doing. In brackets: who ends the phase if it ends in no other way, and the setting or time."""

    WARMING = "warming"  # its browser starts (the warm-up: worker.launch_timeout_s)
    IDLE = "idle"  # ready to join (the manager: pool.idle_ttl_s, pool.max_age_s)
    CLAIMING = "claiming"  # it asks Redis whether its assigned bot is still its own (the manager, by force)
    RETURNING = "returning"  # its bot is in a meeting, and the new agent connects to its browser (connecting: 45 s)
    SERVING = "serving"  # its bot's session runs (the session's own limits; behind them worker.decide.overdue)
    RETIRING = "retiring"  # its task ends, its processes and its folder are removed (the pool: 40 s, 10 s, 10 s)
    GONE = "gone"


LEGAL: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.WARMING: frozenset({Phase.IDLE, Phase.RETIRING}),
    Phase.IDLE: frozenset({Phase.CLAIMING, Phase.RETIRING}),
    Phase.CLAIMING: frozenset({Phase.IDLE, Phase.SERVING, Phase.RETIRING}),
    Phase.RETURNING: frozenset({Phase.SERVING, Phase.RETIRING}),
    Phase.SERVING: frozenset({Phase.RETIRING}),
    Phase.RETIRING: frozenset({Phase.GONE}),
    Phase.GONE: frozenset(),
}

_REPORTED: Final = {
    Phase.WARMING: WorkerState.WARMING,
    Phase.IDLE: WorkerState.IDLE,
    Phase.RETIRING: WorkerState.RETIRING,
    Phase.GONE: WorkerState.RETIRING,
}


class Gone(NamedTuple):
    """Why a worker ends."""

    cause: GoneCause
    detail: str = ""


class Moved(NamedTuple):
    """The worker came to `phase` at `at` (epoch seconds)."""

    phase: Phase
    at: float


class WorkerStatus(msgspec.Struct, frozen=True):
    """What the agent knows of one worker.

    - `story`: its latest moves.
    - `page_id`: the DevTools id of its page, by which a new connection finds it.
    - `join`: the order of its bot; None: it has no bot.
    - `bot`: the state of its bot's session that was last worth keeping; None: the session has not begun.
    - `leaves`: why its bot is to leave, if that was ordered before the session began.
    - `ends_when_free`: why it ends once its bot is gone; None: it goes on.
    - `gone`: why it ends; None: it does not end.
    """

    vm_id: str
    worker_id: str
    phase: Phase
    story: tuple[Moved, ...] = ()
    page_id: str = ""
    join: Join | None = None
    bot: State | None = None
    leaves: Reason | None = None
    ends_when_free: GoneCause | None = None
    gone: Gone | None = None

    @property
    def is_ending(self) -> bool:
        return self.phase in (Phase.RETIRING, Phase.GONE)

    @property
    def reported(self) -> WorkerState:
        """The state that heartbeats report to the manager."""
        return _REPORTED.get(self.phase, WorkerState.BUSY)

    def serves(self, bot_id: str, attempt: int) -> bool:
        return self.join is not None and (self.join.bot_id, self.join.attempt) == (bot_id, attempt)


# Events: what was ordered


class Assigned(msgspec.Struct, frozen=True):
    """An idle worker is given a bot."""

    join: Join


class LeaveOrdered(msgspec.Struct, frozen=True):
    """Its bot is to leave, also while it is still joining. The first reason counts."""

    reason: Reason


class RetireOrdered(msgspec.Struct, frozen=True):
    """It is to end: at once if it has no bot, otherwise once its bot is gone."""


class StopOrdered(msgspec.Struct, frozen=True):
    """The agent takes no more work: a worker without a bot ends."""


class Abandoned(msgspec.Struct, frozen=True):
    """The agent stops now: the worker ends, and so does its bot."""


# Events: what happened


class Warmed(msgspec.Struct, frozen=True):
    page_id: str
    took_s: float


class Stale(msgspec.Struct, frozen=True):
    """The assignment is stale: the manager has given its bot to another worker, or ended it."""


class Begun(msgspec.Struct, frozen=True):
    """Its bot's session begins. `join`: the order, with the account that the bot joins with, if it has one."""

    join: Join


class Progressed(msgspec.Struct, frozen=True):
    """Its bot's session came to the state `bot`, and `news` is to be reported."""

    bot: State
    news: tuple[Event, ...] = ()


class Ended(msgspec.Struct, frozen=True):
    """Its bot's session is over."""

    ended: BotEnded


class Overdue(msgspec.Struct, frozen=True):
    """Its bot has outlived every limit and ends by force. `detail`: which limit."""

    detail: str


class Failure(msgspec.Struct, frozen=True):
    """Its browser or page failed for good. `cause`: why the worker ends. `reason`: why its bot ends, if that is in its
    meeting. `refusal`: why its bot is refused, if that is not claimed yet.
    """

    cause: GoneCause
    detail: str
    reason: Reason = Reason.BROWSER_CRASHED
    refusal: RefusalCause = RefusalCause.BROWSER_DEAD


class Removed(msgspec.Struct, frozen=True):
    """Its task is done, its processes are dead, and its folder is removed."""


COMES_IN: Final[dict[type, frozenset[Phase]]] = {
    Assigned: frozenset({Phase.IDLE}),
    Warmed: frozenset({Phase.WARMING}),
    Stale: frozenset({Phase.CLAIMING}),
    Begun: frozenset({Phase.CLAIMING, Phase.RETURNING}),
    Progressed: frozenset({Phase.SERVING}),
    Ended: frozenset({Phase.CLAIMING, Phase.RETURNING, Phase.SERVING}),
    Overdue: frozenset({Phase.CLAIMING, Phase.RETURNING, Phase.SERVING}),
    Removed: frozenset({Phase.RETIRING}),
}
"""The phases in which these events may come. All other events may come at any time."""

Order = Assigned | LeaveOrdered | RetireOrdered | StopOrdered | Abandoned
Happening = Warmed | Stale | Begun | Progressed | Ended | Overdue | Failure | Removed


# Effects


class Report(NamedTuple):
    """Write the new status into the journal, together with these events in order, which go to the manager."""

    events: tuple[Event, ...] = ()


class End(NamedTuple):
    """Remove the worker once its task is done. `cancels`: cancel that task."""

    cancels: bool


Effect = Report | LeaveRequested | BrowserGone | End
"""LeaveRequested and BrowserGone are passed on to the session of its bot."""


class Step(NamedTuple):
    status: WorkerStatus
    effects: tuple[Effect, ...] = ()


class IllegalMoveError(AgentError, RuntimeError):
    """An event came in a phase in which it cannot come. That is a bug; the message gives the worker's latest moves."""


def step(status: WorkerStatus, event: Order | Happening, now: float) -> Step:
    """The new status and what the agent has to do. Late news of a worker that is ending changes nothing.

    Raises: IllegalMoveError.
    """
    if status.is_ending and not isinstance(event, Assigned | Begun | Removed):
        return Step(status)
    if status.phase not in COMES_IN.get(type(event), Phase):
        raise IllegalMoveError(f"cannot take {type(event).__name__} of {_story(status)}")
    match event:
        case Assigned() | LeaveOrdered() | RetireOrdered() | StopOrdered() | Abandoned():
            return _ordered(status, event, now)
        case _:
            return _happened(status, event, now)


def _ordered(status: WorkerStatus, order: Order, now: float) -> Step:
    match order:
        case Assigned(join=join):
            return Step(replace(_move(status, Phase.CLAIMING, now), join=join), (Report(),))
        case LeaveOrdered(reason=reason):
            if status.phase is Phase.SERVING:
                return Step(status, (LeaveRequested(reason),))
            return Step(replace(status, leaves=status.leaves or reason) if status.join else status)
        case RetireOrdered():
            if status.join is None:
                return _end(status, Gone(GoneCause.RETIRED), now)
            return Step(replace(status, ends_when_free=GoneCause.RETIRED), (Report(),))
        case StopOrdered():
            status = replace(status, ends_when_free=status.ends_when_free or GoneCause.AGENT_STOPPED)
            if status.join is None:
                return _end(status, Gone(GoneCause.AGENT_STOPPED), now)
            if status.phase is Phase.CLAIMING:  # its claim may wait for Redis without an end
                return _end_by_force(status, "the agent stops", now)
            return Step(status)
        case _:  # abandoned
            late = Finish(Reason.SHUTDOWN, "did not leave in time")
            answer = _answer(status, _concluded(status, late), RefusalCause.STOPPING, now)
            return _end(status, Gone(GoneCause.AGENT_STOPPED), now, *answer)


def _happened(status: WorkerStatus, event: Happening, now: float) -> Step:
    match event:
        case Warmed(page_id=page_id, took_s=took_s):
            warm = WorkerWarm(status.vm_id, status.worker_id, now, took_s)
            return Step(replace(_move(status, Phase.IDLE, now), page_id=page_id), (Report((warm,)),))
        case Stale():
            status = replace(_move(status, Phase.IDLE, now), join=None, leaves=None)
            if status.ends_when_free:
                return _end(status, Gone(status.ends_when_free), now, cancels=False)
            return Step(status, (Report(),))
        case Begun(join=join):
            leaves = (LeaveRequested(status.leaves),) if status.leaves else ()
            return Step(replace(_move(status, Phase.SERVING, now), join=join), leaves)
        case Progressed(bot=bot, news=news):
            return Step(replace(status, bot=bot), (Report(news),))
        case Ended(ended=ended):
            return _end(status, Gone(GoneCause.SPENT), now, ended, cancels=False)
        case Overdue(detail=detail):
            return _end_by_force(status, detail, now)
        case Failure():
            return _fail(status, event, now)
        case _:  # removed
            assert status.gone
            news = WorkerGone(status.vm_id, status.worker_id, now, *status.gone)
            return Step(_move(status, Phase.GONE, now), (Report((news,)),))


def _fail(status: WorkerStatus, failure: Failure, now: float) -> Step:
    if status.phase is Phase.SERVING:  # its session ends first, with the better reason and the evidence
        return Step(status, (BrowserGone(failure.detail, failure.reason),))
    warms = status.phase is Phase.WARMING and failure.cause is GoneCause.CRASHED
    gone = Gone(GoneCause.WARMUP_FAILED if warms else failure.cause, failure.detail)
    finish = _concluded(status, Finish(failure.reason, failure.detail))
    # The claiming task is not cancelled: it sees the status, and gives back the account that it took for the bot.
    cancels = status.phase is not Phase.CLAIMING
    return _end(status, gone, now, *_answer(status, finish, failure.refusal, now), cancels=cancels)


def _end_by_force(status: WorkerStatus, detail: str, now: float) -> Step:
    """End its bot at once, without asking its session."""
    refusal = RefusalCause.STOPPING if status.ends_when_free else RefusalCause.BROWSER_DEAD
    answer = _answer(status, Finish(Reason.OVERDUE, detail), refusal, now)
    claims = status.phase is Phase.CLAIMING
    cause = (status.ends_when_free or GoneCause.RETIRED) if claims else GoneCause.SPENT
    return _end(status, Gone(cause, detail), now, *answer)


def _concluded(status: WorkerStatus, otherwise: Finish) -> Finish:
    """The end that its bot's session had already decided, if any; else `otherwise`."""
    return status.bot.ending if status.bot and status.bot.ending else otherwise


def _answer(status: WorkerStatus, finish: Finish, refusal: RefusalCause, now: float) -> tuple[Event, ...]:
    """The answer for its bot, if it has one: refused while it is not claimed, ended otherwise."""
    if status.join is None:
        return ()
    who = (status.vm_id, status.worker_id, status.join.bot_id, status.join.attempt, now)
    if status.phase is Phase.CLAIMING:
        return (JoinRefused(*who, refusal),)
    evidence = status.bot.evidence if status.bot else None
    return (BotEnded(*who, finish.reason, finish.detail, evidence=evidence or ""),)


def _end(status: WorkerStatus, gone: Gone, now: float, *answer: Event, cancels: bool = True) -> Step:
    ending = replace(_move(status, Phase.RETIRING, now), join=None, bot=None, gone=gone)
    return Step(ending, (Report(answer), End(cancels)))


def _move(status: WorkerStatus, phase: Phase, now: float) -> WorkerStatus:
    """Raises: IllegalMoveError."""
    if phase not in LEGAL[status.phase]:
        raise IllegalMoveError(f"cannot move to {phase}: {_story(status)}")
    return replace(status, phase=phase, story=(*status.story, Moved(phase, now))[-STORY_LENGTH:])


def _story(status: WorkerStatus) -> str:
    bot = f" with bot {status.join.bot_id} (attempt {status.join.attempt})" if status.join else ""
    story = ", ".join(f"{moved.phase} at {moved.at:.3f}" for moved in status.story)
    return f"worker {status.worker_id}{bot}, which is {status.phase}; it was: {story}"
