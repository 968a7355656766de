"""Once a minute, gives an end to what has none of its own: read events, and index entries of expired bots."""

import asyncio
from collections.abc import Awaitable, Callable

from poolmgr.loops.clock import Clock
from poolmgr.store.inbox import Stream
from wire.settings import RetentionSettings

_EVERY_S = 60.0


async def reap(
    events: Stream,
    forget_ended: Callable[[float], Awaitable[int]],
    clock: Clock,
    retention: RetentionSettings,
) -> None:
    """Until cancelled."""
    while True:
        await events.trim(clock.wall() - retention.events_s)
        await forget_ended(clock.wall() - retention.bot_s)
        await asyncio.sleep(_EVERY_S)
