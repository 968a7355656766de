"""What is read back from Redis: the lease, the streams, what a new leader takes over, what people are shown."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from common.config.settings import RetentionSettings, Settings
from common.jobs.record import Job, Record
from common.wire.messages import AutomaticLeave, BotNames, Join
from common.wire.vocabulary import BotState, Reason, WorkerState
from poolmgr.core.decisions import Accept, Ask, Assign, End, KeepVm, KeepWorker, Move, Warm, Why
from poolmgr.core.events import DrainRequested, LeaveRequested, SayRequested
from poolmgr.core.model import Joins
from poolmgr.store.forgetting import forget
from poolmgr.store.keys import Keys
from poolmgr.store.leader.inbox import GROUP, Jobs, Stream
from poolmgr.store.leader.lease import Lease
from poolmgr.store.leader.ledger import Ledger, Rejected, StaleEpochError
from poolmgr.store.leader.snapshot import load_bots, load_vms
from poolmgr.store.leader.upkeep import Upkeep
from poolmgr.store.reading.views import Standing, Views, decode_request, encode_request
from poolmgr.store.usage import day_of
from tests.interleaving import after_commands
from tests.store.conftest import NOW


def job(**fields: Any) -> Job:
    standard: dict[str, Any] = {"platform": "room", "meeting_url": "http://h/r/x", "bot_name": "N", "payload": "{}"}
    return Job(**{**standard, **fields})


# The lease


async def test_one_holder_leads_and_every_taking_is_a_new_epoch(redis: Any, keys: Keys) -> None:
    first, second = Lease(redis, keys, "first", 30), Lease(redis, keys, "second", 30)
    epoch = await first.take()
    assert epoch
    assert await second.take() == 0
    assert not await second.renew()
    assert await first.renew()
    assert await first.take() == epoch + 1, "a new term of the same process writes under a new epoch"
    await second.resign()
    assert await first.renew(), "only the holder can give the lease back"
    await first.resign()
    assert await second.take() == epoch + 2
    assert not await first.renew()


async def test_a_lease_that_ran_out_is_kept_unless_another_one_took_it(redis: Any, keys: Keys) -> None:
    first, second = Lease(redis, keys, "first", 30), Lease(redis, keys, "second", 30)
    epoch = await first.take()
    await redis.delete(keys.leader)  # as when it has run out
    assert await first.renew()
    assert await redis.ttl(keys.leader) > 0
    assert int(await redis.get(keys.epoch)) == epoch, "nobody else has led, so nothing has to be refused"
    await redis.delete(keys.leader)
    assert await second.take() == epoch + 1
    await second.resign()
    assert not await first.renew(), "another one has led in between"
    await redis.delete(keys.epoch)
    assert not await first.renew(), "Redis came back empty"


# Streams


async def test_a_stream_gives_again_what_was_read_and_not_acknowledged(redis: Any, keys: Keys) -> None:
    stream = Stream(redis, keys, keys.events, 1)
    await stream.open()
    await stream.open()
    for number in range(3):
        await redis.xadd(keys.events, {"m": number})
    assert [entry.fields for entry in await stream.read(2, 0.01)] == [{b"m": b"0"}, {b"m": b"1"}]
    successor = Stream(redis, keys, keys.events, 1)
    await successor.open()
    again = await successor.read(10, 0.01)
    assert [entry.fields[b"m"] for entry in again] == [b"0", b"1"]
    await successor.done(again)
    rest = await successor.read(10, 0.01)
    assert [entry.fields[b"m"] for entry in rest] == [b"2"]
    await successor.done(rest, forget=True)
    assert await successor.read(10, 0.01) == []
    await successor.done([])
    assert await redis.xlen(keys.events) == 2
    await Upkeep(redis, keys, RetentionSettings()).renew([])


async def test_what_a_leader_read_that_had_been_replaced_comes_to_the_one_that_leads(redis: Any, keys: Keys) -> None:
    """It was frozen, woke up, and went on before it asked whether it leads."""
    replaced, leads = (Stream(redis, keys, keys.events, epoch) for epoch in (0, 1))
    await leads.open()
    await redis.xadd(keys.events, {"m": "0"})
    await leads.done(await leads.read(10, 0))
    assert not leads.late
    for number in range(1, 4):
        await redis.xadd(keys.events, {"m": number})
    taken = await replaced.read(3, 0)
    with pytest.raises(StaleEpochError):
        await replaced.done(taken, forget=True)
    await redis.xadd(keys.events, {"m": "4"})
    newest = await leads.read(10, 0)
    assert [entry.fields[b"m"] for entry in newest] == [b"4"]
    assert not leads.late
    await leads.done(newest)
    assert await leads.read(10, 0) == [], "nothing else is new"
    found: list[bytes] = []
    while entries := await leads.read(2, 0):
        assert leads.late
        found += [entry.fields[b"m"] for entry in entries]
        await leads.done(entries)
    assert found == [b"1", b"2", b"3"]
    await Upkeep(redis, keys, RetentionSettings()).renew([])


async def test_what_is_left_over_is_looked_for_where_there_is_always_something_new(redis: Any, keys: Keys) -> None:
    replaced, leads = (Stream(redis, keys, keys.events, epoch) for epoch in (0, 1))
    await leads.open()
    assert await leads.read(1, 0) == []
    await redis.xadd(keys.events, {"m": "taken"})
    assert await replaced.read(1, 0)
    late: list[bytes] = []
    for number in range(150):
        await redis.xadd(keys.events, {"m": number})
        entries = await leads.read(1, 0)
        late += [entry.fields[b"m"] for entry in entries if leads.late]
        await leads.done(entries)
    assert late == [b"taken"]
    assert not (await redis.xpending(keys.events, GROUP))["pending"]
    await Upkeep(redis, keys, RetentionSettings()).renew([])


async def test_opening_a_stream_under_a_key_of_another_type_is_an_error(redis: Any, keys: Keys) -> None:
    await redis.set(keys.events, "text", ex=600)
    with pytest.raises(Exception, match="WRONGTYPE"):
        await Stream(redis, keys, keys.events, 1).open()


async def test_trimming_spares_what_was_not_acknowledged(redis: Any, keys: Keys) -> None:
    stream = Stream(redis, keys, keys.events, 1)
    await stream.open()
    for number in range(400):
        await redis.xadd(keys.events, {"m": number}, id=f"{number + 1}-0")
    await stream.trim(10**9)
    assert await redis.xlen(keys.events) == 400, "nothing was read yet"
    entries = await stream.read(350, 0.01)
    await stream.done(entries[:300])
    await stream.trim(10**9)
    left = [entry_id for entry_id, _ in await redis.xrange(keys.events)]
    assert b"301-0" in left
    assert len(left) < 400
    await Upkeep(redis, keys, RetentionSettings()).renew([])


@pytest.mark.parametrize("commands", range(3))
@pytest.mark.parametrize("acknowledged", [0, 120, 150])
async def test_trimming_spares_what_is_read_meanwhile(
    redis: Any, keys: Keys, commands: int, acknowledged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, other = Stream(redis, keys, keys.events, 1), "an older release"
    await stream.open()
    for number in range(500):
        await redis.xadd(keys.events, {"m": number}, id=f"{number + 1}-0")
    entries = await stream.read(150, 0.01)
    await stream.done(entries[:acknowledged])

    async def go_on() -> None:
        await stream.done(entries)
        await redis.xreadgroup(GROUP, other, {keys.events: ">"}, count=150)
        await redis.xack(keys.events, GROUP, *(f"{number}-0" for number in range(151, 231)))
        await redis.xreadgroup(GROUP, "leader", {keys.events: ">"}, count=150)

    after_commands(redis, commands, go_on, monkeypatch)
    await stream.trim(10**9)
    left = {entry_id for entry_id, _ in await redis.xrange(keys.events)}
    assert left >= {f"{number}-0".encode() for number in range(231, 501)}
    await Upkeep(redis, keys, RetentionSettings()).renew([])


# What a new leader takes over


async def test_a_bot_is_taken_over_as_it_was(redis: Any, keys: Keys, ledger: Ledger) -> None:
    asked = job(
        bot_id="b1", user_id="u", calendar_event_id="c", join_at=NOW + 60, priority=3, deduplication_key="k",
        held_meeting="m",
        automatic_leave=AutomaticLeave(waiting_room_timeout=7, bot_names=BotNames(["bot"], timeout=9)),
        passcode="12 34", is_probe=True, no_audio=True, video=True, recording_hours=1.5,
        live_audio_url="wss://s.example/", live_transcription_url="https://h.example/",
    )  # fmt: skip
    await ledger.apply([Accept("b1", asked, BotState.QUEUED, NOW, seq=9)], NOW)
    join = Join("w1", "b1", 1, "room", "http://h/r/x", "N")
    await ledger.apply([Assign("vm1", join, NOW, True, 0.0), Ask("vm1", "w1", "b1", 1, Reason.USER_REQUESTED)], NOW)
    (bot,) = await load_bots(redis, keys)
    assert bot.job == asked
    assert (bot.seq, bot.created_at, bot.state, bot.attempt) == (9, NOW, BotState.ASSIGNED, 1)
    assert (bot.vm_id, bot.worker_id, bot.leave_requested) == ("vm1", "w1", True)


async def test_an_unreadable_record_does_not_stop_the_others(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply([Accept("good", job(), BotState.QUEUED, NOW, seq=1)], NOW)
    await redis.zadd(keys.live, {"broken": 1, "missing": 2})
    await redis.hset(keys.bot("broken"), "state", "queued")
    assert [bot.bot_id for bot in await load_bots(redis, keys)] == ["good"]


async def test_vms_are_taken_over_with_their_workers_and_lost_ones_are_not(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    await ledger.apply(
        [
            KeepVm("vm1", "s1", draining=True, lost=False),
            Warm("vm1", "w1", NOW, Why.BELOW_MIN_IDLE),
            KeepWorker("vm1", "w2", WorkerState.IDLE, NOW, NOW - 9),
            KeepVm("vm2", "s2", draining=False, lost=True),
        ],
        NOW,
    )
    (vm,) = await load_vms(redis, keys)
    assert (vm.vm_id, vm.session, vm.draining) == ("vm1", "s1", True)
    assert {worker.worker_id: worker.state for worker in vm.workers.values()} == {
        "w1": WorkerState.WARMING,
        "w2": WorkerState.IDLE,
    }
    assert vm.workers["w2"].born == NOW - 9


async def test_a_canary_that_the_leader_takes_out_is_in_the_log_of_actions_and_known_to_the_next_one(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    kept = KeepVm("vm1", "s1", True, False, canary=True, joins_ok=3, joins_failed=9, out="9 of 12 joins failed")
    await ledger.apply([replace(kept, draining=False, out=""), replace(kept, is_taken_out=True), kept], NOW)
    (action,) = await Views(redis, keys).actions.since(0, most=9)
    assert (action.who, action.way, action.what, action.of) == ("manager", "manager", "drain", "vm1")
    assert action.detail == "9 of 12 joins failed"
    (vm,) = await load_vms(redis, keys)
    assert (vm.canary, vm.draining, vm.joins, vm.out) == (True, True, Joins(3, 9), "9 of 12 joins failed")
    (shown,) = await Views(redis, keys).fleet()
    assert (shown.canary, shown.out) == (True, "9 of 12 joins failed")


async def test_labels_of_vms_are_read_by_the_next_leader_and_by_people(redis: Any, keys: Keys, ledger: Ledger) -> None:
    labels = {"region": "eu", "account": "a@b, c"}
    await ledger.apply([KeepVm("vm1", "s1", False, False, labels=labels), KeepVm("vm2", "s1", False, False)], NOW)
    await redis.hdel(keys.vm("vm2"), "labels")  # as a leader of the release before wrote it
    assert [dict(vm.labels) for vm in await load_vms(redis, keys)] == [labels, {}]
    views = Views(redis, keys)
    first, second = await views.fleet()
    assert [first.labels, second.labels] == [labels, {}]
    asked: list[dict[str, str]] = [{}, {"region": "eu"}, {"region": "us"}, {"region": "eu", "egress": "1"}]
    assert [first.has(each) for each in asked] == [True, True, False, False]
    assert [second.has(each) for each in asked] == [True, False, False, False]
    await redis.hset(keys.vm("vm1"), "labels", "{")
    assert [dict(vm.labels) for vm in await load_vms(redis, keys)] == [{}, {}]


async def test_which_workers_have_a_display_is_read_by_the_next_leader_and_by_people(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    makes = KeepVm("vm1", "s1", False, False, makes_displays=True)
    workers = [
        KeepWorker("vm1", "w1", WorkerState.IDLE, NOW, NOW, display=True),
        KeepWorker("vm1", "w2", WorkerState.IDLE, NOW, NOW),
        Warm("vm1", "w3", NOW, Why.BELOW_MIN_IDLE, display=True),
    ]
    await ledger.apply([makes, *workers, KeepVm("vm2", "s1", False, False)], NOW)
    await redis.hdel(keys.vm("vm2"), "makes_displays")  # as a leader of the release before wrote it
    first, second = await load_vms(redis, keys)
    assert (first.makes_displays, second.makes_displays) == (True, False)
    assert {worker.worker_id for worker in first.workers.values() if worker.display} == {"w1", "w3"}
    first, second = await Views(redis, keys).fleet()
    assert (first.displays, second.displays) == ({"idle": 1, "warming": 1}, {})
    assert (first.idle_against(5, 2), second.idle_against(5, 2)) == ([(1, 5), (1, 2)], [(0, 5)])
    await ledger.apply([replace(makes, makes_displays=False)], NOW)
    first, _ = await Views(redis, keys).fleet()
    assert first.idle_against(5, 2) == [(1, 5), (1, 0)], "they are to go"


async def test_an_unreadable_worker_does_not_stop_the_others(redis: Any, keys: Keys, ledger: Ledger) -> None:
    kept = KeepWorker("vm1", "good", WorkerState.IDLE, NOW, NOW)
    await ledger.apply([KeepVm("vm1", "s1", draining=False, lost=False), kept], NOW)
    await redis.hset(keys.workers("vm1"), mapping={"broken": "{", "newer": '{"state":"hibernating","since":1}'})
    (vm,) = await load_vms(redis, keys)
    assert list(vm.workers) == ["good"]


# What people are shown


async def test_bots_are_listed_live_ones_first_then_the_latest_end(redis: Any, keys: Keys, ledger: Ledger) -> None:
    accepts = [Accept(f"b{number}", job(), BotState.QUEUED, NOW + number, seq=number) for number in range(4)]
    ends = [End("b0", 0, Reason.USER_REQUESTED, at=NOW + 9), End("b1", 0, Reason.USER_REQUESTED, at=NOW + 8)]
    await ledger.apply([*accepts, *ends], NOW)
    views = Views(redis, keys)
    assert [bot.bot_id for bot in await views.bots(most=10)] == ["b3", "b2", "b0", "b1"]
    assert [bot.bot_id for bot in await views.bots(most=3)] == ["b3", "b2", "b0"]
    assert [bot.bot_id for bot in await views.bots(most=10, live_only=True)] == ["b3", "b2"]
    assert await views.bot("nobody") is None


async def test_the_fleet_shows_states_workers_and_bots(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.apply(
        [
            KeepVm("up", "s", draining=False, lost=False),
            KeepWorker("up", "w1", WorkerState.IDLE, NOW, NOW),
            KeepWorker("up", "w2", WorkerState.BUSY, NOW, NOW, "b1"),
            KeepVm("drained", "s", draining=True, lost=False),
            KeepVm("ending", "s", draining=True, lost=False, stopping=True),
            KeepVm("idler", "s", draining=False, lost=False, resting=True),
            KeepVm("gone", "s", draining=False, lost=True),
            KeepVm("quiet", "s", draining=False, lost=False),
        ],
        NOW,
    )
    for vm_id in ("up", "drained", "ending", "idler"):
        await redis.set(keys.alive(vm_id), "{}", ex=15)
    views = Views(redis, keys)
    fleet = {vm.vm_id: vm for vm in await views.fleet()}
    states = {vm_id: vm.state for vm_id, vm in fleet.items()}
    others = {"ending": "stopping", "idler": "resting", "gone": "lost", "quiet": "silent"}
    assert states == {"up": "up", "drained": "draining", **others}
    assert fleet["up"].workers == {"warming": 0, "idle": 1, "reserved": 0, "busy": 1, "retiring": 0}
    assert fleet["up"].bots == ["b1"]
    assert await views.vm("up") == fleet["up"]
    assert await views.vm("nobody") is None


async def test_the_standing_counts_what_waits_and_lives_and_names_who_leads(redis: Any, keys: Keys) -> None:
    views = Views(redis, keys)
    assert await views.standing() == Standing("", 1, 0, 0)
    assert not await views.leads()
    epoch = await Lease(redis, keys, "manager-1", 30).take()
    await Ledger(redis, keys, RetentionSettings(), epoch).apply([Accept("b1", job(), BotState.QUEUED, NOW, seq=1)], NOW)
    await views.submit(b"{}")
    await views.submit(b"[]")
    assert await views.standing() == Standing("manager-1", epoch, 2, 1)
    assert await views.leads()
    assert [await views.take_back(b"{}") for _ in range(2)] == [True, False]
    assert await redis.lrange(keys.jobs, 0, -1) == [b"[]"]
    await redis.delete(keys.jobs)


async def test_a_job_that_is_begun_alone_is_counted_until_it_came_to_its_end(redis: Any, keys: Keys) -> None:
    jobs = Jobs(redis, keys)
    assert await jobs.begin_alone(b"one", b"") == 1
    assert await jobs.begin_alone(b"one", b"") == 2, "the leader ended meanwhile"
    assert await jobs.begin_alone(b"other", b"one") == 1
    assert 0 < await redis.ttl(keys.tries) <= 86400
    assert await jobs.begin_alone(b"one", b"other") == 1
    await jobs.ended_alone(b"one")
    assert await redis.exists(keys.tries) == 0


async def test_the_story_of_a_bot_is_read_from_where_one_was(redis: Any, keys: Keys, ledger: Ledger) -> None:
    views = Views(redis, keys)
    assert await views.story("b1") == []
    accept = Accept("b1", job(), BotState.QUEUED, NOW, seq=1)
    await ledger.apply([accept, Move("b1", 0, BotState.JOINING, NOW), End("b1", 0, Reason.NO_CAPACITY)], NOW)
    whole = await views.story("b1")
    assert len(whole) == 3
    assert await views.story("b1", after=2) == whole[2:]
    record = await views.bot("b1")
    assert record
    assert record.is_over
    assert not Record.from_hash({**record.texts(), "state": "joining"}).is_over


async def test_letters_evidence_and_an_audit_are_read_under_the_same_prefix(redis: Any, keys: Keys) -> None:
    views = Views(redis, keys)
    assert await views.webhooks.waiting("b1") == ([], None)
    assert await views.evidence.bundle("b1", 1) is None
    assert await views.audit(Settings(), NOW) == []
    await redis.set(keys.story("b1"), "without an end")
    assert [finding.kind for finding in await views.audit(Settings(), NOW)] == ["key_without_end"]
    await redis.delete(keys.story("b1"))


async def test_a_rejected_job_can_be_put_back_once(redis: Any, keys: Keys, ledger: Ledger) -> None:
    await ledger.reject([Rejected(b"{}", "no_link", "meeting_link is required.")], NOW)
    views = Views(redis, keys)
    (dead,) = await views.dead(most=10)
    assert (dead.reason, dead.payload) == ("no_link", "{}")
    assert await views.put_back(dead.entry_id) == dead
    assert await views.put_back(dead.entry_id) is None
    assert await redis.lrange(keys.jobs, 0, -1) == [b"{}"]
    await redis.delete(keys.jobs)


async def test_all_rejected_jobs_are_put_back_oldest_first_and_no_more_than_those(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    views = Views(redis, keys)
    assert await views.put_all_back() == []
    payloads = [str(number).encode() for number in range(45)]  # more than two pages
    await ledger.reject([Rejected(payload, "no_link", "meeting_link is required.") for payload in payloads], NOW)
    stood = [job.entry_id for job in await views.dead(most=100)]
    assert await views.put_all_back() == stood[::-1]
    assert await views.dead(most=100) == []
    assert await redis.lrange(keys.jobs, 0, -1) == payloads[::-1], "a manager takes from the right: the oldest first"
    await redis.delete(keys.jobs)


async def test_of_jobs_that_two_put_back_at_once_each_is_put_back_by_one(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    payloads = [str(number).encode() for number in range(45)]
    await ledger.reject([Rejected(payload, "no_link", "meeting_link is required.") for payload in payloads], NOW)
    both = await asyncio.gather(Views(redis, keys).put_all_back(), Views(redis, keys).put_all_back())
    assert len(both[0]) + len(both[1]) == 45
    assert sorted(await redis.lrange(keys.jobs, 0, -1)) == sorted(payloads)
    await redis.delete(keys.jobs)


async def test_a_request_stands_in_the_stream_as_it_was_made(redis: Any, keys: Keys) -> None:
    await Views(redis, keys).request(SayRequested("b1", "Hello"))
    ((_, fields),) = await redis.xrange(keys.control)
    assert decode_request(fields) == SayRequested("b1", "Hello")
    await redis.delete(keys.control)


@pytest.mark.parametrize(
    "request_", [LeaveRequested("b1"), SayRequested("b1", "Hello"), DrainRequested("vm1", draining=False)]
)
async def test_a_request_is_read_as_it_was_made(request_: LeaveRequested | SayRequested | DrainRequested) -> None:
    fields = {name.encode(): value for name, value in encode_request(request_).items()}
    assert decode_request(fields) == request_


async def test_followers_see_the_changes_of_their_bot_from_where_they_began(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    views = Views(redis, keys)
    assert await views.last_status_id() == "0-0"
    await ledger.apply([Accept("b1", job(), BotState.QUEUED, NOW, seq=1)], NOW)
    began = await views.last_status_id()
    await ledger.apply([Accept("b2", job(), BotState.QUEUED, NOW, seq=2), Move("b1", 0, BotState.JOINING, NOW)], NOW)
    everybody = views.follow(began)
    assert [(await anext(everybody)).fields["bot_id"] for _ in range(2)] == ["b2", "b1"]
    await ledger.apply([Accept("b3", job(), BotState.QUEUED, NOW, seq=3)], NOW)
    assert (await anext(everybody)).fields["bot_id"] == "b3"
    only = views.follow(began, bot_id="b1")
    assert (await anext(only)).fields["state"] == "joining"


async def test_upkeep_renews_what_is_in_use_and_drops_what_has_expired(redis: Any, keys: Keys, ledger: Ledger) -> None:
    retention = RetentionSettings(bot_s=100.0)
    upkeep = Upkeep(redis, keys, retention)
    await ledger.apply([KeepVm("vm1", "s", draining=False, lost=False)], NOW)
    await redis.expire(keys.vm("vm1"), 5)
    await upkeep.renew(["vm1"])
    assert await redis.ttl(keys.vm("vm1")) > 5
    await ledger.apply([Accept("b1", job(), BotState.QUEUED, NOW, seq=1), End("b1", 0, Reason.NO_CAPACITY)], NOW)
    assert await upkeep.forget_ended(NOW + 99) == 0
    assert await upkeep.forget_ended(NOW + 101) == 1


async def test_an_orphan_leaves_the_index_only_on_evidence(redis: Any, keys: Keys, ledger: Ledger) -> None:
    upkeep = Upkeep(redis, keys, RetentionSettings())
    assert await upkeep.forget_orphans({}) == []
    bots = ("known", "unknown", "ended", "deleted")
    for seq, bot_id in enumerate(bots):
        await ledger.apply([Accept(bot_id, job(), BotState.QUEUED, NOW, seq=seq)], NOW)
    await ledger.apply([End("ended", 0, Reason.NO_CAPACITY)], NOW)
    await redis.zadd(keys.live, {"ended": NOW})
    await redis.delete(keys.bot("deleted"))
    assert await upkeep.forget_orphans({"known"}) == ["deleted", "ended"]
    assert await redis.zrange(keys.live, 0, -1) == [b"known", b"unknown"]
    assert await upkeep.forget_orphans({"known"}) == []


async def test_a_bot_whose_time_is_over_is_forgotten_with_all_that_was_kept_of_it(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    upkeep = Upkeep(redis, keys, RetentionSettings(bot_s=100))
    mine = job(owner="app", user_id="u", custom_attributes='{"a":1}', deduplication_key="k", callback_url="https://h/")
    mine = replace(mine, held_meeting="m")
    await ledger.apply([Accept("b1", mine, BotState.QUEUED, NOW, seq=1)], NOW)
    for key in (keys.participants("b1"), keys.chats("b1"), keys.delivery_log("b1")):
        await redis.set(key, "", ex=1000)
    assert await forget(redis, keys, "b1") == 0, "it lives"
    await ledger.apply([End("b1", 0, Reason.NO_CAPACITY, owner="app")], NOW)
    assert await upkeep.forget_ended(NOW + 99) == 0
    assert await upkeep.forget_ended(NOW + 101) == 1
    left = {name.decode().removeprefix(f"{keys.prefix}:") async for name in redis.scan_iter(match=f"{keys.prefix}:*")}
    assert left == {"epoch", "status", "webhooks:outbox", f"usage:{day_of(NOW)}"}, "what is told is still to be told"
    assert await forget(redis, keys, "b1") == 0


async def test_an_ended_bot_whose_record_expired_while_nobody_led_leaves_the_indexes(redis: Any, keys: Keys) -> None:
    await redis.zadd(keys.ended, {"b1": NOW})
    await redis.zadd(keys.all_bots, {"b1": NOW})
    assert await Upkeep(redis, keys, RetentionSettings(bot_s=100)).forget_ended(NOW + 101) == 1
    assert await redis.exists(keys.ended, keys.all_bots) == 0


async def test_a_key_that_meanwhile_belongs_to_another_bot_is_not_forgotten(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    accept = Accept("b1", job(deduplication_key="k", held_meeting="m"), BotState.QUEUED, NOW, seq=1)
    await ledger.apply([accept, End("b1", 0, Reason.NO_CAPACITY)], NOW)
    await redis.set(keys.deduplication("k"), "b2", ex=600)
    await redis.hset(keys.meeting("m"), "bot_id", "b2")
    assert await forget(redis, keys, "b1")
    assert await redis.get(keys.deduplication("k")) == b"b2"
    assert await redis.hget(keys.meeting("m"), "bot_id") == b"b2"
    await redis.delete(keys.meeting("m"))


async def test_a_quota_counts_a_bot_until_nothing_says_that_it_lives_or_is_to_live(
    redis: Any, keys: Keys, ledger: Ledger
) -> None:
    upkeep = Upkeep(redis, keys, RetentionSettings())
    for seq, bot_id in enumerate(("known", "live", "ended")):
        await ledger.apply([Accept(bot_id, job(owner="app"), BotState.QUEUED, NOW, seq=seq)], NOW)
    await ledger.apply([End("ended", 0, Reason.NO_CAPACITY)], NOW)
    await redis.set(keys.submitted("submitted"), "{}", ex=600)
    gone = {f"gone-{number}" for number in range(450)}  # more than one script takes
    await redis.sadd(keys.owned("app"), "submitted", *gone)
    assert set(await upkeep.forget_unowned(["app", "other"], {"known"})) == {"ended", *gone}
    assert await redis.smembers(keys.owned("app")) == {b"known", b"live", b"submitted"}


@pytest.mark.parametrize("commands", range(3))
async def test_a_quota_counts_a_bot_whenever_a_leader_accepts_it(
    redis: Any, keys: Keys, ledger: Ledger, commands: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await redis.set(keys.submitted("b1"), "{}", ex=600)
    await redis.sadd(keys.owned("app"), "b1")
    await redis.expire(keys.owned("app"), 600)

    async def accept() -> None:
        await ledger.apply([Accept("b1", job(owner="app"), BotState.QUEUED, NOW, seq=1)], NOW)

    after_commands(redis, commands, accept, monkeypatch)
    assert await Upkeep(redis, keys, RetentionSettings()).forget_unowned(["app"], ()) == []
    assert await redis.smembers(keys.owned("app")) == {b"b1"}


@pytest.mark.parametrize("message", ["", "x" * 2001])
def test_a_message_that_says_nothing_or_too_much_is_no_request(message: str) -> None:
    fields = {name.encode(): value for name, value in encode_request(SayRequested("b1", message)).items()}
    with pytest.raises(msgspec.ValidationError):
        decode_request(fields)


def test_a_request_nobody_knows_is_an_error() -> None:
    with pytest.raises(KeyError):
        decode_request({b"request": b"explode", b"body": json.dumps({}).encode()})


def test_a_request_nested_without_end_is_unreadable() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_request({b"request": b"leave", b"body": b'{"x":' * 100_000})
