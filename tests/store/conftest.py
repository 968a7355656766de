"""A ledger on a real Redis, and a leak check after every test: each key is documented and has an end."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from common.config.settings import RedisSettings, RetentionSettings
from common.runtime.redis.client import connect
from poolmgr.store.keys import KEY_DOCS, Keys
from poolmgr.store.leader.ledger import Ledger
from poolmgr.store.scripts import SCRIPTS, load_scripts
from tests.waiting import PATIENCE_S
from worker.link import scripts

_CLIENTS = {"jobs", "jobs:taken", "bots:live", "webhooks:due"}
"""Keys that last as long as something is in them: jobs nobody took, bots that have not ended, or are not told of."""

NOW = 1_800_000_000.0


@pytest.fixture
async def redis(redis_server: str) -> AsyncGenerator[Any]:
    client = connect(RedisSettings(url=redis_server, timeout_s=PATIENCE_S))
    # The server has them unless a test flushed them, and to load them takes a third of the time of a small test.
    if not all(await client.script_exists(*(script.digest for script in SCRIPTS.scripts.values()))):
        await load_scripts(client)
    yield client
    await client.aclose()


@pytest.fixture
async def keys(redis: Any, prefix: str) -> AsyncGenerator[Keys]:
    keys = Keys(prefix)
    await redis.set(keys.epoch, 1, ex=600)
    yield keys
    await _check_every_key_has_an_owner(redis, prefix)


@pytest.fixture
def ledger(redis: Any, keys: Keys) -> Ledger:
    return Ledger(redis, keys, RetentionSettings(), epoch=1)


@pytest.fixture
def claim(redis: Any, keys: Keys) -> Callable[[str, int, str], Awaitable[bool]]:
    """The agent's claim script: (bot_id, attempt, worker_id)."""

    async def claim(bot_id: str, attempt: int, worker_id: str) -> bool:
        bot, at = keys.bot(bot_id), "2027-01-01T00:00:00Z"
        return await scripts.claim(bot=bot, attempt=attempt, worker_id=worker_id, at=at).run(redis)

    return claim


async def _check_every_key_has_an_owner(redis: Any, prefix: str) -> None:
    documented = [doc.name.split(":") for doc in KEY_DOCS]
    found = [raw async for raw in redis.scan_iter(match=f"{prefix}:*", count=10_000)]
    pipeline = redis.pipeline(transaction=False)
    for raw in found:
        pipeline.ttl(raw)
    for raw, ttl in zip(found, await pipeline.execute(), strict=True):
        name = raw.decode().removeprefix(f"{prefix}:")
        has_end = ttl > 0
        in_use = name in _CLIENTS or (
            not has_end and name.startswith("bot:") and await redis.hget(raw, "state") != b"stopped"
        )
        assert has_end or in_use, f"{raw!r} has no end"
        parts = raw.decode().removeprefix(f"{prefix}:").split(":")
        assert any(_matches(parts, names) for names in documented), f"no owner is documented for {raw!r}"


def _matches(parts: list[str], names: list[str]) -> bool:
    same = (name.startswith("{") or part == name for part, name in zip(parts, names, strict=False))
    return len(parts) == len(names) and all(same)
