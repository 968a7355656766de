"""What the mirror reads: which records changed, in portions, where it was, and whether it has missed something."""

from typing import Any

import pytest

from common.jobs.record import Job
from common.wire.messages import BotStreamed
from common.wire.mirrored import sequence
from common.wire.vocabulary import BotState, Feed, FeedStatus, Reason
from poolmgr.core.decisions import Accept, End, NoteRecorded
from poolmgr.store.actions import By, Way
from poolmgr.store.forgetting import forget
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger
from poolmgr.store.mirroring import Mirrored, Position, Standing
from tests.store.conftest import NOW
from tests.store.leader.test_ledger import accept, assign

_MOST = 100


@pytest.fixture
def mirrored(redis: Any, keys: Keys) -> Mirrored:
    return Mirrored(redis, keys)


async def test_a_change_names_its_bot_once_and_moves_the_position_on(mirrored: Mirrored, ledger: Ledger) -> None:
    assert await mirrored.position() is None
    begin = await mirrored.last()
    assert begin == Position("0-0", "0-0", "0-0")
    await ledger.apply([accept(), assign(), accept("b2")], NOW)
    news = await mirrored.news(begin, _MOST, 0.0)
    assert (news.changed, news.deleted, news.is_full) == (["b1", "b2"], [], False)
    assert (await mirrored.news(begin, 2, 0.0)).is_full
    assert await mirrored.news(news.then, _MOST, 0.0) == ([], [], news.then, False)
    assert await mirrored.last() == news.then


async def test_a_deletion_is_told_and_so_is_what_a_receiver_took_once(
    redis: Any, keys: Keys, mirrored: Mirrored, ledger: Ledger
) -> None:
    await ledger.apply([accept(), assign()], NOW)
    begin = await mirrored.last()
    for status in (FeedStatus.WAITING, FeedStatus.ENDED):
        taken = BotStreamed("vm1", "b1", 1, NOW, Feed.TRANSCRIPTION, status, taken=True)
        await ledger.apply([NoteRecorded(taken)], NOW)
    news = await mirrored.news(begin, _MOST, 0.0)
    assert (news.changed, await redis.xlen(keys.noted)) == (["b1"], 1)
    assert (await mirrored.records(["b1"])).records[0].transcript_webhook_received
    await ledger.apply([End("b1", 1, Reason.EVERYONE_LEFT)], NOW)
    await redis.xadd(keys.actions, {"what": "leave", "of": "b2"})
    await forget(redis, keys, "b1", by=By("crm", Way.API))
    news = await mirrored.news(begin, _MOST, 0.0)
    assert (news.changed, news.deleted) == (["b1"], ["b1"])
    assert (await mirrored.records(["b1"])).records == []


async def test_records_are_as_new_as_they_say(redis: Any, keys: Keys, mirrored: Mirrored, ledger: Ledger) -> None:
    now = (await redis.time())[0]
    assert abs((await mirrored.records([])).covers // 1_000_000_000 - now) <= 1, "no entry yet: Redis' clock"
    await ledger.apply([accept()], NOW)
    known = await mirrored.records(["b1", "nobody"])
    [record] = known.records
    assert (record.bot_id, record.state, record.user_id, record.attempt) == ("b1", "queued", "u7", 0)
    assert known.covers == sequence((await mirrored.last()).status)


async def test_a_position_is_kept_and_a_fill_goes_on_where_it_was(mirrored: Mirrored, ledger: Ledger) -> None:
    await ledger.apply([accept()], NOW)
    position = await mirrored.begin_fill("why")
    assert position == Position((await mirrored.last()).status, "0-0", "0-0", 0.0)
    assert await mirrored.position() == position
    await mirrored.reached(position._replace(fill_from=7.5), filled=3, refused=1)
    assert await mirrored.position() == position._replace(fill_from=7.5)
    await mirrored.fault("it is away")
    assert await mirrored.standing() == Standing(0.0, True, 3, "why", 1, "it is away")
    await mirrored.reached(position._replace(fill_from=None))
    assert await mirrored.position() == position._replace(fill_from=None)
    await mirrored.fault("")
    assert await mirrored.standing() == Standing(0.0, False, 3, "why", 1, "")


async def test_it_is_as_far_behind_as_the_oldest_change_that_waits(
    redis: Any, keys: Keys, mirrored: Mirrored, ledger: Ledger
) -> None:
    assert await mirrored.standing() is None
    now_s, _ = await redis.time()
    now_ms = now_s * 1000
    await redis.xadd(keys.status, {"bot_id": "b1"}, id=f"{now_ms - 20_000}-0")
    await redis.xadd(keys.status, {"bot_id": "b1"}, id=f"{now_ms - 9_000}-0")
    await redis.expire(keys.status, 60)
    await mirrored.reached(Position("0-0", "0-0", "0-0"))
    standing = await mirrored.standing()
    assert standing
    later_s, _ = await redis.time()
    assert 19.0 < standing.behind_s < 21.0 + later_s - now_s


async def test_what_was_trimmed_away_has_expired_or_was_set_back_is_missed(
    redis: Any, keys: Keys, mirrored: Mirrored, ledger: Ledger
) -> None:
    nothing = Position("0-0", "0-0", "0-0")
    assert not await mirrored.has_missed(nothing)
    await ledger.apply([accept(f"b{number}") for number in range(120)], NOW)
    ids = [entry_id.decode() for entry_id, _ in await redis.xrange(keys.status)]
    assert await mirrored.has_missed(nothing), "so long a stream may have been trimmed before"
    assert not await mirrored.has_missed(nothing._replace(status=ids[3]))
    await redis.xtrim(keys.status, maxlen=50, approximate=False)
    assert await mirrored.has_missed(nothing._replace(status=ids[3]))
    assert not await mirrored.has_missed(nothing), "so short a stream never was"
    assert not await mirrored.has_missed(nothing._replace(status=ids[-1]))
    assert await mirrored.has_missed(nothing._replace(status="9999999999999-0")), "Redis has forgotten that entry"


@pytest.mark.parametrize("most", [1, 2, 3, 10])
async def test_all_records_are_gone_through_also_those_of_one_moment(
    most: int, mirrored: Mirrored, ledger: Ledger
) -> None:
    job = Job(platform="room", meeting_url="http://127.0.0.1:8090/r/x", bot_name="N", payload="{}")
    moments = [NOW, NOW + 1, NOW + 1, NOW + 1, NOW + 1, NOW + 2]
    bots = [Accept(f"b{number}", job, BotState.QUEUED, at, number) for number, at in enumerate(moments)]
    await ledger.apply(bots, NOW)
    found, begin = dict[str, None](), 0.0
    while begin is not None:
        page, begin = await mirrored.page(begin, most)
        found |= dict.fromkeys(page)
    assert [*found] == [f"b{number}" for number in range(6)]


async def test_an_entry_without_a_bot_names_none(redis: Any, keys: Keys, mirrored: Mirrored, ledger: Ledger) -> None:
    await ledger.apply([accept()], NOW)
    await redis.xadd(keys.status, {"state": "rejected"})
    assert (await mirrored.news(Position("0-0", "0-0", "0-0"), _MOST, 0.0)).changed == ["b1"]
