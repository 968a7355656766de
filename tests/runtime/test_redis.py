"""The client that both programs use, on a real server."""

import asyncio
import random
from typing import Any

import pytest

from runtime.redis import address, connect
from wire.settings import RedisSettings


async def test_a_loop_around_redis_ends_when_it_is_cancelled_at_whatever_moment(redis_server: str) -> None:
    redis: Any = connect(RedisSettings(url=redis_server))
    chance = random.Random(1)

    async def loop() -> None:
        while True:
            await redis.ping()

    for _ in range(300):
        task = asyncio.get_running_loop().create_task(loop(), name="loop")
        for _ in range(chance.randrange(1, 40)):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=5)
        assert done, "the cancellation was lost"
    assert await redis.ping()
    await redis.aclose()


async def test_an_answer_of_a_cancelled_call_is_never_taken_for_anothers(redis_server: str, prefix: str) -> None:
    redis: Any = connect(RedisSettings(url=redis_server))
    chance = random.Random(2)
    for number in range(300):
        task = asyncio.get_running_loop().create_task(redis.echo(f"old {number}"), name="old")
        for _ in range(chance.randrange(0, 20)):
            await asyncio.sleep(0)
        task.cancel()
        assert await redis.echo(f"new {number}") == f"new {number}".encode()
        await asyncio.wait({task})
    await redis.aclose()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@db.example:6380/0", "redis://db.example:6380"),
        ("rediss://db.example/0?password=secret", "rediss://db.example"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
        ("redis://", "redis://127.0.0.1:6379"),
    ],
)
def test_the_address_for_logs_carries_no_password(url: str, shown: str) -> None:
    assert address(RedisSettings(url=url)) == shown
