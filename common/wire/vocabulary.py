"""The words that both programs use for bots, workers and ends. Its only behaviour is looking a word up."""

from enum import StrEnum
from typing import Final, NamedTuple

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


class Reason(StrEnum):
    """Why a bot ended: one machine-readable word each."""

    USER_REQUESTED = "user_requested"
    MEETING_ENDED = "meeting_ended"
    NEVER_ADMITTED = "never_admitted"  # the meeting was over before the bot was let in
    EVERYONE_LEFT = "everyone_left"
    NO_ONE_JOINED = "no_one_joined"
    SILENCE = "silence"
    MAX_DURATION = "max_duration"
    SESSION_LIMIT = "session_limit"  # the agent's limit, whatever the job asked for
    ONLY_BOTS_LEFT = "only_bots_left"
    REMOVED_BY_HOST = "removed_by_host"
    REQUEST_DENIED = "request_denied"
    WAITING_ROOM_TIMEOUT = "waiting_room_timeout"
    HOST_NOT_STARTED = "host_not_started"
    SIGN_IN_REQUIRED = "sign_in_required"
    ORG_ONLY = "org_only"  # the meeting admits only people of its organisation
    REGISTRATION_REQUIRED = "registration_required"
    PASSCODE_MISSING = "passcode_missing"
    PASSCODE_WRONG = "passcode_wrong"
    MEETING_NOT_FOUND = "meeting_not_found"
    MEETING_FULL = "meeting_full"
    MEETING_LOCKED = "meeting_locked"
    CAPTCHA = "captcha"
    PLATFORM_BLOCKED = "platform_blocked"
    RECORDING_PERMISSION_DENIED = "recording_permission_denied"
    PAGE_LOAD_FAILED = "page_load_failed"
    UI_ELEMENT_NOT_FOUND = "ui_element_not_found"
    UNEXPECTED_REDIRECT = "unexpected_redirect"
    CONNECTION_LOST = "connection_lost"
    NO_MEDIA = "no_media"  # others are there, and no media packet ever came
    ICE_FAILED = "ice_failed"
    CAPTURE_FAILED = "capture_failed"
    BROWSER_CRASHED = "browser_crashed"
    BROWSER_HUNG = "browser_hung"
    MEMORY_LIMIT = "memory_limit"
    WORKER_LOST = "worker_lost"
    HEARTBEAT_TIMEOUT = "heartbeat_timeout"  # its VM sent no heartbeat for too long
    CUT_OFF = "cut_off"  # its VM did not reach Redis, and the bot was sent in again from another VM
    OVERDUE = "overdue"  # it outlived all its limits, which is a fault, and was ended by force
    NO_CAPACITY = "no_capacity"
    MISSED_START = "missed_start"  # its join_at was already too long ago
    UNSUPPORTED_PLATFORM = "unsupported_platform"  # the agent has no adapter for it
    SHUTDOWN = "shutdown"
    SUPERSEDED = "superseded"  # another attempt of the bot goes on; ends an attempt, never the bot
    INVALID_REQUEST = "invalid_request"  # the job was refused
    INTERNAL_ERROR = "internal_error"


class Attribution(StrEnum):
    """Who caused an end."""

    HOST = "host"
    PLATFORM = "platform"
    USER = "user"
    US = "us"


class End(NamedTuple):
    """What a reason means. `retry`: a new attempt is made, before the bot was admitted, or after that if the job asks
    for it. `evidence`: such an end is a failure, and evidence of it is kept.
    """

    status: Status
    attribution: Attribution
    bot_event: str
    retry: bool = False
    evidence: bool = True


