"""Many commands, one round trip: every answer in its place, one deadline, and nothing left over for the next caller."""

import asyncio
from typing import Any

import pytest
from redis.exceptions import ResponseError

from common.config.settings import RedisSettings
from common.runtime.redis import connect
from poolmgr.store.keys import Keys
from poolmgr.store.roundtrip import ask


async def test_answers_come_in_the_order_of_the_commands_and_a_refusal_is_one_of_them(redis: Any, keys: Keys) -> None:
    key = keys.epoch
    answers = await ask(redis, [("SET", key, 5, "EX", 60), ("LLEN", key), ("INCR", key), ("GET", f"{key}:not")])
    assert answers[0] in (b"OK", True)
    assert isinstance(answers[1], ResponseError)
    assert answers[2:] == [6, None]


async def test_who_stops_waiting_leaves_no_answer_to_the_next_one(redis: Any, keys: Keys) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ask(redis, [("BLPOP", keys.jobs, 1)])
    assert await ask(redis, [("GET", keys.epoch)]) == [b"1"]


async def test_what_is_not_answered_in_time_is_a_timeout(redis_server: str, keys: Keys) -> None:
    client = connect(RedisSettings(url=redis_server, timeout_s=0.05))
    with pytest.raises(TimeoutError):
        await ask(client, [("GET", keys.epoch), ("BLPOP", keys.jobs, 1)])
    assert await ask(client, [("GET", keys.epoch)]) == [b"1"]
    await client.aclose()
