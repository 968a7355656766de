"""The messages between the lifecycle and the session that drives the page: observations in, actions out. Pure.

They are the same for every platform. A platform's adapter knows which of its pages is which screen.
"""

from enum import StrEnum

import msgspec

from common.wire.vocabulary import LOBBY_AGAIN, BotState, Reason
from worker.decide.participants import Look, News


class Screen(StrEnum):
    """What a page shows, in words that are the same for every platform."""

    LOADING = "loading"
    LAUNCHER = "launcher"  # asks whether to go on in the browser
    NAME_PROMPT = "name_prompt"  # the last step before the request to join, with or without a field for the name
    PASSCODE_PROMPT = "passcode_prompt"
    WAITING_ROOM = "waiting_room"
    WAITING_FOR_HOST = "waiting_for_host"
    IN_MEETING = "in_meeting"
    RECORDING_DENIED = "recording_denied"  # in the meeting, and the host forbids recording
    DENIED = "denied"
    NO_ANSWER = "no_answer"  # the request to join expired on the platform's side
    REMOVED = "removed"
    ENDED = "ended"
    LEFT = "left"
    FULL = "full"
    LOCKED = "locked"
    CONNECTION_LOST = "connection_lost"
    NOT_FOUND = "not_found"
    SIGN_IN = "sign_in"
    ORG_ONLY = "org_only"
    REGISTRATION = "registration"
    PASSCODE_WRONG = "passcode_wrong"
    CAPTCHA = "captcha"
    BLOCKED = "blocked"
    REDIRECTED = "redirected"  # the page does not belong to the platform
    FAILED = "failed"  # the page says that something went wrong; a new page may work
    REFUSED = "refused"  # the platform did not let the bot in; the next try may work
    LOBBY_AGAIN = LOBBY_AGAIN  # a waiting room that shows to a bot that had been in the meeting
    BREAKOUT = "breakout"  # on the way from the meeting to one of its breakout rooms
    BLANK = "blank"  # the page is loaded and empty
    UNKNOWN = "unknown"


# Observations


class Seen(Look, frozen=True):
    """The page answered a look.

    - `holds_s`: how long the screen has to show until it is believed.
    - `again_s`: how often the page is reloaded while the screen shows; 0: never.
    - `popup`: the rule of a popup that is to be dismissed; empty: none shows.
    - `participants`: how many are in the meeting, the bot included; None or 0: the page does not say.
    - `speaker`: the name of who speaks.
    - `audio_packets`, `media_packets`: packets received so far, of audio and of all media.
    - `audio_energy`, `audio_s`: WebRTC's totalAudioEnergy and totalSamplesDuration of all audio received so far. Their
      growth gives the level; `audio_energy` None: the page does not say.
    - `media`: the best state of all media connections: "" (none was made yet), "connecting", "connected" or "failed".
    - `sends`: the call's own buttons show the bot's microphone or camera as on.
    - `no_exit`: a lobby without a button out of it.
    - `chat_closed`: the chat has to be opened before it can be read.
    - `document`: performance.timeOrigin, which tells one document from the next under the same address.
    - `behind`: what is on the page besides text about an end. "": no call. "free": the call, and the text may have been
      written by a participant. "under": the call, and the page itself shows the text over it.
    - `over`: the page shows no call, and says that there is none or offers to join again.
    - `asks`: a page that no rule knows has something to click on.
    - `place`: the part of the address that tells one meeting from another.
    """

    screen: Screen
    rule: str = ""
    participants: int | None = None
    audio_packets: int = 0
    holds_s: float = 0.0
    again_s: float = 0.0
    popup: str = ""
    speaker: str = ""
    media_packets: int = 0
    audio_energy: float | None = None
    audio_s: float = 0.0
    media: str = ""
    sends: bool = False
    no_exit: bool = False
    chat_closed: bool = False
    document: float = 0.0
    behind: str = ""
    over: bool = False
    asks: bool = False
    place: str = ""


class PageRequested(msgspec.Struct, frozen=True):
    """The browser asked for the meeting page."""


class LoadFailed(msgspec.Struct, frozen=True):
    """The meeting page did not load. `detail` never contains the link."""

    detail: str


class CallTimedOut(msgspec.Struct, frozen=True):
    """The page did not answer a call within its deadline. `memory_growth`: how much memory its browser took lately, if
    that is enough to explain it; else empty.
    """

    memory_growth: str = ""


class BrowserGone(msgspec.Struct, frozen=True):
    """The page cannot be asked anything any more; `reason` says why."""

    detail: str = ""
    reason: Reason = Reason.BROWSER_CRASHED


class LeaveRequested(msgspec.Struct, frozen=True):
    reason: Reason


class RecordingBegan(msgspec.Struct, frozen=True):
    """The bot is recorded, and is to say so in the chat. It may come again."""


Observation = Seen | PageRequested | LoadFailed | CallTimedOut | BrowserGone | LeaveRequested | RecordingBegan


# Actions


class PageAction(StrEnum):
    """What an adapter does to a page. An action is repeated while the page does not change."""

    CONTINUE = "continue"
    FILL_NAME_AND_JOIN = "fill_name_and_join"
    ENTER_PASSCODE = "enter_passcode"
    CANCEL_REQUEST = "cancel_request"
    LEAVE_MEETING = "leave_meeting"
    LOAD_AGAIN = "load_again"
    OPEN_CHAT = "open_chat"
    SWITCH_OFF = "switch_off"  # microphone and camera, in the call


class Dismiss(msgspec.Struct, frozen=True):
    """Dismiss a popup. `popup`: the rule that recognised it."""

    popup: str


class Move(msgspec.Struct, frozen=True):
    """Report that the bot is in a new state, with the screen and rule that showed it."""

    state: BotState
    screen: Screen
    rule: str


class ReportVitals(msgspec.Struct, frozen=True):
    """Report these vitals; the fields are those of `common.wire.messages.BotVitals`."""

    participants: int | None = None
    audio_packets: int = 0
    audio_level: float | None = None
    speaker: str = ""


class ReportPermission(msgspec.Struct, frozen=True):
    """Report that the page says that the meeting permits no recording, or (`allowed`) that it permits it again.
    `number`: of this report, from 1.
    """

    allowed: bool
    number: int


class Greet(msgspec.Struct, frozen=True):
    """Write the job's first message in the chat: the bot is in the meeting."""


class Announce(msgspec.Struct, frozen=True):
    """Write in the chat that the bot is recorded."""


class Finish(msgspec.Struct, frozen=True):
    """The session is over: empty the page and report the end."""

    reason: Reason
    detail: str = ""


Action = PageAction | Dismiss | Move | ReportVitals | ReportPermission | News | Greet | Announce | Finish
