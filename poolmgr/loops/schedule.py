"""Lets time pass for the pool: a Tick whenever one of its deadlines has come."""

import asyncio

from poolmgr.core.events import Tick
from poolmgr.loops.clock import Clock
from poolmgr.loops.desk import Desk

_LOOK_EVERY_S = 0.05
"""How late a deadline may be noticed. Twenty looks a second at a heap's top cost next to nothing."""


async def watch_deadlines(desk: Desk, clock: Clock) -> None:
    """Until cancelled."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        wall = clock.wall()
        if desk.pool.is_due(clock.steady(), wall):
            desk.put(Tick(wall))
