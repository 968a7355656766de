"""How far a bot is on its way, and what ends it when its time is up: every deadline is here, one row each. Pure.

Each phase has its own, and above them all stands `Limits.session_s`, from the order to join until the bot leaves. No
screen, reload or pop-up puts one off; a look that tells nothing leaves those of the company and the media as they are.
"""

from typing import Final, NamedTuple, Self

import msgspec

from common.config.settings import WorkerSettings
from common.wire.messages import AutomaticLeave, BotNames, Join
from common.wire.vocabulary import BotState, Reason
from worker.decide.audio import Hearing
from worker.decide.participants import Company, Names, are_only_bots
from worker.decide.words import Finish, ReportVitals, Screen

ADMISSION_S: Final = 5.0  # a lobby that shows so soon after the meeting is the one the bot never came out of
UNKNOWN_GRACE_S: Final = 30.0  # pages cover the meeting with dialogs, and redraw themselves while reconnecting
LEAVE_SHARE: Final = 0.75  # of the time allowed for leaving; the rest is for emptying the page
COUNT_GRACE_S: Final = 2.0  # counts are redrawn, too: nobody is alone for a moment only
PASSCODE_S: Final = 10.0  # a page that still asks for the passcode by then did not like the one it got
FLICKER_S: Final = 2.0  # some show the field for a moment, until they have read the passcode in the link
CAPTCHA_S: Final = 30.0  # some are solved by the page itself
NO_MEDIA_S: Final = 600.0  # Jibri allows three minutes, and ten if everybody says to be muted
ICE_S: Final = 30.0  # Jibri's too
PROBE_S: Final = 5.0  # long enough to see who else is there

AT_THE_DOOR: Final = (
    *(Screen.WAITING_ROOM, Screen.WAITING_FOR_HOST, Screen.DENIED, Screen.NO_ANSWER, Screen.FULL, Screen.LOCKED),
    *(Screen.NOT_FOUND, Screen.ORG_ONLY, Screen.REGISTRATION, Screen.PASSCODE_WRONG, Screen.CAPTCHA, Screen.BLOCKED),
)
"""What a page tells those who are not in: where they wait, and why they are not let in."""

COMES_BACK: Final = (Screen.LOADING, Screen.CONNECTION_LOST)
"""What lies over a meeting for as long as its rule says: the page connects anew."""

HUNG: Final = (Reason.BROWSER_HUNG, Reason.MEMORY_LIMIT)
"""The page answers nothing, and is asked no more."""


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
    silence_s: float = 600.0
    recording_denied_s: float = 60.0
    session_s: float = 64800.0
    only_bots: BotNames | None = None

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
            silence_s=automatic.voice_inactivity_timeout,
            recording_denied_s=automatic.recording_permission_denied_timeout,
            session_s=settings.session_limit_s,
            only_bots=automatic.bot_names,
        )


class Errand(msgspec.Struct, frozen=True):
    """What the bot was sent for, as far as that decides what it does. `is_probe`: it leaves after a few seconds in the
    meeting; one that was told how long to stay stays as long as any other bot.
    """

    names: Names = Names()
    has_passcode: bool = False
    is_probe: bool = False

    @classmethod
    def of(cls, join: Join) -> Self:
        bots = join.automatic_leave.bot_names
        matches, whole_words = (tuple(bots.matches), bots.whole_words) if bots else ((), True)
        names = Names(join.bot_name, join.attempt - 1, matches, whole_words)
        stays = join.automatic_leave.in_call_recording_timeout != AutomaticLeave().in_call_recording_timeout
        return cls(names, bool(join.passcode), join.is_probe and not stays)


class Popup(msgspec.Struct, frozen=True):
    """What lay over the page, how often it was put away, when for the last time, and when it was last seen."""

    name: str
    times: int
    dismissed_at: float
    seen_at: float


class State(msgspec.Struct, frozen=True):
    """Times are monotonic seconds; None: it is not so, or it has not been."""

    limits: Limits
    since: float  # when the phase began
    phase: BotState = BotState.ASSIGNED
    screen: Screen = Screen.LOADING
    rule: str = ""
    errand: Errand = Errand()
    began: float | None = None  # when the order to join was carried out
    shown: Screen = Screen.LOADING  # the last screen but for what a page shows while it is loaded again
    shown_since: float = 0.0
    holds_s: float = 0.0  # how long `shown` has to show until it is believed
    again_s: float = 0.0  # how often the page is to be loaded anew while that is what it shows
    loaded_again_at: float | None = None
    prompted_at: float | None = None  # when the page first asked for anything
    acted_at: float | None = None  # when the page was last acted on, as long as it shows the same screen
    passcode_at: float | None = None  # when the passcode was entered
    popups: tuple[Popup, ...] = ()
    host_seen: bool = False  # the lobby was one that somebody looks after
    silent_since: float | None = None  # since when it answers no call
    hoarding: str = ""  # what its browser took of memory meanwhile, if that explains it
    lost_since: float | None = None  # since when it does not show the meeting that the bot is in
    refused_since: float | None = None  # since when the host does not allow what the bot is there for
    participants: int | None = None  # by the last look, the bot itself included
    is_alone: bool = False  # by the last look
    had_others: bool = False
    alone_since: float | None = None
    uncounted_since: float | None = None  # since when the meeting shows without a count
    audio_packets: int = 0
    hearing: Hearing = Hearing()
    speaker: str = ""
    vitals: ReportVitals | None = None
    vitals_at: float = 0.0
    greets: bool = False  # it still has something to say first
    company: Company = Company()  # what was told of the others
    ending: Finish | None = None  # why the bot leaves, or left
    has_finished: bool = False  # that was said, to whoever is there to report it
    evidence: str | None = None  # the name of what is kept of that; empty: of such an end nothing is; None: not yet


