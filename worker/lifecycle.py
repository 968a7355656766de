"""Where a bot is on its way through one meeting, and what to do next. Pure: no page, no clock, no waiting.

`step(state, observation, now)` is the one door: what the page shows goes in, the new state and the actions come out.
Every step learns from the observation, concludes whether that ends anything, and says what to do. `now` and every
time in a state are monotonic seconds. The phase is a `BotState`, and only ever moves to the right; a door that
stands open has no lobby, so a phase may be skipped:

    ASSIGNED -> JOINING -> WAITING_ROOM -> IN_MEETING -> LEAVING -> STOPPED

Whatever a page does: there is exactly one `Finish` and nothing after it; a request to leave is honoured in every
phase, ends within `Limits.leave_s`, and its reason wins over whatever the page shows from then on.
"""

from enum import StrEnum
from typing import Final, NamedTuple, Self

import msgspec
from msgspec.structs import replace

from wire.messages import AutomaticLeave
from wire.settings import WorkerSettings
from wire.vocabulary import BotState, Reason
from worker.company import Company, Look, News, notice

REPEAT_S: Final = 2.0  # a click that changed nothing by then was swallowed, as overlays and half-loaded pages do
VITALS_S: Final = 10.0
UNKNOWN_GRACE_S: Final = 30.0  # pages cover the meeting with dialogs, and redraw themselves while reconnecting
LEAVE_SHARE: Final = 0.75  # of the time allowed for leaving; the rest is for emptying the page


class Screen(StrEnum):
    """What a page shows, in words that hold for every platform."""

    LOADING = "loading"
    NAME_PROMPT = "name_prompt"
    WAITING_ROOM = "waiting_room"
    IN_MEETING = "in_meeting"
    DENIED = "denied"
    REMOVED = "removed"
    ENDED = "ended"
    LEFT = "left"
    FULL = "full"
    CONNECTION_LOST = "connection_lost"
    NOT_FOUND = "not_found"
    UNKNOWN = "unknown"


# Observations


class Seen(Look, frozen=True):
    """The page answered. `participants` counts the bot itself too; None or 0: the page does not say."""

    screen: Screen
    rule: str = ""
    participants: int | None = None
    audio_packets: int = 0


class PageRequested(msgspec.Struct, frozen=True):
    """The browser asked for the meeting page."""


class LoadFailed(msgspec.Struct, frozen=True):
    """The meeting page could not be had. `detail` never holds the link."""

    detail: str


class CallTimedOut(msgspec.Struct, frozen=True):
    """The page did not answer one call within its deadline."""


class BrowserGone(msgspec.Struct, frozen=True):
    """Nothing can be asked of the page any more; `reason` says why."""

    detail: str = ""
    reason: Reason = Reason.BROWSER_CRASHED


class LeaveRequested(msgspec.Struct, frozen=True):
    reason: Reason


Observation = Seen | PageRequested | LoadFailed | CallTimedOut | BrowserGone | LeaveRequested


# Actions


class PageAction(StrEnum):
    """What an adapter does to a page. Asked for again when the page did not change."""

    FILL_NAME_AND_JOIN = "fill_name_and_join"
    CANCEL_REQUEST = "cancel_request"
    LEAVE_MEETING = "leave_meeting"


class Move(msgspec.Struct, frozen=True):
    """Report that the bot is in a new state, and what the page showed."""

    state: BotState
    screen: Screen
    rule: str


class ReportVitals(msgspec.Struct, frozen=True):
    participants: int = 0
    audio_packets: int = 0


class Greet(msgspec.Struct, frozen=True):
    """The bot is in: say what it was given to say first."""


class Finish(msgspec.Struct, frozen=True):
    """The session is over: empty the page and report the end."""

    reason: Reason
    detail: str = ""


Action = PageAction | Move | ReportVitals | News | Greet | Finish


# State


class Limits(msgspec.Struct, frozen=True):
    """How long anything may take, in seconds."""

    load_s: float
    join_s: float
    waiting_room_s: float
    noone_joined_s: float
    everyone_left_s: float
    max_duration_s: float
    leave_s: float
    hung_s: float
    unknown_grace_s: float = UNKNOWN_GRACE_S

    @classmethod
    def of(cls, automatic: AutomaticLeave, settings: WorkerSettings) -> Self:
        return cls(
            load_s=settings.load_timeout_s,
            join_s=settings.join_timeout_s,
            waiting_room_s=automatic.waiting_room_timeout,
            noone_joined_s=automatic.noone_joined_timeout,
            everyone_left_s=automatic.everyone_left_timeout,
            max_duration_s=automatic.in_call_recording_timeout,
            leave_s=settings.leave_timeout_s * LEAVE_SHARE,
            hung_s=settings.page_timeout_s * 2,  # from the end of the first unanswered call: three in a row
        )


