"""A bot's way through one meeting, and what it does next. Pure: no page, no clock, no waiting.

`step(state, observation, now)` is the only entry point. It takes what the page showed, and returns the new state and
the actions. Each step first notes the observation, then decides whether the session ends, then chooses actions. `now`
and all times in a state are monotonic seconds. The phase is a `BotState` and only moves to the right. A phase may be
skipped: a meeting without a lobby has no WAITING_ROOM.

    ASSIGNED -> JOINING -> WAITING_ROOM -> IN_MEETING -> LEAVING -> STOPPED

What holds whatever a page does:
- A session has exactly one `Finish`, and no action after it.
- A request to leave works in every phase. The bot is out within `Limits.leave_s`, and ends with that request's reason.
- No session lasts longer than `Limits.session_s`.
- A state that was written down can be carried on. If it had already stopped, the next step gives its `Finish` again:
  the earlier one may not have been reported.

words.py has the observations and actions, state.py the state, deadlines.py the deadlines, page_actions.py what is
done to the page.
"""

from typing import Final, NamedTuple

from msgspec.structs import replace

from common.wire.vocabulary import BotState, Reason
from worker.decide.deadlines import (
    HUNG,
    LOBBIES,
    NOT_ADMITTED,
    PROMPTS,
    TELLS_NOTHING,
    Timer,
    is_believed,
    timers,
    was_in,
)
from worker.decide.page_actions import AGAIN_AT_LEAST_S, decide_page_actions
from worker.decide.participants import News, count_others, note_people
from worker.decide.received_media import ReceivedMedia, mark_reported, note_media, unreported_level
from worker.decide.state import UNKNOWN_GRACE_S, Limits, SessionOptions, State
from worker.decide.words import (
    Action,
    Announce,
    BrowserGone,
    CallTimedOut,
    Finish,
    Greet,
    LeaveRequested,
    LoadFailed,
    Move,
    Observation,
    PageRequested,
    RecordingBegan,
    ReportPermission,
    ReportVitals,
    Screen,
    Seen,
)

VITALS_S: Final = 10.0
WATCHED_S: Final = 1.5  # looks that are further apart may have missed that the bot was let in
LOBBY_S: Final = 2.0  # a page that redraws itself may show a lobby for a moment
LOBBY_DRAWN_S: Final = 10.0  # a lobby over a visible call may be a notice about somebody who waits
RETURNS: Final = 3  # how often a bot joins again after its page left the meeting by itself
WORDS_S: Final = 3.0  # how long the page has for saying over a call that it ended, if it had no media connection
WORDS_CONNECTED_S: Final = 10.0  # and where the media connection is still up
SPEAKER_S: Final = 1.0  # at least this long between two reports of a new speaker
PERMISSION_S: Final = 1.0  # between the first two reports whether recording is permitted; doubled for each further one

_PHASE_SHOWN: Final = {
    Screen.LAUNCHER: BotState.JOINING,
    Screen.NAME_PROMPT: BotState.JOINING,
    Screen.PASSCODE_PROMPT: BotState.JOINING,
    Screen.WAITING_ROOM: BotState.WAITING_ROOM,
    Screen.WAITING_FOR_HOST: BotState.WAITING_ROOM,
    Screen.IN_MEETING: BotState.IN_MEETING,
    Screen.RECORDING_DENIED: BotState.IN_MEETING,
}
_INSIDE: Final = (Screen.IN_MEETING, Screen.RECORDING_DENIED)
_END_SHOWN: Final = {
    Screen.DENIED: Reason.REQUEST_DENIED,
    Screen.REMOVED: Reason.REMOVED_BY_HOST,
    Screen.ENDED: Reason.MEETING_ENDED,
    Screen.LEFT: Reason.MEETING_ENDED,  # the bot did not leave: the platform closed the call
    Screen.NO_ANSWER: Reason.WAITING_ROOM_TIMEOUT,  # the request to join expired; nobody refused it
    Screen.FULL: Reason.MEETING_FULL,
    Screen.LOCKED: Reason.MEETING_LOCKED,
    Screen.CONNECTION_LOST: Reason.CONNECTION_LOST,
    Screen.NOT_FOUND: Reason.MEETING_NOT_FOUND,
    Screen.SIGN_IN: Reason.SIGN_IN_REQUIRED,
    Screen.ORG_ONLY: Reason.ORG_ONLY,
    Screen.REGISTRATION: Reason.REGISTRATION_REQUIRED,
    Screen.PASSCODE_WRONG: Reason.PASSCODE_WRONG,
    Screen.CAPTCHA: Reason.CAPTCHA,
    Screen.BLOCKED: Reason.PLATFORM_BLOCKED,
    Screen.REFUSED: Reason.PLATFORM_BLOCKED,
    Screen.REDIRECTED: Reason.UNEXPECTED_REDIRECT,
    Screen.FAILED: Reason.PAGE_LOAD_FAILED,
}
_SAYS_LITTLE: Final = (Reason.PAGE_LOAD_FAILED, Reason.UI_ELEMENT_NOT_FOUND)
_SHOWN_TO_WHO_LEFT: Final = (Screen.LEFT, Screen.ENDED, Screen.REDIRECTED, Screen.SIGN_IN)
_TOLD_INSIDE: Final = (Screen.REMOVED, Screen.ENDED, Screen.LEFT)


