"""Where a worker is on its way from the order to its end, and what follows from all that happens to it. Pure.

`step(status, event, now)` is the one door: what happened goes in, the new status and the effects come out. `now` is in
epoch seconds. Only the moves in LEGAL are made:

    WARMING -----> IDLE <-- stale ---- CLAIMING ----+
       |            |  --- assigned ---> ^ |        v
       |            |       adopted -----+ |     SERVING <-- RETURNING <-- adopted
       |            |                      |        |            |
       +------------+------------+---------+--------+------------+
                                 v
                             RETIRING --> GONE

A worker has one bot in its life, and a bot that was assigned has one answer: it is refused, or it ends, or its
assignment was stale. The answer is given in the same step that lets the worker end, so whoever retires has nothing
left to say; then nothing but its removal counts. The first cause of an end is the cause.
"""

from enum import StrEnum
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from common.wire.messages import BotEnded, Event, Join, JoinRefused, WorkerGone, WorkerWarm
from common.wire.vocabulary import GoneCause, Reason, RefusalCause, WorkerState
from worker.decide.state import State
from worker.decide.words import BrowserGone, Finish, LeaveRequested

MOST_TOLD: Final = 8  # moves that a story keeps


class Phase(StrEnum):
    """In brackets who ends it if nothing else does, and after what time."""

    WARMING = "warming"  # its browser starts (the warm-up: worker.launch_timeout_s)
    IDLE = "idle"  # ready to join (the manager: pool.idle_ttl_s, pool.max_age_s)
    CLAIMING = "claiming"  # it asks whether the bot that it was given is still its own (the manager, by force)
    RETURNING = "returning"  # its bot is in a meeting, and it is connected to again (the connection: 45 s)
    SERVING = "serving"  # its bot's session runs (the session's own limits; behind them worker.decide.overdue)
    RETIRING = "retiring"  # its work is wound up, its processes and folder removed (the pool: 5 s, 10 s, 10 s)
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
    """It came to `phase` at `at`, epoch seconds."""

    phase: Phase
    at: float


class WorkerStatus(msgspec.Struct, frozen=True):
    """`story`: its latest moves. `page_id`: by which a new connection finds its page. `bot`: where its bot is in its
    meeting, as far as that was worth keeping; None: not begun. `leaves`: it was asked to leave before it had a session.
    `ends_when_free`: why it ends once it serves nobody; None: it goes on.
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
        """What the manager is told."""
        return _REPORTED.get(self.phase, WorkerState.BUSY)

    def serves(self, bot_id: str, attempt: int) -> bool:
        return self.join is not None and (self.join.bot_id, self.join.attempt) == (bot_id, attempt)


# Events: what was ordered


class Assigned(msgspec.Struct, frozen=True):
    """It is given a bot. Only to one that is idle."""

    join: Join


class LeaveOrdered(msgspec.Struct, frozen=True):
    """Its bot is to leave, also one that is not in yet. The first reason counts."""

    reason: Reason


class RetireOrdered(msgspec.Struct, frozen=True):
    """It is to end: at once if it serves nobody, otherwise when it is free."""


class StopOrdered(msgspec.Struct, frozen=True):
    """The agent takes no work any more."""


class Abandoned(msgspec.Struct, frozen=True):
    """The agent ends now, and its workers with it."""


# Events: what happened


class Warmed(msgspec.Struct, frozen=True):
    page_id: str
    took_s: float


class Stale(msgspec.Struct, frozen=True):
    """Its bot has gone to another worker meanwhile."""


class Begun(msgspec.Struct, frozen=True):
    """Its bot's session begins. `join`: the order as it is carried out, with an account if the bot has one."""

    join: Join


class Progressed(msgspec.Struct, frozen=True):
    """Its bot came to `bot`, and there is that to report of it."""

    bot: State
    news: tuple[Event, ...] = ()


