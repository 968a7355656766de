"""After every event: who is served, what is warmed, what is trimmed and recycled."""

from typing import Any

import pytest

from common.wire.messages import WorkerReport
from common.wire.vocabulary import BotState, GoneCause
from poolmgr.core.decisions import Assign, KeepVm, Retire, Warm, Why
from poolmgr.core.events import LeaveRequested
from tests.core.builders import BUSY, IDLE, RETIRING, START, WARMING, bring_to, full, of_type, scenario

# Who is served


def test_every_assignment_orders_its_replacement_in_the_same_step() -> None:
    sc = full(min_idle=3, max_workers=9)
    for n in range(3):
        assert len(of_type(sc.submit(f"b{n}"), Warm)) == (1 if n < 2 else 0)  # two warm-ups at once
    assert sc.count(WARMING) == 2
    assert len(of_type(sc.warmed(sc.names(WARMING)[0]), Warm)) == 1


def test_the_newest_idle_worker_is_claimed() -> None:
    sc = scenario()
    sc.beat()
    first, second = sc.names(WARMING)
    sc.warmed(second)
    sc.now += 1
    sc.warmed(first)
    (assign,) = of_type(sc.submit("b1"), Assign)
    assert assign.join.worker_id == first
    assert assign.born == sc.now


def test_bots_are_spread_over_the_vms() -> None:
    sc = full("vm1", "vm2", "vm3", min_idle=3)
    sc.submit(*[f"b{n}" for n in range(6)])
    assert sorted(sc.assigned_to(f"b{n}") for n in range(6)) == ["vm1", "vm1", "vm2", "vm2", "vm3", "vm3"]
    assert sorted(sc.assigned_to(f"b{n}") for n in range(3)) == ["vm1", "vm2", "vm3"]


def test_jobs_wait_in_order_when_nothing_is_idle() -> None:
    sc = scenario(min_idle=0, max_workers=2)
    sc.submit("a", "b")
    sc.submit("urgent", priority=5)
    sc.submit("c")
    assert of_type(sc.log, Assign) == []
    sc.beat()
    order: list[str] = []
    for _ in range(4):
        sc.now += 1
        (worker_id,) = sc.names(WARMING)[:1]
        (assign,) = of_type(sc.warmed(worker_id), Assign)
        assert not assign.warm
        assert assign.waited_s == sc.now - START
        order.append(assign.join.bot_id)
        sc.ended(assign.join.bot_id)
        sc.gone(assign.join.worker_id)
    assert order == ["urgent", "a", "b", "c"]


# What is warmed


@pytest.mark.parametrize(
    ("settings", "room", "expected"),
    [
        ({"min_idle": 5, "warmups_at_once": 2}, 99, 2),
        ({"min_idle": 5, "warmups_at_once": 9}, 99, 5),
        ({"min_idle": 5, "max_workers": 5, "warmups_at_once": 9}, 3, 3),
        ({"min_idle": 5, "warmups_at_once": 9}, 0, 0),
        ({"min_idle": 0}, 99, 0),
    ],
)
def test_a_new_vm_is_warmed_within_all_limits(settings: dict[str, Any], room: int, expected: int) -> None:
    sc = scenario(**settings)
    decisions = sc.beat(room=room)
    assert decisions[0] == KeepVm("vm", "s1", draining=False, lost=False)
    assert len(of_type(decisions, Warm)) == expected


def test_the_memory_that_a_warm_up_will_take_is_not_given_twice() -> None:
    sc = scenario(min_idle=4, warmups_at_once=4)
    assert len(of_type(sc.beat(room=2), Warm)) == 2
    # The agent has not begun yet: what it says of its memory is from before.
    assert of_type(sc.beat(room=2, without=sc.names(WARMING)), Warm) == []
    assert of_type(sc.beat(room=0), Warm) == []
    assert len(of_type(sc.beat(room=1), Warm)) == 1


def test_a_full_vm_warms_again_when_a_worker_is_gone() -> None:
    sc = full(min_idle=2, max_workers=3)
    sc.submit("a", "b")
    sc.fill()
    assert (sc.count(BUSY), sc.count(IDLE)) == (2, 1)
    assert sc.ended("a") != []
    assert of_type(sc.gone("vm-1-2"), Warm) == [Warm("vm", "vm-1-4", sc.now, Why.BELOW_MIN_IDLE)]


def test_a_pool_of_zero_warms_because_jobs_wait_and_only_as_many_as_wait() -> None:
    sc = scenario(min_idle=0)
    sc.beat("vm1")
    sc.beat("vm2")
    warm = of_type(sc.submit("a"), Warm)
    assert [w.why for w in warm] == [Why.JOBS_WAIT]
    assert len(of_type(sc.submit("b", "c"), Warm)) == 2
    assert of_type(sc.beat("vm1"), Warm) == []
    assert {w.vm_id for w in of_type(sc.log, Warm)} == {"vm1", "vm2"}


