"""Submitting jobs from the API: once, within the share, and taken back without a trace."""

import asyncio
import itertools
from collections import Counter
from typing import Any

import pytest

from common.jobs.record import Job, Record
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import Accept, End
from poolmgr.store.keys import Keys
from poolmgr.store.leader.inbox import Held, Jobs
from poolmgr.store.leader.ledger import Ledger, Rejected
from poolmgr.store.submission import Outcome, Submission, Submissions, Verdict
from tests.store.conftest import NOW

_numbers = itertools.count()


@pytest.fixture
def submissions(redis: Any, keys: Keys) -> Submissions:
    return Submissions(redis, keys, deduplicated_s=60)


def submission(bot_id: str = "", **fields: Any) -> Submission:
    bot_id = bot_id or f"bot-{next(_numbers)}"
    entry = Record.from_hash({"bot_id": bot_id, "status": "Active"})
    return Submission(bot_id=bot_id, payload=f'{{"bot_id":"{bot_id}"}}'.encode(), owner="app", entry=entry, **fields)


async def test_a_submitted_job_is_on_the_list_found_and_counted(
    redis: Any, keys: Keys, submissions: Submissions
) -> None:
    job = submission("b1")
    assert await submissions.submit(job) == Outcome(Verdict.SUBMITTED, "b1")
    assert await redis.lrange(keys.jobs, 0, -1) == [job.payload]
    assert await redis.smembers(keys.owned("app")) == {b"b1"}
    found = await submissions.find("b1")
    assert found
    assert (found.status, found.bot_id, found.participants) == ("Active", "b1", None)
    assert await submissions.find("b2") is None


async def test_an_id_is_taken_while_what_was_recorded_of_such_a_bot_is_kept_or_was_deleted_lately(
    redis: Any, keys: Keys, submissions: Submissions
) -> None:
    await redis.zadd(keys.recordings_expiring, {"b1": 1e12})
    await redis.expire(keys.recordings_expiring, 600)
    assert await submissions.submit(submission("b1")) == Outcome(Verdict.ID_TAKEN, "b1")
    await redis.zrem(keys.recordings_expiring, "b1")
    assert (await submissions.submit(submission("b1"))).verdict is Verdict.SUBMITTED


async def test_the_record_takes_over_from_the_entry(redis: Any, keys: Keys, submissions: Submissions) -> None:
    await submissions.submit(submission("b1"))
    assert (await submissions.find("b1")) == submission("b1").entry
    await redis.hset(keys.bot("b1"), mapping={"bot_id": "b1", "status": "Joining"})
    record = Record.from_hash({"bot_id": "b1", "status": "Joining"})
    assert await submissions.find("b1") == record
    await redis.delete(keys.submitted("b1"))
    assert await submissions.find("b1") == record
    await redis.delete(keys.bot("b1"))
    assert await submissions.find("b1") is None


async def test_of_twenty_requests_with_one_idempotency_key_one_makes_a_bot(
    redis: Any, keys: Keys, submissions: Submissions
) -> None:
    jobs = [submission(idempotency_key="k", digest="d") for _ in range(20)]
    outcomes = await asyncio.gather(*(submissions.submit(job) for job in jobs))
    assert Counter(outcome.verdict for outcome in outcomes) == {Verdict.SUBMITTED: 1, Verdict.REPLAYED: 19}
    assert len({outcome.bot_id for outcome in outcomes}) == 1
    assert await redis.llen(keys.jobs) == 1
    assert (await submissions.submit(submission(idempotency_key="k", digest="other"))).verdict is Verdict.KEY_REUSED


async def test_an_idempotency_key_is_its_owners(submissions: Submissions) -> None:
    key = {"idempotency_key": "k", "digest": "d"}
    await submissions.submit(submission(**key))
    other = Submission(
        bot_id="b9", payload=b"{}", owner="else", entry=Record.from_hash({}), idempotency_key="k", digest="d"
    )
    assert (await submissions.submit(other)).verdict is Verdict.SUBMITTED


async def test_of_twenty_requests_with_one_deduplication_key_one_makes_a_bot(submissions: Submissions) -> None:
    jobs = [submission(deduplication_key="d") for _ in range(20)]
    outcomes = await asyncio.gather(*(submissions.submit(job) for job in jobs))
    assert Counter(outcome.verdict for outcome in outcomes) == {Verdict.SUBMITTED: 1, Verdict.DEDUPLICATED: 19}
    assert len({outcome.bot_id for outcome in outcomes}) == 1


async def test_the_deduplication_key_of_a_bot_that_came_to_nothing_is_free_and_no_others(
    redis: Any, keys: Keys, submissions: Submissions
) -> None:
    await submissions.submit(submission("b1", deduplication_key="d"))
    again = submission("b2", deduplication_key="d")
    assert await submissions.submit(again, unserved="b9") == Outcome(Verdict.DEDUPLICATED, "b1")
    assert await submissions.submit(again, unserved="b1") == Outcome(Verdict.SUBMITTED, "b2")
    assert await redis.get(keys.deduplication("d")) == b"b2"


