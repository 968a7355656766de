"""The frozen messages that travel between manager and agent. One class a message; no behaviour.

Commands go down `{prefix}:vm:{vm_id}:commands`, events come up `{prefix}:events`, one JSON object in field `m` of a
stream entry, told apart by `type`. Times are epoch seconds (wall clock of the sender), durations seconds.
"""

import re
from typing import Final

import msgspec

from common.wire.vocabulary import BotState, GoneCause, Reason, RefusalCause, WorkerState

MOST_MESSAGE_CHARS: Final = 2000
"""How long a message may be that a bot is to say."""


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class Message(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag=_snake):
    pass


class BotNames(msgspec.Struct, frozen=True, omit_defaults=True):
    """Leave when only bots are left: participants whose names hold one of `matches`, whatever its case, as a word or
    words of their own, or (`whole_words` False) anywhere.

    Looked for from `activate_after` seconds in the meeting on, and left when it has held for `timeout` seconds.
    """

    matches: list[str]
    activate_after: int = 300
    timeout: int = 5
    whole_words: bool = True


class AutomaticLeave(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a bot leaves by itself, in seconds. Defaults are those of the API our clients know, but for silence: its
    100 s end calls with people in them who only read, or wait for somebody.
    """

    waiting_room_timeout: int = 600
    everyone_left_timeout: int = 300
    noone_joined_timeout: int = 600
    voice_inactivity_timeout: int = 600
    in_call_recording_timeout: int = 14400
    recording_permission_denied_timeout: int = 60
    bot_names: BotNames | None = None


# Commands: manager -> agent


class Warm(Message, frozen=True):
    """Start a browser and keep it warm under this name. A second order for the same name changes nothing."""

    worker_id: str


class Join(Message, frozen=True):
    """Claim `attempt` of the bot, then take it into the meeting with this worker."""

    worker_id: str
    bot_id: str
    attempt: int
    platform: str
    meeting_url: str
    bot_name: str
    automatic_leave: AutomaticLeave = AutomaticLeave()
    leave_when_cut_off_s: float = 0.0  # without a word to Redis for so long, leave: it is sent in again. 0: stay
    message: str = ""  # to be said in the meeting's chat once the bot is in
    passcode: str = ""  # to be typed where the page asks for one
    is_probe: bool = False  # it only looks: every screen is kept, and once in it leaves
    account: str = ""  # as whom it joins; filled in by the agent
    no_audio: bool = False  # the sound is not recorded, whatever the agent's settings say


class Leave(Message, frozen=True):
    """Leave the meeting. Answered by the bot's end."""

    worker_id: str
    bot_id: str
    attempt: int
    reason: Reason = Reason.USER_REQUESTED


class Say(Message, frozen=True):
    """Say this in the meeting's chat, at most once."""

    worker_id: str
    bot_id: str
    attempt: int
    message: str


class Retire(Message, frozen=True):
    """End this worker: process tree and profile folder. An unknown name is answered as already gone. One that serves a
    bot ends when it serves none; with `by_force` it ends at once, and its bot as overdue.
    """

    worker_id: str
    by_force: bool = False


Command = Warm | Join | Leave | Say | Retire


# Events: agent -> manager


class WorkerReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One worker as its agent sees it."""

    state: WorkerState
    bot_id: str = ""
    attempt: int = 0


class Heartbeat(Message, frozen=True):
    """The agent lives, and this is all it owns. Registers the VM; a new `session` means that the agent started anew.

    `room`: how many further workers the VM's memory would bear without touching the reserve.
    """

    vm_id: str
    session: str
    at: float
    workers: dict[str, WorkerReport] = {}
    room: int = 0
    stopping: bool = False


class WorkerVitals(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one worker takes: memory that it shares with nobody, and processors (1.0 is one of them, in full)."""

    memory_mb: int = 0
    processors: float = 0.0


class VmVitals(msgspec.Struct, frozen=True):
    """What an agent says of its VM now and then, in a key of its own, for people to look at: nothing is decided by it.

    `available_mb`: what the kernel would give away, of `total_mb`; `reserve_mb` of it warm-ups leave alone.
    """

    at: float
    total_mb: int
    available_mb: int
    reserve_mb: int
    workers: dict[str, WorkerVitals]


class WorkerWarm(Message, frozen=True):
    vm_id: str
    worker_id: str
    at: float
    took_s: float = 0.0


class WorkerGone(Message, frozen=True):
    vm_id: str
    worker_id: str
    at: float
    cause: GoneCause
    detail: str = ""


class OfAttempt(Message, frozen=True):
    """What an agent says of one attempt of a bot, and when."""

    vm_id: str
    worker_id: str
    bot_id: str
    attempt: int
    at: float


class JoinRefused(OfAttempt, frozen=True):
    cause: RefusalCause


class BotMoved(OfAttempt, frozen=True):
    """The bot is in a new state. `screen` is what the page showed, `rule` the detector that recognised it."""

    state: BotState
    screen: str = ""
    rule: str = ""
    first_request_at: float = 0.0  # when the browser asked for the meeting page


class BotSaw(OfAttempt, frozen=True):
    """The page shows another screen, or the same by another rule; or the bot did something about it (`did`)."""

    screen: str
    rule: str = ""
    did: str = ""


class BotVitals(OfAttempt, frozen=True):
    """Signs of life from the call. `audio_packets`: RTP audio packets received since the join. `audio_level`: of what
    was received since the last, root mean square, 0 to 1; None: the media do not tell. `speaker`: who speaks, by the
    name that the page shows.
    """

    participants: int = 0
    audio_packets: int = 0
    audio_level: float | None = None
    speaker: str = ""


class Participant(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody in the meeting, by the name that the page showed first. `id`: the page's own."""

    id: str
    name: str = ""


class ParticipantsSeen(OfAttempt, frozen=True):
    """Who came and who went since it was last told, the bot itself left out; at most 500 of each.

    `anew`: the bot has just come in, and whoever is not among `joined` is not there.
    """

    joined: list[Participant] = []
    left: list[str] = []
    anew: bool = False


class ChatLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of the meeting's chat. `id` and `sender_id`: the page's own; `at`: when the bot saw it."""

    id: str
    sender_id: str
    sender_name: str
    text: str
    at: float


class ChatHeard(OfAttempt, frozen=True):
    """What was said in the meeting's chat since it was last told, the bot's own messages included; at most 100."""

    chats: list[ChatLine] = []


class BotRecorded(Message, frozen=True):
    """The bot's meeting is being recorded; with `finished`, which comes after its end, one file is made of it:
    `audio_s` long, 0 if nothing was recorded, with so many `gaps`.
    """

    vm_id: str
    bot_id: str
    attempt: int
    at: float
    finished: bool = False
    audio_s: float = 0.0
    gaps: int = 0


class BotEnded(OfAttempt, frozen=True):
    """`evidence`: the name under which what was seen of the end is kept; empty: nothing is."""

    reason: Reason
    detail: str = ""
    audio_packets: int = 0
    evidence: str = ""


Fact = BotSaw | BotVitals | ParticipantsSeen | ChatHeard
"""What is kept of a meeting as the agent says it."""

Event = (
    Heartbeat
    | WorkerWarm
    | WorkerGone
    | JoinRefused
    | BotMoved
    | BotSaw
    | BotVitals
    | ParticipantsSeen
    | ChatHeard
    | BotRecorded
    | BotEnded
)