class Step(NamedTuple):
    state: State
    actions: tuple[Action, ...] = ()


def begin(limits: Limits, now: float, options: SessionOptions | None = None, *, greets: bool = False) -> State:
    return State(limits, since=now, began=now, shown_since=now, options=options or SessionOptions(), greets=greets)


def carry_on(state: State) -> State:
    """The state for a session that goes on where an earlier agent left off. What the page showed meanwhile is unknown,
    so timers that need an unbroken look start again. An end that was decided may not have been reported, so it is
    reported again. Whether it is recorded is told anew.
    """
    return replace(state, silent_since=None, lost_since=None, is_unwatched=True, has_finished=False, announces=False)


def step(state: State, observation: Observation, now: float) -> Step:
    if state.phase is BotState.STOPPED:
        return Step(state) if state.has_finished else _finish(state)
    before, (learnt, news) = state, _learn(state, observation, now)
    state = _conclude(learnt, now)
    if state.phase is BotState.STOPPED:
        return _finish(state)
    actions: list[Action] = []
    if state.phase is not before.phase:
        actions.append(Move(state.phase, state.screen, state.rule))
    if vitals := _vitals_due(state, now):
        actions.append(vitals)
        state = replace(state, vitals=vitals, vitals_at=now, received=mark_reported(state.received))
    if permission := _permission_due(state, now):
        actions.append(permission)
        state = replace(state, permission_reports=permission.number, permission_reported_at=now)
    if state.greets and is_in(state):
        actions.append(Greet())
        state = replace(state, greets=False)
    if state.announces and is_in(state):
        actions.append(Announce())
        state = replace(state, announces=False, has_announced=True)
    actions += news
    state, page_actions = decide_page_actions(state, observation.popup if isinstance(observation, Seen) else "", now)
    return Step(state, (*actions, *page_actions))


def worth_keeping(state: State) -> State:
    """The state without what the next look at the page shows again. A state is written down when this part changed."""
    received = state.received
    return replace(
        state,
        screen=Screen.LOADING,
        rule="",
        shown=Screen.LOADING,
        shown_since=0.0,
        holds_s=0.0,
        has_come=False,
        again_s=0.0,
        loaded_again_at=None,
        acted_at=None,
        popups=(),
        sends=False,
        has_no_exit=False,
        is_chat_closed=False,
        chat_opened_at=None,
        switched=0,
        switched_at=None,
        silent_since=None,
        memory_growth="",
        announces=False,
        has_finished=False,
        participants=None,
        is_alone=False,
        audio_packets=0,
        document=0.0,
        place="",
        looked_at=None,
        is_unwatched=False,
        unseen_since=None,
        has_hung_up=False,
        over_since=None,
        is_broken=False,
        uncounted_since=None,
        received=ReceivedMedia(
            has_heard=received.has_heard, has_received=received.has_received, was_connected=received.was_connected
        ),
        speaker="",
        vitals=None,
        vitals_at=0.0,
        roster=replace(state.roster, people_key="", is_listed=False),
    )


def is_in(state: State) -> bool:
    """Whether the page shows the meeting and the bot is not leaving. Only then may it write in the chat."""
    return state.phase is BotState.IN_MEETING and state.screen is Screen.IN_MEETING


class _Learnt(NamedTuple):
    state: State
    news: tuple[News, ...] = ()


