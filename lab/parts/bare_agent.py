"""An agent without browsers that uses the agent's own journal and writer towards Redis. So it is as safe from a
failover as the real agent.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Final

from common.config.settings import RedisSettings
from common.wire.messages import (
    BotEnded,
    BotMoved,
    Command,
    Heartbeat,
    Join,
    JoinRefused,
    Leave,
    Retire,
    Warm,
    WorkerGone,
    WorkerReport,
    WorkerWarm,
)
from common.wire.vocabulary import BotState, GoneCause, Reason, RefusalCause, WorkerState
from worker.link.journal import Journal
from worker.link.redis import Link

LONG: Final = "long"
"""A bot whose id begins with this stays until it is asked to leave."""

_STAY_S: Final = (0.2, 1.5)
_BEAT_S: Final = 0.25


class Meetings:
    """Records who is in a meeting now, under which agent, and how often each bot came in. `doubles`: bots that were in
    twice at a time.
    """

    def __init__(self) -> None:
        self.inside: dict[str, str] = {}
        self.entries: Counter[str] = Counter()
        self.first_at: dict[str, float] = {}
        self.doubles: list[str] = []

    def enter(self, bot_id: str, worker_id: str) -> None:
        if other := self.inside.get(bot_id):
            self.doubles.append(f"{bot_id}: {other} and {worker_id}")
        self.inside[bot_id] = worker_id
        self.entries[bot_id] += 1
        self.first_at.setdefault(bot_id, time.monotonic())

    def leave(self, bot_id: str, worker_id: str) -> None:
        if self.inside.get(bot_id) == worker_id:
            del self.inside[bot_id]


class BareAgent:
    """`chance` says how long each bot stays; `labels` as worker.labels."""

    def __init__(
        self,
        settings: RedisSettings,
        vm_id: str,
        folder: Path,
        meetings: Meetings,
        chance: Random,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.vm_id = vm_id
        self.workers: dict[str, WorkerReport] = {}
        self._folder = folder / vm_id
        self._folder.mkdir()
        self._journal = Journal(self._folder / "journal.db")
        self._link = Link(settings, vm_id, self._journal, self._folder)
        self._meetings = meetings
        self._chance = chance
        self._labels = dict(labels or {})
        self._leaves: dict[str, asyncio.Future[Reason]] = {}

    async def run(self) -> None:
        """Run until it is cancelled, which stands for a sudden death."""
        try:
            await self._link.open(asyncio.Event())
            async with asyncio.TaskGroup() as group:
                group.create_task(self._link.write_events(), name="write events")
                group.create_task(self._beat(), name="beat")
                async for command in self._link.commands():
                    self._obey(command, group)
        finally:
            await self._link.close()
            self._journal.close()

    async def _beat(self) -> None:
        while True:
            said = (self.vm_id, self._journal.session, time.time(), dict(self.workers))
            self._link.send(Heartbeat(*said, room=100, labels=self._labels))
            await asyncio.sleep(_BEAT_S)

    def _obey(self, command: Command, group: asyncio.TaskGroup) -> None:
        match command:
            case Warm(worker_id=worker_id) if worker_id not in self.workers:
                self.workers[worker_id] = WorkerReport(WorkerState.IDLE)
                self._link.send(WorkerWarm(self.vm_id, worker_id, time.time(), 0.01))
            case Join():
                self._begin(command, group)
            case Leave(worker_id=worker_id, bot_id=bot_id, attempt=attempt, reason=reason):
                asked = self.workers.get(worker_id) == WorkerReport(WorkerState.BUSY, bot_id, attempt)
                if asked and not (leaves := self._leaves[worker_id]).done():
                    leaves.set_result(reason)
            case Retire(worker_id=worker_id):
                report = self.workers.get(worker_id)
                if report is None or report.state is WorkerState.IDLE:
                    self._gone(worker_id, GoneCause.RETIRED)
            case _:
                pass  # sent twice, or meaningless without a page

    def _begin(self, join: Join, group: asyncio.TaskGroup) -> None:
        report = self.workers.get(join.worker_id)
        if report == WorkerReport(WorkerState.BUSY, join.bot_id, join.attempt):
            return  # sent twice
        if report != WorkerReport(WorkerState.IDLE):
            refusal = RefusalCause.NO_SUCH_WORKER
            who = (self.vm_id, join.worker_id, join.bot_id, join.attempt)
            self._link.send(JoinRefused(*who, time.time(), refusal))
            return
        self.workers[join.worker_id] = WorkerReport(WorkerState.BUSY, join.bot_id, join.attempt)
        self._leaves[join.worker_id] = asyncio.get_running_loop().create_future()
        group.create_task(self._serve(join), name=f"serve {join.bot_id}")

    async def _serve(self, join: Join) -> None:
        worker_id, bot_id, attempt = join.worker_id, join.bot_id, join.attempt
        if not await self._link.claim(join):
            self.workers[worker_id] = WorkerReport(WorkerState.IDLE)
            return
        self._meetings.enter(bot_id, worker_id)
        for state in (BotState.JOINING, BotState.IN_MEETING):
            self._link.send(BotMoved(self.vm_id, worker_id, bot_id, attempt, time.time(), state))
        stay_s = None if bot_id.startswith(LONG) else self._chance.uniform(*_STAY_S)
        try:
            async with asyncio.timeout(stay_s):
                reason = await self._leaves[worker_id]
        except TimeoutError:
            reason = Reason.MEETING_ENDED
        self._meetings.leave(bot_id, worker_id)
        self._link.send(BotEnded(self.vm_id, worker_id, bot_id, attempt, time.time(), reason))
        self._gone(worker_id, GoneCause.SPENT)

    def _gone(self, worker_id: str, cause: GoneCause) -> None:
        self.workers.pop(worker_id, None)
        self._leaves.pop(worker_id, None)
        self._link.send(WorkerGone(self.vm_id, worker_id, time.time(), cause))
