"""A fleet in a real Redis, as a leader writes it, and the page before it; nobody leads, as on a standby."""

import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest

from common.wire.vocabulary import BotState, WorkerState
from poolmgr.core.decisions import KeepVm, KeepWorker
from tests.api.conftest import TOKEN, Caller, Hand, World, token, world

__all__ = ["world"]

READER = "pm_a-token-for-the-wall-that-changes-nothing"
LOOKER = "pm_a-token-that-may-look-into-live-bots"
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


class Fleet:
    """Writes VMs with three idle workers, a warming and a busy one each."""

    def __init__(self, world: World, hand: Hand) -> None:
        self.world = world
        self.hand = hand

    async def grow(self, vms: int, *, bots: int = 0) -> None:
        redis, keys = self.world.redis, self.world.keys
        for start in range(0, vms, 100):
            decisions: list[Any] = []
            pipeline = redis.pipeline(transaction=False)
            for number in range(start, min(start + 100, vms)):
                vm_id = f"vm-{number}"
                decisions.append(KeepVm(vm_id, f"session-{number}", draining=False, lost=False, stopping=False))
                states = (WorkerState.IDLE, WorkerState.IDLE, WorkerState.IDLE, WorkerState.WARMING, WorkerState.BUSY)
                decisions += [
                    KeepWorker(vm_id, f"{vm_id}-w{number}", state, since=time.time(), born=time.time(), bot_id="")
                    for number, state in enumerate(states)
                ]
                pipeline.set(keys.alive(vm_id), "simulated", ex=600)
            await self.hand.apply(*decisions)
            await pipeline.execute()
        self.hand.at = time.time()
        for number in range(bots):
            await self.hand.accept(f"b{number}", BotState.QUEUED, bot_name=f"Bot {number}")


@pytest.fixture
async def fleet(world: World) -> Fleet:
    return await fleet_of(world)


async def fleet_of(world: World) -> Fleet:
    """With readers who have tokens."""
    more = [token("wall", READER, role="read"), token("looker", LOOKER, role="read", look=True)]
    world.change(tokens=[*world.settings.api.tokens, *more])
    return Fleet(world, await world.ledger())


class Stream:
    """What one viewer is told."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.beats = 0

    async def next(self) -> dict[str, Any]:
        """The next message; beats are counted, and passed over."""
        while True:
            line = (await self._response.content.readuntil(b"\n\n")).strip()
            if line.startswith(b"data: "):
                return json.loads(line.removeprefix(b"data: "))
            assert line == b": beat"
            self.beats += 1

    async def until(self, part: str) -> Any:
        """The next message that holds `part`, and that."""
        while True:
            told = await self.next()
            if told.get(part):
                return told[part]


@pytest.fixture
async def session() -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(read_bufsize=1 << 22) as session:
        yield session


def shows(secret: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Token {secret}"}


def root(call: Caller) -> str:
    return call.base