class State(msgspec.Struct, frozen=True):
    limits: Limits
    since: float  # when the phase began
    phase: BotState = BotState.ASSIGNED
    screen: Screen = Screen.LOADING
    rule: str = ""
    prompted_at: float | None = None  # when the page first asked for a name
    acted_at: float | None = None  # when the page was last acted on, as long as it shows the same screen
    silent_since: float | None = None  # since when it answers no call
    lost_since: float | None = None  # since when it does not show the meeting that the bot is in
    participants: int | None = None  # by the last look, the bot itself included
    had_others: bool = False
    alone_since: float | None = None
    audio_packets: int = 0
    vitals: ReportVitals | None = None
    vitals_at: float = 0.0
    greets: bool = False  # it still has something to say first
    company: Company = Company()  # what was told of the others
    ending: Finish | None = None  # why the bot leaves, or left


class Step(NamedTuple):
    state: State
    actions: tuple[Action, ...] = ()


class _Timer(NamedTuple):
    """Ends the session with `reason`, `limit_s` after `start`. None: not running."""

    start: float | None
    limit_s: float
    reason: Reason


_PHASE_SHOWN: Final = {
    Screen.NAME_PROMPT: BotState.JOINING,
    Screen.WAITING_ROOM: BotState.WAITING_ROOM,
    Screen.IN_MEETING: BotState.IN_MEETING,
}
_END_SHOWN: Final = {
    Screen.DENIED: Reason.REQUEST_DENIED,
    Screen.REMOVED: Reason.REMOVED_BY_HOST,
    Screen.ENDED: Reason.MEETING_ENDED,
    Screen.LEFT: Reason.MEETING_ENDED,  # not by our click: the platform closed the call under the bot
    Screen.FULL: Reason.MEETING_FULL,
    Screen.CONNECTION_LOST: Reason.CONNECTION_LOST,
    Screen.NOT_FOUND: Reason.PAGE_LOAD_FAILED,
}
_LOST_TO: Final = {Screen.WAITING_ROOM: Reason.REMOVED_BY_HOST}  # put back into the lobby
_ACTION_ON: Final = {
    (BotState.JOINING, Screen.NAME_PROMPT): PageAction.FILL_NAME_AND_JOIN,
    (BotState.WAITING_ROOM, Screen.NAME_PROMPT): PageAction.FILL_NAME_AND_JOIN,  # the page reloaded itself
    (BotState.LEAVING, Screen.WAITING_ROOM): PageAction.CANCEL_REQUEST,
    (BotState.LEAVING, Screen.IN_MEETING): PageAction.LEAVE_MEETING,
}


def begin(limits: Limits, now: float, *, greets: bool = False) -> State:
    return State(limits, since=now, greets=greets)


def step(state: State, observation: Observation, now: float) -> Step:
    if state.phase is BotState.STOPPED:
        return Step(state)
    before, state = state, _conclude(_learn(state, observation, now), now)
    if state.phase is BotState.STOPPED and state.ending:
        return Step(state, (state.ending,))
    actions: list[Action] = []
    if state.phase is not before.phase:
        actions.append(Move(state.phase, state.screen, state.rule))
    if vitals := _vitals_due(state, now):
        actions.append(vitals)
        state = replace(state, vitals=vitals, vitals_at=now)
    if isinstance(observation, Seen) and is_in(state):
        state, more = _take_part(state, observation, now)
        actions += more
    action = _ACTION_ON.get((state.phase, state.screen))
    if action and (state.acted_at is None or now - state.acted_at >= REPEAT_S):
        actions.append(action)
        state = replace(state, acted_at=now)
    return Step(state, tuple(actions))


def worth_keeping(state: State) -> State:
    """The state without what the next look at the page tells anyway: of two that are equal one need be written down."""
    return replace(
        state,
        screen=Screen.LOADING,
        rule="",
        acted_at=None,
        silent_since=None,
        participants=None,
        audio_packets=0,
        vitals=None,
        vitals_at=0.0,
        company=replace(state.company, people_key=""),
    )


def is_in(state: State) -> bool:
    """True while the page shows the meeting, and the bot means to stay: the only time at which it may speak."""
    return state.phase is BotState.IN_MEETING and state.screen is Screen.IN_MEETING


def next_deadline(state: State) -> float:
    """When the next timer runs out if nothing changes: no call to the page needs to last longer."""
    return min(start + limit_s for start, limit_s, _ in _timers(state) if start is not None)


def _learn(state: State, observation: Observation, now: float) -> State:
    match observation:
        case LeaveRequested(reason=reason):
            return _leave(state, Finish(reason), now)
        case BrowserGone(detail=detail, reason=reason):
            return _stop(state, Finish(reason, detail))
        case LoadFailed(detail=detail):
            return _stop(state, Finish(Reason.PAGE_LOAD_FAILED, detail))
        case PageRequested():
            return _enter(state, BotState.JOINING, now)
        case CallTimedOut():
            return replace(
                state,
                screen=Screen.UNKNOWN,
                rule="",
                acted_at=None,
                participants=None,
                silent_since=_first(state.silent_since, now),
            )
        case _:
            return _look(state, observation, now)


