"""Each rule of the audit finds what breaks it, in a world that is otherwise whole, and nothing in that."""

import secrets
from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from common.config.settings import RetentionSettings, Settings
from common.jobs.record import Job, iso
from common.wire import codec
from common.wire.messages import Heartbeat, Join, WorkerGone, WorkerReport
from common.wire.vocabulary import BotState, GoneCause, WorkerState
from poolmgr.core.decisions import Accept, Assign, Decision, KeepVm, KeepWorker, Move
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger
from poolmgr.store.reading.audit import Finding, Seen, findings, in_both, look
from poolmgr.store.scripts import load_scripts
from tests.store.conftest import NOW

SETTINGS: Final = Settings()
JOB: Final = Job(platform="room", meeting_url="http://h/r/secret", bot_name="N", payload="p")
REPORTS: Final = {"w1": WorkerReport(WorkerState.BUSY, "b1", 1), "w2": WorkerReport(WorkerState.IDLE)}


async def whole(redis: Any, keys: Keys) -> None:
    """A bot in its meeting, an idle worker, one that warms up, and an agent that says so. As the manager writes it."""
    await redis.set(keys.epoch, 1, ex=1000)
    await load_scripts(redis)
    join = Join("w1", "b1", 1, "room", JOB.meeting_url, "N")
    decisions: list[Decision] = [
        KeepVm("vm", "s", draining=False, lost=False),
        KeepWorker("vm", "w1", WorkerState.IDLE, NOW, NOW),
        KeepWorker("vm", "w2", WorkerState.IDLE, NOW, NOW),
        KeepWorker("vm", "w3", WorkerState.WARMING, NOW, NOW),
        Accept("b1", JOB, BotState.QUEUED, NOW, 1),
        Assign("vm", join, NOW, warm=True, waited_s=0.0),
        *(Move("b1", 1, state, NOW + 1) for state in (BotState.JOINING, BotState.IN_MEETING)),
        Accept("b2", JOB, BotState.QUEUED, NOW, 2),
        Accept("b3", replace(JOB, join_at=NOW + 5000), BotState.SCHEDULED, NOW, 3),
    ]
    await Ledger(redis, keys, RetentionSettings(), 1).apply(decisions, NOW)
    await redis.set(keys.alive("vm"), "agent", ex=1000)
    await redis.xadd(keys.events, {codec.FIELD: codec.encode(Heartbeat("vm", "s", NOW, REPORTS, 1))})
    await redis.xadd(keys.events, {codec.FIELD: codec.encode(WorkerGone("vm", "w0", NOW, GoneCause.SPENT))})
    await redis.xadd(keys.events, {codec.FIELD: "of another release"})
    await redis.expire(keys.events, 1000)


@pytest.fixture
async def world(redis_server: str) -> tuple[Seen, Keys]:
    keys = Keys(f"{{test-{secrets.token_hex(4)}}}")
    redis: Any = Redis.from_url(redis_server)  # pyright: ignore[reportUnknownMemberType]
    try:
        await whole(redis, keys)
        return await look(redis, keys), keys
    finally:
        await redis.aclose()


def kinds(world: tuple[Seen, Keys], now: float = NOW + 10, **changed: Any) -> set[tuple[str, str]]:
    seen, keys = world
    return {(finding.kind, finding.of) for finding in findings(seen._replace(**changed), keys, SETTINGS, now)}


def bot(world: tuple[Seen, Keys], bot_id: str, **fields: str) -> dict[str, Any]:
    record = world[0].records[bot_id]
    assert record
    return {"records": {**world[0].records, bot_id: {**record, **fields}}}


def worker(world: tuple[Seen, Keys], worker_id: str, state: WorkerState, since: float = NOW) -> dict[str, Any]:
    kept = dict(world[0].workers["vm"])
    kept[worker_id].state, kept[worker_id].since = state, since
    return {"workers": {"vm": kept}}


async def test_a_whole_world_has_no_findings(world: tuple[Seen, Keys]) -> None:
    seen, _ = world
    assert {*seen.records} == {"b1", "b2", "b3"}
    assert {*seen.workers["vm"]} == {"w1", "w2", "w3"}
    assert seen.beats["vm"].workers == REPORTS
    assert kinds(world) == set()


