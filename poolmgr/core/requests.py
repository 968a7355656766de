"""Requests of operators and clients to the pool, besides jobs."""

from typing import Annotated

import msgspec
from msgspec import Meta

from common.wire.messages import MOST_MESSAGE_CHARS
from common.wire.vocabulary import Reason


class LeaveRequested(msgspec.Struct, frozen=True):
    bot_id: str
    reason: Reason = Reason.USER_REQUESTED


class RescheduleRequested(msgspec.Struct, frozen=True):
    """A scheduled bot is to join at another time. `join_at`: calendar time, epoch seconds."""

    bot_id: str
    join_at: float


class SayRequested(msgspec.Struct, frozen=True):
    """The bot is to write `message` in its meeting's chat."""

    bot_id: str
    message: Annotated[str, Meta(min_length=1, max_length=MOST_MESSAGE_CHARS)]


class PauseRequested(msgspec.Struct, frozen=True):
    """Stop recording the bot's meeting; with `paused` False, record it again."""

    bot_id: str
    paused: bool = True


class DrainRequested(msgspec.Struct, frozen=True):
    """Drain the VM; `draining` False: take it back into service."""

    vm_id: str
    draining: bool = True


Request = LeaveRequested | SayRequested | PauseRequested | RescheduleRequested | DrainRequested
