"""How far a bot is on its way, and what ends it when its time is up: every deadline is here, one row each. Pure.

Each phase has its own, and above them all stands `Limits.session_s`, from the order to join until the bot leaves. No
screen, reload or pop-up puts one off; a look that tells nothing leaves those of the company and the media as they are.
"""

from typing import Final, NamedTuple

from common.wire.vocabulary import BotState, Reason
from worker.decide.participants import are_only_bots
from worker.decide.state import State
from worker.decide.words import Screen

ADMISSION_S: Final = 5.0  # a lobby that shows so soon after the meeting is the one the bot never came out of
COUNT_GRACE_S: Final = 2.0  # counts are redrawn, too: nobody is alone for a moment only
PASSCODE_S: Final = 10.0  # a page that still asks for the passcode by then did not like the one it got
FLICKER_S: Final = 2.0  # some show the field for a moment, until they have read the passcode in the link
CAPTCHA_S: Final = 30.0  # some are solved by the page itself
NO_MEDIA_S: Final = 600.0  # Jibri allows three minutes, and ten if everybody says to be muted
ICE_S: Final = 30.0  # Jibri's too
PROBE_S: Final = 5.0  # long enough to see who else is there
BREAKOUT_S: Final = 180.0  # from one room of a meeting to another
UNSEEN_S: Final = 30.0  # of a lobby; then its page is loaded anew, and given up after as long again
OVER_S: Final = 5.0  # for the page to say why, once the call is over

NOT_ADMITTED: Final = (
    *(Screen.WAITING_ROOM, Screen.WAITING_FOR_HOST, Screen.DENIED, Screen.NO_ANSWER, Screen.FULL, Screen.LOCKED),
    *(Screen.NOT_FOUND, Screen.ORG_ONLY, Screen.REGISTRATION, Screen.PASSCODE_WRONG, Screen.CAPTCHA, Screen.BLOCKED),
    Screen.REFUSED,
)
"""What a page tells those who are not in: where they wait, and why they are not let in."""

LOBBIES: Final = (Screen.WAITING_ROOM, Screen.WAITING_FOR_HOST)
"""They draw the call behind them."""

PROMPTS: Final = (Screen.LAUNCHER, Screen.NAME_PROMPT, Screen.PASSCODE_PROMPT)
"""What a page asks on the way in."""

TELLS_NOTHING: Final = (Screen.LOADING, Screen.UNKNOWN, Screen.BLANK)

COMES_BACK: Final = (Screen.LOADING, Screen.CONNECTION_LOST)
"""What lies over a meeting for as long as its rule says: the page connects anew."""

HUNG: Final = (Reason.BROWSER_HUNG, Reason.MEMORY_LIMIT)
"""The page answers nothing, and is asked no more."""


def is_believed(state: State, now: float) -> bool:
    """Whether what the page shows has shown for long enough to count. Whoever leaves believes everything. Whoever
    is in takes what is told at the door for words about somebody else, until it has shown for a while.
    """
    holds_s = max(state.holds_s, CAPTCHA_S) if state.screen is Screen.CAPTCHA else state.holds_s
    is_for_others = state.screen in NOT_ADMITTED and state.screen not in LOBBIES
    if is_for_others and was_in(state, state.shown_since) and not state.is_returning:
        holds_s = max(holds_s, state.limits.unknown_grace_s)
    return state.phase is BotState.LEAVING or now - state.shown_since >= holds_s


def was_in(state: State, then: float) -> bool:
    """Whether the bot had been in the meeting by then, and not only by what a lobby draws behind itself."""
    return state.phase is BotState.IN_MEETING and then - state.since >= ADMISSION_S


class Timer(NamedTuple):
    """Ends the session with `reason`, `limit_s` after `start`. None: not running."""

    start: float | None
    limit_s: float
    reason: Reason
    detail: str = ""


def timers(state: State) -> tuple[Timer, ...]:
    """Those that count in this phase. When two have run out, the first is the reason."""
    limits = state.limits
    if state.memory_growth:
        hung = Timer(state.silent_since, limits.hung_s, Reason.MEMORY_LIMIT, f"the page hung: {state.memory_growth}")
    else:
        hung = Timer(state.silent_since, limits.hung_s, Reason.BROWSER_HUNG)
    match state.phase:
        case BotState.LEAVING:
            # The page does not let go. What the bot leaves for is known and stays its reason.
            return (hung, Timer(state.since, limits.leave_s, Reason.BROWSER_HUNG))
        case BotState.IN_MEETING:
            of_phase, by_then = _in_meeting(state), Reason.SESSION_LIMIT
        case BotState.WAITING_ROOM:
            by_then = Reason.WAITING_ROOM_TIMEOUT if state.host_seen else Reason.HOST_NOT_STARTED
            of_phase = (*_passcode(state), _unseen(state), Timer(state.since, limits.waiting_room_s, by_then))
        case _:
            of_phase, by_then = (*_passcode(state), _on_the_way(state)), Reason.UI_ELEMENT_NOT_FOUND
    began = state.since if state.began is None else state.began
    return (hung, *of_phase, Timer(began, limits.session_s, by_then))


