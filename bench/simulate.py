"""Agents without browsers, many in one process: they speak the real protocol, and every order succeeds.

    python -m bench.simulate REDIS_URL VMS VMS_A_CONNECTION WARM_AFTER_S STAY_S ARRIVALS_FILE

A worker is warm WARM_AFTER_S after the order; a bot stays STAY_S in its meeting, then its worker is spent. That a Join
was read is written down, by the last word of its link, before anything else is done about it.
"""

import asyncio
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

import uvloop

from bench.stage import note_arrivals
from runtime.redis import connect
from wire import codec
from wire.keys import WireKeys
from wire.messages import BotEnded, Event, Heartbeat, Join, Retire, Warm, WorkerGone, WorkerReport, WorkerWarm
from wire.settings import RedisSettings
from wire.vocabulary import GoneCause, Reason, WorkerState

_HEARTBEAT_S: Final = 2.0
_SLICES: Final = 40  # heartbeats are spread over the interval, as those of many hosts are
_MOST_AT_ONCE: Final = 500
_FIELD: Final = codec.FIELD.encode()
_ROOM: Final = 100
_ALIVE_S: Final = 15


class SimulatedVm:
    def __init__(self, vm_id: str) -> None:
        self.vm_id = vm_id
        self.session = uuid.uuid4().hex
        self.workers: dict[str, WorkerReport] = {}

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(self.vm_id, self.session, time.time(), self.workers, _ROOM)


class Agents:
    def __init__(
        self, url: str, vms: int, warm_after_s: float, stay_s: float, note: Callable[[list[str]], None]
    ) -> None:
        # Typed as Any, as in poolmgr/store: its answers are typed as unions of every shape.
        self._redis: Any = connect(RedisSettings(url=url))
        self._keys = WireKeys("poolmgr")
        self._vms = [SimulatedVm(f"vm-{number:04}") for number in range(vms)]
        self._warm_after_s = warm_after_s
        self._stay_s = stay_s
        self._note = note
        self._outbox: list[Event] = []
        self._news = asyncio.Event()

    async def run(self, vms_a_connection: int) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(), name="events")
            group.create_task(self._beat(), name="heartbeats")
            for start in range(0, len(self._vms), vms_a_connection):
                some = self._vms[start : start + vms_a_connection]
                group.create_task(self._obey(some), name=f"commands from {some[0].vm_id} on")

    async def _beat(self) -> None:
        while True:
            for number in range(_SLICES):
                for vm in self._vms[number::_SLICES]:
                    self._send(vm.heartbeat())
                await asyncio.sleep(_HEARTBEAT_S / _SLICES)

    async def _write(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            batch, self._outbox = self._outbox, []
            pipeline = self._redis.pipeline(transaction=False)
            for event in batch:
                pipeline.xadd(self._keys.events, {codec.FIELD: codec.encode(event)})
                if isinstance(event, Heartbeat):
                    pipeline.set(self._keys.alive(event.vm_id), "{}", ex=_ALIVE_S)
            await pipeline.execute()

    async def _obey(self, vms: Sequence[SimulatedVm]) -> None:
        by_key = {self._keys.commands(vm.vm_id).encode(): vm for vm in vms}
        after: dict[bytes, bytes] = dict.fromkeys(by_key, b"0")
        while True:
            answer = await self._redis.xread(after, count=_MOST_AT_ONCE, block=1000)
            streams: list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]] = answer or []
            commands = [
                (by_key[key], codec.decode_command(fields[_FIELD])) for key, entries in streams for _, fields in entries
            ]
            if joins := [_meeting(command) for _, command in commands if isinstance(command, Join)]:
                self._note(joins)
            for vm, command in commands:
                self._carry_out(vm, command)
            if streams:
                pipeline = self._redis.pipeline(transaction=False)
                for key, entries in streams:
                    after[key] = entries[-1][0]
                    pipeline.xdel(key, *(entry_id for entry_id, _ in entries))
                await pipeline.execute()

    def _carry_out(self, vm: SimulatedVm, command: object) -> None:
        match command:
            case Warm(worker_id=worker_id):
                vm.workers[worker_id] = WorkerReport(WorkerState.WARMING)
                self._later(self._warm_after_s, lambda: self._be_warm(vm, worker_id))
            case Join(worker_id=worker_id, bot_id=bot_id, attempt=attempt):
                vm.workers[worker_id] = WorkerReport(WorkerState.BUSY, bot_id, attempt)
                self._later(self._stay_s, lambda: self._be_spent(vm, command))
            case Retire(worker_id=worker_id):
                self._gone(vm, worker_id, GoneCause.RETIRED)
            case _:
                pass

    def _later(self, delay_s: float, do: Callable[[], None]) -> None:
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, do)
        else:
            do()

    def _be_warm(self, vm: SimulatedVm, worker_id: str) -> None:
        vm.workers[worker_id] = WorkerReport(WorkerState.IDLE)
        self._send(WorkerWarm(vm.vm_id, worker_id, time.time(), self._warm_after_s))

    def _be_spent(self, vm: SimulatedVm, join: Join) -> None:
        ended = (vm.vm_id, join.worker_id, join.bot_id, join.attempt, time.time(), Reason.MEETING_ENDED)
        self._send(BotEnded(*ended))
        self._gone(vm, join.worker_id, GoneCause.SPENT)

    def _gone(self, vm: SimulatedVm, worker_id: str, cause: GoneCause) -> None:
        vm.workers.pop(worker_id, None)
        self._send(WorkerGone(vm.vm_id, worker_id, time.time(), cause))

    def _send(self, event: Event) -> None:
        self._outbox.append(event)
        self._news.set()


def _meeting(join: Join) -> str:
    return join.meeting_url.rpartition("/")[2]


async def _main(url: str, vms: str, vms_a_connection: str, warm_after_s: str, stay_s: str, arrivals: str) -> None:
    agents = Agents(url, int(vms), float(warm_after_s), float(stay_s), note_arrivals(arrivals))
    await agents.run(int(vms_a_connection))


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
