"""Agents without browsers, many in one process: they speak the real protocol with the agent's own scripts, and every
order succeeds.

    python -m lab.bench.simulate REDIS_URL VMS VMS_A_CONNECTION WARM_AFTER_S STAY_S ARRIVALS_FILE [BEATS_AT_ONCE]

Heartbeats are spread over their interval. BEATS_AT_ONCE VMs send theirs in the same moment, which is cheaper to
simulate than one after the other. A worker is warm WARM_AFTER_S after the order. A bot stays STAY_S in its meeting,
then its worker is spent. The reading of a Join is recorded, by the last word of its link, before anything else is done
with it.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import uvloop

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect
from common.runtime.redis.roundtrip import ask
from common.wire import codec
from common.wire.keys import WireKeys
from common.wire.messages import Join, Retire, Warm, WorkerReport
from common.wire.vocabulary import GoneCause, Reason, WorkerState
from lab.bench.arrivals import note_arrivals
from lab.parts.agent import SimulatedVm
from worker.link import scripts

_HEARTBEAT_S: Final = 2.0
_MOST_AT_ONCE: Final = 500
_FIELD: Final = codec.FIELD.encode()


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
        self._talkative: dict[str, SimulatedVm] = {}
        self._news = asyncio.Event()

    async def run(self, vms_a_connection: int, beats_at_once: int) -> None:
        await scripts.SCRIPTS.load(self._redis)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(), name="events")
            group.create_task(self._beat(beats_at_once), name="heartbeats")
            for start in range(0, len(self._vms), vms_a_connection):
                some = self._vms[start : start + vms_a_connection]
                group.create_task(self._obey(some), name=f"commands from {some[0].vm_id} on")

    async def _beat(self, at_once: int) -> None:
        at_once = min(at_once, len(self._vms))
        due, pause_s = time.monotonic(), _HEARTBEAT_S * at_once / len(self._vms)
        while True:
            for start in range(0, len(self._vms), at_once):
                for vm in self._vms[start : start + at_once]:
                    self._later(vm, 0.0, vm.beat)
                due += pause_s
                await asyncio.sleep(due - time.monotonic())

    async def _write(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            talkative, self._talkative = self._talkative, {}
            await self._do([self._writing(vm) for vm in talkative.values()])

    def _writing(self, vm: SimulatedVm) -> tuple[Any, ...]:
        return vm.news(self._keys).command()

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
            done = [self._claiming(command) for _, command in commands if isinstance(command, Join)]
            for key, entries in streams:
                after[key] = entries[-1][0]
                done.append(("XDEL", key, *(entry_id for entry_id, _ in entries)))
            await self._do(done)

    async def _do(self, commands: list[tuple[Any, ...]]) -> None:
        for answer in await ask(self._redis, commands) if commands else ():
            if isinstance(answer, Exception):
                raise answer

    def _claiming(self, join: Join) -> tuple[Any, ...]:
        now = datetime.now(UTC).isoformat()
        bot = self._keys.bot(join.bot_id)
        return scripts.claim(bot=bot, attempt=join.attempt, worker_id=join.worker_id, at=now).command()

    def _carry_out(self, vm: SimulatedVm, command: object) -> None:
        match command:
            case Warm(worker_id=worker_id):
                vm.workers[worker_id] = WorkerReport(WorkerState.WARMING)
                self._later(vm, self._warm_after_s, lambda: vm.warmed(worker_id, self._warm_after_s))
            case Join(worker_id=worker_id):
                vm.begin(command)
                self._later(vm, self._stay_s, lambda: vm.end(worker_id, Reason.MEETING_ENDED))
            case Retire(worker_id=worker_id):
                self._later(vm, 0.0, lambda: vm.gone(worker_id, GoneCause.RETIRED))
            case _:
                pass

    def _later(self, vm: SimulatedVm, delay_s: float, say: Callable[[], None]) -> None:
        def tell() -> None:
            say()
            self._talkative[vm.vm_id] = vm
            self._news.set()

        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, tell)
        else:
            tell()


def _meeting(join: Join) -> str:
    return join.meeting_url.rpartition("/")[2]


async def _main(
    url: str, vms: str, vms_a_connection: str, warm_after_s: str, stay_s: str, arrivals: str, beats_at_once: str = "25"
) -> None:
    agents = Agents(url, int(vms), float(warm_after_s), float(stay_s), note_arrivals(arrivals))
    await agents.run(int(vms_a_connection), int(beats_at_once))


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