async def test_a_bot_id_that_is_in_use_is_refused(redis: Any, keys: Keys, submissions: Submissions) -> None:
    await submissions.submit(submission("b1"))
    assert await submissions.submit(submission("b1")) == Outcome(Verdict.ID_TAKEN, "b1")
    await redis.hset(keys.bot("b2"), "bot_id", "b2")
    assert (await submissions.submit(submission("b2"))).verdict is Verdict.ID_TAKEN
    assert await redis.llen(keys.jobs) == 1


async def test_no_more_bots_live_at_a_time_than_the_token_may_have(submissions: Submissions) -> None:
    jobs = [submission(bots_at_once=3, idempotency_key=f"k{number}", digest="d") for number in range(10)]
    outcomes = await asyncio.gather(*(submissions.submit(job) for job in jobs))
    assert Counter(outcome.verdict for outcome in outcomes) == {Verdict.SUBMITTED: 3, Verdict.OVER_QUOTA: 7}
    refused = jobs[[outcome.verdict for outcome in outcomes].index(Verdict.OVER_QUOTA)]
    assert (await submissions.submit(refused)).verdict is Verdict.OVER_QUOTA, "nothing of it was kept"


async def test_of_a_job_that_nobody_took_and_that_is_taken_back_only_who_did_so_is_left(
    redis: Any, keys: Keys, submissions: Submissions
) -> None:
    job = submission("b1", idempotency_key="k", digest="d", deduplication_key="d", bots_at_once=1)
    await submissions.submit(job)
    assert await submissions.withdraw(job)
    assert set(await redis.keys(f"{keys.prefix}:*")) == {keys.epoch.encode(), keys.actions.encode()}
    assert (await submissions.submit(job)).verdict is Verdict.SUBMITTED


async def test_a_job_that_was_taken_is_not_taken_back(redis: Any, keys: Keys, submissions: Submissions) -> None:
    job = submission("b1", idempotency_key="k", digest="d")
    await submissions.submit(job)
    await redis.delete(keys.jobs)
    assert not await submissions.withdraw(job)
    assert (await submissions.submit(job)).verdict is Verdict.REPLAYED


async def test_a_bot_that_ended_without_a_chance_frees_its_own_keys_and_no_other(
    redis: Any, keys: Keys, submissions: Submissions
) -> None:
    job = submission("b1", idempotency_key="k", digest="d", deduplication_key="d")
    await submissions.submit(job)
    await redis.delete(keys.jobs)
    await redis.set(keys.deduplication("d"), "another", ex=600)
    assert await submissions.withdraw(job, ended=True)
    assert await redis.get(keys.deduplication("d")) == b"another"
    assert not await redis.exists(keys.idempotency("app", "k"))
    assert await submissions.withdraw(job, ended=True)


# One bot per meeting


async def test_of_twenty_requests_for_one_meeting_one_makes_a_bot(
    redis: Any, keys: Keys, submissions: Submissions
) -> None:
    outcomes = await asyncio.gather(*(submissions.submit(submission(held_meeting="m")) for _ in range(20)))
    assert Counter(outcome.verdict for outcome in outcomes) == {Verdict.SUBMITTED: 1, Verdict.MEETING_HELD: 19}
    assert len({outcome.bot_id for outcome in outcomes}) == 1
    assert await redis.llen(keys.jobs) == 1
    assert (await submissions.submit(submission(held_meeting="other"))).verdict is Verdict.SUBMITTED
    assert (await submissions.submit(submission())).verdict is Verdict.SUBMITTED, "who does not ask for it is not asked"


async def test_a_request_and_the_leader_at_once_make_one_bot(redis: Any, keys: Keys, submissions: Submissions) -> None:
    jobs = Jobs(redis, keys)
    for number in range(20):
        posted, pushed = f"a{number}", f"b{number}"
        work = [
            submissions.submit(submission(posted, held_meeting=f"m{number}")),
            jobs.hold(pushed, meeting=f"m{number}"),
        ]
        outcome, held = await asyncio.gather(*(work if number % 2 else reversed(work)))
        if not number % 2:
            outcome, held = held, outcome
        assert isinstance(outcome, Outcome)
        assert isinstance(held, Held)
        first = posted if outcome.verdict is Verdict.SUBMITTED else pushed
        assert (outcome.bot_id, held.meeting) == (first, first)


async def test_a_meeting_is_free_again_when_its_bot_has_ended_or_never_was(
    redis: Any, keys: Keys, ledger: Ledger, submissions: Submissions
) -> None:
    jobs = Jobs(redis, keys)
    first, second, third, fourth = (submission(f"b{number}", held_meeting="m") for number in range(1, 5))
    await submissions.submit(first)
    assert (await jobs.hold("b1", meeting="m")).meeting == "b1", "its own job does not stand in its way"
    assert (await jobs.hold("b9", meeting="m")).meeting == "b1"
    assert await submissions.withdraw(first)
    assert (await submissions.submit(second)).verdict is Verdict.SUBMITTED
    held = Job(platform="room", meeting_url="u", bot_name="N", payload="p", owner="app", held_meeting="m")
    await ledger.apply([Accept("b2", held, BotState.SCHEDULED, NOW, seq=1)], NOW)
    assert not await redis.exists(keys.submitted("b2"))
    assert await submissions.submit(third) == Outcome(Verdict.MEETING_HELD, "b2")
    assert (await jobs.hold("b3", meeting="m")).meeting == "b2"
    await ledger.apply([End("b2", 0, Reason.NO_CAPACITY, owner="app")], NOW)
    assert (await submissions.submit(third)).verdict is Verdict.SUBMITTED
    await ledger.reject([Rejected(third.payload, "warned", "d", "b3")], NOW)
    assert (await submissions.submit(fourth)).verdict is Verdict.SUBMITTED
    assert 0 < await redis.ttl(keys.meeting("m")) <= 86400


