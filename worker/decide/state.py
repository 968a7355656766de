"""The state of one bot's session: all that is kept from one look at the page to the next. Pure.

The agent writes it into its journal as it is, and a later agent carries on with it. lifecycle.py changes it.
"""

from typing import Final, NamedTuple, Self

import msgspec

from common.config.settings import WorkerSettings
from common.wire.messages import AutomaticLeave, BotNames, Join
from common.wire.vocabulary import BotState
from worker.decide.participants import Names, Roster
from worker.decide.received_media import ReceivedMedia
from worker.decide.words import Finish, ReportVitals, Screen

UNKNOWN_GRACE_S: Final = 30.0  # pages cover the meeting with dialogs, and redraw it while they reconnect
AWAY_S: Final = 60.0  # a page was seen to come back after 45 s somewhere else
LEAVE_SHARE: Final = 0.75  # of worker.leave_timeout_s, for leaving; the rest is for emptying the page


class SessionSettings(NamedTuple):
    """What all sessions take from the agent's settings. Times are in seconds; `page_s`: for one call to the page."""

    load_s: float
    join_s: float
    page_s: float
    leave_s: float
    session_s: float
    unattended_s: float
    reads_chat: bool

    @classmethod
    def of(cls, settings: WorkerSettings) -> Self:
        return cls(
            load_s=settings.load_timeout_s,
            join_s=settings.join_timeout_s,
            page_s=settings.page_timeout_s,
            leave_s=settings.leave_timeout_s,
            session_s=settings.session_limit_s,
            unattended_s=settings.unattended_s,
            reads_chat=settings.reads_chat,
        )


class Limits(msgspec.Struct, frozen=True):
    """How long each part of one session may take, in seconds."""

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
    def of(cls, automatic: AutomaticLeave, settings: SessionSettings) -> Self:
        return cls(
            load_s=settings.load_s,
            join_s=settings.join_s,
            waiting_room_s=automatic.waiting_room_timeout,
            noone_joined_s=automatic.noone_joined_timeout,
            everyone_left_s=automatic.everyone_left_timeout,
            max_duration_s=automatic.in_call_recording_timeout,
            leave_s=settings.leave_s * LEAVE_SHARE,
            hung_s=settings.page_s * 2,  # after the first unanswered call: three of them in a row
            silence_s=automatic.voice_inactivity_timeout,
            recording_denied_s=automatic.recording_permission_denied_timeout,
            session_s=settings.session_s,
            only_bots=automatic.bot_names,
        )


class SessionOptions(msgspec.Struct, frozen=True):
    """The options of the job that change what the bot does. `is_probe`: the bot leaves after PROBE_S in the meeting,
    unless the job says how long to stay. `reads_chat`: the bot opens the chat panel.
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
    """A popup by the rule that recognised it: how often and when last it was dismissed, and when it was last seen."""

    name: str
    times: int
    dismissed_at: float
    seen_at: float


class State(msgspec.Struct, frozen=True, rename={"received": "hearing", "options": "errand", "roster": "company"}):
    """All times are monotonic seconds. A time that is None: it has not happened, or does not hold now.

    The names in `rename` are those in journals of earlier releases.
    """

    limits: Limits
    since: float  # when the phase began
    phase: BotState = BotState.ASSIGNED
    screen: Screen = Screen.LOADING
    rule: str = ""
    options: SessionOptions = SessionOptions()
    began: float | None = None  # when the order to join was carried out
    shown: Screen = Screen.LOADING  # as `screen`, but unchanged while the page is reloaded
    shown_since: float = 0.0
    holds_s: float = 0.0  # how long `shown` has to show until it counts
    has_come: bool = False  # the last look that was answered showed more than an empty page
    again_s: float = 0.0  # how often the page is reloaded while `shown` shows; 0: never
    loaded_again_at: float | None = None
    prompted_at: float | None = None  # when the page first asked for anything
    acted_at: float | None = None  # when the bot last acted on the page, as long as it shows the same screen
    passcode_at: float | None = None  # when the passcode was entered
    popups: tuple[Popup, ...] = ()
    sends: bool = False  # the last look showed a microphone or camera that is on
    switched: int = 0  # how often in a row they were switched off
    switched_at: float | None = None
    has_no_exit: bool = False  # the last look showed a lobby without a button out of it
    is_chat_closed: bool = False  # the last look showed that the chat panel is closed
    chat_opened: int = 0  # how often the bot opened the chat panel
    chat_opened_at: float | None = None
    host_seen: bool = False  # the lobby was one in which a host lets people in
    silent_since: float | None = None  # since when the page answers no call
    memory_growth: str = ""  # how much memory its browser took meanwhile, if that may be why the page is silent
    lost_since: float | None = None  # since when the page of a bot in the meeting shows something else
    document: float = 0.0  # the document that last showed the meeting (performance.timeOrigin)
    place: str = ""  # the address that last showed the meeting
    returns: int = 0  # how often the bot joined again because the page had left the meeting by itself
    is_returning: bool = False  # the bot is joining again
    looked_at: float | None = None  # the last look that the page answered
    is_unwatched: bool = False  # after the last look that showed the lobby, nobody looked for a while
    unseen_since: float | None = None  # since when the page of a bot in the lobby shows no lobby
    has_hung_up: bool = False  # the page has closed its connections and does not show the meeting any more
    reloads: int = 0  # how often a page that refused the bot was reloaded
    over_since: float | None = None  # since when the call is over and no rule says why
    is_broken: bool = False  # the connections had failed when the call was over
    refused_since: float | None = None  # since when the page says that the host forbids recording
    permission_reports: int = 0  # how often that, or its end, was reported: after an odd number it counts as forbidden
    permission_reported_at: float = 0.0
    participants: int | None = None  # by the last look, the bot itself included
    is_alone: bool = False  # the last look showed nobody else
    had_others: bool = False
    alone_since: float | None = None
    uncounted_since: float | None = None  # since when the meeting shows without a count
    audio_packets: int = 0
    received: ReceivedMedia = ReceivedMedia()
    speaker: str = ""
    vitals: ReportVitals | None = None
    vitals_at: float = 0.0
    greets: bool = False  # the job's first message is still to be written in the chat
    announces: bool = False  # that it is recorded is still to be written in the chat
    has_announced: bool = False  # that was written, or at least tried
    roster: Roster = Roster()  # what was reported of the others
    ending: Finish | None = None  # why the bot leaves, or left
    has_finished: bool = False  # the `Finish` was given, and may have been reported
    evidence: str | None = None  # the name of the evidence kept of the end; empty: none is kept; None: not decided yet
