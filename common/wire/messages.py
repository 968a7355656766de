"""The messages between manager and agent: one frozen class each, no behaviour.

Commands are in the stream `{prefix}:vm:{vm_id}:commands`, events in `{prefix}:events`. Each is one JSON object in the
field `m` of an entry; `type` says which message it is. Times are epoch seconds (wall clock of the sender), durations
seconds.
"""

import re
from typing import Final

import msgspec

from common.wire.manifest import Gap, Kind
from common.wire.vocabulary import BotState, Feed, FeedStatus, GoneCause, Reason, RefusalCause, WorkerState

MOST_MESSAGE_CHARS: Final = 2000
"""Characters of a message that a bot writes in the chat."""
MOST_GAPS: Final = 20
"""Gaps of a recording that are reported with it. Its manifest has all."""


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class Message(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag=_snake):
    pass


class BotNames(msgspec.Struct, frozen=True, omit_defaults=True):
    """Leave when only bots are left. A bot is a participant whose name contains one of `matches`, in any case, as whole
    words (`whole_words` True) or anywhere.

    The rule counts from `activate_after` seconds in the meeting on. The bot leaves when only bots were there for
    `timeout` seconds.
    """

    matches: list[str]
    activate_after: int = 300
    timeout: int = 5
    whole_words: bool = True


