"""An agent without browsers, for what does not need them: it speaks the real wire, claims with the real script, and
can be killed, silenced or made to refuse. `Meetings` is the outside witness: who was in which meeting, how often.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import worker
from common.wire import codec
from common.wire.keys import WireKeys
from common.wire.messages import (
    BotEnded,
    BotMoved,
    Event,
    Heartbeat,
    Join,
    JoinRefused,
    Leave,
    Retire,
    Say,
    Warm,
    WorkerGone,
    WorkerReport,
    WorkerWarm,
)
from common.wire.vocabulary import BotState, GoneCause, Reason, RefusalCause, WorkerState
from poolmgr.store.answers import entries_of

_CLAIM = (Path(worker.__file__).parent / "link" / "lua" / "claim.lua").read_bytes()


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
    """`stay_s`: how long a bot stays in its meeting by itself; None: until it is told to leave."""

    def __init__(
        self, redis: Any, prefix: str, vm_id: str, meetings: Meetings, *, stay_s: float | None = None, room: int = 100
    ) -> None:
        self.vm_id = vm_id
        self.room = room
        self.most_workers = 0
        self.refuses = False
        self.warms = True
        self.said: list[tuple[str, str]] = []
        self.workers: dict[str, WorkerReport] = {}
        self._redis = redis
        self._keys = WireKeys(prefix)
        self._meetings = meetings
        self._stay_s = stay_s
        self._session = f"session-{time.monotonic_ns()}"
        self._claim = redis.register_script(_CLAIM)
        self._is_new = True
        self._telling = asyncio.Lock()  # whoever asks first has it first
        self._group: asyncio.TaskGroup | None = None
        self._stays: list[asyncio.Task[None]] = []

    def successor(self) -> "SimulatedAgent":
        """The next agent on the same state folder: it finds the browsers, and goes on under the same session."""
        after = SimulatedAgent(
            self._redis, self._keys.prefix, self.vm_id, self._meetings, stay_s=self._stay_s, room=self.room
        )
        after._session, after.workers, after._is_new = self._session, dict(self.workers), False
        return after

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["SimulatedAgent"]:
        """Runs until the end of the block, which is the agent's sudden death."""
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
            await self.heartbeat()
            await asyncio.sleep(0.2)

    async def heartbeat(self) -> None:
        room = max(0, self.room - len(self.workers))
        await self.tell(Heartbeat(self.vm_id, self._session, time.time(), dict(self.workers), room=room))
        await self._redis.set(self._keys.alive(self.vm_id), "simulated", ex=15)

    async def tell(self, *events: Event) -> None:
        """In the order of the calls, however many are under way: as with the real one, no heartbeat overtakes news."""
        async with self._telling:
            for event in events:
                await self._redis.xadd(self._keys.events, {codec.FIELD: codec.encode(event)})

    async def _answer_backlog(self) -> None:
        """What was ordered from an agent before it went with its workers, as with the real one."""
        key = self._keys.commands(self.vm_id)
        for entry in entries_of(await self._redis.xread({key: b"0"})):
            command = codec.decode_command(entry.fields[codec.FIELD.encode()])
            if isinstance(command, Join):
                await self._refuse(command, RefusalCause.NO_SUCH_WORKER)
            await self._redis.xdel(key, entry.entry_id)

    async def _refuse(self, join: Join, cause: RefusalCause) -> None:
        await self.tell(JoinRefused(self.vm_id, join.worker_id, join.bot_id, join.attempt, time.time(), cause))

    async def _obey(self) -> None:
        key, after = self._keys.commands(self.vm_id), b"0"
        while True:
            for entry in entries_of(await self._redis.xread({key: after}, block=100)):
                after = entry.entry_id
                await self._carry_out(codec.decode_command(entry.fields[codec.FIELD.encode()]))
                await self._redis.xdel(key, entry.entry_id)

    async def _carry_out(self, command: Any) -> None:
        now = time.time()
        match command:
            case Warm(worker_id=worker_id):
                if not self.warms:
                    await self.tell(WorkerGone(self.vm_id, worker_id, now, GoneCause.WARMUP_FAILED, "as told"))
                    return
                self.workers[worker_id] = WorkerReport(WorkerState.IDLE)
                self.most_workers = max(self.most_workers, len(self.workers))
                await self.tell(WorkerWarm(self.vm_id, worker_id, now, 0.01))
            case Join():
                await self._join(command)
            case Leave(worker_id=worker_id, bot_id=bot_id, attempt=attempt, reason=reason):
                if self.workers.get(worker_id) == WorkerReport(WorkerState.BUSY, bot_id, attempt):
                    await self.end(worker_id, reason)
            case Retire(worker_id=worker_id):
                if self.workers.pop(worker_id, None) != WorkerReport(WorkerState.BUSY):
                    await self.tell(WorkerGone(self.vm_id, worker_id, now, GoneCause.RETIRED))
            case Say(bot_id=bot_id, message=message):
                self.said.append((bot_id, message))
            case _:
                raise AssertionError(f"no such command: {command}")

    async def _join(self, join: Join) -> None:
        worker_id = join.worker_id
        idle = self.workers.get(worker_id) == WorkerReport(WorkerState.IDLE)
        if self.refuses or not idle:
            await self._refuse(join, RefusalCause.BROWSER_DEAD if idle else RefusalCause.NO_SUCH_WORKER)
            if self.workers.pop(worker_id, None):
                await self.tell(WorkerGone(self.vm_id, worker_id, time.time(), GoneCause.UNRESPONSIVE))
            return
        keys = [self._keys.bot(join.bot_id)]
        if not await self._claim(keys=keys, args=[join.attempt, worker_id, "2027-01-01T00:00:00Z"]):
            return
        self.workers[worker_id] = WorkerReport(WorkerState.BUSY, join.bot_id, join.attempt)
        self._meetings.enter(join.bot_id, worker_id)
        for state in (BotState.JOINING, BotState.IN_MEETING):
            await self.tell(BotMoved(self.vm_id, worker_id, join.bot_id, join.attempt, time.time(), state))
        if self._stay_s is not None and self._group:
            stay = self._group.create_task(self._stay(worker_id, self._stay_s), name=f"stay {join.bot_id}")
            self._stays.append(stay)

    async def _stay(self, worker_id: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.end(worker_id, Reason.MEETING_ENDED)

    async def end(self, worker_id: str, reason: Reason) -> None:
        report = self.workers.pop(worker_id, None)
        if report is None:
            return
        self._meetings.leave(report.bot_id)
        now = time.time()
        await self.tell(
            BotEnded(self.vm_id, worker_id, report.bot_id, report.attempt, now, reason),
            WorkerGone(self.vm_id, worker_id, now, GoneCause.SPENT),
        )

    @property
    def idle(self) -> int:
        return sum(report.state is WorkerState.IDLE for report in self.workers.values())