def _learn(state: State, observation: Observation, now: float) -> _Learnt:
    match observation:
        case LeaveRequested(reason=reason):
            return _Learnt(_leave(state, Finish(reason), now))
        case BrowserGone(detail=detail, reason=reason):
            return _Learnt(_stop(state, Finish(reason, detail), now))
        case LoadFailed(detail=detail):
            return _Learnt(_stop(state, Finish(Reason.PAGE_LOAD_FAILED, detail), now))
        case RecordingBegan():
            return _Learnt(replace(state, announces=not state.has_announced))
        case PageRequested():
            return _Learnt(_enter(state, BotState.JOINING, now))
        case CallTimedOut(memory_growth=memory_growth):
            return _Learnt(
                replace(
                    state,
                    screen=Screen.UNKNOWN,
                    rule="",
                    shown=Screen.UNKNOWN,
                    shown_since=now,
                    holds_s=0.0,
                    again_s=0.0,
                    acted_at=None,
                    participants=None,
                    is_alone=False,
                    silent_since=_first(state.silent_since, now),
                    memory_growth=memory_growth,
                )
            )
        case _:
            return _look(state, observation, now)


def _look(state: State, seen: Seen, now: float) -> _Learnt:
    seen = _from_inside(state, seen, now)
    state = _note_screen(_note_gap(state, seen, now), seen, now)
    if state.phase is BotState.WAITING_ROOM:
        is_lost = seen.screen in TELLS_NOTHING and not seen.rule
        state = replace(state, unseen_since=_first(state.unseen_since, now) if is_lost else None)
    if is_believed(state, now):
        prompted = seen.screen in PROMPTS
        state = replace(
            _enter(state, _PHASE_SHOWN.get(seen.screen, state.phase), now),
            prompted_at=_first(state.prompted_at, now) if prompted else state.prompted_at,
            host_seen=state.host_seen or seen.screen is Screen.WAITING_ROOM,
        )
    return _look_inside(state, seen, now) if state.phase is BotState.IN_MEETING else _Learnt(state)


def _from_inside(state: State, seen: Seen, now: float) -> Seen:
    """The look as somebody who is in the meeting has to read it.

    Participants can write "the meeting has ended" in the chat, so text about an end does not end the session while the
    call is still on the page. It counts when there is a sign that the call is over: the call is gone from the page, or
    its connections are closed, or the page itself (`Seen.behind` "under") says so and no audio arrives. A screen of
    NOT_ADMITTED is a notice about somebody else as long as other participants are seen or heard.
    """
    inside = replace(seen, screen=Screen.IN_MEETING, holds_s=0.0, again_s=0.0)
    if state.phase.rank < BotState.IN_MEETING.rank:  # the first look at the call may show such text
        hears = seen.behind != "" and 0 < state.audio_packets < seen.audio_packets
        if seen.screen in _TOLD_INSIDE and seen.behind:
            return inside if seen.behind == "free" or hears else _held(seen)
        return inside if hears and seen.screen in NOT_ADMITTED else seen
    if state.phase is not BotState.IN_MEETING or seen.screen not in (*NOT_ADMITTED, *_END_SHOWN):
        return seen
    is_heard = seen.audio_packets > state.received.audio_packets
    if seen.screen in NOT_ADMITTED:
        others_there = (
            (seen.participants or 0) > 1 or is_heard or (seen.behind == "free" and seen.screen not in LOBBIES)
        )
        if others_there and was_in(state, _first(state.lost_since, now)) and not state.is_returning:
            return inside
        if seen.screen in LOBBIES and not _has_hung_up(state, seen):
            return replace(seen, holds_s=max(seen.holds_s, LOBBY_DRAWN_S if seen.behind else LOBBY_S))
        return seen
    if not seen.behind:
        return seen
    if seen.behind == "free" or is_heard:
        return inside
    return seen if _has_lost_media(state, seen) else _held(seen)


def _held(seen: Seen) -> Seen:
    """The look, as one that counts only once its screen has shown for some seconds."""
    holds_s = WORDS_S if seen.media in ("", "failed") else WORDS_CONNECTED_S
    return replace(seen, holds_s=max(seen.holds_s, holds_s))


def _has_lost_media(state: State, seen: Seen) -> bool:
    return state.received.was_connected and seen.media in ("", "failed")


def _has_hung_up(state: State, seen: Seen) -> bool:
    """Whether the document that showed the call has closed all media connections."""
    return _has_lost_media(state, seen) and seen.document == state.document


def _is_over(state: State, seen: Seen) -> bool:
    """Whether a page that no rule knows means that the call is over: it says so, or it closed its connections and
    offers something to click on. A page that has just reloaded, or has nothing to click on, may still be loading.
    """
    return seen.screen is Screen.UNKNOWN and (seen.over or (seen.asks and _has_hung_up(state, seen)))


def _note_gap(state: State, seen: Seen, now: float) -> State:
    """Notes whether the bot may have been let in since the lobby was last seen, without a look that saw it."""
    is_gap = state.looked_at is not None and now - state.looked_at > WATCHED_S
    is_unwatched = (state.is_unwatched or is_gap) and seen.screen not in (*LOBBIES, *PROMPTS)
    return replace(state, looked_at=now, is_unwatched=is_unwatched)


