"""Jobs of a stream and of an SQS queue: each in the list once, and acknowledged only then."""

from typing import Any

import pytest
from redis.exceptions import ResponseError

from common.config.settings import RetentionSettings
from poolmgr.store.keys import Keys
from poolmgr.store.leader.arrivals import Arrivals, Message
from poolmgr.store.leader.inbox import GROUP, Stream
from poolmgr.store.leader.ledger import StaleEpochError
from poolmgr.store.leader.upkeep import Upkeep
from tests.store.model import break_script

DAY_S = 86400


@pytest.fixture
def arrivals(redis: Any, keys: Keys) -> Arrivals:
    return Arrivals(redis, keys, epoch=1)


@pytest.fixture
async def stream(redis: Any, keys: Keys) -> Stream:
    stream = Stream(redis, keys, keys.job_stream, 1)
    await stream.open()
    await Upkeep(redis, keys, RetentionSettings()).renew(())
    return stream


async def put(redis: Any, keys: Keys, *jobs: str) -> None:
    for job in jobs:
        await redis.xadd(keys.job_stream, {"job": job})


async def read(stream: Stream) -> list[tuple[bytes, bytes]]:
    return [(entry.entry_id, entry.fields[b"job"]) for entry in await stream.read(100, 0.01)]


async def jobs(redis: Any, keys: Keys) -> list[bytes]:
    """As they will be taken."""
    return (await redis.lrange(keys.jobs, 0, -1))[::-1]


def message(number: int, body: bytes = b"job") -> Message:
    return Message(f"m-{number}", f"receipt-{number}", body)


# The stream


async def test_entries_become_jobs_in_their_order_and_are_gone(
    redis: Any, keys: Keys, arrivals: Arrivals, stream: Stream
) -> None:
    await put(redis, keys, "one", "two", "three")
    assert await arrivals.from_stream(await read(stream)) == 3
    assert await jobs(redis, keys) == [b"one", b"two", b"three"]
    assert await redis.xlen(keys.job_stream) == 0
    assert (await redis.xpending(keys.job_stream, GROUP))["pending"] == 0


async def test_an_entry_that_two_leaders_read_is_one_job(
    redis: Any, keys: Keys, arrivals: Arrivals, stream: Stream
) -> None:
    await put(redis, keys, "one", "two")
    entries = await read(stream)
    again = Stream(redis, keys, keys.job_stream, 1)
    await again.open()
    assert await read(again) == entries
    assert await arrivals.from_stream(entries[:1]) == 1
    assert await arrivals.from_stream(entries) == 1
    assert await arrivals.from_stream(entries) == 0
    assert await jobs(redis, keys) == [b"one", b"two"]


async def test_a_job_that_redis_refuses_stays_in_the_stream(
    redis: Any, keys: Keys, arrivals: Arrivals, stream: Stream
) -> None:
    await put(redis, keys, "one")
    entries = await read(stream)
    await redis.set(keys.jobs, "no list", ex=600)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await arrivals.from_stream(entries)
    await redis.delete(keys.jobs)
    assert await arrivals.from_stream(entries) == 1


async def test_a_leader_that_was_replaced_hands_nothing_in(
    redis: Any, keys: Keys, arrivals: Arrivals, stream: Stream
) -> None:
    await put(redis, keys, "one")
    entries = await read(stream)
    await redis.set(keys.epoch, 2, ex=600)
    with pytest.raises(StaleEpochError):
        await arrivals.from_stream(entries)
    with pytest.raises(StaleEpochError):
        await arrivals.from_sqs([message(1)])
    assert await jobs(redis, keys) == []
    assert await redis.xlen(keys.job_stream) == 1
    assert await Arrivals(redis, keys, epoch=2).from_stream(entries) == 1


async def test_a_fault_in_the_script_itself_is_told_as_it_is(
    redis: Any, keys: Keys, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_script(monkeypatch, "hand_in", "return handed_in", "return redis.error_reply('ERR other')")
    with pytest.raises(ResponseError, match="other"):
        await Arrivals(redis, keys, epoch=1).from_stream([(b"1-1", b"{}")])


async def test_the_stream_outlives_a_month_without_a_leader_and_no_more(redis: Any, keys: Keys, stream: Stream) -> None:
    assert 29 * DAY_S < await redis.ttl(keys.job_stream) <= 30 * DAY_S


# SQS


async def test_a_message_becomes_one_job_however_often_it_comes(redis: Any, keys: Keys, arrivals: Arrivals) -> None:
    assert await arrivals.from_sqs([message(1, b"one"), message(2, b"two")]) == 2
    assert await arrivals.from_sqs([message(2, b"two"), message(3, b"three"), message(3, b"three")]) == 1
    assert await jobs(redis, keys) == [b"one", b"two", b"three"]


async def test_a_message_is_known_for_as_long_as_sqs_may_hand_it_out(
    redis: Any, keys: Keys, arrivals: Arrivals
) -> None:
    await arrivals.from_sqs([message(1), message(2)])
    assert await redis.ttl(keys.taken_from_sqs("m-1")) > 14 * DAY_S
    await arrivals.deleted([message(1)])
    assert 0 < await redis.ttl(keys.taken_from_sqs("m-1")) <= DAY_S
    assert await redis.ttl(keys.taken_from_sqs("m-2")) > 14 * DAY_S
    await arrivals.deleted([])


async def test_a_message_that_redis_refuses_is_not_taken_for_known(redis: Any, keys: Keys, arrivals: Arrivals) -> None:
    await redis.set(keys.jobs, "no list", ex=600)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await arrivals.from_sqs([message(1)])
    await redis.delete(keys.jobs)
    assert await arrivals.from_sqs([message(1)]) == 1


# Both


async def test_there_is_room_until_ten_thousand_jobs_wait(redis: Any, keys: Keys, arrivals: Arrivals) -> None:
    assert await arrivals.has_room()
    await redis.lpush(keys.jobs, *[b"{}"] * 9_999)
    assert await arrivals.has_room()
    await redis.lpush(keys.jobs, b"{}")
    assert not await arrivals.has_room()