BROKEN: Final[dict[str, tuple[Callable[[tuple[Seen, Keys]], dict[str, Any]], tuple[str, str]]]] = {
    "ended": (lambda world: bot(world, "b2", state="stopped"), ("index_wrong", "b2")),
    "no record": (lambda world: {"records": {**world[0].records, "b9": None}}, ("index_wrong", "b9")),
    "unreadable": (lambda world: bot(world, "b2", state="pupating"), ("record_unreadable", "b2")),
    "unreadable worker": (lambda _: {"unreadable": ["w7"]}, ("record_unreadable", "w7")),
    "leaves for ever": (
        lambda world: bot(world, "b1", state="leaving", leaving_at=iso(NOW - 1000)),
        ("bot_overdue", "b1"),
    ),
    "waits for ever": (
        lambda world: bot(world, "b1", state="waiting_room", waiting_room_at=iso(NOW - 1000)),
        ("bot_overdue", "b1"),
    ),
    "queued for ever": (lambda world: bot(world, "b2", created_at=iso(NOW - 2000)), ("bot_overdue", "b2")),
    "scheduled, and past": (lambda world: bot(world, "b3", join_at=iso(NOW - 100)), ("bot_overdue", "b3")),
    "on no worker": (lambda world: bot(world, "b1", worker_id="w8"), ("bot_without_worker", "b1")),
    "agent has it not": (
        lambda world: {"beats": {"vm": replace(world[0].beats["vm"], workers={**REPORTS, "w1": REPORTS["w2"]})}},
        ("bot_without_worker", "b1"),
    ),
    "no order": (
        lambda world: {"beats": {"vm": replace(world[0].beats["vm"], workers={**REPORTS, "w9": REPORTS["w2"]})}},
        ("worker_without_order", "w9"),
    ),
    "agent has no such worker": (
        lambda world: {"beats": {"vm": replace(world[0].beats["vm"], workers={"w1": REPORTS["w1"]})}},
        ("worker_missing", "w2"),
    ),
    "retires for ever": (
        lambda world: worker(world, "w2", WorkerState.RETIRING, NOW - 1000),
        ("worker_overdue", "w2"),
    ),
    "busy with nobody": (
        lambda world: worker(world, "w2", WorkerState.BUSY, NOW - 1000),
        ("worker_without_bot", "w2"),
    ),
    "endless": (
        lambda world: {"lives": {**world[0].lives, world[1].story("b7"): -1}},
        ("key_without_end", ":bot:b7:story"),
    ),
    "unknown": (lambda world: {"lives": {**world[0].lives, f"{world[1].prefix}:x": 5}}, ("key_unknown", ":x")),
}


@pytest.mark.parametrize(("broken", "found"), BROKEN.values(), ids=BROKEN)
async def test_each_rule_finds_what_breaks_it(
    world: tuple[Seen, Keys], broken: Callable[[tuple[Seen, Keys]], dict[str, Any]], found: tuple[str, str]
) -> None:
    kind, of = found
    assert (kind, f"{world[1].prefix}{of}" if of.startswith(":") else of) in kinds(world, **broken(world))


async def test_a_worker_whose_record_cannot_be_read_is_said_to_be_so(redis_server: str) -> None:
    keys = Keys(f"test-{secrets.token_hex(4)}")
    redis: Any = Redis.from_url(redis_server)  # pyright: ignore[reportUnknownMemberType]
    try:
        await redis.sadd(keys.vms, "vm")
        await redis.hset(keys.workers("vm"), "w1", "pupating")
        assert (await look(redis, keys)).unreadable == ["w1"]
    finally:
        await redis.delete(keys.vms, keys.workers("vm"))
        await redis.aclose()


async def test_no_meeting_link_is_in_what_is_said(world: tuple[Seen, Keys]) -> None:
    said = str(findings(world[0], world[1], SETTINGS, NOW + 1e7))
    assert "bot_overdue" in said
    assert "secret" not in said


async def test_what_is_on_a_vm_that_was_lost_or_is_silent_is_not_compared_with_its_agent(
    world: tuple[Seen, Keys],
) -> None:
    other = {"vm": replace(world[0].beats["vm"], workers={})}
    assert kinds(world, beats=other, alive=frozenset()) == set()
    assert kinds(world, beats=other, lost=frozenset({"vm"})) == set()


def test_what_was_found_once_only_is_not_said() -> None:
    first = [Finding("bot_overdue", "a", "for 10 s"), Finding("bot_overdue", "b", "for 3 s")]
    second = [Finding("bot_overdue", "a", "for 15 s"), Finding("index_wrong", "b", "it has ended")]
    assert in_both(first, second) == second[:1]