class Ended(msgspec.Struct, frozen=True):
    """Its bot's session is over."""

    ended: BotEnded


class Overdue(msgspec.Struct, frozen=True):
    """Its bot has outlived every limit, and is to end by force."""

    detail: str


class Failure(msgspec.Struct, frozen=True):
    """What its browser does not get over: `cause` is the worker's end, `reason` that of a bot in its meeting, `refusal`
    the answer for one that is not claimed yet.
    """

    cause: GoneCause
    detail: str
    reason: Reason = Reason.BROWSER_CRASHED
    refusal: RefusalCause = RefusalCause.BROWSER_DEAD


class Removed(msgspec.Struct, frozen=True):
    """Its processes are dead, its folder is gone, and its work is done."""


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
"""What comes in these phases only. Everything else may come at any time."""

Order = Assigned | LeaveOrdered | RetireOrdered | StopOrdered | Abandoned
Happening = Warmed | Stale | Begun | Progressed | Ended | Overdue | Failure | Removed


# Effects


class Report(NamedTuple):
    """Write down the new status, and together with it these events, in order, if any."""

    events: tuple[Event, ...] = ()


class End(NamedTuple):
    """Remove it when its work is done, which is cancelled if `cancels`."""

    cancels: bool


Effect = Report | LeaveRequested | BrowserGone | End
"""Its session is told what is for it."""


class Step(NamedTuple):
    status: WorkerStatus
    effects: tuple[Effect, ...] = ()


class IllegalMoveError(RuntimeError):
    """A fault of ours; the message tells the worker's story. News that comes late is dropped before it gets so far."""


def step(status: WorkerStatus, event: Order | Happening, now: float) -> Step:
    """Raises: IllegalMoveError."""
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
            if status.phase is Phase.CLAIMING:  # it may wait for Redis to answer
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
    if status.phase is Phase.SERVING:  # there is more to say of its end
        return Step(status, (BrowserGone(failure.detail, failure.reason),))
    warms = status.phase is Phase.WARMING and failure.cause is GoneCause.CRASHED
    gone = Gone(GoneCause.WARMUP_FAILED if warms else failure.cause, failure.detail)
    finish = _concluded(status, Finish(failure.reason, failure.detail))
    # Who asks for the claim hears of it by the status, and gives back what was taken for the bot.
    cancels = status.phase is not Phase.CLAIMING
    return _end(status, gone, now, *_answer(status, finish, failure.refusal, now), cancels=cancels)


def _end_by_force(status: WorkerStatus, detail: str, now: float) -> Step:
    """Its bot ends here and now, whatever it is about to do."""
    refusal = RefusalCause.STOPPING if status.ends_when_free else RefusalCause.BROWSER_DEAD
    answer = _answer(status, Finish(Reason.OVERDUE, detail), refusal, now)
    claims = status.phase is Phase.CLAIMING
    cause = (status.ends_when_free or GoneCause.RETIRED) if claims else GoneCause.SPENT
    return _end(status, Gone(cause, detail), now, *answer)


def _concluded(status: WorkerStatus, otherwise: Finish) -> Finish:
    """The end of its bot, for the reason that it had, if it had one already."""
    return status.bot.ending if status.bot and status.bot.ending else otherwise


def _answer(status: WorkerStatus, finish: Finish, refusal: RefusalCause, now: float) -> tuple[Event, ...]:
    """What becomes of its bot, if it has one: refused while nobody claimed it, ended otherwise."""
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
    return replace(status, phase=phase, story=(*status.story, Moved(phase, now))[-MOST_TOLD:])


def _story(status: WorkerStatus) -> str:
    bot = f" with bot {status.join.bot_id} (attempt {status.join.attempt})" if status.join else ""
    story = ", ".join(f"{moved.phase} at {moved.at:.3f}" for moved in status.story)
    return f"worker {status.worker_id}{bot}, which is {status.phase}; it was: {story}"
