"""The manager as a process of its own, on a real Redis, with simulated agents."""

import json
import os
import signal
from collections import defaultdict
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect
from lab.parts.ports import free_ports
from lab.parts.redis_server import RedisServer
from poolmgr.store.keys import Keys
from poolmgr.store.reading.views import Views
from tests.fork_server import Forked, ForkServer
from tests.simulated import Meetings, SimulatedAgent
from tests.waiting import PATIENCE_S, wait_until


class Manager:
    """`poolmgr serve` with small times, to be started, killed and started again."""

    def __init__(self, fork_server: ForkServer, url: str, prefix: str, folder: Path, **settings: str) -> None:
        api, metrics = free_ports(2)
        self.api = f"http://127.0.0.1:{api}"
        self.metrics = f"http://127.0.0.1:{metrics}/metrics"
        self._fork_server = fork_server
        self._log = (folder / f"manager-{api}.log").open("ab")
        self._environment = {
            **os.environ,
            "POOLMGR_REDIS__URL": url,
            "POOLMGR_REDIS__PREFIX": prefix,
            "POOLMGR_POOL__MIN_IDLE": "3",
            "POOLMGR_POOL__MAX_WORKERS": "8",
            "POOLMGR_POOL__HEARTBEAT_TIMEOUT_S": "30",  # as for claims, below
            "POOLMGR_WORKER__HEARTBEAT_S": "0.2",
            "POOLMGR_POOL__CLAIM_TIMEOUT_S": "20",  # the agents are in the process of the test, which may have to wait
            "POOLMGR_API__LISTEN": f"127.0.0.1:{api}",
            "POOLMGR_METRICS__LISTEN": f"127.0.0.1:{metrics}",
            "POOLMGR_LEASE__TTL_S": "1",
            **settings,
        }
        self.process: Forked | None = None

    def start(self) -> "Manager":
        sqs = ("aiobotocore.session",) if "POOLMGR_SQS__QUEUE_URL" in self._environment else ()
        self.process = self._fork_server.start(
            "poolmgr", "serve", environment=self._environment, log=self._log, imports=sqs
        )
        return self

    def signal(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        assert self.process
        return await self.process.ended()

    @property
    def is_over(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """kill -9, and wait until it is gone. Nothing happens when it runs no longer."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.kill()
        self._log.close()


class Scene:
    """A Redis, a manager, agents, and an outside view of what became of each job."""

    def __init__(self, fork_server: ForkServer, url: str, prefix: str, folder: Path) -> None:
        self.redis: Any = connect(RedisSettings(url=url, timeout_s=PATIENCE_S))
        self.url = url
        self.prefix = prefix
        self.keys = Keys(prefix)
        self.views = Views(self.redis, self.keys)
        self.meetings = Meetings()
        self._fork_server = fork_server
        self._folder = folder
        self._managers: list[Manager] = []

    def manager(self, **settings: str) -> Manager:
        manager = Manager(self._fork_server, self.url, self.prefix, self._folder, **settings)
        self._managers.append(manager)
        return manager.start()

    def agent(self, vm_id: str, *, stay_s: float | None = None, room: int = 100) -> SimulatedAgent:
        return SimulatedAgent(self.redis, self.prefix, vm_id, self.meetings, stay_s=stay_s, room=room)

    async def push(self, bot_id: str, **fields: object) -> None:
        job = {"meeting_link": "http://127.0.0.1:8090/r/test", "bot_id": bot_id, **fields}
        await self.redis.lpush(self.keys.jobs, json.dumps(job))

    async def record(self, bot_id: str) -> dict[str, str]:
        record = await self.views.bot(bot_id)
        return record.texts() if record else {}

    async def state(self, bot_id: str) -> str:
        return (await self.record(bot_id)).get("state", "")

    async def until_state(self, bot_id: str, *states: str, timeout_s: float = PATIENCE_S) -> None:
        async def reached() -> bool:
            return await self.state(bot_id) in states

        await wait_until(reached, timeout_s)

    async def until_all(self, bot_ids: list[str], *states: str, timeout_s: float = PATIENCE_S) -> None:
        for bot_id in bot_ids:
            await self.until_state(bot_id, *states, timeout_s=timeout_s)

    async def until_led(self) -> None:
        """Until a manager leads, which is after its HTTP answers and its signals are caught."""
        await wait_until(self.views.leads)

    async def assignments(self) -> list[str]:
        """The bots in the order in which they were assigned."""
        entries: Any = await self.redis.xrange(self.keys.status)
        return [fields[b"bot_id"].decode() for _, fields in entries if fields[b"state"] == b"assigned"]

    async def story(self, bot_id: str) -> list[str]:
        return (await self.stories())[bot_id]

    async def stories(self) -> dict[str, list[str]]:
        """Of each bot, read once."""
        stories = defaultdict[str, list[str]](list)
        entries: Any = await self.redis.xrange(self.keys.status)
        for _, fields in entries:
            stories[fields[b"bot_id"].decode()].append(fields[b"state"].decode())
        return stories

    async def close(self) -> None:
        for manager in self._managers:
            manager.close()
        await self.redis.aclose()


@pytest.fixture
async def scene(fork_server: ForkServer, redis_server: str, prefix: str, tmp_path: Path) -> AsyncGenerator[Scene]:
    scene = Scene(fork_server, redis_server, prefix, tmp_path)
    yield scene
    await scene.close()


@pytest.fixture
async def durable_scene(
    fork_server: ForkServer, own_redis: RedisServer, prefix: str, tmp_path: Path
) -> AsyncGenerator[Scene]:
    """With a Redis of its own, which can be stopped and started."""
    scene = Scene(fork_server, own_redis.url, prefix, tmp_path)
    yield scene
    await scene.close()