def test_warm_ups_on_a_vm_that_fell_silent_are_not_what_the_queue_waits_for() -> None:
    sc = scenario(min_idle=0, heartbeat_timeout_s=10, lost_after_s=60)
    sc.beat("vm1")
    (ordered,) = of_type(sc.submit("a"), Warm)
    assert ordered.vm_id == "vm1"
    sc.wait(9)
    assert of_type(sc.beat("vm2"), Warm) == []
    assert [warm.vm_id for warm in of_type(sc.wait(1), Warm)] == ["vm2"]


def test_a_queue_that_was_left_needs_no_further_workers() -> None:
    sc = scenario(min_idle=0)
    sc.submit("a")
    sc.step(LeaveRequested("a"))
    assert of_type(sc.beat(), Warm) == []


# What is trimmed and recycled


def test_only_the_surplus_is_trimmed_when_its_time_is_up_oldest_first() -> None:
    sc = full(min_idle=1, max_workers=9, idle_ttl_s=100)
    sc.submit("a", "b")
    sc.fill()
    sc.submit("c")
    assert sc.count(IDLE) == 0
    # Three at once make two too many.
    sc.step(LeaveRequested("c"))
    sc.beat(reports={**sc.reports("vm"), "x1": WorkerReport(IDLE)})
    sc.now += 10
    sc.beat(reports={**sc.reports("vm"), "x2": WorkerReport(IDLE)})
    sc.now += 10
    sc.beat(reports={**sc.reports("vm"), "x3": WorkerReport(IDLE)})
    assert sc.wait(79.9) == []
    assert sc.wait(0.1) == [Retire("vm", "x1", sc.now, Why.IDLE_TTL)]
    assert sc.wait(10) == [Retire("vm", "x2", sc.now, Why.IDLE_TTL)]
    assert sc.wait(1000) == []
    assert sc.names(IDLE) == ["x3"]


def test_what_stands_at_min_idle_is_never_trimmed() -> None:
    sc = full(min_idle=3, idle_ttl_s=10)
    for _ in range(10):
        assert sc.wait(100) == []


def test_recycling_starts_the_replacement_first() -> None:
    sc = full(min_idle=2, max_age_s=100)
    old = sc.names(IDLE)
    assert sc.wait(99) == []
    decisions = sc.wait(1)
    assert [type(decision) for decision in decisions] == [Warm, Warm]
    replacements = sc.names(WARMING)
    for n, worker_id in enumerate(replacements):
        assert sc.count(IDLE) >= 2
        (retire,) = of_type(sc.warmed(worker_id), Retire)
        assert retire == Retire("vm", old[n], sc.now, Why.TOO_OLD)
        sc.gone(old[n], GoneCause.RETIRED)
    assert sc.names(IDLE) == replacements


def test_those_with_older_page_code_are_replaced_by_fresh_ones_as_if_they_were_too_old() -> None:
    sc = full(min_idle=2)
    first, second = sc.names(IDLE)
    sc.submit("a")
    busy = sc.names(BUSY)
    outdated = {name: WorkerReport(IDLE, outdated=True) for name in (first, second) if name not in busy}
    (idle,) = outdated
    decisions = sc.beat(reports={**sc.reports("vm"), **outdated})
    assert [type(decision) for decision in decisions] == [Warm]
    while sc.count(WARMING) > 1:
        sc.warmed(sc.names(WARMING)[0])
    assert idle in sc.names(IDLE)
    retired = of_type(sc.warmed(sc.names(WARMING)[0]), Retire)
    assert retired == [Retire("vm", idle, sc.now, Why.TOO_OLD)]
    assert sc.count(IDLE) == 2


def test_idle_never_falls_below_min_idle_while_workers_grow_old() -> None:
    sc = full(min_idle=2, max_workers=4, max_age_s=50, idle_ttl_s=20)
    for _ in range(300):
        sc.wait(1)
        assert sc.count(IDLE) >= 2
        for worker_id in sc.names(RETIRING):
            sc.gone(worker_id, GoneCause.RETIRED)
        for worker_id in sc.names(WARMING):
            sc.warmed(worker_id)
    assert len(of_type(sc.log, Retire)) >= 10


def test_when_no_replacement_ever_fits_the_old_ones_go_first_one_at_a_time() -> None:
    sc = full(min_idle=3, max_workers=3, max_age_s=100)
    old = sc.names(IDLE)
    decisions = sc.wait(100)
    assert [type(decision) for decision in decisions] == [Retire]
    for _ in old:
        (worker_id,) = sc.names(RETIRING)
        assert of_type(sc.beat(), Retire) == []
        sc.gone(worker_id, GoneCause.RETIRED)
        assert sc.count(IDLE) == 2
        for new in sc.names(WARMING):
            sc.warmed(new)
    assert set(sc.names(IDLE)).isdisjoint(old)
    assert sc.count(IDLE) == 3


def test_a_worker_in_use_is_not_recycled() -> None:
    sc = full(min_idle=1, max_age_s=100)
    sc.submit("a")
    bring_to(sc, "a", BotState.IN_MEETING)
    assert of_type(sc.wait(1000), Retire) == []
