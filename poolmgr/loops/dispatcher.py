"""Hands events to the pool, and carries its decisions out in Redis in their order.

All loops of a leader use it. Decisions made while Redis works on one batch are the next batch: so batches grow with the
load, and a single job is sent at once.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from common.runtime import steps
from common.runtime.clock import Clock
from common.runtime.steps import ManagerStep
from poolmgr.core.decisions import Decision
from poolmgr.core.events import CoreEvent
from poolmgr.core.pool import Pool
from poolmgr.store.leader.ledger import Ledger

_MOST_AT_ONCE = 2000
"""Decisions in one round trip: enough for full speed, and few enough not to delay other clients of Redis."""


class Dispatcher:
    """Events in, durable decisions out. `on_durable` is called with every batch of decisions once it is in Redis."""

    def __init__(
        self, pool: Pool, ledger: Ledger, clock: Clock, on_durable: Callable[[Sequence[Decision]], None]
    ) -> None:
        self.pool = pool
        self._ledger = ledger
        self._clock = clock
        self._on_durable = on_durable
        self._waiting: list[Decision] = []
        self._decided = 0
        self._durable = 0
        self._work = asyncio.Event()
        self._progress = asyncio.Condition()

    def begin(self, decisions: Iterable[Decision]) -> None:
        """Carry out the decisions that the pool made when it was restored."""
        self._waiting.extend(decisions)
        self._decided += len(self._waiting)
        self._work.set()

    def put(self, event: CoreEvent) -> None:
        """Let the pool handle `event` now. Await `durable` before acknowledging the event."""
        decisions = self.pool.handle(event, self._clock.steady())
        if decisions:
            self._waiting.extend(decisions)
            self._decided += len(decisions)
            self._work.set()

    async def durable(self, *, ahead: int = 0) -> None:
        """Wait until all decisions so far are in Redis, except the last `ahead` ones."""
        until = self._decided - ahead
        async with self._progress:
            await self._progress.wait_for(lambda: self._durable >= until)

    async def run(self) -> None:
        """Carry out decisions until cancelled. Raises: as Ledger.apply; then the pool has to be rebuilt."""
        most = 1 if steps.is_armed(ManagerStep.DECISION_APPLIED) else _MOST_AT_ONCE
        while True:
            await self._work.wait()
            batch, self._waiting = self._waiting[:most], self._waiting[most:]
            if not self._waiting:
                self._work.clear()
            news = await self._ledger.apply(batch, self._clock.wall())
            steps.done(ManagerStep.DECISION_APPLIED)
            self._on_durable(batch)
            for event in news:
                self.put(event)
            async with self._progress:
                self._durable += len(batch)
                self._progress.notify_all()
