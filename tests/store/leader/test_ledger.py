"""Each script against a real Redis: what is true afterwards, what a stale or second call changes, who is refused."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace
from redis.exceptions import ResponseError

from common.config.settings import RetentionSettings
from common.jobs.record import STANDING, Job
from common.wire import codec, messages
from common.wire.messages import BotVitals
from common.wire.vocabulary import BotState, GoneCause, Reason, WorkerState
from poolmgr.core.decisions import (
    Accept,
    Ask,
    Assign,
    Decision,
    End,
    Enqueue,
    ForgetVm,
    ForgetWorker,
    KeepVm,
    KeepWorker,
    Move,
    Note,
    Remember,
    Retire,
    Revoke,
    Warm,
    Why,
)
from poolmgr.core.events import Revoked
from poolmgr.store.keys import Keys
from poolmgr.store.leader.inbox import Jobs
from poolmgr.store.leader.ledger import GRACE_S, DisagreementError, Ledger, Rejected, StaleEpochError
from poolmgr.store.record import accepted as record_of
from poolmgr.store.record import bot_from, epoch, iso
from poolmgr.store.scripts import load_scripts
from tests.store.conftest import NOW
from tests.waiting import PATIENCE_S

PAYLOAD = '{"meeting_link":"http://127.0.0.1:8090/r/x","extra":"kept"}'
JOB = Job(platform="room", meeting_url="http://127.0.0.1:8090/r/x", bot_name="N", payload=PAYLOAD, user_id="u7")


def accept(bot_id: str = "b1", job: Job = JOB, state: BotState = BotState.QUEUED) -> Accept:
    return Accept(bot_id, job, state, NOW, seq=1)


def assign(bot_id: str = "b1", attempt: int = 1, worker_id: str = "w1") -> Assign:
    join = messages.Join(worker_id, bot_id, attempt, "room", JOB.meeting_url, "N")
    return Assign("vm1", join, born=NOW - 5, warm=True, waited_s=0.0)


async def bot(redis: Any, keys: Keys, bot_id: str = "b1") -> dict[str, str]:
    raw = await redis.hgetall(keys.bot(bot_id))
    return {name.decode(): value.decode() for name, value in raw.items()}


async def story(redis: Any, keys: Keys) -> list[str]:
    """The fine states on the status stream, in order."""
    return [fields[b"state"].decode() for _, fields in await redis.xrange(keys.status)]


async def orders(redis: Any, keys: Keys) -> list[messages.Command]:
    return [codec.decode_command(fields[b"m"]) for _, fields in await redis.xrange(keys.commands("vm1"))]


async def test_an_accepted_job_is_a_bot_and_no_longer_a_taken_job(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await redis.lpush(keys.taken, PAYLOAD, "another")
    await ledger.apply([accept()], NOW)
    record = await bot(redis, keys)
    assert record["status"] == "Joining"
    assert record["state"] == "queued"
    assert record["user_id"] == "u7"
    assert record["payload"] == PAYLOAD
    assert record["created_at"] == iso(NOW)
    assert await redis.lrange(keys.taken, 0, -1) == [b"another"]
    assert await redis.zrange(keys.live, 0, -1) == [b"b1"]
    assert await story(redis, keys) == ["queued"]


async def test_the_record_has_every_field_of_the_design_from_the_start(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([accept()], NOW)
    promised = (
        "bot_id meeting_url user_id calendar_event_id status status_reason created_at assigned_at joining_at "
        "inmeeting_at stopped_at vm_id worker_id attempt transcript_webhook_received audio_webhook_received"
    )
    assert set(promised.split()) <= set(await bot(redis, keys))


async def test_a_bot_that_no_vm_can_serve_says_so_until_it_is_given_to_one(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    job = replace(JOB, requires={"region": "eu"})
    await ledger.apply([Accept("b1", job, BotState.QUEUED, NOW, 1, unmet=True)], NOW)
    record = await bot(redis, keys)
    assert (record["status_reason"], record["requires"]) == ("requirement_unmet", '{"region":"eu"}')
    assert bot_from(record).job.requires == {"region": "eu"}
    await ledger.apply([assign()], NOW)
    assert (await bot(redis, keys))["status_reason"] == ""
    await ledger.apply([Enqueue("b1", 1, Why.RETRY, 1, unmet=True)], NOW)
    assert (await bot(redis, keys))["status_reason"] == "requirement_unmet"


async def test_a_second_accept_of_the_same_bot_is_a_disagreement_and_changes_nothing(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([accept(), assign()], NOW)
    before = await bot(redis, keys)
    with pytest.raises(DisagreementError):
        await ledger.apply([accept()], NOW + 1)
    assert await bot(redis, keys) == before


async def test_the_same_bot_twice_in_one_script_is_a_disagreement_and_changes_nothing(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    with pytest.raises(DisagreementError):
        await ledger.apply([accept("b2"), accept(), assign(), accept()], NOW)
    assert await redis.exists(keys.bot("b2"), keys.bot("b1"), keys.workers("vm1"), keys.commands("vm1")) == 0


async def test_an_assignment_changes_bot_worker_and_commands_together(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([accept(), assign()], NOW)
    record = await bot(redis, keys)
    assert (record["state"], record["attempt"], record["vm_id"], record["worker_id"]) == ("assigned", "1", "vm1", "w1")
    assert b'"state":"busy"' in await redis.hget(keys.workers("vm1"), "w1")
    assert await orders(redis, keys) == [assign().join]
    assert 0 < await redis.ttl(keys.commands("vm1")) <= 86400


KEYED = replace(JOB, deduplication_key="k", held_meeting="m", priority=3, calendar_event_id="c", join_at=NOW - 60)
GROUPS: list[list[Decision]] = [
    [accept()],
    [accept(state=BotState.SCHEDULED)],
    [accept(), assign()],
    [accept(), assign(), Warm("vm1", "w2", NOW, Why.BELOW_MIN_IDLE)],
    [accept(), assign(), Warm("vm2", "w2", NOW, Why.BELOW_MIN_IDLE)],
    [accept(job=KEYED), assign(), Warm("vm1", "w2", NOW, Why.BELOW_MIN_IDLE)],
    [accept(job=KEYED), Warm("vm1", "w2", NOW, Why.JOBS_WAIT), assign()],
    [accept(), accept("b2"), assign("b2"), assign(worker_id="w2"), Warm("vm1", "w3", NOW, Why.JOBS_WAIT)],
    [accept(), assign(), accept("b2", KEYED), accept("b3", state=BotState.SCHEDULED), accept("b4"), assign("b4")],
]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: "-".join(type(each).__name__ for each in group))
async def test_decisions_carried_out_together_leave_what_they_leave_one_by_one(
    redis: Any, keys: Keys, ledger: Ledger, group: list[Decision]
) -> None:
    taken = [b"another", JOB.payload, JOB.payload]
    await redis.lpush(keys.taken, *taken)
    for decision in group:
        await ledger.apply([decision], NOW)
    one_by_one = await content(redis, keys)
    await redis.delete(*one_by_one)
    await redis.set(keys.epoch, 1, ex=600)
    await redis.lpush(keys.taken, *taken)
    await ledger.apply(group, NOW)
    assert await content(redis, keys) == one_by_one


@pytest.mark.parametrize("group", GROUPS[2:4], ids=lambda group: "-".join(type(each).__name__ for each in group))
async def test_a_job_that_finds_a_worker_at_once_is_refused_as_a_whole(
    redis: Any, keys: Keys, ledger: Ledger, group: list[Decision]
) -> None:
    await ledger.apply(group, NOW)
    before = await dump(redis, keys)
    with pytest.raises(DisagreementError):
        await ledger.apply(group, NOW + 1)
    assert await dump(redis, keys) == before
    await redis.incr(keys.epoch)
    before = await dump(redis, keys)
    with pytest.raises(StaleEpochError):
        await ledger.apply([accept("b2"), assign("b2", worker_id="w8")], NOW)
    assert await dump(redis, keys) == before


@pytest.mark.parametrize("key", ["status", "all_bots", "platform", "commands", "owned"])
async def test_a_key_of_many_bots_has_an_end_which_the_next_bot_puts_off_when_some_of_its_life_is_over(
    redis: Any, keys: Keys, ledger: Ledger, key: str
) -> None:
    job = replace(JOB, owner="app")
    name = {
        "status": keys.status,
        "all_bots": keys.all_bots,
        "platform": keys.index("platform", job.platform),
        "commands": keys.commands("vm1"),
        "owned": keys.owned("app"),
    }[key]
    await ledger.apply([accept(job=job), assign()], NOW)
    life_s = await redis.ttl(name)
    assert life_s > 0
    for number, (left_s, then_s) in enumerate(
        [(life_s * 0.98, life_s * 0.98), (life_s * 0.96, life_s), (None, life_s)]
    ):
        await (redis.persist(name) if left_s is None else redis.expire(name, int(left_s)))
        bot_id = f"later{number}"
        await ledger.apply([accept(bot_id, job), assign(bot_id, worker_id=bot_id)], NOW)
        assert await redis.ttl(name) == pytest.approx(then_s, abs=PATIENCE_S)


async def test_of_many_jobs_at_once_each_becomes_a_bot(redis: Any, keys: Keys, ledger: Ledger) -> None:
    """More than share a script, and one that is too long to share one."""
    long = replace(JOB, payload="x" * 70_000)
    names = [f"b{number:02}" for number in range(40)]
    await ledger.apply([accept(name, long if name == "b20" else JOB) for name in names], NOW)
    assert [raw.decode() for raw in await redis.zrange(keys.live, 0, -1)] == names
    assert [await redis.hget(keys.bot(name), "state") for name in names] == [BotState.QUEUED.encode()] * 40
    assert [entry[b"bot_id"].decode() for _, entry in await redis.xrange(keys.status)] == names


async def test_one_bot_that_there_is_already_keeps_out_all_that_share_its_script(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([accept("b2")], NOW)
    before = await dump(redis, keys)
    with pytest.raises(DisagreementError, match="Accept of b1; Accept and Assign of b2; Accept of b3"):
        await ledger.apply([accept(), accept("b2"), assign("b2"), accept("b3")], NOW)
    assert await dump(redis, keys) == before


async def test_a_record_that_says_little_is_whole_all_the_same(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([accept()], NOW)
    assert await bot(redis, keys) == {name: str(value) for name, value in {**STANDING, **record_of(accept())}.items()}


@pytest.mark.parametrize("wrong", [assign(attempt=2), assign(bot_id="nobody")])
async def test_an_assignment_of_the_wrong_attempt_writes_nothing_at_all(
    redis: Any, keys: Keys, ledger: Ledger, wrong: Assign
) -> None:
    await ledger.apply([accept()], NOW)
    with pytest.raises(DisagreementError):
        await ledger.apply([wrong], NOW)
    assert await orders(redis, keys) == []
    assert await redis.exists(keys.workers("vm1")) == 0


async def test_a_bot_that_is_assigned_is_not_assigned_again(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([accept(), assign()], NOW)
    with pytest.raises(DisagreementError):
        await ledger.apply([assign(attempt=2, worker_id="w2")], NOW)
    assert (await bot(redis, keys))["worker_id"] == "w1"


async def test_every_step_of_a_bot_leaves_its_time_and_tells_the_status_stream(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([accept(), assign()], NOW)
    await ledger.apply(
        [
            Move("b1", 1, BotState.JOINING, NOW + 1, "loading", "r", first_request_at=NOW + 0.5),
            Move("b1", 1, BotState.WAITING_ROOM, NOW + 2),
            Move("b1", 1, BotState.IN_MEETING, NOW + 3),
            Note(
                BotVitals(
                    "vm", "w", "b1", 1, NOW + 4, participants=3, audio_packets=50, audio_level=0.0625, speaker="Ann"
                )
            ),
            Move("b1", 1, BotState.LEAVING, NOW + 5),
            End("b1", 1, Reason.MEETING_ENDED, at=NOW + 6, audio_packets=99),
        ],
        NOW + 9,
    )
    record = await bot(redis, keys)
    times = ["first_request_at", "joining_at", "waiting_room_at", "inmeeting_at", "leaving_at", "stopped_at"]
    assert [epoch(record[name]) - NOW for name in times] == [0.5, 1, 2, 3, 5, 6]
    assert (record["participants"], record["audio_packets_received"]) == ("3", "99")
    assert (record["audio_level"], record["active_speaker"]) == ("0.0625", "Ann")
    assert (record["status"], record["status_reason"], record["attribution"]) == ("Stopped", "meeting_ended", "host")
    states = ["queued", "assigned", "joining", "waiting_room", "in_meeting", "leaving", "stopped"]
    assert await story(redis, keys) == states


async def test_the_next_leader_knows_what_a_bot_failed_for_so_far(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([accept(), assign()], NOW)
    assert bot_from(await bot(redis, keys)).failure is None
    remember = Remember("b1", 1, Reason.CONNECTION_LOST, "the page showed connection_lost")
    await ledger.apply([remember, Enqueue("b1", 1, Why.RETRY, 1), assign(attempt=2, worker_id="w2")], NOW)
    kept = bot_from(await bot(redis, keys))
    assert (kept.failure, kept.failure_detail) == (Reason.CONNECTION_LOST, "the page showed connection_lost")


async def test_an_ended_bot_has_an_end_of_life_and_never_changes_again(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([accept(), assign(), End("b1", 1, Reason.USER_REQUESTED)], NOW)
    before = await bot(redis, keys)
    again: list[Decision] = [
        End("b1", 1, Reason.BROWSER_CRASHED),
        Move("b1", 1, BotState.IN_MEETING, NOW),
        Note(BotVitals("vm", "w", "b1", 1, NOW, 9, 9)),
        Enqueue("b1", 1, Why.RETRY),
    ]
    await ledger.apply(again, NOW + 1)
    assert await bot(redis, keys) == before
    assert (await story(redis, keys)).count("stopped") == 1
    assert 0 < await redis.ttl(keys.bot("b1")) <= RetentionSettings().bot_s + GRACE_S
    assert await redis.zcard(keys.live) == 0
    assert await redis.zrange(keys.ended, 0, -1) == [b"b1"]


async def test_news_of_an_earlier_attempt_changes_nothing(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([accept(), assign(), Enqueue("b1", 1, Why.REFUSED), assign(attempt=2, worker_id="w2")], NOW)
    before = await bot(redis, keys)
    await ledger.apply([Move("b1", 1, BotState.IN_MEETING, NOW), Note(BotVitals("vm", "w", "b1", 1, NOW, 5, 5))], NOW)
    assert await bot(redis, keys) == before


async def test_a_bot_that_is_queued_again_keeps_nothing_of_the_attempt(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([accept(), assign(), Move("b1", 1, BotState.JOINING, NOW, first_request_at=NOW)], NOW)
    await redis.hset(keys.bot("b1"), "claimed", 1)
    await ledger.apply([Enqueue("b1", 1, Why.WORKER_LOST)], NOW)
    record = await bot(redis, keys)
    cleared = ("vm_id", "worker_id", "assigned_at", "joining_at", "first_request_at", "claimed", "screen", "rule")
    assert [record[name] for name in cleared] == [""] * len(cleared)
    assert (record["state"], record["status_reason"], record["attempt"]) == ("queued", "worker_lost", "1")


async def test_an_unclaimed_assignment_is_revoked_and_can_no_longer_be_claimed(
    redis: Any, keys: Keys, ledger: Ledger, claim: Any
) -> None:
    await ledger.apply([accept(), assign()], NOW)
    assert await ledger.apply([Revoke("b1", 1)], NOW) == [Revoked("b1", 1, revoked=True)]
    assert await claim("b1", 1, "w1") == 0


async def test_a_claimed_assignment_is_not_revoked(redis: Any, keys: Keys, ledger: Ledger, claim: Any) -> None:
    await ledger.apply([accept(), assign()], NOW)
    assert await claim("b1", 1, "w1") == 1
    assert await ledger.apply([Revoke("b1", 1)], NOW) == [Revoked("b1", 1, revoked=False)]


async def test_workers_are_ordered_kept_retired_and_forgotten(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([Warm("vm1", "w1", NOW, Why.BELOW_MIN_IDLE)], NOW)
    assert b'"state":"warming"' in await redis.hget(keys.workers("vm1"), "w1")
    await ledger.apply([KeepWorker("vm1", "w1", WorkerState.IDLE, NOW, NOW)], NOW)
    assert b'"state":"idle"' in await redis.hget(keys.workers("vm1"), "w1")
    await ledger.apply([Retire("vm1", "w1", NOW, Why.IDLE_TTL)], NOW)
    assert await orders(redis, keys) == [messages.Warm("w1"), messages.Retire("w1")]
    await ledger.apply([ForgetWorker("vm1", "w1", GoneCause.RETIRED)], NOW)
    assert await redis.exists(keys.workers("vm1")) == 0


async def test_a_wish_to_leave_is_remembered_should_the_attempt_fail_first(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([accept(), assign(), Ask("vm1", "w1", "b1", 1, Reason.USER_REQUESTED)], NOW)
    assert (await bot(redis, keys))["leave_requested"] == "1"
    assert (await orders(redis, keys))[-1] == messages.Leave("w1", "b1", 1, Reason.USER_REQUESTED)


async def test_sending_away_a_stale_attempt_is_no_wish_of_the_bots_owner(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([accept(), assign(), Ask("vm1", "w1", "b1", 1, Reason.SUPERSEDED)], NOW)
    assert "leave_requested" not in await bot(redis, keys)
    await ledger.apply([Ask("vm1", "w9", "unknown", 1, Reason.SUPERSEDED)], NOW)
    assert await redis.exists(keys.bot("unknown")) == 0


async def test_a_vm_is_kept_lost_found_again_and_forgotten(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([KeepVm("vm1", "s", draining=True, lost=False), Warm("vm1", "w1", NOW, Why.JOBS_WAIT)], NOW)
    assert await redis.hlen(keys.workers("vm1")) == 1
    await ledger.apply([KeepVm("vm1", "s", draining=True, lost=True)], NOW)
    assert await redis.hget(keys.vm("vm1"), "lost") == b"1"
    assert await redis.exists(keys.workers("vm1"), keys.commands("vm1")) == 0
    await ledger.apply([KeepVm("vm1", "s2", draining=True, lost=False)], NOW)
    assert await redis.hget(keys.vm("vm1"), "lost") == b"0"
    await ledger.apply([ForgetVm("vm1")], NOW)
    assert [key async for key in redis.scan_iter(match=f"{keys.prefix}:vm*")] == []


async def test_a_rejected_job_goes_to_the_dead_with_its_reason(redis: Any, keys: Keys, ledger: Ledger) -> None:
    raw = b"\xff not json"
    await redis.lpush(keys.taken, raw)
    await ledger.reject([Rejected(raw, "not_utf8", "byte 0 is not UTF-8")], NOW)
    ((_, fields),) = await redis.xrange(keys.dead)
    assert fields[b"payload"] == raw
    assert fields[b"reason"] == b"not_utf8"
    assert await redis.llen(keys.taken) == 0
    assert await story(redis, keys) == []


async def test_who_follows_a_rejected_bot_id_hears_of_it(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.reject([Rejected(b"{}", "no_link", "meeting_link is required.", "b9")], NOW)
    ((_, fields),) = await redis.xrange(keys.status)
    assert (fields[b"bot_id"], fields[b"status"], fields[b"reason"]) == (b"b9", b"Error", b"no_link")
    assert fields[b"status_reason"] == Reason.INVALID_REQUEST.encode()


async def test_a_bad_job_that_names_somebody_elses_bot_does_not_touch_its_story(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply([accept()], NOW)
    await ledger.reject([Rejected(b"{}", "no_link", "meeting_link is required.", "b1")], NOW)
    assert await story(redis, keys) == ["queued"]


async def test_a_huge_rejected_job_is_kept_only_by_its_beginning(redis: Any, keys: Keys, ledger: Ledger) -> None:
    raw = b"x" * 10_000_000
    await redis.lpush(keys.taken, raw)
    await ledger.reject([Rejected(raw, "too_large", "too large")], NOW)
    ((_, fields),) = await redis.xrange(keys.dead)
    assert len(fields[b"payload"]) == 256 * 1024
    assert await redis.llen(keys.taken) == 0


ALL: list[Decision] = [
    accept("b2"), assign(), Move("b1", 1, BotState.JOINING, NOW), Note(BotVitals("vm", "w", "b1", 1, NOW, 1, 1)),
    Enqueue("b1", 1, Why.RETRY), Revoke("b1", 1), Ask("vm1", "w1", "b1", 1, Reason.SHUTDOWN),
    End("b1", 1, Reason.SHUTDOWN), Warm("vm1", "w2", NOW, Why.JOBS_WAIT), Retire("vm1", "w1", NOW, Why.IDLE_TTL),
    KeepWorker("vm1", "w1", WorkerState.IDLE, NOW, NOW), ForgetWorker("vm1", "w1", GoneCause.SPENT),
    KeepVm("vm1", "s", draining=True, lost=True), ForgetVm("vm1"),
]  # fmt: skip


@pytest.mark.parametrize("decision", ALL, ids=lambda decision: type(decision).__name__)
async def test_no_write_of_a_replaced_leader_gets_through(
    redis: Any, keys: Keys, ledger: Ledger, decision: Decision
) -> None:
    await ledger.apply([accept(), KeepVm("vm1", "s", draining=False, lost=False)], NOW)
    await redis.incr(keys.epoch)
    before = await dump(redis, keys)
    with pytest.raises(StaleEpochError):
        await ledger.apply([decision], NOW)
    assert await dump(redis, keys) == before


async def test_a_replaced_leader_cannot_reject_either(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await redis.lpush(keys.taken, "x")
    await redis.incr(keys.epoch)
    with pytest.raises(StaleEpochError):
        await ledger.reject([Rejected(b"x", "not_json", "not JSON")], NOW)
    assert await redis.lrange(keys.taken, 0, -1) == [b"x"]


async def test_after_a_script_flush_the_pool_is_to_be_rebuilt(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await redis.script_flush()
    with pytest.raises(DisagreementError):
        await ledger.apply([accept()], NOW)
    await load_scripts(redis)
    await ledger.apply([accept()], NOW)
    assert await redis.exists(keys.bot("b1"))


async def test_an_error_that_redis_answers_is_not_passed_over(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await redis.set(keys.live, "no sorted set", ex=600)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await ledger.apply([accept()], NOW)
    await redis.delete(keys.bot("b1"))


async def test_nothing_to_apply_is_nothing_to_do(ledger: Ledger) -> None:
    assert await ledger.apply([], NOW) == []


async def test_a_taken_job_is_in_one_list_or_the_other_and_left_overs_come_oldest_first(redis: Any, keys: Keys) -> None:
    jobs = Jobs(redis, keys)
    for number in range(5):
        await redis.lpush(keys.jobs, number)
    assert await jobs.take(3, 1.0) == [b"0", b"1", b"2"]
    assert await jobs.left_over() == [b"0", b"1", b"2"]
    assert await jobs.backlog() == 2
    assert await jobs.take(300, 1.0) == [b"3", b"4"]
    assert await jobs.take(300, 0.01) == []
    await redis.lpush(keys.jobs, "alone")
    assert await jobs.take(300, 1.0) == [b"alone"]
    await redis.delete(keys.taken)


async def test_a_key_that_something_else_uses_is_said(redis: Any, keys: Keys) -> None:
    await redis.set(keys.jobs, "not a list", ex=600)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await Jobs(redis, keys).take(3, 1.0)


async def test_few_are_taken_at_once_where_they_are_huge(redis: Any, keys: Keys) -> None:
    jobs = Jobs(redis, keys)
    for size in (3_000_000, 10, 10, 600_000, 600_000, 10):
        await redis.lpush(keys.jobs, b"x" * size)
    assert [[len(job) for job in await jobs.take(300, 1.0)] for _ in range(3)] == [
        [3_000_000],
        [10, 10, 600_000, 600_000],
        [10],
    ]
    assert [len(job) for job in await jobs.left_over()] == [3_000_000, 10, 10, 600_000, 600_000, 10]
    await redis.delete(keys.taken)


async def test_ids_and_keys_in_use_are_known(redis: Any, keys: Keys, ledger: Ledger) -> None:
    keyed = replace(JOB, deduplication_key="k")
    await ledger.apply([accept("b1", keyed)], NOW)
    asked = [replace(JOB, bot_id="b1"), keyed, replace(JOB, bot_id="b5"), JOB]
    assert await Jobs(redis, keys).conflicts(asked) == {"b1": "b1", "key k": "b1"}
    assert await Jobs(redis, keys).conflicts([JOB]) == {}
    await redis.zadd(keys.recordings_expiring, {"b5": 1e12})
    await redis.expire(keys.recordings_expiring, 600)
    assert await Jobs(redis, keys).conflicts(asked[2:]) == {"b5": "b5"}


async def dump(redis: Any, keys: Keys) -> dict[bytes, Any]:
    return {key: await redis.dump(key) async for key in redis.scan_iter(match=f"{keys.prefix}:*")}


async def content(redis: Any, keys: Keys) -> dict[bytes, Any]:
    """All that can be read, but for the ids of stream entries; and which keys have an end."""
    found: dict[bytes, Any] = {}
    async for key in redis.scan_iter(match=f"{keys.prefix}:*"):
        read: dict[bytes, Callable[[bytes], Awaitable[Any]]] = {
            b"hash": redis.hgetall,
            b"string": redis.get,
            b"list": lambda key: redis.lrange(key, 0, -1),
            b"zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
            b"stream": lambda key: redis.xrange(key),
        }
        kind = await redis.type(key)
        value = await read[kind](key)
        if kind == b"stream":
            value = [fields for _, fields in value]
        found[key] = (value, await redis.ttl(key) > 0)
    return found
