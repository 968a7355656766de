"""The manager's own events for the pool, besides the agents' events in common.wire.messages."""

import msgspec

from common.jobs.record import Job
from common.wire import messages
from poolmgr.core.requests import DrainRequested, LeaveRequested, PauseRequested, RescheduleRequested, SayRequested


class JobAccepted(msgspec.Struct, frozen=True):
    """A checked job with the id of its bot. `at`: wall clock, epoch seconds."""

    bot_id: str
    job: Job
    at: float


class Revoked(msgspec.Struct, frozen=True):
    """The answer to a Revoke decision. `revoked` False: the agent had claimed the assignment just in time."""

    bot_id: str
    attempt: int
    revoked: bool


class ProcessResumed(msgspec.Struct, frozen=True):
    """This process or its host was frozen for a while, so messages sent meanwhile are not read yet."""


class Tick(msgspec.Struct, frozen=True):
    """Time has passed. `wall`: the calendar's time, which may jump, unlike the pool's own `now`."""

    wall: float


CoreEvent = (
    JobAccepted
    | LeaveRequested
    | SayRequested
    | PauseRequested
    | RescheduleRequested
    | DrainRequested
    | Revoked
    | ProcessResumed
    | Tick
    | messages.Event
)
