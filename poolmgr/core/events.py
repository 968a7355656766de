"""What the manager itself tells the pool, beside the agents' events of wire.messages. Frozen."""

from typing import Annotated

import msgspec
from msgspec import Meta

from poolmgr.core.job import Job
from wire import messages
from wire.vocabulary import Reason


class JobAccepted(msgspec.Struct, frozen=True):
    """A checked job, under the id it is to have. `at`: wall clock, epoch seconds."""

    bot_id: str
    job: Job
    at: float


class LeaveRequested(msgspec.Struct, frozen=True):
    bot_id: str
    reason: Reason = Reason.USER_REQUESTED


class RescheduleRequested(msgspec.Struct, frozen=True):
    """A scheduled bot is to join at another time. `join_at`: calendar time, epoch seconds."""

    bot_id: str
    join_at: float


class SayRequested(msgspec.Struct, frozen=True):
    """Somebody wants the bot to say `message` in its meeting's chat."""

    bot_id: str
    message: Annotated[str, Meta(min_length=1, max_length=messages.MOST_MESSAGE_CHARS)]


class DrainRequested(msgspec.Struct, frozen=True):
    """`draining` False takes the VM back into service."""

    vm_id: str
    draining: bool = True


class Revoked(msgspec.Struct, frozen=True):
    """The answer to a Revoke decision: False when the agent had claimed the assignment just in time."""

    bot_id: str
    attempt: int
    revoked: bool


class Unheard(msgspec.Struct, frozen=True):
    """Nobody was listened to for a while: this process was stopped, or its host. What was said then is yet to come."""


class Tick(msgspec.Struct, frozen=True):
    """Time has passed. `wall`: the calendar's time, which may jump, unlike the pool's own `now`."""

    wall: float


CoreEvent = (
    JobAccepted
    | LeaveRequested
    | SayRequested
    | RescheduleRequested
    | DrainRequested
    | Revoked
    | Unheard
    | Tick
    | messages.Event
)