def _note_screen(state: State, seen: Seen, now: float) -> State:
    loads_again = state.loaded_again_at is not None and seen.screen in TELLS_NOTHING
    state = replace(
        state,
        screen=seen.screen,
        rule=seen.rule,
        acted_at=state.acted_at if seen.screen is state.screen else None,
        silent_since=None,
        has_come=seen.screen not in (Screen.LOADING, Screen.BLANK),
        participants=None,
        is_alone=False,
        sends=seen.sends,
        has_no_exit=seen.no_exit,
        is_chat_closed=seen.chat_closed,
        switched=state.switched if seen.sends else 0,
        audio_packets=max(state.audio_packets, seen.audio_packets),
    )
    if loads_again:  # the reload is under way: `shown` keeps the screen for which the page was reloaded
        return state
    state = replace(state, holds_s=seen.holds_s, again_s=seen.again_s)
    if seen.screen is state.shown:
        return state
    return replace(state, shown=seen.screen, shown_since=now, loaded_again_at=None)


def _note_lost(state: State, seen: Seen, now: float) -> State:
    """Notes where the page has taken a bot that was in the meeting: back to the lobby, or to the screens before it."""
    if not is_believed(state, now):
        return state
    if seen.screen in LOBBIES and was_in(state, _first(state.lost_since, now)):
        return replace(state, screen=Screen.LOBBY_AGAIN)
    asks_anew = (
        seen.screen in (Screen.LAUNCHER, Screen.NAME_PROMPT) and not seen.behind and now - state.shown_since >= LOBBY_S
    )
    if asks_anew and not state.is_returning and state.returns < RETURNS:
        return replace(state, is_returning=True, returns=state.returns + 1, passcode_at=None)
    return state


def _look_inside(state: State, seen: Seen, now: float) -> _Learnt:
    if seen.screen not in _INSIDE:
        received = note_media(state.received, seen, now, others=None if seen.screen in TELLS_NOTHING else False)
        state = _note_lost(state, seen, now)
        over_since = _first(state.over_since, now) if _is_over(state, seen) else None
        return _Learnt(
            replace(
                state,
                lost_since=_first(state.lost_since, now),
                over_since=over_since,
                is_broken=over_since is not None and seen.media == "failed",
                has_hung_up=_has_hung_up(state, seen),
                received=received,
            )
        )
    roster, news = state.roster, ()
    refused_since = None
    if seen.screen is Screen.IN_MEETING:
        roster, news = note_people(roster, seen, now, state.options.names)
    else:
        refused_since = _first(state.refused_since, now)
    count = count_others(roster, seen.participants)
    state = replace(
        state,
        lost_since=None,
        over_since=None,
        is_returning=False,
        document=seen.document,
        place=seen.place,
        refused_since=refused_since,
        roster=roster,
        speaker=seen.speaker,
        received=note_media(state.received, seen, now, others=None if count is None else count > 0),
    )
    if count is None:  # a count of 0 is no count, because the bot itself is there: the page was being redrawn
        had_others = state.had_others or state.received.voice_at == now
        return _Learnt(replace(state, had_others=had_others, uncounted_since=_first(state.uncounted_since, now)), news)
    # While the page showed no count, others may have come and gone: the time alone starts again.
    alone_since = None if _is_past(state.uncounted_since, UNKNOWN_GRACE_S, now) else state.alone_since
    state = replace(
        state,
        participants=seen.participants,
        is_alone=count == 0,
        had_others=state.had_others or count > 0,
        alone_since=_first(alone_since, now) if count == 0 else None,
        uncounted_since=None,
    )
    return _Learnt(state, news)


def _conclude(state: State, now: float) -> State:
    """The state after every end that is due by now: by what the page says, or by a timer."""
    if state.phase is BotState.STOPPED:
        return state
    shown = f"the page showed {state.screen} {state.rule}".rstrip()
    verdict = _verdict(state, now)
    if verdict and is_believed(state, now):
        finish = Finish(verdict, shown)
        return _stop(_tell_more(state, finish), finish, now)
    # There is no meeting to leave, or no button to leave it by: the session stops, and the page is emptied at once.
    has_gone = state.over_since is not None and state.screen in TELLS_NOTHING
    if state.phase is BotState.LEAVING and (state.screen in PROMPTS or state.has_no_exit or has_gone):
        return _stop(state, Finish(Reason.MEETING_ENDED, shown), now)
    for timer in timers(state):
        if timer.start is not None and now >= timer.start + timer.limit_s:
            return _run_out(state, timer, verdict, shown, now)
    return state