def is_believed(state: State, now: float) -> bool:
    """Whether what the page shows has shown for long enough to count. Whoever leaves believes everything. Whoever
    is in takes what is told at the door for words about somebody else, until it has shown for a while.
    """
    holds_s = max(state.holds_s, CAPTCHA_S) if state.screen is Screen.CAPTCHA else state.holds_s
    if state.screen in AT_THE_DOOR and was_in(state, state.shown_since):
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
    if state.hoarding:
        hung = Timer(state.silent_since, limits.hung_s, Reason.MEMORY_LIMIT, f"the page hung: {state.hoarding}")
    else:
        hung = Timer(state.silent_since, limits.hung_s, Reason.BROWSER_HUNG)
    match state.phase:
        case BotState.LEAVING:
            # The page does not let go. What the bot leaves for is known and stays its reason.
            return (hung, Timer(state.since, limits.leave_s, Reason.BROWSER_HUNG))
        case BotState.IN_MEETING:
            of_phase, by_then = _in_meeting(state), Reason.MAX_DURATION
        case BotState.WAITING_ROOM:
            by_then = Reason.WAITING_ROOM_TIMEOUT if state.host_seen else Reason.HOST_NOT_STARTED
            of_phase = (*_passcode(state), Timer(state.since, limits.waiting_room_s, by_then))
        case _:
            of_phase, by_then = (*_passcode(state), _on_the_way(state)), Reason.UI_ELEMENT_NOT_FOUND
    began = state.since if state.began is None else state.began
    return (hung, *of_phase, Timer(began, limits.session_s, by_then))


def next_deadline(state: State) -> float:
    """When the next timer runs out if nothing changes: no call to the page needs to last longer."""
    return min(timer.start + timer.limit_s for timer in timers(state) if timer.start is not None)


def _on_the_way(state: State) -> Timer:
    reason = Reason.PAGE_LOAD_FAILED if state.screen is Screen.LOADING else Reason.UI_ELEMENT_NOT_FOUND
    if state.prompted_at is not None:
        return Timer(state.prompted_at, state.limits.join_s, reason)
    return Timer(state.since, state.limits.load_s, reason)


def _passcode(state: State) -> tuple[Timer, ...]:
    if state.screen is not Screen.PASSCODE_PROMPT:
        return ()
    if not state.errand.has_passcode:
        return (Timer(state.shown_since, FLICKER_S, Reason.PASSCODE_MISSING),)
    start = None if state.passcode_at is None else max(state.passcode_at, state.shown_since + FLICKER_S - PASSCODE_S)
    return (Timer(start, PASSCODE_S, Reason.PASSCODE_WRONG),)


def _in_meeting(state: State) -> tuple[Timer, ...]:
    limits, hearing = state.limits, state.hearing
    return (
        Timer(state.since if state.errand.is_probe else None, PROBE_S, Reason.USER_REQUESTED, "probe"),
        Timer(state.since, limits.max_duration_s, Reason.MAX_DURATION),
        _lost(state),
        Timer(state.refused_since, limits.recording_denied_s, Reason.RECORDING_PERMISSION_DENIED),
        _alone(state),
        _only_bots(state),
        Timer(hearing.cut_since, ICE_S, Reason.ICE_FAILED),
        Timer(hearing.deaf_since, NO_MEDIA_S, Reason.NO_MEDIA),
        Timer(hearing.quiet_since, limits.silence_s, Reason.SILENCE),
    )


def _lost(state: State) -> Timer:
    """Runs while something else than the meeting shows."""
    if state.screen is not Screen.WAITING_ROOM or state.lost_since is None:
        holds_s = state.holds_s if state.screen in COMES_BACK else 0.0
        limit_s = max(state.limits.unknown_grace_s, holds_s)
        return Timer(state.lost_since, limit_s, Reason.UI_ELEMENT_NOT_FOUND)
    if not was_in(state, state.lost_since):
        return Timer(state.lost_since, state.limits.waiting_room_s, Reason.WAITING_ROOM_TIMEOUT)
    return Timer(state.lost_since, state.limits.unknown_grace_s, Reason.REMOVED_BY_HOST)


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
    start = max(start, state.hearing.voice_at or start)
    return Timer(max(start, state.alone_since + COUNT_GRACE_S - limit_s), limit_s, reason)


def _only_bots(state: State) -> Timer:
    """Runs only while the page shows the list: as for a count, what is missing never ends a call."""
    named, since = state.limits.only_bots, state.company.only_bots_since
    is_shown = state.screen is Screen.IN_MEETING and are_only_bots(state.company, state.participants)
    if named is None or since is None or not is_shown:
        return Timer(None, 0.0, Reason.ONLY_BOTS_LEFT)
    return Timer(max(since, state.since + named.activate_after), named.timeout, Reason.ONLY_BOTS_LEFT)
