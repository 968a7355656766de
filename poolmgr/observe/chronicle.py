"""Logs durable decisions, and makes spans of them, once the orders to the agents are on their way.

Lines cost the manager a seventh of what it does for a job. So they wait until nothing has been decided for QUIET_S, or
the first of them has waited for LATEST_S. Each has the time at which its decision became durable. A manager that is
killed takes along what it has not logged; so what a backstop did is logged at once.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from itertools import repeat
from typing import Final

import structlog

from common.jobs.record import iso
from common.runtime.clock import Clock
from common.runtime.log import together
from poolmgr.core.decisions import Decision
from poolmgr.observe.log import Log, log_decided, log_overdue
from poolmgr.observe.traces import Traces

QUIET_S: Final = 0.05
LATEST_S: Final = 0.5
_MOST_WAITING: Final = 20_000
"""With more decisions than this, the oldest are logged at once, whatever else is to be done."""
_BREATH_S: Final = 0.002
"""Seconds after which the other loops get their turn."""

_log: Log = structlog.stdlib.get_logger()


class Chronicle:
    def __init__(self, traces: Traces, clock: Clock) -> None:
        self._traces = traces
        self._clock = clock
        self._waiting = deque[tuple[float, Decision]]()  # since when it is durable: wall clock, epoch seconds
        self._put = 0
        self._news = asyncio.Event()

    def put(self, decisions: Sequence[Decision]) -> None:
        """These decisions are durable now."""
        for decision in decisions:
            log_overdue(decision, self._traces.fields_of)
        self._waiting.extend(zip(repeat(self._clock.wall()), decisions))
        self._put += 1
        self._news.set()
        if len(self._waiting) > _MOST_WAITING:
            self._write(len(self._waiting) - _MOST_WAITING)

    async def run(self) -> None:
        """Log what is put, until cancelled."""
        while True:
            await self._news.wait()
            await self._quiet()
            self._news.clear()
            while self._waiting:
                self._write(len(self._waiting), self._clock.steady() + _BREATH_S)
                await asyncio.sleep(0)

    def write(self) -> None:
        """Log all that waits."""
        self._write(len(self._waiting))

    async def _quiet(self) -> None:
        latest, put = self._clock.steady() + LATEST_S, 0
        while put < self._put and self._clock.steady() < latest:
            put = self._put
            await asyncio.sleep(QUIET_S)

    def _write(self, most: int, until: float = math.inf) -> None:
        """`until`: steady clock."""
        log, logs_at = _log, None
        with together():
            for _ in range(most):
                at, decision = self._waiting.popleft()
                if at != logs_at:
                    log, logs_at = _log.bind(timestamp=iso(at)), at
                trace = self._traces.decided(decision, at)
                log_decided(log.bind(**trace) if trace else log, decision)
                if self._clock.steady() > until:
                    return
