"""The client that both programs use, on a real server."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from common.config.settings import RedisSettings
from common.runtime.redis.client import UNAVAILABLE, address, connect
from common.wire.vocabulary import WorkerState
from tests.waiting import PATIENCE_S


async def test_a_loop_around_redis_ends_when_it_is_cancelled_at_whatever_moment(redis_server: str) -> None:
    redis: Any = connect(RedisSettings(url=redis_server, timeout_s=PATIENCE_S))
    chance = random.Random(1)

    async def loop() -> None:
        while True:
            await redis.ping()

    for _ in range(300):
        task = asyncio.get_running_loop().create_task(loop(), name="loop")
        for _ in range(chance.randrange(1, 40)):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=PATIENCE_S)
        assert done, "the cancellation was lost"
    assert await redis.ping()
    await redis.aclose()


async def test_a_cancellation_that_comes_while_the_task_runs_reaches_its_next_call(redis_server: str) -> None:
    redis: Any = connect(RedisSettings(url=redis_server, timeout_s=PATIENCE_S))

    async def cancel_self() -> None:
        await redis.ping()
        task = asyncio.current_task()
        assert task
        task.cancel()  # as a signal handler does
        await redis.ping()
        pytest.fail("the cancellation was lost")

    for _ in range(100):
        with pytest.raises(asyncio.CancelledError):
            await asyncio.get_running_loop().create_task(cancel_self(), name="cancel self")
    await redis.aclose()


async def test_a_server_that_takes_nothing_is_given_up_on(tmp_path: Path) -> None:
    path = tmp_path / "deaf.sock"
    visitors: list[asyncio.StreamWriter] = []
    server = await asyncio.start_unix_server(lambda _, writer: visitors.append(writer), path)
    redis: Any = connect(RedisSettings(url=f"unix://{path}", timeout_s=3))
    with pytest.raises(UNAVAILABLE):
        await redis.set("key", b"x" * 50_000_000)
    await redis.aclose()
    for visitor in visitors:
        visitor.transport.abort()
    server.close()
    await server.wait_closed()


async def test_an_answer_of_a_cancelled_call_is_never_taken_for_anothers(redis_server: str, prefix: str) -> None:
    redis: Any = connect(RedisSettings(url=redis_server, timeout_s=PATIENCE_S))
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
        ("redis+sentinel://:secret@a:1,b/pool/0?sentinel_password=secret", "redis+sentinel://a:1,b/pool"),
        ("rediss+cluster://:secret@a:1,b", "rediss+cluster://a:1,b"),
    ],
)
def test_the_address_for_logs_carries_no_password(url: str, shown: str) -> None:
    assert address(RedisSettings(url=url)) == shown


async def test_hundreds_of_calls_at_once_are_no_outage(redis_server: str, prefix: str) -> None:
    """As many webhooks may be under way as webhooks.at_once says, and each tells Redis what came of it."""
    redis: Any = connect(RedisSettings(url=redis_server, timeout_s=PATIENCE_S))
    try:
        answers = await asyncio.gather(*(redis.blpop([prefix], timeout=0.2) for _ in range(300)))
    finally:
        await redis.aclose()
    assert answers == [None] * 300


async def test_every_kind_of_argument_arrives_as_it_was(redis_server: str, prefix: str) -> None:
    redis: Any = connect(RedisSettings(url=redis_server, timeout_s=PATIENCE_S))
    await redis.rpush(prefix, "text é", b"\x00\xff", 7, 1.5, WorkerState.IDLE)
    assert await redis.lrange(prefix, 0, -1) == ["text é".encode(), b"\x00\xff", b"7", b"1.5", b"idle"]
    await redis.xadd(f"{prefix}:s", {"a": "b"})
    await redis.xgroup_create(f"{prefix}:s", "group", id="0")  # a command of two words
    assert (await redis.xinfo_groups(f"{prefix}:s"))[0]["name"] == b"group"
    await redis.delete(prefix, f"{prefix}:s")
    await redis.aclose()