async def test_what_a_leader_held_and_did_not_accept_is_free_for_the_next_one_and_later_for_all(
    redis: Any, keys: Keys, ledger: Ledger, submissions: Submissions
) -> None:
    jobs = Jobs(redis, keys)
    assert (await jobs.hold("b1", meeting="m")).meeting == "b1"
    assert await submissions.submit(submission(held_meeting="m")) == Outcome(Verdict.MEETING_HELD, "b1")
    assert 0 < await redis.ttl(keys.meeting("m")) <= 300
    assert (await jobs.hold("b2", meeting="m")).meeting == "b2", "the next leader reads the job again"
    held = Job(platform="room", meeting_url="u", bot_name="N", payload="p", held_meeting="m")
    await ledger.apply([Accept("b2", held, BotState.QUEUED, NOW, seq=1)], NOW)
    assert (await jobs.hold("b3", meeting="m")).meeting == "b2"
    assert await redis.ttl(keys.meeting("m")) > 366 * 86400
    await jobs.hold("b4", meeting="other")
    await redis.delete(keys.meeting("other"))  # as when it has run out
    assert (await submissions.submit(submission(held_meeting="other"))).verdict is Verdict.SUBMITTED


async def test_a_key_that_a_leader_held_is_the_bots_that_comes_of_it_or_free_for_the_next_leader_and_later_for_all(
    redis: Any, keys: Keys, ledger: Ledger, submissions: Submissions
) -> None:
    jobs, name = Jobs(redis, keys), keys.deduplication("k")
    keyed = Job(platform="room", meeting_url="u", bot_name="N", payload="p", deduplication_key="k")
    again = submission("b9", deduplication_key="k")
    assert await jobs.hold("b1", key="k") == Held("b1", "b1")
    assert await submissions.submit(again) == Outcome(Verdict.KEY_HELD, "b1")
    assert 0 < await redis.ttl(name) <= 300
    assert await jobs.conflicts([keyed]) == {}
    assert (await jobs.hold("b2", key="k")).key == "b2", "the next leader reads the job again"
    await ledger.apply([Accept("b2", keyed, BotState.QUEUED, NOW, seq=1)], NOW)
    assert await submissions.submit(again) == Outcome(Verdict.DEDUPLICATED, "b2")
    assert (await jobs.hold("b3", key="k")).key == "b2"
    assert await jobs.conflicts([keyed]) == {"key k": "b2"}
    await redis.delete(name)  # as when a hold has run out
    assert (await submissions.submit(again)).verdict is Verdict.SUBMITTED
    assert (await jobs.hold("b9", key="k")).key == "b9", "its own request does not stand in its way"
    assert await redis.get(name) == b"b9"


async def test_a_leader_holds_key_and_meeting_or_none_of_them(redis: Any, keys: Keys, submissions: Submissions) -> None:
    jobs = Jobs(redis, keys)
    await submissions.submit(submission("b1", deduplication_key="k"))
    await submissions.submit(submission("b2", held_meeting="m"))
    assert await jobs.hold("b3", key="k", meeting="other") == Held("b1", "b3")
    assert await jobs.hold("b3", key="other", meeting="m") == Held("b3", "b2")
    assert not await redis.exists(keys.deduplication("other"), keys.meeting("other"))
    assert await jobs.hold("b3", key="other", meeting="other") == Held("b3", "b3")
    assert await redis.exists(keys.deduplication("other"), keys.meeting("other")) == 2


async def test_who_sent_a_request_before_hears_of_that_and_not_of_the_meeting(submissions: Submissions) -> None:
    await submissions.submit(submission("b1", held_meeting="m", idempotency_key="k", digest="d", deduplication_key="d"))
    again = submission(held_meeting="m", idempotency_key="k", digest="d")
    assert await submissions.submit(again) == Outcome(Verdict.REPLAYED, "b1")
    assert await submissions.submit(submission(held_meeting="m", deduplication_key="d")) == Outcome(
        Verdict.DEDUPLICATED, "b1"
    )
    refused = submission(held_meeting="m", deduplication_key="d2")
    assert await submissions.submit(refused) == Outcome(Verdict.MEETING_HELD, "b1")
    other = submission("b8", deduplication_key="d2")
    assert await submissions.submit(other) == Outcome(Verdict.SUBMITTED, "b8"), "of the refused one nothing was kept"
