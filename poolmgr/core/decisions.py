"""The decisions of the pool. They are frozen and complete, and most have a reason."""

from enum import StrEnum

import msgspec

from common.jobs.record import Job
from common.wire.messages import BotRecorded, BotStreamed, BotTranscribed, Fact, Join
from common.wire.vocabulary import BotState, GoneCause, Reason, WorkerState
from poolmgr.core.load import JobKind


class Why(StrEnum):
    """Why a worker is warmed or retired, or a bot queued again."""

    BELOW_MIN_IDLE = "below_min_idle"
    JOBS_WAIT = "jobs_wait"
    IDLE_TTL = "idle_ttl"
    TOO_OLD = "too_old"
    VM_DRAINS = "vm_drains"
    WARMUP_OVERDUE = "warmup_overdue"
    CLAIM_OVERDUE = "claim_overdue"
    REFUSED = "refused"
    WORKER_LOST = "worker_lost"
    VM_LOST = "vm_lost"
    RETRY = "retry"
    RETIRE_OVERDUE = "retire_overdue"
    SPENT = "spent"


class Accept(msgspec.Struct, frozen=True):
    """Write the new bot's record, in the state scheduled or queued. `unmet`: it waits, and no VM has what its job
    requires.
    """

    bot_id: str
    job: Job
    state: BotState
    at: float
    seq: int
    unmet: bool = False


class Assign(msgspec.Struct, frozen=True):
    """Give the bot to the worker. `warm`: it did not have to wait for one; `waited_s`: time in the queue. `display`:
    its worker has one.
    """

    vm_id: str
    join: Join
    born: float
    warm: bool
    waited_s: float
    kind: JobKind = JobKind.LISTENS
    display: bool = False


class Reschedule(msgspec.Struct, frozen=True):
    """A scheduled bot has a new join_at (epoch seconds)."""

    bot_id: str
    join_at: float


class Move(msgspec.Struct, frozen=True):
    """The bot is in a new state, as its agent saw it at `at` (wall clock, epoch seconds)."""

    bot_id: str
    attempt: int
    state: BotState
    at: float
    screen: str = ""
    rule: str = ""
    first_request_at: float = 0.0


class Note(msgspec.Struct, frozen=True):
    """Keep an agent's event of the current attempt as it is. `platform`: of the bot. `status`: the new outward status;
    empty: unchanged.
    """

    event: Fact
    platform: str = ""
    status: str = ""


class NoteRecorded(msgspec.Struct, frozen=True):
    """Keep an agent's event about a recording, a transcript or a live feed: it may come long after the bot's end."""

    event: BotRecorded | BotStreamed | BotTranscribed


class NoteFailed(msgspec.Struct, frozen=True):
    """An attempt failed, and the bot is sent in again. `evidence`: the name of its bundle."""

    bot_id: str
    attempt: int
    reason: Reason
    detail: str
    evidence: str


class Remember(msgspec.Struct, frozen=True):
    """Keep the most specific reason of the bot's failed attempts, for its end."""

    bot_id: str
    attempt: int
    reason: Reason
    detail: str


class Enqueue(msgspec.Struct, frozen=True):
    """The bot waits for a worker, because its time has come or (`why`) because an attempt failed. `failed`: how many
    attempts failed and count. `unmet`: no VM has what its job requires.
    """

    bot_id: str
    attempt: int
    why: Why | None = None
    failed: int = 0
    unmet: bool = False


class Revoke(msgspec.Struct, frozen=True):
    """Take the assignment back unless the agent has claimed it. Answered by the event Revoked."""

    bot_id: str
    attempt: int


class Ask(msgspec.Struct, frozen=True):
    """Tell the agent to take the bot out of the meeting."""

    vm_id: str
    worker_id: str
    bot_id: str
    attempt: int
    reason: Reason


class EndByForce(msgspec.Struct, frozen=True):
    """Order the agent to end the bot's browser, because the bot did not leave in time."""

    vm_id: str
    worker_id: str
    bot_id: str
    attempt: int


class Say(msgspec.Struct, frozen=True):
    """Tell the agent what the bot is to write in its meeting's chat."""

    vm_id: str
    worker_id: str
    bot_id: str
    attempt: int
    message: str


class Pause(msgspec.Struct, frozen=True):
    """Record nothing of the bot's meeting, or record it again: note that, and tell its agent. `vm_id` empty: no agent
    has it, and the next one is told with the assignment.
    """

    vm_id: str
    worker_id: str
    bot_id: str
    attempt: int
    paused: bool


class Unsaid(msgspec.Struct, frozen=True):
    """Drop a chat message, because the bot is in no meeting. The message is not kept. `state`: of the bot; None: there
    is no such bot.
    """

    bot_id: str
    state: BotState | None


class End(msgspec.Struct, frozen=True):
    """The bot ends. `at` None: now. `owner`: the token whose quota it leaves. `evidence`: the name of its bundle. For
    an overdue bot: `by_force`: its agent ended it; `given_up`: nobody could end it.
    """

    bot_id: str
    attempt: int
    reason: Reason
    detail: str = ""
    at: float | None = None
    audio_packets: int = 0
    owner: str = ""
    evidence: str = ""
    by_force: bool = False
    given_up: bool = False


class Warm(msgspec.Struct, frozen=True):
    vm_id: str
    worker_id: str
    since: float
    why: Why
    display: bool = False


class Retire(msgspec.Struct, frozen=True):
    """Order the worker to end. `by_force`: also if it serves a bot, because earlier orders had no effect. `served`: the
    bot in whose story the order is noted.
    """

    vm_id: str
    worker_id: str
    since: float
    why: Why
    by_force: bool = False
    served: str = ""


class KeepWorker(msgspec.Struct, frozen=True):
    """Make the worker's state durable, for the next leader."""

    vm_id: str
    worker_id: str
    state: WorkerState
    since: float
    born: float
    bot_id: str = ""
    kind: JobKind = JobKind.LISTENS
    display: bool = False


class ForgetWorker(msgspec.Struct, frozen=True):
    vm_id: str
    worker_id: str
    cause: GoneCause


class KeepVm(msgspec.Struct, frozen=True):
    """Make the VM's state durable. `resting`: it gets no bots for a while, because it did not begin assignments."""

    vm_id: str
    session: str
    draining: bool
    lost: bool
    stopping: bool = False
    resting: bool = False
    processors: float = 0.0
    labels: dict[str, str] = {}
    canary: bool = False
    joins_ok: int = 0
    joins_failed: int = 0
    out: str = ""
    makes_displays: bool = False
    is_taken_out: bool = False


class ForgetVm(msgspec.Struct, frozen=True):
    vm_id: str


Alone = (
    Assign
    | Reschedule
    | Move
    | Note
    | NoteRecorded
    | NoteFailed
    | Remember
    | Enqueue
    | Revoke
    | Ask
    | EndByForce
    | Say
    | Pause
    | End
    | Warm
    | Retire
    | KeepWorker
    | ForgetWorker
    | KeepVm
    | ForgetVm
)
"""The decisions that change something in Redis by a script of their own. Bots are accepted several at once."""

Decision = Accept | Alone | Unsaid
