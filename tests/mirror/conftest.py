"""A real Redis, the records of bots in it, and a table of moto's server."""

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from common.config.settings import MirrorSettings, RedisSettings, RetentionSettings, Settings
from common.jobs.record import Job, Record
from common.runtime.clock import Clock
from common.runtime.loop.turns import Turns
from common.runtime.redis.client import connect
from common.wire.messages import Join
from common.wire.mirrored import FIELDS
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import Accept, Assign, End, Enqueue, Move, Why
from poolmgr.mirror.following import Mirror
from poolmgr.mirror.table import Table
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger
from poolmgr.store.mirroring import Mirrored
from poolmgr.store.scripts import load_scripts
from tests.mirror.dynamo import Dynamo
from tests.moto_server import descriptions_are_read_once as descriptions_are_read_once
from tests.waiting import PATIENCE_S, wait_until

LINK = "http://127.0.0.1:8090/r/x"
KEEP_S = 1000.0


class Bots:
    """Bots whose records change as a leader's decisions change them."""

    def __init__(self, redis: Any, keys: Keys, url: str, *, keep: int = 1000) -> None:
        self.redis, self.keys, self.url = redis, keys, url
        self.retention = RetentionSettings(bot_s=KEEP_S, stream_entries=keep)
        self._ledger = Ledger(redis, keys, self.retention, epoch=1)
        self._seq = 0

    async def accept(self, *bot_ids: str) -> None:
        job = Job(platform="room", meeting_url=LINK, bot_name="N", payload="{}", user_id="u")
        now = time.time()
        for bot_id in bot_ids:
            self._seq += 1
            await self._ledger.apply([Accept(bot_id, job, BotState.QUEUED, now, self._seq)], now)

    async def assign(self, bot_id: str, attempt: int = 1) -> None:
        join = Join(f"w-{bot_id}", bot_id, attempt, "room", LINK, "N")
        await self._ledger.apply([Assign("vm", join, born=1.0, warm=True, waited_s=0.0)], time.time())

    async def move(self, bot_id: str, state: BotState, attempt: int = 1) -> None:
        await self._ledger.apply([Move(bot_id, attempt, state, time.time())], time.time())

    async def again(self, bot_id: str, attempt: int = 1) -> None:
        await self._ledger.apply([Enqueue(bot_id, attempt, Why.RETRY, 1)], time.time())

    async def end(self, bot_id: str, reason: Reason = Reason.EVERYONE_LEFT, attempt: int = 1) -> None:
        await self._ledger.apply([End(bot_id, attempt, reason)], time.time())

    async def whole(self, *bot_ids: str) -> None:
        for bot_id in bot_ids:
            await self.accept(bot_id)
            await self.assign(bot_id)
            for state in (BotState.JOINING, BotState.IN_MEETING):
                await self.move(bot_id, state)
            await self.end(bot_id)

    async def wanted(self) -> dict[str, dict[str, Any]]:
        """What the table is to say, without the attributes that only it has."""
        found = dict[str, dict[str, Any]]()
        for raw in await self.redis.zrange(self.keys.all_bots, 0, -1):
            fields = await self.redis.hgetall(self.keys.bot(raw.decode()))
            record = Record.from_hash({name.decode(): value.decode() for name, value in fields.items()}).texts()
            kept: dict[str, Any] = {name: record[name] for name in ("bot_id", *FIELDS) if record[name]}
            for name in ("audio_webhook_received", "transcript_webhook_received"):
                kept[name] = record[name] == "1"
            found[raw.decode()] = kept
        return found


@pytest.fixture
async def redis(redis_server: str) -> AsyncGenerator[Any]:
    client = connect(RedisSettings(url=redis_server, timeout_s=PATIENCE_S))
    await load_scripts(client)
    yield client
    await client.aclose()


@pytest.fixture
async def bots(redis: Any, prefix: str, redis_server: str) -> Bots:
    keys = Keys(prefix)
    await redis.set(keys.epoch, 1, ex=600)
    return Bots(redis, keys, redis_server)


@pytest.fixture
async def dynamo(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncGenerator[Dynamo]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    dynamo = Dynamo(moto, f"bots-{time.monotonic_ns()}")
    async with dynamo.serving():
        yield dynamo


class Running:
    """A mirror in this process, to be stopped, or ended where it stands."""

    def __init__(self, bots: Bots, dynamo: Dynamo, *, timeout_s: float = PATIENCE_S, at_once: int = 4) -> None:
        self._bots = bots
        mirror = MirrorSettings(
            table=dynamo.table, endpoint_url=dynamo.url, region="eu-west-1", timeout_s=timeout_s, at_once=at_once
        )
        redis = RedisSettings(url=bots.url, prefix=bots.keys.prefix)
        self.settings = Settings(redis=redis, retention=bots.retention, mirror=mirror)
        self.stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Running":
        self._task = asyncio.get_running_loop().create_task(self._run(), name="mirror")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        assert self._task
        await asyncio.wait({self._task})

    async def ended(self) -> None:
        assert self._task
        await self._task

    def kill(self) -> None:
        assert self._task
        self._task.cancel()

    async def _run(self) -> None:
        redis, table, clock = connect(self.settings.redis), Table(self.settings.mirror), Clock()
        try:
            await Mirror(Mirrored(redis, self._bots.keys), table, self.settings, clock, Turns(clock.steady)).run(
                self.stop
            )
        finally:
            await table.close()
            await redis.aclose()


async def table_equals_records(dynamo: Dynamo, bots: Bots) -> None:
    """Wait until it does."""

    async def is_so() -> bool:
        items = await dynamo.items()
        own = ("sequence", "expires_at")
        said = {
            bot_id: {name: value for name, value in item.items() if name not in own}
            for bot_id, item in items.items()
            if not item.get("deleted")
        }
        return said == await bots.wanted()

    await wait_until(is_so)
