"""What is read to look on: in portions, without what lets anybody in, and whatever else stands there."""

import time
from typing import Any

import msgspec
import pytest

from common.config.settings import RetentionSettings
from common.jobs.job import JobRules, parse_job
from common.wire.messages import Join, VmVitals
from common.wire.vocabulary import BotState, VmState, WorkerState
from poolmgr.core.decisions import Accept, Assign, KeepVm, KeepWorker, Move
from poolmgr.core.load import JobKind
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger
from poolmgr.store.leader.upkeep import Upkeep
from poolmgr.store.reading.sight import Sight, WorkerView
from poolmgr.store.reading.views import VmView

LINK = "https://meet.google.com/abc-defg-hij"
AT = 1_800_000_000.0


@pytest.fixture
def sight(redis: Any, keys: Keys) -> Sight:
    return Sight(redis, keys)


async def put(ledger: Ledger, *bot_ids: str, warm: bool = True) -> None:
    """Bots that are in their meetings."""
    for number, bot_id in enumerate(bot_ids, 1):
        job = parse_job(msgspec.json.encode({"meeting_link": LINK, "bot_name": bot_id}), AT, JobRules())
        await ledger.apply([Accept(bot_id, job, BotState.QUEUED, AT + number, number)], AT)
        join = Join(f"w-{bot_id}", bot_id, 1, "google_meet", LINK, bot_id)
        await ledger.apply([Assign("vm-1", join, born=AT, warm=warm, waited_s=0.0)], AT)
        await ledger.apply([Move(bot_id, 1, BotState.JOINING, AT + 20)], AT)


async def test_news_are_what_changed_after_what_was_known(sight: Sight, ledger: Ledger) -> None:
    assert await sight.last_change() == "0-0"
    await put(ledger, "b1")
    news = await sight.news("0-0", 100)
    assert [change.fields["state"] for change in news.changes] == ["queued", "assigned", "joining"]
    assert news.standing.bots_live == 1
    latest = news.changes[-1].entry_id
    assert latest == await sight.last_change()
    assert (await sight.news(latest, 100)).changes == []
    before = await sight.changes_before(latest, 0, 100)
    assert [change.fields["state"] for change in before] == ["assigned", "queued"]
    assert await sight.changes_before(latest, int(time.time() * 1000) + 60_000, 100) == []


async def test_bots_are_read_without_what_lets_anybody_in(sight: Sight, ledger: Ledger) -> None:
    await put(ledger, "b1", "b2")
    assert await sight.live() == ["b1", "b2"]
    assert await sight.newest(1) == ["b2"]
    assert await sight.bots([]) == []
    [bot] = await sight.bots(["b1", "nobody"])
    assert (bot["bot_id"], bot["state"], bot["stopped_at"], bot["attempt"]) == ("b1", "joining", "", "1")
    assert "abc-defg-hij" not in str(bot)


async def test_whether_a_worker_stood_idle_is_read_from_the_stories(sight: Sight, ledger: Ledger) -> None:
    assert await sight.stood_idle([]) == {}
    await put(ledger, "b1")
    await put(ledger, "b2", warm=False)
    assert await sight.stood_idle(["b1", "b2", "nobody"]) == {"b1": True, "b2": False}


async def test_a_vm_is_read_with_its_workers_and_what_its_agent_said(
    sight: Sight, ledger: Ledger, redis: Any, keys: Keys
) -> None:
    idle, busy = WorkerState.IDLE, WorkerState.BUSY
    await ledger.apply([KeepVm("vm-1", "s", draining=False, lost=False), KeepVm("vm-2", "s", True, lost=False)], AT)
    workers = [KeepWorker("vm-1", "w2", idle, AT + 2, AT), KeepWorker("vm-1", "w1", busy, AT + 1, AT, "b1")]
    await ledger.apply(workers, AT)
    assert await sight.vm_ids() == {"vm-1", "vm-2"}
    assert [(vm.vm_id, vm.workers["idle"], vm.draining) for vm in await sight.vms(["vm-2", "vm-1"])] == [
        ("vm-2", 0, True),
        ("vm-1", 1, False),
    ]
    first, second = WorkerView("w1", "busy", AT + 1, AT, "b1"), WorkerView("w2", "idle", AT + 2, AT, "")
    assert await sight.workers("vm-1") == [first, second]
    assert await sight.vitals("vm-1") is None
    for said in (VmVitals(AT, 8000, 4000, 1024, {}), None):
        await redis.set(keys.vitals("vm-1"), msgspec.json.encode(said), ex=600)
        assert await sight.vitals("vm-1") == said


async def test_a_vms_mark_changes_with_whatever_is_read_of_it(
    sight: Sight, ledger: Ledger, redis: Any, keys: Keys
) -> None:
    ids = ["vm-1", "vm-2"]
    await ledger.apply([KeepVm(vm_id, "s", draining=False, lost=False) for vm_id in ids], AT)
    seen = [await sight.marks(ids)]
    assert await sight.marks(ids) == seen[0]
    assert await sight.marks(["vm-2"]) == seen[0][1:]
    for change in (
        ledger.apply([KeepWorker("vm-1", "w1", WorkerState.IDLE, AT, AT)], AT),
        ledger.apply([KeepWorker("vm-1", "w1", WorkerState.BUSY, AT, AT, "b1")], AT),
        ledger.apply([KeepVm("vm-1", "s", draining=True, lost=False)], AT),
        redis.set(keys.alive("vm-1"), "s", ex=600),
    ):
        await change
        seen.append(await sight.marks(ids))
    assert len({mark for mark, _ in seen}) == 5
    assert len({mark for _, mark in seen}) == 1
    assert await sight.marks([]) == []


async def test_redis_says_what_it_holds(redis: Any, keys: Keys) -> None:
    used, limit = await Upkeep(redis, keys, RetentionSettings()).memory()
    assert (used > 100_000, limit) == (True, 0)


def test_kinds_of_jobs_that_a_later_release_knows_are_left_out() -> None:
    kind = next(iter(JobKind))
    vm = VmView("vm-1", VmState.UP, {}, [], carried={kind: 2, "of a later release": 1})
    assert {name: count for name, count in vm.kinds.items() if count} == {kind: 2}
