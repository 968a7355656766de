"""Bundles in Redis: kept by the agent's script within their budget, read by the manager, gone with their bot."""

import io
import zipfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from common.config.settings import RedisSettings
from common.jobs.record import Job, Record
from common.wire.messages import Join
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import Accept, Assign, End
from poolmgr.store.answers import text_fields
from poolmgr.store.forgetting import forget
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger
from poolmgr.store.reading.evidence import Bundle, Evidence, Picture, attempts_of, pictures
from tests.store.conftest import NOW
from worker.link.journal import Journal
from worker.link.redis import Link

JOB = Job(platform="room", meeting_url="http://127.0.0.1:8090/r/x", bot_name="N", payload="{}")
MB = 1024 * 1024


@pytest.fixture
async def link(redis_server: str, prefix: str, tmp_path: Path) -> AsyncGenerator[Link]:
    link = Link(RedisSettings(redis_server, prefix), "vm1", Journal(tmp_path / "journal.db"), tmp_path)
    yield link
    await link.close()


async def begin(ledger: Ledger, *bot_ids: str) -> None:
    for bot_id in bot_ids:
        join = Join("w1", bot_id, 1, "room", JOB.meeting_url, "N")
        assign = Assign("vm1", join, born=NOW, warm=True, waited_s=0.0)
        await ledger.apply([Accept(bot_id, JOB, BotState.QUEUED, NOW, 1), assign], NOW)


async def record(redis: Any, keys: Keys, bot_id: str = "b1") -> Record:
    return Record.from_hash(text_fields(await redis.hgetall(keys.bot(bot_id))))


async def total(redis: Any, keys: Keys) -> int:
    return int(await redis.hget(keys.evidence_sizes, "total") or 0)


async def test_a_bundle_that_an_agent_kept_is_there_for_as_long_as_was_said(
    redis: Any, keys: Keys, ledger: Ledger, link: Link
) -> None:
    evidence = Evidence(redis, keys)
    await begin(ledger, "b1")
    assert await evidence.kept_of(await record(redis, keys)) == []
    assert await evidence.bundle("b1", 1) is None
    assert await link.keep_evidence("b1", 1, b"old", 100.0, MB)
    assert await link.keep_evidence("b1", 1, b"newer", 100.0, MB)
    assert await evidence.kept_of(await record(redis, keys)) == [1]
    assert await evidence.bundle("b1", 1) == Bundle("b1-1", 1, b"newer")
    assert 90 < await redis.ttl(keys.evidence("b1", 1)) <= 100
    assert await total(redis, keys) == len(b"newer")


async def test_the_oldest_go_when_all_are_more_than_may_be_kept(
    redis: Any, keys: Keys, ledger: Ledger, link: Link
) -> None:
    await begin(ledger, "b1", "b2", "b3", "b4")
    for number, bot_id in enumerate(("b1", "b2", "b3")):
        assert await link.keep_evidence(bot_id, 1, b"x" * 40, 100.0 + number, 100)
    there = [await redis.exists(keys.evidence(bot_id, 1)) for bot_id in ("b1", "b2", "b3")]
    assert there == [0, 1, 1]
    assert await total(redis, keys) == 80
    assert not await link.keep_evidence("b4", 1, b"x" * 101, 100.0, 100)
    assert await link.keep_evidence("b4", 1, b"x" * 100, 100.0, 100)
    assert await redis.zcard(keys.evidence_index) == 1
    assert await total(redis, keys) == 100


async def test_one_that_waited_long_does_not_take_the_others_out_of_the_count(
    redis: Any, keys: Keys, ledger: Ledger, link: Link
) -> None:
    await begin(ledger, "b1", "b2")
    assert await link.keep_evidence("b1", 1, b"x" * 60, 1000.0, 100)
    assert await link.keep_evidence("b2", 1, b"x" * 40, 5.0, 100)
    for key in (keys.evidence_index, keys.evidence_sizes):
        assert 990 < await redis.ttl(key) <= 1000


async def test_what_has_ended_by_itself_counts_no_more(redis: Any, keys: Keys, ledger: Ledger, link: Link) -> None:
    await begin(ledger, "b1", "b2")
    await link.keep_evidence("b1", 1, b"x" * 60, 100.0, 100)
    await redis.delete(keys.evidence("b1", 1))
    await redis.zadd(keys.evidence_index, {keys.evidence("b1", 1): 1.0})
    assert await link.keep_evidence("b2", 1, b"x" * 60, 100.0, 100)
    assert await total(redis, keys) == 60


async def test_nothing_is_kept_of_a_bot_that_is_forgotten(redis: Any, keys: Keys, ledger: Ledger, link: Link) -> None:
    await begin(ledger, "b1", "b2")
    await link.keep_evidence("b1", 1, b"x" * 10, 100.0, MB)
    await link.keep_evidence("b2", 1, b"x" * 5, 100.0, MB)
    await ledger.apply([End("b1", 1, Reason.BROWSER_CRASHED, evidence="b1-1")], NOW)
    assert await forget(redis, keys, "b1")
    assert await redis.exists(keys.evidence("b1", 1), keys.story("b1")) == 0
    assert await redis.zrange(keys.evidence_index, 0, -1) == [keys.evidence("b2", 1).encode()]
    assert await total(redis, keys) == 5
    assert not await link.keep_evidence("b1", 1, b"late", 100.0, MB)


@pytest.mark.parametrize(("attempt", "expected"), [("", []), ("0", []), ("2", [1, 2]), ("250", [*range(151, 251)])])
def test_bundles_are_looked_for_of_the_latest_attempts(attempt: str, expected: list[int]) -> None:
    assert list(attempts_of(Record.from_hash({"attempt": attempt}))) == expected


def test_the_pictures_of_a_bundle_come_in_order_with_their_times() -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        packed.writestr("about.json", "{}")
        for name in ("screens/01-loading.jpg", "screenshot.jpg"):
            member = zipfile.ZipInfo(name)
            member.comment = b"2027-01-01T00:00:00.000Z"
            packed.writestr(member, name.encode())
    at = "2027-01-01T00:00:00.000Z"
    assert list(pictures(Bundle("b1-3", 3, data.getvalue()))) == [
        Picture("screens/01-loading.jpg", 3, at, b"screens/01-loading.jpg"),
        Picture("screenshot.jpg", 3, at, b"screenshot.jpg"),
    ]
    assert list(pictures(Bundle("b1-3", 3, b"no zip"))) == []
