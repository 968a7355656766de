"""Gives the pool a Tick whenever one of its deadlines has come."""

import asyncio

import structlog

from common.runtime.clock import Clock
from common.runtime.loop.turns import Turned, unwatched
from poolmgr.core.events import ProcessResumed, Tick
from poolmgr.loops.dispatcher import Dispatcher

_log = structlog.stdlib.get_logger()
_LOOK_EVERY_S = 0.05
"""How late a deadline may be noticed, in seconds. Looking at the top of a heap costs next to nothing."""


async def watch_deadlines(dispatcher: Dispatcher, clock: Clock, away_s: float, turned: Turned = unwatched) -> None:
    """Watch deadlines until cancelled. If this loop stood still for more than `away_s`, so did those that read events:
    then the pool gets ProcessResumed.
    """
    looked_at = clock.steady()
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        turned()
        now, wall = clock.steady(), clock.wall()
        if now - looked_at > away_s:
            _log.warning("process_was_stopped", seconds=round(now - looked_at, 3))
            dispatcher.put(ProcessResumed())
        looked_at = now
        if dispatcher.pool.is_due(now, wall):
            dispatcher.put(Tick(wall))
