"""A process dies after any command that Redis carries out for it, and what it was about comes to its end all the same:
a rejected job that is put back, a job that joins later. The others are in lab/chaos/core/agent.py.
"""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import pytest
from redis.exceptions import ConnectionError

from common.config.settings import RedisSettings
from common.jobs.record import epoch
from common.runtime.redis.client import connect
from common.wire.vocabulary import BotState
from lab.chaos.core.agent import Agent
from lab.chaos.core.connection import Fuse, fragile
from lab.chaos.core.environment import Ground
from lab.chaos.core.episode import SETTINGS
from lab.chaos.core.manager import Manager
from poolmgr.core import restoring
from poolmgr.core.model import Bot
from poolmgr.core.state import PoolState
from poolmgr.store.answers import text_fields
from poolmgr.store.reading.views import Views
from tests.waiting import PATIENCE_S

_DATABASE: Final = 14
_LINK: Final = "http://127.0.0.1:8090/r/x?tag=a"
_TURN_S: Final = 5.0
_JOINS_IN_S: Final = 25.0
_LATE_S: Final = 30.0  # a lease that has to run out, a manager that starts, a worker to be warmed
_ENOUGH_S: Final = 300.0


class Scene:
    """Two managers and one VM, whose meetings end by themselves."""

    def __init__(self, url: str, redis: Any) -> None:
        self.url = url
        self.ground = Ground(url, redis, SETTINGS, Random(1))
        self.managers = [Manager(self.ground, name) for name in ("manager-1", "manager-2")]
        self.agent = Agent(self.ground, "vm-1")
        self.views = Views(redis, self.ground.keys)

    async def turn(self) -> None:
        ground = self.ground
        ground.now += _TURN_S
        if all(ground.now > manager.renewed_at + 2 * _TURN_S for manager in self.managers):
            await ground.redis.delete(ground.keys.leader)
        for side in (*self.managers, self.agent):
            await side.turn()
        if attempt := await ground.redis.hget(ground.keys.bot("a"), "attempt"):
            ground.counting["a"] = int(attempt)

    async def statuses(self) -> list[dict[str, str]]:
        return [text_fields(fields) for _, fields in await self.ground.redis.xrange(self.ground.keys.status)]


@asynccontextmanager
async def scene(redis_server: str) -> AsyncGenerator[Scene]:
    url = f"{redis_server}?db={_DATABASE}"
    redis: Any = connect(RedisSettings(url=url, timeout_s=PATIENCE_S))
    await redis.flushdb()
    made = Scene(url, redis)
    made.ground.heals = True
    try:
        yield made
    finally:
        for side in (*made.managers, made.agent):
            await side.close()
        await redis.flushdb()
        await redis.aclose()


async def _until_all_has_ended(of: Scene, bots: int = 1) -> None:
    until = of.ground.now + _ENOUGH_S
    while of.ground.now < until:
        await of.turn()
        ended = [change for change in await of.statuses() if change["state"] == BotState.STOPPED]
        if len(ended) >= bots and not await of.ground.redis.llen(of.ground.keys.taken):
            break


# A rejected job that is put back


async def _put_back(of: Scene, operator_dies: int | None, manager_dies: int | None) -> None:
    """After so many commands; an operator does it again."""
    redis, keys = of.ground.redis, of.ground.keys
    for _ in range(3):
        await of.turn()
    payload = f'{{"meeting_link": "{_LINK}", "bot_id": "a"}}'
    entry_id = (await redis.xadd(keys.dead, {"payload": payload, "reason": "unsupported_link"})).decode()
    fuse = Fuse()
    line = fragile(of.url, fuse)
    await line.ping()
    if operator_dies is not None:
        fuse.light(operator_dies, kills=False)
    for _ in range(2):
        with suppress(ConnectionError):
            await Views(line, keys).put_back(entry_id)
    await line.aclose()
    if manager_dies is not None:
        next(manager for manager in of.managers if manager.leads).fuse.light(manager_dies, kills=True)
    await _until_all_has_ended(of)
    states = Counter(
        change["state"] for change in await of.statuses() if change["attempt"] == "0" or change["state"] == "stopped"
    )
    assert states == {"queued": 1, "stopped": 1}
    assert [await redis.llen(key) for key in (keys.jobs, keys.taken)] == [0, 0]
    assert await redis.xlen(keys.dead) == 0
    assert of.ground.wrong == []


@pytest.mark.parametrize("first", [0, *(pytest.param(first, marks=pytest.mark.long) for first in (2, 4, 6))])
async def test_a_job_that_is_put_back_is_there_once_whoever_dies(redis_server: str, first: int) -> None:
    for operator_dies in range(3):
        async with scene(redis_server) as of:
            await _put_back(of, operator_dies, None)
    for manager_dies in range(first, 40, 8):
        async with scene(redis_server) as of:
            await _put_back(of, None, manager_dies)
            assert sum(manager.terms for manager in of.managers) > 1, "somebody took over"


# A job that joins later


async def _joins_later(of: Scene, manager_dies: int) -> None:
    redis, keys = of.ground.redis, of.ground.keys
    for _ in range(4):
        await of.turn()
    joins_at = of.ground.wall + _JOINS_IN_S
    at = datetime.fromtimestamp(joins_at, UTC).isoformat()
    await redis.lpush(keys.jobs, f'{{"meeting_link": "{_LINK}", "bot_id": "a", "join_at": "{at}"}}')
    next(manager for manager in of.managers if manager.leads).fuse.light(manager_dies, kills=True)
    await _until_all_has_ended(of)
    assigned = [epoch(change["at"]) for change in await of.statuses() if change["state"] == BotState.ASSIGNED]
    assert assigned, f"killed after {manager_dies} commands it never joined"
    assert joins_at <= assigned[0] <= joins_at + _LATE_S
    ends = [change["reason"] for change in await of.statuses() if change["state"] == BotState.STOPPED]
    assert len(ends) == 1
    assert ends[0]
    workers = await redis.hvals(keys.workers("vm-1"))
    assert not any(b"reserved" in worker for worker in workers)
    assert of.ground.wrong == []


@pytest.mark.parametrize("first", [0, *(pytest.param(first, marks=pytest.mark.long) for first in (3, 6, 9))])
async def test_a_job_that_joins_later_does_so_in_time_whenever_a_leader_dies(redis_server: str, first: int) -> None:
    for manager_dies in range(first, 75, 12):
        async with scene(redis_server) as of:
            await _joins_later(of, manager_dies)
            assert sum(manager.terms for manager in of.managers) > 1, "somebody took over"


async def test_one_that_the_next_leader_forgets_is_found(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    restore_bot = restoring._restore_bot  # pyright: ignore[reportPrivateUsage]

    def forget_the_calendar(pool: PoolState, bot: Bot) -> None:
        if bot.state is not BotState.SCHEDULED:
            restore_bot(pool, bot)

    monkeypatch.setattr(restoring, "_restore_bot", forget_the_calendar)
    with pytest.raises(AssertionError, match="never joined"):
        async with scene(redis_server) as of:
            await _joins_later(of, 30)
