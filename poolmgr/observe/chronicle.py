"""Logs durable decisions, counts them, and makes spans of them, once the orders to the agents are on their way.

Lines and counts cost the manager a fifth of what it does for a job. So they wait until nothing has been decided for
QUIET_S, or the first of them has waited for LATEST_S. Each has the time at which its decision became durable. A manager
that is killed takes along what it has not logged; so what a backstop did is logged at once. Its counts end with it
anyway.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from common.jobs.record import iso
from common.runtime.clock import Clock
from common.runtime.log import together
from poolmgr.core.decisions import Decision
from poolmgr.observe.log import Log, log_decided, log_overdue
from poolmgr.observe.metrics import Metrics
from poolmgr.observe.traces import Traces

QUIET_S: Final = 0.05
LATEST_S: Final = 0.5
_MOST_WAITING: Final = 20_000
"""With more decisions than this, the oldest are logged at once, whatever else is to be done."""
_BREATH_S: Final = 0.002
"""Seconds after which the other loops get their turn."""

_log: Log = structlog.stdlib.get_logger()


class _Durable(NamedTuple):
    """`steady`, `wall`: when it became that, by either clock (epoch seconds)."""

    decision: Decision
    steady: float
    wall: float


class Chronicle:
    def __init__(self, traces: Traces, metrics: Metrics, clock: Clock) -> None:
        self._traces = traces
        self._metrics = metrics
        self._clock = clock
        self._waiting = deque[_Durable]()
        self._put = 0
        self._news = asyncio.Event()

    def put(self, decisions: Sequence[Decision]) -> None:
        """These decisions are durable now."""
        for decision in decisions:
            log_overdue(decision, self._traces.fields_of)
        steady, wall = self._clock.steady(), self._clock.wall()
        self._waiting.extend(_Durable(decision, steady, wall) for decision in decisions)
        self._put += 1
        self._news.set()
        if len(self._waiting) > _MOST_WAITING:
            self._write(len(self._waiting) - _MOST_WAITING)

    async def run(self) -> None:
        """Log and count what is put, until cancelled."""
        while True:
            await self._news.wait()
            await self._quiet()
            self._news.clear()
            while self._waiting:
                self._write(len(self._waiting), self._clock.steady() + _BREATH_S)
                await asyncio.sleep(0)

    def write(self) -> None:
        """Log and count all that waits."""
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
                decision, steady, wall = self._waiting.popleft()
                if wall != logs_at:
                    log, logs_at = _log.bind(timestamp=iso(wall)), wall
                self._metrics.decided(decision, steady, wall)
                trace = self._traces.decided(decision, wall)
                log_decided(log.bind(**trace) if trace else log, decision)
                if self._clock.steady() > until:
                    return
