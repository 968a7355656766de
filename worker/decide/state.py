"""Where one bot is on its way through its meeting, and what it was sent for: all that is known from look to look. Pure.

It is written down as it is, and a later agent carries on with it. What becomes of it is decided in lifecycle.py.
"""

from typing import Final, Self

import msgspec

from common.config.settings import WorkerSettings
from common.wire.messages import AutomaticLeave, BotNames, Join
from common.wire.vocabulary import BotState
from worker.decide.participants import Names, Roster
from worker.decide.received_media import ReceivedMedia
from worker.decide.words import Finish, ReportVitals, Screen

UNKNOWN_GRACE_S: Final = 30.0  # pages cover the meeting with dialogs, and redraw themselves while reconnecting
AWAY_S: Final = 60.0  # a page that took the bot somewhere else for 45 s came back
LEAVE_SHARE: Final = 0.75  # of the time allowed for leaving; the rest is for emptying the page


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
    away_s: float = AWAY_S
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


class SessionOptions(msgspec.Struct, frozen=True):
    """What the bot was sent for, as far as that decides what it does. `is_probe`: it leaves after a few seconds in the
    meeting; one that was told how long to stay stays as long as any other bot.
    """

    names: Names = Names()
    has_passcode: bool = False
    is_probe: bool = False
    reads_chat: bool = False

    @classmethod
    def of(cls, join: Join, *, reads_chat: bool = False) -> Self:
        bots = join.automatic_leave.bot_names
        matches, whole_words = (tuple(bots.matches), bots.whole_words) if bots else ((), True)
        names = Names(join.bot_name, join.attempt - 1, matches, whole_words)
        stays = join.automatic_leave.in_call_recording_timeout != AutomaticLeave().in_call_recording_timeout
        return cls(names, bool(join.passcode), join.is_probe and not stays, reads_chat)


class Popup(msgspec.Struct, frozen=True):
    """What lay over the page, how often it was put away, when for the last time, and when it was last seen."""

    name: str
    times: int
    dismissed_at: float
    seen_at: float


class State(msgspec.Struct, frozen=True, rename={"received": "hearing", "options": "errand", "roster": "company"}):
    """Times are monotonic seconds; None: it is not so, or it has not been."""

    limits: Limits
    since: float  # when the phase began
    phase: BotState = BotState.ASSIGNED
    screen: Screen = Screen.LOADING
    rule: str = ""
    options: SessionOptions = SessionOptions()
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
    sends: bool = False  # by the last look
    switched: int = 0  # how often it was switched off in a row
    switched_at: float | None = None
    has_no_exit: bool = False  # the lobby shows no button out of it, by the last look
    is_chat_closed: bool = False  # by the last look
    chat_opened: int = 0  # how often
    chat_opened_at: float | None = None
    host_seen: bool = False  # the lobby was one that somebody looks after
    silent_since: float | None = None  # since when it answers no call
    memory_growth: str = ""  # what its browser took of memory meanwhile, if that explains it
    lost_since: float | None = None  # since when it does not show the meeting that the bot is in
    document: float = 0.0  # the one that showed the meeting last
    place: str = ""  # and at which address
    returns: int = 0  # how often it went in again, since the page had left the meeting by itself
    is_returning: bool = False  # it is on its way in again
    unseen_since: float | None = None  # since when the page shows nothing of the lobby that the bot is in
    has_hung_up: bool = False  # the page has, and does not show the meeting any more
    reloads: int = 0  # how often a page that refused the bot was loaded anew
    over_since: float | None = None  # since when the call is over, and no rule says why
    is_broken: bool = False  # its connections failed then
    refused_since: float | None = None  # since when the host does not allow what the bot is there for
    participants: int | None = None  # by the last look, the bot itself included
    is_alone: bool = False  # by the last look
    had_others: bool = False
    alone_since: float | None = None
    uncounted_since: float | None = None  # since when the meeting shows without a count
    audio_packets: int = 0
    received: ReceivedMedia = ReceivedMedia()
    speaker: str = ""
    vitals: ReportVitals | None = None
    vitals_at: float = 0.0
    greets: bool = False  # it still has something to say first
    roster: Roster = Roster()  # what was told of the others
    ending: Finish | None = None  # why the bot leaves, or left
    has_finished: bool = False  # that was said, to whoever is there to report it
    evidence: str | None = None  # the name of what is kept of that; empty: of such an end nothing is; None: not yet