def _verdict(state: State, now: float) -> Reason | None:
    """The reason for an end that the page shows, if it shows one. After the first refusal the page is reloaded once,
    and only the second refusal ends the session. After a call the platform may lead to any page, its own or another
    site's: that is the end of the meeting. That the bot was never let in is said only if no look was missing.
    """
    if state.phase.is_admitted and state.screen in (Screen.REDIRECTED, Screen.SIGN_IN):
        return Reason.MEETING_ENDED
    if state.screen is Screen.REFUSED and state.phase.rank < BotState.LEAVING.rank:
        asked_at = state.loaded_again_at
        again = state.reloads > 0 and (asked_at is None or now - asked_at >= AGAIN_AT_LEAST_S)
        return Reason.PLATFORM_BLOCKED if again or state.phase.is_admitted else None
    reason = _END_SHOWN.get(state.screen)
    never = reason is Reason.MEETING_ENDED and not state.phase.is_admitted and not state.is_unwatched
    return Reason.NEVER_ADMITTED if never else reason


def _tell_more(state: State, verdict: Finish) -> State:
    """The state with the better of two reasons. What the page says replaces a reason that is a fault of ours, unless
    the page shows the same to everybody who leaves.
    """
    by_fault = state.ending is not None and state.ending.reason.end.retry
    return replace(state, ending=verdict) if by_fault and state.screen not in _SHOWN_TO_WHO_LEFT else state


def _run_out(state: State, timer: Timer, verdict: Reason | None, shown: str, now: float) -> State:
    """The state after `timer` ran out. `verdict`: the reason that the page shows, if any. It replaces a reason that
    only says that something did not appear.
    """
    reason = verdict if verdict and timer.reason in _SAYS_LITTLE else timer.reason
    finish = Finish(reason, timer.detail or f"{timer.limit_s:g} s passed, {shown}")
    return _stop(state, finish, now) if reason in HUNG else _leave(state, finish, now)


def _vitals_due(state: State, now: float) -> ReportVitals | None:
    """The vitals to report now, if any. A changed count and the first audio are reported at once, a new speaker after
    SPEAKER_S, everything else every VITALS_S.
    """
    if state.phase is not BotState.IN_MEETING:
        return None
    last, age_s = state.vitals or ReportVitals(), now - state.vitals_at
    participants = state.participants or last.participants
    changed = participants != last.participants or (state.audio_packets > 0 and last.audio_packets == 0)
    speaks = state.speaker not in ("", last.speaker) and age_s >= SPEAKER_S
    if not (changed or speaks or state.vitals is None or age_s >= VITALS_S):
        return None
    return ReportVitals(participants, state.audio_packets, unreported_level(state.received), state.speaker)


def _permission_due(state: State, now: float) -> ReportPermission | None:
    """The report that the meeting permits no recording, or permits it again, if what was reported last is not so any
    more. The first refusal is reported at once. The pauses double, so that a page that flips is reported 16 times in 18
    hours, and its last word all the same.
    """
    number, is_refused = state.permission_reports, state.refused_since is not None
    if state.phase is not BotState.IN_MEETING or is_refused == (number % 2 == 1):
        return None
    if number and now - state.permission_reported_at < PERMISSION_S * 2 ** (number - 1):
        return None
    return ReportPermission(allowed=not is_refused, number=number + 1)


def _enter(state: State, phase: BotState, now: float) -> State:
    return replace(state, phase=phase, since=now) if phase.rank > state.phase.rank else state


def _leave(state: State, finish: Finish, now: float) -> State:
    """Begin to leave by the page's own button. Before the lobby, and in one without such a button, the session stops
    at once.
    """
    has_no_exit = state.phase is BotState.WAITING_ROOM and state.has_no_exit
    if state.phase.rank < BotState.WAITING_ROOM.rank or has_no_exit:
        return _stop(state, finish, now)
    if state.phase is BotState.LEAVING:
        return state
    return replace(_enter(state, BotState.LEAVING, now), ending=finish, acted_at=None)


def _stop(state: State, finish: Finish, now: float) -> State:
    return replace(state, phase=BotState.STOPPED, since=now, ending=state.ending or finish)


def _finish(state: State) -> Step:
    """The `Finish` of a session that has stopped, with the reason that was noted."""
    finish = state.ending or Finish(Reason.INTERNAL_ERROR, "the session stopped without a reason")
    return Step(replace(state, has_finished=True), (finish,))


def _is_past(since: float | None, limit_s: float, now: float) -> bool:
    return since is not None and now - since > limit_s


def _first(earlier: float | None, now: float) -> float:
    return now if earlier is None else earlier
