"""An agent without browsers, for tests that need none: it speaks the real protocol, claims with the real script, and
can be killed, silenced or made to refuse.

`Meetings` records independently which bots were in which meeting, and how often.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from common.wire import codec
from common.wire.keys import WireKeys
from common.wire.messages import BotMoved, Event, Join, Leave, Retire, Say, Warm, WorkerReport
from common.wire.vocabulary import BotState, GoneCause, Reason, RefusalCause, WorkerState
from lab.parts.agent import SimulatedVm
from poolmgr.store.answers import entries_of
from worker.link.scripts import claim


class Meetings:
    """Who is in a meeting now and how often each bot came in. `doubles`: bots that were in twice at the same time."""

    def __init__(self) -> None:
        self.inside: dict[str, str] = {}
        self.entries: Counter[str] = Counter()
        self.doubles: list[str] = []

    def enter(self, bot_id: str, worker_id: str) -> None:
        if bot_id in self.inside:
            self.doubles.append(f"{bot_id}: {self.inside[bot_id]} and {worker_id}")
        self.inside[bot_id] = worker_id
        self.entries[bot_id] += 1

    def leave(self, bot_id: str) -> None:
        self.inside.pop(bot_id, None)


class SimulatedAgent:
    """`stay_s`: how long a bot stays in its meeting by itself; None: until it is told to leave, if it `leaves` then.
    `joins_in_s`: how long joining takes, one bot after the other. `meets`: why it does not get in; None: it does.
    """

    def __init__(
        self, redis: Any, prefix: str, vm_id: str, meetings: Meetings, *, stay_s: float | None = None, room: int = 100
    ) -> None:
        self.most_workers = 0
        self.refuses = False
        self.warms = True
        self.leaves = True
        self.joins_in_s = 0.0
        self.meets: Reason | None = None
        self.said: list[tuple[str, str]] = []
        self._vm = SimulatedVm(vm_id, room)
        self._redis = redis
        self._keys = WireKeys(prefix)
        self._meetings = meetings
        self._stay_s = stay_s
        self._is_new = True
        self._telling = asyncio.Lock()  # whoever asks first has it first
        self._group: asyncio.TaskGroup | None = None
        self._stays: list[asyncio.Task[None]] = []

    @property
    def workers(self) -> dict[str, WorkerReport]:
        return self._vm.workers

    @property
    def idle(self) -> int:
        return sum(report.state is WorkerState.IDLE for report in self.workers.values())

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["SimulatedAgent"]:
        """Runs until the end of the block, which is the agent's sudden death. Run again, it is the next agent on
        the same state folder: it finds the browsers, and goes on under the same session.
        """
        if self._is_new:
            await self._answer_backlog()
            self._is_new = False
        async with asyncio.TaskGroup() as group:
            self._group = group
            tasks = [group.create_task(self._beat(), name="beat"), group.create_task(self._obey(), name="obey")]
            try:
                yield self
            finally:
                for task in [*tasks, *self._stays]:
                    task.cancel()

    async def _beat(self) -> None:
        while True:
            self._vm.beat()
            await self._tell()
            await asyncio.sleep(0.2)

    async def _tell(self, *events: Event) -> None:
        """In the order of the calls, however many are under way: as with the real one, no heartbeat overtakes news."""
        self._vm.say(*events)
        async with self._telling:
            await self._vm.news(self._keys).run(self._redis)

    async def _answer_backlog(self) -> None:
        """What was ordered from an agent before it went with its workers, as with the real one."""
        key = self._keys.commands(self._vm.vm_id)
        for entry in entries_of(await self._redis.xread({key: b"0"})):
            command = codec.decode_command(entry.fields[codec.FIELD.encode()])
            if isinstance(command, Join):
                self._vm.refuse(command, RefusalCause.NO_SUCH_WORKER)
            await self._redis.xdel(key, entry.entry_id)
        await self._tell()

    async def _obey(self) -> None:
        key, after = self._keys.commands(self._vm.vm_id), b"0"
        while True:
            for entry in entries_of(await self._redis.xread({key: after}, block=100)):
                after = entry.entry_id
                await self._carry_out(codec.decode_command(entry.fields[codec.FIELD.encode()]))
                await self._tell()
                await self._redis.xdel(key, entry.entry_id)

    async def _carry_out(self, command: Any) -> None:
        match command:
            case Warm(worker_id=worker_id) if not self.warms:
                self._vm.gone(worker_id, GoneCause.WARMUP_FAILED, "as told")
            case Warm(worker_id=worker_id):
                self._vm.warmed(worker_id, 0.01)
                self.most_workers = max(self.most_workers, len(self.workers))
            case Join():
                await self._join(command)
            case Leave(worker_id=worker_id, bot_id=bot_id, attempt=attempt, reason=reason):
                if self.leaves and self.workers.get(worker_id) == WorkerReport(WorkerState.BUSY, bot_id, attempt):
                    await self.end(worker_id, reason)
            case Retire(worker_id=worker_id):
                self._vm.gone(worker_id, GoneCause.RETIRED)
            case Say(bot_id=bot_id, message=message):
                self.said.append((bot_id, message))
            case _:
                raise AssertionError(f"no such command: {command}")

    async def _join(self, join: Join) -> None:
        worker_id = join.worker_id
        if self.workers.get(worker_id) == WorkerReport(WorkerState.BUSY, join.bot_id, join.attempt):
            return  # ordered again: the agent before died before it had struck the order out
        idle = self.workers.get(worker_id) == WorkerReport(WorkerState.IDLE)
        if self.refuses or not idle:
            self._vm.refuse(join, RefusalCause.BROWSER_DEAD if idle else RefusalCause.NO_SUCH_WORKER)
            if worker_id in self.workers:
                self._vm.gone(worker_id, GoneCause.UNRESPONSIVE)
            return
        bot = self._keys.bot(join.bot_id)
        call = claim(bot=bot, attempt=join.attempt, worker_id=worker_id, at="2027-01-01T00:00:00Z")
        if not await call.run(self._redis):
            return
        self._vm.begin(join)
        self._meetings.enter(join.bot_id, worker_id)
        for state in (BotState.JOINING, BotState.IN_MEETING):
            await self._tell(BotMoved(self._vm.vm_id, worker_id, join.bot_id, join.attempt, time.time(), state))
            if state is BotState.JOINING and self.joins_in_s:
                await asyncio.sleep(self.joins_in_s)
            if state is BotState.JOINING and self.meets:
                await self.end(worker_id, self.meets)
                return
        if self._stay_s is not None and self._group:
            stay = self._group.create_task(self._stay(worker_id, self._stay_s), name=f"stay {join.bot_id}")
            self._stays.append(stay)

    async def _stay(self, worker_id: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.end(worker_id, Reason.MEETING_ENDED)

    async def end(self, worker_id: str, reason: Reason) -> None:
        if report := self.workers.get(worker_id):
            self._meetings.leave(report.bot_id)
            self._vm.end(worker_id, reason)
            await self._tell()
