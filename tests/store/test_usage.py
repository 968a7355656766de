"""What tokens used is counted in the step that ends a bot or its recording, once, by the day."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from common.jobs.record import iso
from common.wire.messages import BotRecorded
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import End, Move, NoteRecorded
from poolmgr.store import scripts, usage
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger
from poolmgr.store.usage import Usage, by_day, day_of, days, together
from tests.store.conftest import NOW
from tests.store.leader.test_ledger import JOB, accept, assign

DAY = "2027-01-15"
assert day_of(NOW) == DAY


async def used(redis: Any, keys: Keys, *wanted: str) -> dict[str, list[Usage]]:
    return await by_day(redis, keys, wanted or (DAY,))


def owned(bot_id: str, owner: str) -> Any:
    return accept(bot_id, replace(JOB, owner=owner))


async def test_a_bot_counts_once_for_its_token_with_its_time_in_the_meeting(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([owned("b1", "crm"), assign(), Move("b1", 1, BotState.IN_MEETING, NOW + 5.25)], NOW)
    end = End("b1", 1, Reason.MEETING_ENDED, at=NOW + 65.75, owner="crm")
    await ledger.apply([end], NOW)
    await ledger.apply([end], NOW)
    assert await used(redis, keys) == {DAY: [Usage("crm", bots=1, joined=1, in_meeting_s=60.5)]}


async def test_a_bot_that_was_never_in_counts_as_a_bot_alone_and_one_of_redis_has_no_owner(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([accept("b1"), End("b1", 0, Reason.NO_CAPACITY, at=NOW)], NOW)
    assert await used(redis, keys) == {DAY: [Usage("", bots=1)]}


async def test_a_recording_counts_when_it_is_finished_and_something_is_in_it(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([owned("b1", "crm"), assign(), owned("b2", "crm"), assign("b2", worker_id="w2")], NOW)
    made = BotRecorded("vm1", "b1", 1, NOW + 86400, True, 61.5, 0, 700_000)
    for event in (BotRecorded("vm1", "b1", 1, NOW), made, made, BotRecorded("vm1", "b2", 1, NOW, True)):
        await ledger.apply([NoteRecorded(event)], NOW)
    assert await used(redis, keys, DAY, "2027-01-16") == {
        "2027-01-16": [Usage("crm", recordings=1, audio_s=61.5, stored_bytes=700_000)]
    }


async def test_clocks_that_disagree_and_times_that_are_none_count_no_time(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([owned("b1", "crm"), assign(), Move("b1", 1, BotState.IN_MEETING, NOW + 60)], NOW)
    await ledger.apply([End("b1", 1, Reason.MEETING_ENDED, at=NOW + 30, owner="crm")], NOW)
    await ledger.apply([owned("b2", "crm"), assign("b2"), Move("b2", 1, BotState.IN_MEETING, NOW)], NOW)
    await redis.hset(keys.bot("b2"), "inmeeting_at", "yesterday")
    await ledger.apply([End("b2", 1, Reason.MEETING_ENDED, at=NOW + 30, owner="crm")], NOW)
    assert await used(redis, keys) == {DAY: [Usage("crm", bots=2, joined=1)]}


@pytest.mark.parametrize(
    "since", ["2027-02-28T23:59:59", "2028-02-28T12:00:00", "2027-12-31T23:00:00", "2099-12-31T00:00:01"]
)
@pytest.mark.parametrize("took_s", [0.5, 3600.0, 86400.0 * 2, 86400.0 * 400])
async def test_time_is_counted_over_the_ends_of_months_and_years(
    since: str, took_s: float, redis: Any, keys: Keys, ledger: Ledger
) -> None:
    began = datetime.fromisoformat(since).replace(tzinfo=UTC)
    over = (began + timedelta(seconds=took_s)).timestamp()
    await ledger.apply([owned("b1", "crm"), assign(), Move("b1", 1, BotState.IN_MEETING, began.timestamp())], NOW)
    await ledger.apply([End("b1", 1, Reason.MEETING_ENDED, at=over, owner="crm")], NOW)
    [one] = (await used(redis, keys, day_of(over)))[day_of(over)]
    assert one.in_meeting_s == pytest.approx(took_s, abs=1e-5)


async def test_beyond_the_names_that_are_kept_apart_others_are_counted_together(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    full = scripts.SCRIPTS.constants["USAGE_FIELDS"]
    assert isinstance(full, int)
    await redis.hset(keys.usage(DAY), mapping={f"token-{number}:bots": 1 for number in range(full - 1)})
    for number, owner in enumerate(("last", "new", "newer", "last")):
        bot_id = f"b{number}"
        await ledger.apply([owned(bot_id, owner), End(bot_id, 0, Reason.NO_CAPACITY, at=NOW, owner=owner)], NOW)
    found = {one.owner: one.bots for one in (await used(redis, keys))[DAY]}
    assert (found["last"], found[usage.OTHERS]) == (2, 2)
    assert "new" not in found


def test_days_go_from_the_first_to_the_last_and_no_further_back_than_they_are_kept() -> None:
    assert days(NOW - 86400, NOW) == ["2027-01-14", DAY]
    assert days(NOW, NOW) == [DAY]
    assert days(NOW + 86400 * 3, NOW) == [DAY]
    assert len(days(0.0, NOW)) == usage.MOST_DAYS + 1


async def test_no_day_is_asked_for_nothing(redis: Any, keys: Keys) -> None:
    assert await by_day(redis, keys, []) == {}


async def test_what_another_release_counts_is_passed_over_and_days_are_added_up(redis: Any, keys: Keys) -> None:
    for day, bots in ((DAY, 2), ("2027-01-16", 3)):
        await redis.hset(
            keys.usage(day), mapping={"crm:bots": bots, "crm:in_meeting_s": "1.5", "crm:colour": 7, ":bots": 1}
        )
        await redis.expire(keys.usage(day), 60)
    found = await used(redis, keys, DAY, "2027-01-16", "2027-01-17")
    assert list(found) == [DAY, "2027-01-16"]
    assert together(found) == [Usage("", bots=2), Usage("crm", bots=5, in_meeting_s=3.0)]
    assert iso(NOW).startswith(DAY)