def _look(state: State, seen: Seen, now: float) -> State:
    state = replace(
        _enter(state, _PHASE_SHOWN.get(seen.screen, state.phase), now),
        screen=seen.screen,
        rule=seen.rule,
        acted_at=state.acted_at if seen.screen is state.screen else None,
        prompted_at=_first(state.prompted_at, now) if seen.screen is Screen.NAME_PROMPT else state.prompted_at,
        silent_since=None,
        participants=None,
        audio_packets=max(state.audio_packets, seen.audio_packets),
    )
    if state.phase is not BotState.IN_MEETING:
        return state
    if seen.screen is not Screen.IN_MEETING:
        return replace(state, lost_since=_first(state.lost_since, now))
    state = replace(state, lost_since=None)
    if not seen.participants:  # the bot itself is there, so nobody is no count: the page was being redrawn
        return state
    alone = seen.participants == 1
    return replace(
        state,
        participants=seen.participants,
        had_others=state.had_others or not alone,
        alone_since=_first(state.alone_since, now) if alone else None,
    )


def _conclude(state: State, now: float) -> State:
    """The state once everything that is over by now has ended."""
    if state.phase is BotState.STOPPED:
        return state
    shown = f"the page showed {state.screen} {state.rule}".rstrip()
    if reason := _END_SHOWN.get(state.screen):
        return _stop(state, Finish(reason, shown))
    for start, limit_s, reason in _timers(state):
        if start is not None and now >= start + limit_s:
            finish = Finish(reason, f"{limit_s:g} s passed, {shown}")
            return _stop(state, finish) if reason is Reason.BROWSER_HUNG else _leave(state, finish, now)
    return state


def _timers(state: State) -> tuple[_Timer, ...]:
    limits = state.limits
    match state.phase:
        case BotState.WAITING_ROOM:
            of_phase = (_Timer(state.since, limits.waiting_room_s, Reason.WAITING_ROOM_TIMEOUT),)
        case BotState.IN_MEETING:
            of_phase = (
                _Timer(state.since, limits.max_duration_s, Reason.MAX_DURATION),
                _Timer(
                    state.lost_since, limits.unknown_grace_s, _LOST_TO.get(state.screen, Reason.UI_ELEMENT_NOT_FOUND)
                ),
                _alone(state),
            )
        case BotState.LEAVING:
            # The page does not let go. What the bot leaves for is known and stays its reason.
            of_phase = (_Timer(state.since, limits.leave_s, Reason.BROWSER_HUNG),)
        case _ if state.prompted_at is not None:
            of_phase = (_Timer(state.prompted_at, limits.join_s, Reason.UI_ELEMENT_NOT_FOUND),)
        case _:
            loaded = state.screen is not Screen.LOADING
            reason = Reason.UI_ELEMENT_NOT_FOUND if loaded else Reason.PAGE_LOAD_FAILED
            of_phase = (_Timer(state.since, limits.load_s, reason),)
    return (_Timer(state.silent_since, limits.hung_s, Reason.BROWSER_HUNG), *of_phase)


def _alone(state: State) -> _Timer:
    """Runs only while the page says that nobody else is there: a missing count never ends a call."""
    limits, alone = state.limits, state.participants == 1
    if state.had_others:
        return _Timer(state.alone_since if alone else None, limits.everyone_left_s, Reason.EVERYONE_LEFT)
    return _Timer(state.since if alone else None, limits.noone_joined_s, Reason.NO_ONE_JOINED)


def _vitals_due(state: State, now: float) -> ReportVitals | None:
    """A count that changed and the first sound are told at once, the rest now and then."""
    if state.phase is not BotState.IN_MEETING:
        return None
    last = state.vitals or ReportVitals()
    vitals = ReportVitals(state.participants or last.participants, state.audio_packets)
    changed = vitals.participants != last.participants or (vitals.audio_packets > 0 and last.audio_packets == 0)
    return vitals if changed or state.vitals is None or now - state.vitals_at >= VITALS_S else None


def _take_part(state: State, seen: Seen, now: float) -> Step:
    """What the bot has to say, and what there is to tell of the others."""
    company, news = notice(state.company, seen, now)
    return Step(replace(state, greets=False, company=company), (Greet(), *news) if state.greets else news)


def _enter(state: State, phase: BotState, now: float) -> State:
    return replace(state, phase=phase, since=now) if phase.rank > state.phase.rank else state


def _leave(state: State, finish: Finish, now: float) -> State:
    """Leave as a guest does, by the page's own button; where there is none yet, stop at once."""
    if state.phase.rank < BotState.WAITING_ROOM.rank:
        return _stop(state, finish)
    if state.phase is BotState.LEAVING:
        return state
    return replace(_enter(state, BotState.LEAVING, now), ending=finish, acted_at=None)


def _stop(state: State, finish: Finish) -> State:
    return replace(state, phase=BotState.STOPPED, ending=state.ending or finish)


def _first(earlier: float | None, now: float) -> float:
    return now if earlier is None else earlier
