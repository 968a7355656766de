"""The words that both programs use for bots, workers and ends. Its only behaviour is looking a word up."""

from enum import StrEnum
from typing import Final, NamedTuple, Self

LOBBY_AGAIN: Final = "lobby_again"
"""The screen of a bot that had been in its meeting and waits to be let in again."""


class BotState(StrEnum):
    """The states of a bot. Within one attempt a bot only moves down this list."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    ASSIGNED = "assigned"
    JOINING = "joining"
    WAITING_ROOM = "waiting_room"
    IN_MEETING = "in_meeting"
    LEAVING = "leaving"
    STOPPED = "stopped"

    @property
    def rank(self) -> int:
        return _RANK[self]

    @property
    def is_admitted(self) -> bool:
        """Whether the bot has been in the meeting. After that it is not sent in again unless the job asks for it."""
        return self.rank >= BotState.IN_MEETING.rank


_RANK = {state: rank for rank, state in enumerate(BotState)}


class VmState(StrEnum):
    """The states of a VM. If several hold, the last of them is shown."""

    UP = "up"
    RESTING = "resting"  # it began none of the bots that it was given, and gets none for a while
    DRAINING = "draining"  # ordered by an operator
    STOPPING = "stopping"  # its agent is stopping
    SILENT = "silent"  # its agent sends no heartbeats
    LOST = "lost"

    @property
    def has_target(self) -> bool:
        """Whether the manager keeps idle workers on it."""
        return self in (VmState.UP, VmState.RESTING)


class WorkerState(StrEnum):
    WARMING = "warming"
    IDLE = "idle"
    RESERVED = "reserved"
    BUSY = "busy"
    RETIRING = "retiring"


class Status(StrEnum):
    """The outward status words, as clients of the HTTP API know them."""

    SCHEDULED = "Scheduled"
    JOINING = "Joining"
    IN_WAITING_ROOM = "InWaitingRoom"
    IN_MEETING = "InMeeting"
    LEAVING = "Leaving"
    STOPPED = "Stopped"
    NOT_ALLOWED = "NotAllowed"
    DENIED = "Denied"
    ERROR = "Error"


RECORDING: Final = "Recording"
"""How clients see InMeeting while the meeting is recorded."""
DONE: Final = "Done"
"""How clients see Stopped once all is done for the bot."""


class Attribution(StrEnum):
    """Who caused an end."""

    HOST = "host"
    PLATFORM = "platform"
    USER = "user"
    US = "us"


class Meaning(NamedTuple):
    """`what` happened, and what an operator can `do`, as Markdown; links are relative to docs/."""

    what: str
    do: str


_OVER: Final = Meaning("the meeting was over, empty or silent for the job's own timeout", "nothing")
_PEOPLE_DECIDED: Final = Meaning("a person in the meeting decided, or nobody did in time", "nothing")
_MEMBERS_ONLY: Final = Meaning(
    "the meeting takes only people whom it knows", "the host's settings, or a signed-in account for the bot"
)
_BAD_LINK: Final = Meaning(
    "the link, or the job's passcode, leads nowhere", "the client's link, whole and as it was sent"
)
_HOST_REFUSED: Final = Meaning("the host said no", "nothing")
_GUEST_REFUSED: Final = Meaning(
    "the platform does not take this guest, often because of the network it comes from",
    "`poolmgr explain BOT`; a signed-in account, another network",
)
_NO_MEDIA: Final = Meaning(
    "in the meeting, and nothing was received from the others while they spoke, or no media connection came about",
    "UDP and TURN from the VM: firewall, NAT",
)


class End(NamedTuple):
    """What a reason means.

    - `bot_event`: the webhook event of the end.
    - `sentence`: what the webhook says to the client; empty: it says only that the bot has ended.
    - `meaning`: for operators; None: no bot ends with this reason.
    - `retry`: a new attempt is made, before the bot was admitted, or after that if the job asks for it.
    - `evidence`: such an end is a failure, and evidence of it is kept.
    """

    status: Status
    attribution: Attribution
    bot_event: str
    sentence: str
    meaning: Meaning | None
    retry: bool = False
    evidence: bool = True


class Reason(StrEnum):
    """Why a bot ended: one machine-readable word each, with all that depends on it. The words stand in this table only;
    docs/operations.md and docs/redis-keys.md are made from it.
    """

    end: End

    def __new__(cls, word: str, end: End) -> Self:
        reason = str.__new__(cls, word)
        reason._value_ = word
        reason.end = end
        return reason

    USER_REQUESTED = (
        "user_requested",
        End(
            Status.STOPPED,
            Attribution.USER,
            "bot.stopped",
            "The bot left because it was asked to.",
            Meaning("somebody asked for it (`poolmgr leave`)", "nothing"),
            evidence=False,
        ),
    )
    MEETING_ENDED = (
        "meeting_ended",
        End(
            Status.STOPPED,
            Attribution.HOST,
            "bot.stopped",
            "The bot left because the meeting ended.",
            _OVER,
            evidence=False,
        ),
    )
    NEVER_ADMITTED = (
        "never_admitted",
        End(
            Status.NOT_ALLOWED,
            Attribution.HOST,
            "bot.notallowed",
            "The meeting was over before the bot was let in.",
            _PEOPLE_DECIDED,
        ),
    )
    EVERYONE_LEFT = (
        "everyone_left",
        End(
            Status.STOPPED,
            Attribution.HOST,
            "bot.stopped",
            "The bot left because everyone else had left.",
            _OVER,
            evidence=False,
        ),
    )
    NO_ONE_JOINED = (
        "no_one_joined",
        End(
            Status.STOPPED,
            Attribution.HOST,
            "bot.stopped",
            "The bot left because no one joined.",
            _OVER,
            evidence=False,
        ),
    )
    SILENCE = (
        "silence",
        End(
            Status.STOPPED,
            Attribution.HOST,
            "bot.stopped",
            "The bot left because nobody had spoken for as long as it was to wait.",
            _OVER,
            evidence=False,
        ),
    )
    MAX_DURATION = (
        "max_duration",
        End(
            Status.STOPPED,
            Attribution.USER,
            "bot.stopped",
            "The bot left because it had been in the meeting for as long as it was to be.",
            _OVER,
            evidence=False,
        ),
    )
    SESSION_LIMIT = (
        "session_limit",
        End(
            Status.STOPPED,
            Attribution.US,
            "bot.stopped",
            "The bot left because it had been there for as long as this fleet lets any bot be.",
            Meaning(
                "it had been there for `worker.session_limit_s`, whatever its job allows",
                "a longer `worker.session_limit_s`, if meetings last so long",
            ),
            evidence=False,
        ),
    )
    ONLY_BOTS_LEFT = (
        "only_bots_left",
        End(
            Status.STOPPED,
            Attribution.HOST,
            "bot.stopped",
            "The bot left because only bots were left.",
            _OVER,
            evidence=False,
        ),
    )
    REMOVED_BY_HOST = (
        "removed_by_host",
        End(Status.STOPPED, Attribution.HOST, "bot.kicked", "The bot was removed from the meeting.", _PEOPLE_DECIDED),
    )
    REQUEST_DENIED = (
        "request_denied",
        End(Status.DENIED, Attribution.HOST, "bot.denied", "The bot's request to join was denied.", _PEOPLE_DECIDED),
    )
    WAITING_ROOM_TIMEOUT = (
        "waiting_room_timeout",
        End(
            Status.NOT_ALLOWED,
            Attribution.HOST,
            "bot.notallowed",
            "Nobody let the bot in from the waiting room in time.",
            _PEOPLE_DECIDED,
        ),
    )
    HOST_NOT_STARTED = (
        "host_not_started",
        End(
            Status.NOT_ALLOWED,
            Attribution.HOST,
            "bot.notallowed",
            "The host did not start the meeting in time.",
            _PEOPLE_DECIDED,
        ),
    )
    SIGN_IN_REQUIRED = (
        "sign_in_required",
        End(
            Status.ERROR,
            Attribution.HOST,
            "bot.failed",
            "The meeting takes only people who are signed in.",
            _MEMBERS_ONLY,
        ),
    )
    ORG_ONLY = (
        "org_only",
        End(
            Status.ERROR,
            Attribution.HOST,
            "bot.failed",
            "The meeting takes only people of its organisation.",
            _MEMBERS_ONLY,
        ),
    )
    REGISTRATION_REQUIRED = (
        "registration_required",
        End(
            Status.ERROR,
            Attribution.HOST,
            "bot.failed",
            "The meeting takes only people who have registered.",
            _MEMBERS_ONLY,
        ),
    )
    PASSCODE_MISSING = (
        "passcode_missing",
        End(
            Status.ERROR,
            Attribution.USER,
            "bot.failed",
            "The meeting asks for a passcode, and the bot was given none.",
            _BAD_LINK,
        ),
    )
    PASSCODE_WRONG = (
        "passcode_wrong",
        End(Status.ERROR, Attribution.USER, "bot.failed", "The passcode that the bot was given is wrong.", _BAD_LINK),
    )
    MEETING_NOT_FOUND = (
        "meeting_not_found",
        End(Status.ERROR, Attribution.USER, "bot.failed", "There is no such meeting.", _BAD_LINK),
    )
    MEETING_FULL = (
        "meeting_full",
        End(
            Status.ERROR,
            Attribution.PLATFORM,
            "bot.failed",
            "The meeting takes nobody more.",
            Meaning("the meeting is full", "nothing"),
        ),
    )
    MEETING_LOCKED = (
        "meeting_locked",
        End(Status.ERROR, Attribution.HOST, "bot.failed", "The meeting is locked.", _HOST_REFUSED),
    )
    CAPTCHA = (
        "captcha",
        End(
            Status.ERROR,
            Attribution.PLATFORM,
            "bot.failed",
            "The platform asked for proof that the bot is a person, which it is not.",
            _GUEST_REFUSED,
        ),
    )
    PLATFORM_BLOCKED = (
        "platform_blocked",
        End(Status.ERROR, Attribution.PLATFORM, "bot.failed", "The platform does not let the bot in.", _GUEST_REFUSED),
    )
    RECORDING_PERMISSION_DENIED = (
        "recording_permission_denied",
        End(Status.ERROR, Attribution.HOST, "bot.failed", "The host denied the permission to record.", _HOST_REFUSED),
    )
    PAGE_LOAD_FAILED = (
        "page_load_failed",
        End(
            Status.ERROR,
            Attribution.PLATFORM,
            "bot.failed",
            "The meeting's page could not be loaded.",
            Meaning(
                "the page could not be loaded: network, DNS, HTTP error",
                "open the link from the VM; `reason_detail` has the `net::ERR_` or HTTP code",
            ),
            retry=True,
        ),
    )
    UI_ELEMENT_NOT_FOUND = (
        "ui_element_not_found",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "The meeting's page showed nothing that the bot knows.",
            Meaning(
                "the page showed nothing known until the deadline",
                "the platform may have changed its page: [docs/adapters.md](adapters.md)",
            ),
            retry=True,
        ),
    )
    UNEXPECTED_REDIRECT = (
        "unexpected_redirect",
        End(
            Status.ERROR,
            Attribution.PLATFORM,
            "bot.failed",
            "The meeting's link led somewhere else.",
            Meaning("the link led to a page outside its platform", "open the link from the VM"),
            retry=True,
        ),
    )
    CONNECTION_LOST = (
        "connection_lost",
        End(
            Status.ERROR,
            Attribution.PLATFORM,
            "bot.failed",
            "The connection to the meeting was lost.",
            Meaning("the platform said that the connection broke", "the VM's network"),
            retry=True,
        ),
    )
    NO_MEDIA = (
        "no_media",
        End(
            Status.ERROR,
            Attribution.PLATFORM,
            "bot.failed",
            "Nothing was received from the others in the meeting.",
            _NO_MEDIA,
        ),
    )
    ICE_FAILED = (
        "ice_failed",
        End(
            Status.ERROR,
            Attribution.PLATFORM,
            "bot.failed",
            "No media connection to the meeting could be made.",
            _NO_MEDIA,
        ),
    )
    CAPTURE_FAILED = (
        "capture_failed",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "",
            Meaning("never, in this release: a recording that fails ends no bot; `poolmgr explain` tells of it", ""),
        ),
    )
    BROWSER_CRASHED = (
        "browser_crashed",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "",
            Meaning("the process or the page died", "the VM's memory and kernel log; `worker_gone` has the last words"),
            retry=True,
        ),
    )
    BROWSER_HUNG = (
        "browser_hung",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "",
            Meaning(
                "three calls in a row unanswered, or `page_too_loud` in the agent's log",
                "the VM's CPU: too many bots for it?",
            ),
            retry=True,
        ),
    )
    MEMORY_LIMIT = (
        "memory_limit",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "",
            Meaning(
                "its browser held more than `worker.memory_limit_mb`, or hung or crashed while it took a third of that",
                "a heavy meeting, or a leak: `memory_limit_reached` in the agent's log",
            ),
            retry=True,
        ),
    )
    WORKER_LOST = (
        "worker_lost",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "",
            Meaning(
                "its worker disappeared without a report, or no agent claimed it in time",
                "[A VM is silent or lost](#a-vm-is-silent-or-lost)",
            ),
            retry=True,
        ),
    )
    HEARTBEAT_TIMEOUT = (
        "heartbeat_timeout",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "",
            Meaning(
                "its VM was not heard of for `pool.lost_after_s`", "[A VM is silent or lost](#a-vm-is-silent-or-lost)"
            ),
            retry=True,
        ),
    )
    CUT_OFF = (
        "cut_off",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "",
            Meaning(
                "its VM did not reach Redis for half of `pool.lost_after_s`, and its job asked for `rejoin`",
                "what lies between the VM and Redis",
            ),
            retry=True,
        ),
    )
    OVERDUE = (
        "overdue",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "",
            Meaning(
                "it outlived every limit of its own, and was ended by force; a fault of ours, or a VM that stood still",
                "[Something is overdue](#something-is-overdue)",
            ),
        ),
    )
    NO_CAPACITY = (
        "no_capacity",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "No worker was free for the bot in time.",
            Meaning(
                "no warm worker within `pool.queue_timeout_s`, or the job's own `queue_timeout`",
                "[The queue grows](#the-queue-grows)",
            ),
        ),
    )
    REQUIREMENT_UNMET = (
        "requirement_unmet",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "No machine of the fleet has what the bot requires.",
            Meaning(
                "it waited as for `no_capacity`, and no VM has the labels that its job `requires`",
                "[Jobs that require a VM](#jobs-that-require-a-vm): a misspelt label, or its VMs are lost",
            ),
        ),
    )
    MISSED_START = (
        "missed_start",
        End(
            Status.ERROR,
            Attribution.USER,
            "bot.failed",
            "The time at which the bot was to join was too long ago.",
            Meaning(
                "its `join_at` was longer ago than `pool.join_late_limit_s`, or the job's own `join_late_limit`",
                "the client's `join_at`; else who led then, or [The queue grows](#the-queue-grows)",
            ),
        ),
    )
    UNSUPPORTED_PLATFORM = (
        "unsupported_platform",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "This fleet has no way into meetings of that platform.",
            Meaning(
                "its agent has no adapter for the link's platform: neither in this release, nor installed there",
                "install one on the VMs: [docs/adapters.md](adapters.md#an-adapter-of-your-own)",
            ),
        ),
    )
    SHUTDOWN = (
        "shutdown",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "",
            Meaning(
                "its agent was stopped and the drain deadline came, or its cloud took the VM away (`vm_taken_away`)",
                "a longer `worker.drain_timeout_s`, or drain first; on spot VMs `on_worker_lost` `rejoin`",
            ),
            retry=True,
        ),
    )
    # Another attempt of the bot goes on; ends an attempt, never the bot.
    SUPERSEDED = (
        "superseded",
        End(Status.STOPPED, Attribution.US, "bot.stopped", "", None, evidence=False),
    )
    INVALID_REQUEST = (
        "invalid_request",
        End(
            Status.ERROR,
            Attribution.USER,
            "bot.failed",
            "",
            Meaning(
                "the job was rejected; only in the status stream, for a job that named a bot_id",
                "[dead jobs](#jobs-in-dead)",
            ),
            evidence=False,
        ),
    )
    INTERNAL_ERROR = (
        "internal_error",
        End(
            Status.ERROR,
            Attribution.US,
            "bot.failed",
            "",
            Meaning("a fault of ours", "the agent's `session_failed` has the traceback: report it"),
        ),
    )


UNSERVED: Final = frozenset({Reason.NO_CAPACITY, Reason.REQUIREMENT_UNMET})
"""Why a bot ends that waited for a worker and got none."""


_STATUS: dict[BotState, Status] = {
    BotState.SCHEDULED: Status.SCHEDULED,
    BotState.QUEUED: Status.JOINING,
    BotState.ASSIGNED: Status.JOINING,
    BotState.JOINING: Status.JOINING,
    BotState.WAITING_ROOM: Status.IN_WAITING_ROOM,
    BotState.IN_MEETING: Status.IN_MEETING,
    BotState.LEAVING: Status.LEAVING,
}


def outward_status(state: BotState, reason: Reason | None = None) -> Status:
    """The status word that clients see for a bot in `state`. For a stopped bot it depends on the `reason`."""
    if state is BotState.STOPPED:
        return reason.end.status if reason else Status.STOPPED
    return _STATUS[state]


class OnWorkerLost(StrEnum):
    """What becomes of a bot in its meeting when its worker or VM is lost."""

    END = "end"  # it ends, so that no second bot is sent in beside one that may still be there
    REJOIN = "rejoin"  # another worker takes it in again; the first one leaves by itself when its VM is cut off


class Feed(StrEnum):
    """What is sent to a client while the meeting runs."""

    AUDIO = "live_audio"
    TRANSCRIPTION = "live_transcription"


class FeedStatus(StrEnum):
    """The state of a live feed."""

    CONNECTED = "connected"  # its receiver accepts what is sent
    WAITING = "waiting"  # its receiver does not; it is tried again
    REFUSED = "refused"  # its address may not be called, or the VM's browser gives no sound
    LISTENING = "listening"  # the meeting's page shows captions; nothing was said yet
    CAPTIONS_UNAVAILABLE = "captions_unavailable"  # it shows none
    TRANSCRIBING = "transcribing"  # a provider of speech to text listens
    UNTRANSCRIBED = "untranscribed"  # a provider should listen, and does not
    ENDED = "ended"


class GoneCause(StrEnum):
    """Why a worker ended."""

    SPENT = "spent"  # its bot ended; a worker serves only one
    RETIRED = "retired"  # the manager ordered it
    WARMUP_FAILED = "warmup_failed"
    CRASHED = "crashed"
    UNRESPONSIVE = "unresponsive"  # the process lives, the page does not answer
    LOW_MEMORY = "low_memory"
    MEMORY_LIMIT = "memory_limit"  # it held more memory than allowed
    AGENT_STOPPED = "agent_stopped"
    MISSING = "missing"  # the agent's heartbeat does not list it any more


class RefusalCause(StrEnum):
    """Why an agent refused an assignment. The job goes back to the head of the queue."""

    NO_SUCH_WORKER = "no_such_worker"
    BROWSER_DEAD = "browser_dead"
    STOPPING = "stopping"
    UNKNOWN_PLATFORM = "unknown_platform"
    LOW_MEMORY = "low_memory"  # the VM has too little memory for a meeting