ENDS: dict[Reason, End] = {
    Reason.USER_REQUESTED: End(Status.STOPPED, Attribution.USER, "bot.stopped", evidence=False),
    Reason.MEETING_ENDED: End(Status.STOPPED, Attribution.HOST, "bot.stopped", evidence=False),
    Reason.NEVER_ADMITTED: End(Status.NOT_ALLOWED, Attribution.HOST, "bot.notallowed"),
    Reason.EVERYONE_LEFT: End(Status.STOPPED, Attribution.HOST, "bot.stopped", evidence=False),
    Reason.NO_ONE_JOINED: End(Status.STOPPED, Attribution.HOST, "bot.stopped", evidence=False),
    Reason.SILENCE: End(Status.STOPPED, Attribution.HOST, "bot.stopped", evidence=False),
    Reason.MAX_DURATION: End(Status.STOPPED, Attribution.USER, "bot.stopped", evidence=False),
    Reason.SESSION_LIMIT: End(Status.STOPPED, Attribution.US, "bot.stopped", evidence=False),
    Reason.ONLY_BOTS_LEFT: End(Status.STOPPED, Attribution.HOST, "bot.stopped", evidence=False),
    Reason.REMOVED_BY_HOST: End(Status.STOPPED, Attribution.HOST, "bot.kicked"),
    Reason.REQUEST_DENIED: End(Status.DENIED, Attribution.HOST, "bot.denied"),
    Reason.WAITING_ROOM_TIMEOUT: End(Status.NOT_ALLOWED, Attribution.HOST, "bot.notallowed"),
    Reason.HOST_NOT_STARTED: End(Status.NOT_ALLOWED, Attribution.HOST, "bot.notallowed"),
    Reason.SIGN_IN_REQUIRED: End(Status.ERROR, Attribution.HOST, "bot.failed"),
    Reason.ORG_ONLY: End(Status.ERROR, Attribution.HOST, "bot.failed"),
    Reason.REGISTRATION_REQUIRED: End(Status.ERROR, Attribution.HOST, "bot.failed"),
    Reason.PASSCODE_MISSING: End(Status.ERROR, Attribution.USER, "bot.failed"),
    Reason.PASSCODE_WRONG: End(Status.ERROR, Attribution.USER, "bot.failed"),
    Reason.MEETING_NOT_FOUND: End(Status.ERROR, Attribution.USER, "bot.failed"),
    Reason.MEETING_FULL: End(Status.ERROR, Attribution.PLATFORM, "bot.failed"),
    Reason.MEETING_LOCKED: End(Status.ERROR, Attribution.HOST, "bot.failed"),
    Reason.CAPTCHA: End(Status.ERROR, Attribution.PLATFORM, "bot.failed"),
    Reason.PLATFORM_BLOCKED: End(Status.ERROR, Attribution.PLATFORM, "bot.failed"),
    Reason.RECORDING_PERMISSION_DENIED: End(Status.ERROR, Attribution.HOST, "bot.failed"),
    Reason.PAGE_LOAD_FAILED: End(Status.ERROR, Attribution.PLATFORM, "bot.failed", retry=True),
    Reason.UI_ELEMENT_NOT_FOUND: End(Status.ERROR, Attribution.US, "bot.failed", retry=True),
    Reason.UNEXPECTED_REDIRECT: End(Status.ERROR, Attribution.PLATFORM, "bot.failed", retry=True),
    Reason.CONNECTION_LOST: End(Status.ERROR, Attribution.PLATFORM, "bot.failed", retry=True),
    Reason.NO_MEDIA: End(Status.ERROR, Attribution.PLATFORM, "bot.failed"),
    Reason.ICE_FAILED: End(Status.ERROR, Attribution.PLATFORM, "bot.failed"),
    Reason.CAPTURE_FAILED: End(Status.ERROR, Attribution.US, "bot.failed"),
    Reason.BROWSER_CRASHED: End(Status.ERROR, Attribution.US, "bot.failed", retry=True),
    Reason.BROWSER_HUNG: End(Status.ERROR, Attribution.US, "bot.failed", retry=True),
    Reason.MEMORY_LIMIT: End(Status.ERROR, Attribution.US, "bot.failed", retry=True),
    Reason.CUT_OFF: End(Status.ERROR, Attribution.US, "bot.failed", retry=True),
    Reason.WORKER_LOST: End(Status.ERROR, Attribution.US, "bot.failed", retry=True),
    Reason.HEARTBEAT_TIMEOUT: End(Status.ERROR, Attribution.US, "bot.failed", retry=True),
    Reason.OVERDUE: End(Status.ERROR, Attribution.US, "bot.failed"),
    Reason.NO_CAPACITY: End(Status.ERROR, Attribution.US, "bot.failed"),
    Reason.MISSED_START: End(Status.ERROR, Attribution.USER, "bot.failed"),
    Reason.UNSUPPORTED_PLATFORM: End(Status.ERROR, Attribution.US, "bot.failed"),
    Reason.SHUTDOWN: End(Status.ERROR, Attribution.US, "bot.failed", retry=True),
    Reason.SUPERSEDED: End(Status.STOPPED, Attribution.US, "bot.stopped", evidence=False),
    Reason.INVALID_REQUEST: End(Status.ERROR, Attribution.USER, "bot.failed", evidence=False),
    Reason.INTERNAL_ERROR: End(Status.ERROR, Attribution.US, "bot.failed"),
}

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
        return ENDS[reason].status if reason else Status.STOPPED
    return _STATUS[state]


class OnWorkerLost(StrEnum):
    """What becomes of a bot in its meeting when its worker or VM is lost."""

    END = "end"  # it ends, so that no second bot is sent in beside one that may still be there
    REJOIN = "rejoin"  # another worker takes it in again; the first one leaves by itself when its VM is cut off


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
    MISSING = "missing"  # the agent does not list it any more


class RefusalCause(StrEnum):
    """Why an agent refused an assignment. The job goes back to the head of the queue."""

    NO_SUCH_WORKER = "no_such_worker"
    BROWSER_DEAD = "browser_dead"
    STOPPING = "stopping"
    UNKNOWN_PLATFORM = "unknown_platform"
    LOW_MEMORY = "low_memory"  # the VM has too little memory for a meeting