class AutomaticLeave(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a bot leaves by itself, in seconds. The defaults are those of the API that clients know, except for silence:
    that API's 100 s would end calls in which people read, or wait for somebody.
    """

    waiting_room_timeout: int = 600
    everyone_left_timeout: int = 300
    noone_joined_timeout: int = 600
    voice_inactivity_timeout: int = 600
    in_call_recording_timeout: int = 14400
    recording_permission_denied_timeout: int = 60
    bot_names: BotNames | None = None


class Feeds(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is sent to a client while the bot is in its meeting: its sound to a WebSocket, the transcript to a webhook.
    An empty address: nothing is sent. The addresses are secrets. `attributes`: the client's own, as JSON, which are
    sent with the transcript. `transcript`: a transcript is also kept for afterwards. `by`: the provider that is to
    listen to the sound, or `meeting_captions` for none; empty: the provider of the agent's settings, if there are no
    captions. `language`: of the speech; empty as in the settings.
    """

    audio_url: str = ""
    transcription_url: str = ""
    attributes: str = "{}"
    transcript: bool = False
    by: str = ""
    language: str = ""


# Commands: manager -> agent


class Warm(Message, frozen=True):
    """Start a browser and keep it warm as this worker. Idempotent. `display`: on a virtual display that can be
    recorded; an agent that makes none starts it without.
    """

    worker_id: str
    display: bool = False


class Join(Message, frozen=True):
    """Claim `attempt` of the bot, then take it into the meeting with this worker."""

    worker_id: str
    bot_id: str
    attempt: int
    platform: str
    meeting_url: str
    bot_name: str
    automatic_leave: AutomaticLeave = AutomaticLeave()
    leave_when_cut_off_s: float = 0.0  # leave after so long without Redis: the bot is sent in again then; 0: stay
    message: str = ""  # to be written in the chat once the bot is in
    passcode: str = ""  # to be typed where the page asks for one
    is_probe: bool = False  # keep a picture of every screen, and leave soon after joining
    account: str = ""  # the account that it joins with; the agent fills it in
    no_audio: bool = False  # do not record the sound, whatever the agent's settings say
    video: bool = False  # record the picture, where the agent's settings let it
    feeds: Feeds = Feeds()
    traceparent: str = ""  # the span that the bot's client gave it
    paused: bool = False  # record nothing until somebody resumes it: it was paused in an earlier attempt


class Leave(Message, frozen=True):
    """Leave the meeting. Answered by the bot's end."""

    worker_id: str
    bot_id: str
    attempt: int
    reason: Reason = Reason.USER_REQUESTED


class Say(Message, frozen=True):
    """Write this in the meeting's chat, at most once."""

    worker_id: str
    bot_id: str
    attempt: int
    message: str


class Pause(Message, frozen=True):
    """Stop recording the meeting until the next such message; with `paused` False, record it again. Idempotent."""

    worker_id: str
    bot_id: str
    attempt: int
    paused: bool = True


class FinishRecording(Message, frozen=True):
    """Make what should be kept of a bot's meeting and its own VM has not made: of what the store has, where this agent
    has nothing of it. `ended_at`: when the bot ended. `transcript`: one is still waited for, so it is made of what the
    store has of what was said, or it is said that there is nothing. `recording`: the files of a recording are waited
    for; agents that do not know this word look for one in vain. Idempotent; agents that do not know this order pass it
    over.
    """

    bot_id: str
    attempt: int
    ended_at: float
    transcript: bool = False
    recording: bool = True


class Retire(Message, frozen=True):
    """End this worker: its processes and its folder. An unknown worker is reported as gone. A worker with a bot ends
    when its bot is gone; with `by_force` it ends at once, and its bot as overdue.
    """

    worker_id: str
    by_force: bool = False


Command = Warm | Join | Leave | Say | Pause | FinishRecording | Retire


# Events: agent -> manager


class WorkerReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One worker as its agent sees it. `outdated`: a fresh one would begin with newer page code. `display`: it has a
    virtual display that can be recorded.
    """

    state: WorkerState
    bot_id: str = ""
    attempt: int = 0
    outdated: bool = False
    display: bool = False


class Heartbeat(Message, frozen=True):
    """The agent lives, and these are all its workers. The first one registers the VM. A new `session` means that the
    agent lost its state folder. `room`: how many more workers the VM's memory bears beside the reserve. `processors`:
    how many it has; 0: unknown. `free_mb`: memory beside the reserve and those that warm up; None: unknown. `labels`:
    as the agent's settings say, in each heartbeat; so is `canary`: it is to have a share of the jobs only.
    `display_room`: as `room`, of workers with a display; None: the agent makes none.
    """

    vm_id: str
    session: str
    at: float
    workers: dict[str, WorkerReport] = {}
    room: int = 0
    stopping: bool = False
    processors: float = 0.0
    free_mb: int | None = None
    labels: dict[str, str] = {}
    canary: bool = False
    display_room: int | None = None


class WorkerVitals(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one worker uses: memory that no other process shares, and processors (1.0 is one in full)."""

    memory_mb: int = 0
    processors: float = 0.0


class VmVitals(msgspec.Struct, frozen=True):
    """The state of a VM, for people: nothing is decided by it. It is in a key of its own, not in the stream.

    `available_mb`: free memory by the kernel's estimate, of `total_mb`. `reserve_mb`: how much of it warm-ups leave
    free.
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
    """The base of all events about one attempt of a bot. `at`: when it happened."""

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
    first_request_at: float = 0.0  # when the browser requested the meeting page


class BotSaw(OfAttempt, frozen=True):
    """The page shows another screen, or another rule recognised it; or the bot did something (`did`)."""

    screen: str
    rule: str = ""
    did: str = ""


class BotVitals(OfAttempt, frozen=True):
    """Vital signs of a bot in a call. `participants`: how many there are, the bot included; None: unknown.
    `audio_packets`: RTP audio packets received since the join. `audio_level`: of the audio since the last event, root
    mean square, 0 to 1; None: unknown. `speaker`: the name that the page shows.
    """

    participants: int | None = None
    audio_packets: int = 0
    audio_level: float | None = None
    speaker: str = ""


class Participant(msgspec.Struct, frozen=True, omit_defaults=True):
    """A participant. `id`: the page's own id. `name`: the first name that the page showed."""

    id: str
    name: str = ""


class ParticipantsSeen(OfAttempt, frozen=True):
    """Who came and who went since the last such event, without the bot itself; at most 500 of each. `anew`: the bot has
    just come in, and `joined` is everybody who is there.
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
    """Messages in the meeting's chat since the last such event, the bot's own included; at most 100."""

    chats: list[ChatLine] = []


class PermissionSeen(OfAttempt, frozen=True):
    """The page says that the meeting permits no recording, or (`allowed`) that it permits it again. `number`: of these
    events in this attempt, from 1.
    """

    allowed: bool
    number: int


class BotRecorded(Message, frozen=True):
    """The bot's meeting is being recorded, `kinds` of it. `finished`: after the bot's end the files are made.
    `audio_s`, `video_s`: their lengths; 0: nothing was recorded. `gaps`: how many there are; `first_gaps`: the first
    ones. `stored_bytes`: the files' size in the store. `missing_s`: how much of the sound was not recorded, but for
    what somebody paused or the meeting did not permit. `unmade`: why this VM makes no files of it, or
    has made none in many tries; another one may, of what the store has. Managers that do not know this word take it for
    a recording that begins, which they know of.
    """

    vm_id: str
    bot_id: str
    attempt: int
    at: float
    finished: bool = False
    audio_s: float = 0.0
    gaps: int = 0
    stored_bytes: int = 0
    kinds: tuple[Kind, ...] = ("audio",)
    video_s: float = 0.0
    missing_s: float = 0.0
    first_gaps: tuple[Gap, ...] = ()
    unmade: str = ""

    def status_of(self, kind: Kind) -> str:
        """The value of the bot's record for that kind from then on; empty: unchanged."""
        if kind not in self.kinds:
            return ""
        if not self.finished:
            return "recording"
        return "processed" if (self.audio_s if kind == "audio" else self.video_s) else "skipped"


class BotStreamed(Message, frozen=True):
    """The state of a live feed of the bot, at each change; also after the bot's end. `sent`: frames or utterances so
    far; `dropped`: those that could not be decoded or sent in time. `taken`: the receiver has got something final.
    """

    vm_id: str
    bot_id: str
    attempt: int
    at: float
    feed: Feed
    status: FeedStatus
    detail: str = ""
    sent: int = 0
    dropped: int = 0
    taken: bool = False


class BotTranscribed(Message, frozen=True):
    """A transcript of the bot's meeting is being written. With `finished`, which may come after the bot's end, there is
    a transcript with so many `utterances`, or none. `by`: the provider; empty: the page's captions.
    """

    vm_id: str
    bot_id: str
    attempt: int
    at: float
    finished: bool = False
    utterances: int = 0
    by: str = ""


class BotEnded(OfAttempt, frozen=True):
    """The bot has ended in this attempt. `evidence`: the name of the evidence; empty: none is kept."""

    reason: Reason
    detail: str = ""
    audio_packets: int = 0
    evidence: str = ""


Fact = BotSaw | BotVitals | ParticipantsSeen | ChatHeard | PermissionSeen
"""Events whose content is kept with the bot as it is."""

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
    | PermissionSeen
    | BotRecorded
    | BotStreamed
    | BotTranscribed
    | BotEnded
)