def next_deadline(state: State) -> float:
    """When the next timer runs out if nothing changes: no call to the page needs to last longer."""
    return min(timer.start + timer.limit_s for timer in timers(state) if timer.start is not None)


def _not_come(state: State) -> Reason:
    """Whose fault it is that the page shows nothing known: it did not come, or nobody knows what came."""
    is_there = state.screen not in (Screen.LOADING, Screen.BLANK)
    return Reason.UI_ELEMENT_NOT_FOUND if is_there else Reason.PAGE_LOAD_FAILED


def _unseen(state: State) -> Timer:
    """Runs while the page shows nothing of the lobby: nobody can let in whom the platform has lost."""
    return Timer(state.unseen_since, 2 * UNSEEN_S, _not_come(state))


def _on_the_way(state: State) -> Timer:
    reason = _not_come(state)
    if state.prompted_at is not None:
        return Timer(state.prompted_at, state.limits.join_s, reason)
    return Timer(state.since, state.limits.load_s, reason)


def _passcode(state: State) -> tuple[Timer, ...]:
    if state.screen is not Screen.PASSCODE_PROMPT:
        return ()
    if not state.options.has_passcode:
        return (Timer(state.shown_since, FLICKER_S, Reason.PASSCODE_MISSING),)
    start = None if state.passcode_at is None else max(state.passcode_at, state.shown_since + FLICKER_S - PASSCODE_S)
    return (Timer(start, PASSCODE_S, Reason.PASSCODE_WRONG),)


def _in_meeting(state: State) -> tuple[Timer, ...]:
    limits, received = state.limits, state.received
    return (
        Timer(state.since if state.options.is_probe else None, PROBE_S, Reason.USER_REQUESTED, "probe"),
        Timer(state.since, limits.max_duration_s, Reason.MAX_DURATION),
        Timer(state.over_since, OVER_S, Reason.CONNECTION_LOST if state.is_broken else Reason.MEETING_ENDED),
        _lost(state),
        Timer(state.refused_since, limits.recording_denied_s, Reason.RECORDING_PERMISSION_DENIED),
        _alone(state),
        _only_bots(state),
        Timer(received.unconnected_since, ICE_S, Reason.ICE_FAILED),
        Timer(received.no_media_since, NO_MEDIA_S, Reason.NO_MEDIA),
        Timer(received.quiet_since, limits.silence_s, Reason.SILENCE),
    )


def _lost(state: State) -> Timer:
    """Runs while something else than the meeting shows. Back in the lobby, that has its own limit; a page that left the
    meeting by itself is entered again within the time for joining.
    """
    limits = state.limits
    match state.screen:
        case Screen.WAITING_ROOM | Screen.WAITING_FOR_HOST | Screen.LOBBY_AGAIN:
            limit_s, reason = limits.waiting_room_s, Reason.WAITING_ROOM_TIMEOUT
        case Screen.BREAKOUT:
            limit_s, reason = BREAKOUT_S, Reason.CONNECTION_LOST
        case screen if state.is_returning:
            limit_s = limits.waiting_room_s if screen in NOT_ADMITTED else limits.join_s
            reason = Reason.CONNECTION_LOST
        case screen if screen in PROMPTS:
            limit_s, reason = limits.unknown_grace_s, Reason.CONNECTION_LOST
        case screen:
            limit_s = limits.away_s if screen in TELLS_NOTHING else limits.unknown_grace_s
            if screen in COMES_BACK:
                limit_s = max(limit_s, state.holds_s)
            known = state.has_hung_up or screen is Screen.BLANK
            reason = Reason.CONNECTION_LOST if known else Reason.UI_ELEMENT_NOT_FOUND
    return Timer(state.lost_since, limit_s, reason)


def _alone(state: State) -> Timer:
    """Runs only while the page says that nobody else is there: a missing count never ends a call. Whoever is heard is
    there, whatever the page says.
    """
    if not state.is_alone or state.alone_since is None:
        return Timer(None, 0.0, Reason.NO_ONE_JOINED)
    if state.had_others:
        start, limit_s, reason = state.alone_since, state.limits.everyone_left_s, Reason.EVERYONE_LEFT
    else:
        start, limit_s, reason = state.since, state.limits.noone_joined_s, Reason.NO_ONE_JOINED
    start = max(start, state.received.voice_at or start)
    return Timer(max(start, state.alone_since + COUNT_GRACE_S - limit_s), limit_s, reason)


def _only_bots(state: State) -> Timer:
    """Runs only while the page shows the list: as for a count, what is missing never ends a call."""
    named, since = state.limits.only_bots, state.roster.only_bots_since
    is_shown = state.screen is Screen.IN_MEETING and are_only_bots(state.roster, state.participants)
    if named is None or since is None or not is_shown:
        return Timer(None, 0.0, Reason.ONLY_BOTS_LEFT)
    return Timer(max(since, state.since + named.activate_after), named.timeout, Reason.ONLY_BOTS_LEFT)
