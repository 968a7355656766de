"""What the scaling sees of a real pool."""

from common.config.settings import PoolSettings
from common.wire.messages import Heartbeat, WorkerReport
from common.wire.vocabulary import BotState, GoneCause, WorkerState
from poolmgr.core.decisions import Accept, Decision, Enqueue, ForgetWorker, Why
from poolmgr.core.events import DrainRequested, JobAccepted
from poolmgr.core.pool import Pool
from poolmgr.scaling.need import Demand
from poolmgr.scaling.seen import came_due, demand_of, seen
from poolmgr.scaling.steps import Seen
from tests.core.builders import WALL, job

NOW = 1000.0


def pool_with(*, vms: int) -> Pool:
    pool = Pool(PoolSettings(min_idle=2, max_workers=3))
    idle = WorkerReport(WorkerState.IDLE)
    for number in range(vms):
        name = f"vm-{number}"
        pool.handle(Heartbeat(name, "a", WALL, {f"{name}-9-1": idle, f"{name}-9-2": idle}, 10), NOW)
    return pool


def test_the_demand_is_who_has_a_worker_who_waits_and_who_is_due_soon() -> None:
    pool = pool_with(vms=1)
    assert demand_of(pool, WALL, 600, {}) == Demand(0, 0, 0)
    for number in range(4):
        pool.handle(JobAccepted(f"bot-{number}", job(), WALL), NOW)
    for number, ahead_s in enumerate((601, 600, 30)):
        pool.handle(JobAccepted(f"later-{number}", job(join_at=WALL + ahead_s), WALL), NOW)
    assert demand_of(pool, WALL, 600, {}) == Demand(2, 2, 2)


def test_bots_are_demand_only_if_a_vm_that_is_made_would_serve_them() -> None:
    pool = pool_with(vms=0)
    for bot_id, requires in (("any", {}), ("eu", {"region": "eu"}), ("mars", {"region": "mars"})):
        pool.handle(JobAccepted(bot_id, job(requires=requires), WALL), NOW)
        pool.handle(JobAccepted(f"{bot_id}-later", job(join_at=WALL + 30, requires=requires), WALL), NOW)
    assert demand_of(pool, WALL, 600, {}) == Demand(0, 1, 1)
    assert demand_of(pool, WALL, 600, {"region": "eu", "account": "a"}) == Demand(0, 2, 2)
    accepted = [Accept(bot_id, pool.bots[bot_id].job, BotState.QUEUED, WALL, 1) for bot_id in ("any", "eu", "mars")]
    assert [came_due(accept, pool, {"region": "eu"}) for accept in accepted] == [True, True, False]


def test_a_vm_is_empty_when_its_workers_are_idle_or_warming() -> None:
    pool = pool_with(vms=2)
    pool.handle(JobAccepted("bot-1", job(), WALL), NOW)
    busy = pool.bots["bot-1"].vm_id
    (other,) = {"vm-0", "vm-1"} - {busy}
    assert set(seen(pool.fleet)) == {Seen(busy, 1), Seen(other, 0)}
    pool.handle(DrainRequested(other), NOW)  # its idle workers are ordered to end
    assert set(seen(pool.fleet)) == {Seen(busy, 1), Seen(other, 2, draining=True)}


def test_a_bot_comes_due_when_it_is_queued_for_the_first_time() -> None:
    decisions: list[Decision] = [
        Accept("a", job(), BotState.QUEUED, WALL, 1),
        Accept("b", job(), BotState.SCHEDULED, WALL, 2),
        Enqueue("b", 0),
        Enqueue("a", 1, Why.RETRY),
        ForgetWorker("vm", "w", GoneCause.SPENT),
    ]
    pool = pool_with(vms=0)
    assert [came_due(decision, pool, {}) for decision in decisions] == [True, False, True, False, False]
