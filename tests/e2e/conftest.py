"""Everything real on one machine: Redis, manager, agents with Chromium and the meeting room. The demo's tests see to it
that the programs are started as users start them.
"""

import json
import os
import signal
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect
from common.wire import codec
from common.wire.messages import BotVitals
from lab.meeting.server import create_app
from lab.parts.ports import free_ports
from lab.parts.table import describe_bearers
from poolmgr.store.keys import Keys
from poolmgr.store.reading.views import Views
from tests.fork_server import Forked, ForkServer
from tests.redis_users import Users, users_of
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.visits import serving
from worker.chromium.process import sweep

HOST_KEY = "a-host-key-for-tests"


class Fleet:
    """`settings` go to every program by the environment."""

    def __init__(self, fork_server: ForkServer, url: str, users: Users, prefix: str, folder: Path, room: str) -> None:
        self.redis: Any = connect(RedisSettings(url=url, timeout_s=PATIENCE_S))
        self.keys = Keys(prefix)
        self.views = Views(self.redis, self.keys)
        self._users = users
        self._client: Any = connect(RedisSettings(url=users.url("poolmgr-client"), timeout_s=PATIENCE_S))
        self.room = room
        self.folder = folder
        self._api, self._metrics = free_ports(2)
        self._fork_server = fork_server
        self._processes: dict[str, Forked] = {}
        self._environment = {
            **os.environ,
            "POOLMGR_REDIS__PREFIX": prefix,
            "POOLMGR_MEETINGS__ROOM_HOSTS": json.dumps([room.removeprefix("http://")]),
            "POOLMGR_API__LISTEN": f"127.0.0.1:{self._api}",
            "POOLMGR_METRICS__LISTEN": f"127.0.0.1:{self._metrics}",
            "POOLMGR_WORKER__MEMORY_RESERVE_MB": "256",
            "POOLMGR_WORKER__LOOK": "true",
            "POOLMGR_WORKER__LAUNCH_TIMEOUT_S": str(PATIENCE_S),
        }

    def start_manager(self, **pool: str) -> None:
        settings = {f"POOLMGR_POOL__{name.upper()}": value for name, value in pool.items()}
        self._start("manager", "poolmgr", "serve", POOLMGR_REDIS__URL=self._users.url("poolmgr-manager"), **settings)

    def start_agent(self, vm_id: str) -> None:
        settings = {"POOLMGR_WORKER__VM_ID": vm_id, "POOLMGR_WORKER__STATE_DIR": str(self.state_dir(vm_id))}
        self._start(vm_id, "worker", "run", POOLMGR_REDIS__URL=self._users.url("poolmgr-agent"), **settings)

    def state_dir(self, vm_id: str) -> Path:
        return self.folder / vm_id

    def signal(self, name: str, number: signal.Signals) -> None:
        self._processes[name].send_signal(number)

    async def ended(self, name: str) -> int:
        """Its exit code, once it has ended."""
        return await self._processes[name].ended()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    async def push(self, bot_id: str, **fields: object) -> None:
        job = {"meeting_link": f"{self.room}/r/test", "bot_id": bot_id, "bot_name": f"Bot {bot_id}", **fields}
        await self._client.lpush(self.keys.jobs, json.dumps(job))

    async def refused(self) -> list[str]:
        """What Redis refused to a program or a client, because its user may not."""
        return await self._users.refused(self.redis)

    async def record(self, bot_id: str) -> dict[str, str]:
        record = await self.views.bot(bot_id)
        return record.texts() if record else {}

    async def until_state(self, bot_ids: list[str], state: str, timeout_s: float = PATIENCE_S) -> None:
        async def reached() -> bool:
            return all([(await self.record(bot_id)).get("state") == state for bot_id in bot_ids])

        await wait_until(reached, timeout_s)

    async def vitals(self, bot_id: str, where: Callable[[BotVitals], bool]) -> list[BotVitals]:
        """The signs of life of that kind so far."""
        entries: Any = await self.redis.xrange(self.keys.events)
        events = [codec.decode_event(fields[b"m"]) for _, fields in entries]
        return [event for event in events if isinstance(event, BotVitals) and event.bot_id == bot_id and where(event)]

    async def until_workers(self, by_vm: dict[str, dict[str, int]], timeout_s: float = PATIENCE_S) -> None:
        """Until each VM has exactly these workers, by state; states that are not named: none."""

        async def reached() -> bool:
            found = {vm.vm_id: {s: n for s, n in vm.workers.items() if n} for vm in await self.views.fleet()}
            return all(found.get(vm_id) == workers for vm_id, workers in by_vm.items())

        await wait_until(reached, timeout_s)

    def processes(self) -> list[str]:
        """What still runs of this fleet: its programs by name, and the command lines of what they started, which name
        its folder.
        """
        found = [name for name, process in self._processes.items() if process.poll() is None]
        return found + describe_bearers(str(self.folder))

    def worker_folders(self) -> list[Path]:
        return list(self.folder.glob("*/workers/*"))

    async def close(self) -> None:
        for process in self._processes.values():
            process.close()
        for folder in self.folder.glob("*/workers"):  # a killed agent's browsers live on, for its next start to find
            sweep(folder.parent)
        await self._client.aclose()
        await self.redis.aclose()

    def _start(self, name: str, program: str, command: str, **settings: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            environment = {**self._environment, **settings}
            self._processes[name] = self._fork_server.start(program, command, environment=environment, log=log)


@pytest.fixture
async def room() -> AsyncGenerator[str]:
    """The address of a meeting room with a lobby."""
    async with serving(create_app(HOST_KEY)) as address:
        yield address


@pytest.fixture
async def users(redis_server: str, prefix: str) -> AsyncGenerator[Users]:
    async with users_of(redis_server, prefix) as users:
        yield users


@pytest.fixture
async def fleet(
    fork_server: ForkServer, redis_server: str, users: Users, prefix: str, tmp_path: Path, room: str
) -> AsyncGenerator[Fleet]:
    fleet = Fleet(fork_server, redis_server, users, prefix, tmp_path, room)
    yield fleet
    await fleet.close()
