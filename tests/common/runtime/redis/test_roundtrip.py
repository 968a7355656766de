"""Many commands, one round trip: every answer in its place, one deadline, and nothing left over for the next caller."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect
from common.runtime.redis.roundtrip import UnconfirmedError, ask, carry_out, read
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
async def redis(redis_server: str, prefix: str) -> AsyncGenerator[Any]:
    client: Any = connect(RedisSettings(url=redis_server, timeout_s=PATIENCE_S))
    await client.set(prefix, 1, ex=600)
    yield client
    await client.aclose()


async def test_answers_come_in_the_order_of_the_commands_and_a_refusal_is_one_of_them(redis: Any, prefix: str) -> None:
    answers = await ask(
        redis, [("SET", prefix, 5, "EX", 60), ("LLEN", prefix), ("INCR", prefix), ("GET", f"{prefix}:not")]
    )
    assert answers[0] in (b"OK", True)
    assert isinstance(answers[1], ResponseError)
    assert answers[2:] == [6, None]


async def test_who_stops_waiting_leaves_no_answer_to_the_next_one(redis: Any, prefix: str) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ask(redis, [("BLPOP", f"{prefix}:jobs", 1)])
    assert await ask(redis, [("GET", prefix)]) == [b"1"]


async def test_what_is_not_answered_in_time_is_a_timeout(redis: Any, redis_server: str, prefix: str) -> None:
    client = connect(RedisSettings(url=redis_server, timeout_s=0.05))
    # It connects, which takes a busy machine longer, and that is another error.
    assert await _answered(lambda: ask(client, [("GET", prefix)])) == [b"1"]
    with pytest.raises(TimeoutError):
        await ask(client, [("GET", prefix), ("BLPOP", f"{prefix}:jobs", 1)])
    assert await _answered(lambda: ask(client, [("GET", prefix)])) == [b"1"]
    await client.aclose()


async def test_a_round_trip_has_one_deadline_and_leaves_the_connection_its_own(
    redis: Any, redis_server: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Any = connect(RedisSettings(url=redis_server, timeout_s=0.05))
    set_s: list[float | None] = []
    timeout = asyncio.timeout

    def noted(limit_s: float | None) -> asyncio.Timeout:
        set_s.append(limit_s)
        return timeout(limit_s)

    monkeypatch.setattr(asyncio, "timeout", noted)

    async def both() -> list[Any]:
        await client.get(prefix)  # connects
        set_s.clear()
        return await ask(client, [("GET", prefix), ("EXISTS", prefix)])

    assert await _answered(both) == [b"1", 1]
    assert set_s == [0.05]
    with pytest.raises(RedisTimeoutError):
        await client.blpop(f"{prefix}:jobs", 1)
    await client.aclose()


async def _answered(call: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
    """The first answers that come in time: those of a busy machine may be later than a short deadline."""

    async def in_time() -> list[Any]:
        with suppress(RedisError, TimeoutError):
            return await call()
        return []

    return await wait_until(in_time)


async def test_what_only_reads_needs_no_replica_and_a_refusal_of_any_of_it_is_raised(
    redis_server: str, prefix: str, redis: Any
) -> None:
    client: Any = connect(RedisSettings(url=redis_server, prefix=prefix, wait_replicas=2, wait_s=0.02))
    assert await read(client, ("GET", prefix), ("TTL", f"{prefix}:confirmed")) == [b"1", -2]
    assert await read(client) == []
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await read(client, ("GET", prefix), ("LLEN", prefix), ("GET", prefix))
    assert await read(client, ("GET", prefix)) == [b"1"]
    await client.aclose()


async def test_a_write_for_which_there_is_no_replica_is_not_confirmed(redis_server: str, prefix: str) -> None:
    client: Any = connect(RedisSettings(url=redis_server, prefix=prefix, wait_replicas=2, wait_s=0.02))
    with pytest.raises(UnconfirmedError, match=r"0 of 2 replicas had it within 0.02 s \(redis.wait_replicas\)"):
        await carry_out(client, "SET", prefix, 1, "EX", 60)
    assert await client.get(prefix) == b"1"
    assert 0 < await client.ttl(f"{prefix}:confirmed") <= 60
    await client.aclose()
