"""Every deadline of a bot's session, one `Timer` each, and the reason with which it ends the session. Pure.

Each phase has its own deadlines. `Limits.session_s` holds in all of them: it runs from the order to join until the bot
leaves. No screen, reload or popup extends a deadline. A look that shows nothing of the others or of the media leaves
the timers about them as they are.
"""

from typing import Final, NamedTuple

from common.wire.vocabulary import BotState, Reason
from worker.decide.participants import are_only_bots
from worker.decide.state import State
from worker.decide.words import Screen

ADMISSION_S: Final = 5.0  # a lobby that shows again within it means that the bot had not been admitted yet
COUNT_GRACE_S: Final = 2.0  # pages redraw their counts: a count of 1 has to hold this long
PASSCODE_S: Final = 10.0  # a page that still asks for the passcode after this has rejected it
FLICKER_S: Final = 2.0  # some pages show the passcode field until they have read the passcode in the link
CAPTCHA_S: Final = 30.0  # some captchas are solved by the page itself
NO_MEDIA_S: Final = 600.0  # Jibri allows 3 minutes, and 10 if all participants are muted
ICE_S: Final = 30.0  # as in Jibri
PROBE_S: Final = 5.0  # long enough to see who else is there
BREAKOUT_S: Final = 180.0  # for the move from one room of a meeting to another
UNSEEN_S: Final = 30.0  # without a sign of the lobby: the page is reloaded; after as long again it is given up
OVER_S: Final = 5.0  # for the page to say why the call is over

NOT_ADMITTED: Final = (
    *(Screen.WAITING_ROOM, Screen.WAITING_FOR_HOST, Screen.DENIED, Screen.NO_ANSWER, Screen.FULL, Screen.LOCKED),
    *(Screen.NOT_FOUND, Screen.ORG_ONLY, Screen.REGISTRATION, Screen.PASSCODE_WRONG, Screen.CAPTCHA, Screen.BLOCKED),
    Screen.REFUSED,
)
"""Screens for somebody who is not in the meeting: where they wait, and why they are not let in."""

LOBBIES: Final = (Screen.WAITING_ROOM, Screen.WAITING_FOR_HOST)
"""Screens that may have the call drawn behind them."""

PROMPTS: Final = (Screen.LAUNCHER, Screen.NAME_PROMPT, Screen.PASSCODE_PROMPT)
"""Screens on which a page asks something before the bot joins."""

TELLS_NOTHING: Final = (Screen.LOADING, Screen.UNKNOWN, Screen.BLANK)

COMES_BACK: Final = (Screen.LOADING, Screen.CONNECTION_LOST)
"""Screens that a page shows over the meeting while it reconnects, for as long as the rule of the screen allows."""

HUNG: Final = (Reason.BROWSER_HUNG, Reason.MEMORY_LIMIT)
"""Ends after which the page is not asked anything any more, because it does not answer."""


def is_believed(state: State, now: float) -> bool:
    """Whether the screen has shown for long enough to act on it.

    A bot that is leaving believes every screen at once. In the meeting a screen of NOT_ADMITTED is probably a notice
    about somebody else, so it has to show for `Limits.unknown_grace_s`.
    """
    holds_s = max(state.holds_s, CAPTCHA_S) if state.screen is Screen.CAPTCHA else state.holds_s
    is_for_others = state.screen in NOT_ADMITTED and state.screen not in LOBBIES
    if is_for_others and was_in(state, state.shown_since) and not state.is_returning:
        holds_s = max(holds_s, state.limits.unknown_grace_s)
    return state.phase is BotState.LEAVING or now - state.shown_since >= holds_s


def was_in(state: State, then: float) -> bool:
    """Whether the bot was in the meeting at `then`. The first ADMISSION_S do not count: a lobby may draw the call
    behind itself.
    """
    return state.phase is BotState.IN_MEETING and then - state.since >= ADMISSION_S


class Timer(NamedTuple):
    """Ends the session with `reason`, `limit_s` seconds after `start`. `start` None: the timer does not run."""

    start: float | None
    limit_s: float
    reason: Reason
    detail: str = ""


def timers(state: State) -> tuple[Timer, ...]:
    """The timers of this phase. When several have run out, the first of them gives the reason."""
    limits = state.limits
    if state.memory_growth:
        hung = Timer(state.silent_since, limits.hung_s, Reason.MEMORY_LIMIT, f"the page hung: {state.memory_growth}")
    else:
        hung = Timer(state.silent_since, limits.hung_s, Reason.BROWSER_HUNG)
    match state.phase:
        case BotState.LEAVING:
            # The page does not leave the meeting. The bot's end keeps the reason for which it leaves.
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
    """When the next timer runs out if nothing changes (monotonic seconds). No call to the page needs to last longer."""
    return min(timer.start + timer.limit_s for timer in timers(state) if timer.start is not None)


def _not_come(state: State) -> Reason:
    """Why the page shows no screen that a rule knows: it did not load, or it loaded something else."""
    return Reason.UI_ELEMENT_NOT_FOUND if state.has_come else Reason.PAGE_LOAD_FAILED


def _unseen(state: State) -> Timer:
    """Runs while a bot in the lobby sees a page without a lobby: the platform may have dropped its request to join."""
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
    """Runs while a bot that was in the meeting sees something else. How long that may last depends on the screen: a
    lobby has the lobby's limit, and a page that left the meeting by itself has the time for joining again.
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
            is_lost = state.has_hung_up or screen is Screen.BLANK
            reason = Reason.CONNECTION_LOST if is_lost else Reason.UI_ELEMENT_NOT_FOUND
    return Timer(state.lost_since, limit_s, reason)


def _alone(state: State) -> Timer:
    """Runs only while the page says that nobody else is there. A missing count never ends a call, and a voice proves
    that somebody is there.
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
    """Runs only while the page lists the people and all of them are bots. A missing list never ends a call."""
    named, since = state.limits.only_bots, state.roster.only_bots_since
    is_shown = state.screen is Screen.IN_MEETING and are_only_bots(state.roster, state.participants)
    if named is None or since is None or not is_shown:
        return Timer(None, 0.0, Reason.ONLY_BOTS_LEFT)
    return Timer(max(since, state.since + named.activate_after), named.timeout, Reason.ONLY_BOTS_LEFT)
