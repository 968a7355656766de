"""What a session sees of its page, and what it is to do about it: the words between the lifecycle and what drives the
page. They hold for every platform; which of a platform's pages is which, its adapter knows. Pure.
"""

from enum import StrEnum

import msgspec

from common.wire.vocabulary import LOBBY_AGAIN, BotState, Reason
from worker.decide.participants import Look, News


class Screen(StrEnum):
    """What a page shows, in words that hold for every platform."""

    LOADING = "loading"
    LAUNCHER = "launcher"  # asks whether to go on in the browser
    NAME_PROMPT = "name_prompt"  # the last step before the request to join, with or without a field for the name
    PASSCODE_PROMPT = "passcode_prompt"
    WAITING_ROOM = "waiting_room"
    WAITING_FOR_HOST = "waiting_for_host"
    IN_MEETING = "in_meeting"
    RECORDING_DENIED = "recording_denied"  # in the meeting, and the host does not allow what the bot is there for
    DENIED = "denied"
    NO_ANSWER = "no_answer"  # the platform's own patience with a request to join is at an end
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
    REDIRECTED = "redirected"  # the page is none of the platform's
    FAILED = "failed"  # the page itself says that something went wrong, and a new one may not
    REFUSED = "refused"  # the platform could not take the bot in, and may at the next try
    LOBBY_AGAIN = LOBBY_AGAIN  # a waiting room, of a bot that had been in the meeting
    BREAKOUT = "breakout"  # between the meeting and a room of it
    BLANK = "blank"  # it is loaded, and there is nothing on it
    UNKNOWN = "unknown"


# Observations


class Seen(Look, frozen=True):
    """The page answered.

    `holds_s`: how long the screen has to show until it is believed. `again_s`: how often the page is to be loaded anew
    while it shows; 0: never. `popup`: the rule of what lies over the page and is to be put away.
    `participants` counts the bot itself too; None or 0: the page does not say. `speaker`: the name of who speaks.
    `audio_packets`, `media_packets`: received so far, of audio and of anything. `audio_energy`, `audio_s`: of the audio
    received so far, and how long that lasts, as in WebRTC's totalAudioEnergy and totalSamplesDuration: their growth
    tells the level; None: the media do not tell.
    `media`: "" (no connection was made yet), "connecting", "connected" or "failed", the best of all connections.
    `no_exit`: a lobby with no button out of it. `chat_closed`: what is said in the chat shows once its panel is open.
    `sends`: the call's own buttons show a microphone or camera of the bot's as on.
    `document`: tells one document from the next under the same address, as performance.timeOrigin.
    `behind`: what is behind words of an end. "": the call is gone. "free": it is still there, and the words may be
    anybody's. "under": it lies under what the page itself says. `over`: the page shows no call, and says that it is in
    none or offers the way back. `asks`: an unknown page has something to click on. `place`: tells the address of one
    meeting from another's.
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
    """The meeting page could not be had. `detail` never holds the link."""

    detail: str


class CallTimedOut(msgspec.Struct, frozen=True):
    """The page did not answer one call within its deadline. `memory_growth`: what its browser took of memory lately, if that
    is enough to be why.
    """

    memory_growth: str = ""


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

    CONTINUE = "continue"
    FILL_NAME_AND_JOIN = "fill_name_and_join"
    ENTER_PASSCODE = "enter_passcode"
    CANCEL_REQUEST = "cancel_request"
    LEAVE_MEETING = "leave_meeting"
    LOAD_AGAIN = "load_again"
    OPEN_CHAT = "open_chat"
    SWITCH_OFF = "switch_off"  # microphone and camera, in the call


class Dismiss(msgspec.Struct, frozen=True):
    """Put away what lies over the page. `popup`: the rule that recognised it."""

    popup: str


class Move(msgspec.Struct, frozen=True):
    """Report that the bot is in a new state, and what the page showed."""

    state: BotState
    screen: Screen
    rule: str


class ReportVitals(msgspec.Struct, frozen=True):
    """As `common.wire.messages.BotVitals`."""

    participants: int = 0
    audio_packets: int = 0
    audio_level: float | None = None
    speaker: str = ""


class Greet(msgspec.Struct, frozen=True):
    """The bot is in: say what it was given to say first."""


class Finish(msgspec.Struct, frozen=True):
    """The session is over: empty the page and report the end."""

    reason: Reason
    detail: str = ""


Action = PageAction | Dismiss | Move | ReportVitals | News | Greet | Finish
