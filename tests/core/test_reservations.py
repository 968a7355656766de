"""Scheduled bots: a worker is put aside, given back, moved, and there on time."""

import pytest

from common.wire.vocabulary import BotState, GoneCause, Reason
from poolmgr.core.decisions import Accept, Assign, End, Enqueue, KeepWorker, Reschedule, Warm, Why
from poolmgr.core.events import DrainRequested, LeaveRequested, RescheduleRequested, Tick
from tests.core.builders import IDLE, RESERVED, START, WALL, WARMING, full, keep_alive, of_type, scenario


def test_a_bot_for_later_has_a_worker_put_aside_and_joins_on_time() -> None:
    sc = full(min_idle=1, reserve_ahead_s=60)
    (accept,) = sc.submit("b1", join_in=300)
    assert isinstance(accept, Accept)
    assert accept.state is BotState.SCHEDULED
    assert sc.wait(239) == []
    keep, warm = sc.wait(1)
    assert keep == KeepWorker("vm", "vm-1-1", RESERVED, sc.now, START, "b1")
    assert isinstance(warm, Warm)
    sc.warmed(warm.worker_id)
    enqueue, assign = sc.wait(60)
    assert enqueue == Enqueue("b1", 0)
    assert isinstance(assign, Assign)
    assert (assign.join.worker_id, assign.warm, assign.waited_s) == ("vm-1-1", True, 0.0)


def test_a_reserved_worker_is_not_given_to_others() -> None:
    sc = full(min_idle=1, reserve_ahead_s=60)
    sc.submit("later", join_in=60)
    sc.wait(0)
    sc.submit("now")
    assert sc.bot("now").state is BotState.QUEUED
    assert sc.names(RESERVED) == ["vm-1-1"]


def test_a_pool_of_zero_warms_ahead_of_a_scheduled_bot() -> None:
    sc = scenario(min_idle=0, reserve_ahead_s=60)
    sc.beat()
    sc.submit("later", join_in=100)
    (warm,) = sc.wait(40)
    assert isinstance(warm, Warm)
    assert warm.why is Why.JOBS_WAIT
    sc.warmed(warm.worker_id)
    assert sc.names(RESERVED) == [warm.worker_id]


def test_a_bot_that_is_due_before_a_worker_was_found_queues() -> None:
    sc = scenario(min_idle=0)
    sc.submit("later", join_in=100)
    assert sc.wait(40) == []
    assert sc.wait(60) == [Enqueue("later", 0)]
    assert len(sc.pool.to_reserve) == 0
    sc.beat()
    (assign,) = of_type(sc.warmed(sc.names(WARMING)[0]), Assign)
    assert (assign.waited_s, assign.warm) == (0.0, False)


def test_the_calendar_may_jump() -> None:
    sc = full(min_idle=1)
    sc.submit("later", join_in=1000)
    tick = sc.pool.handle
    assert tick(Tick(WALL - 5000), sc.now) == []
    sc.take(tick(Tick(WALL + 1000), sc.now))
    assert sc.bot("later").state is BotState.ASSIGNED


@pytest.mark.parametrize("cause", [GoneCause.CRASHED, GoneCause.AGENT_STOPPED])
def test_a_reserved_worker_that_dies_is_replaced_by_another(cause: GoneCause) -> None:
    sc = full(min_idle=2)
    sc.submit("later", join_in=60)
    sc.wait(0)
    (reserved,) = sc.names(RESERVED)
    decisions = sc.gone(reserved, cause)
    (keep,) = of_type(decisions, KeepWorker)
    assert (keep.state, keep.bot_id) == (RESERVED, "later")
    assert keep.worker_id != reserved


def test_a_scheduled_bot_that_leaves_frees_its_worker() -> None:
    sc = full(min_idle=2)
    sc.submit("later", join_in=60)
    sc.wait(0)
    decisions = sc.step(LeaveRequested("later"))
    assert End("later", 0, Reason.USER_REQUESTED) in decisions
    assert sc.count(RESERVED) == 0
    assert sc.wait(60) == []


def test_a_scheduled_bot_that_leaves_long_before_its_time_just_ends() -> None:
    sc = full()
    sc.submit("later", join_in=3600)
    assert sc.step(LeaveRequested("later")) == [End("later", 0, Reason.USER_REQUESTED)]
    assert sc.wait(3600) == []


@pytest.mark.parametrize("join_in", [300.0, 1000.0])
def test_a_scheduled_bot_that_is_moved_joins_at_the_new_time_and_at_no_other(join_in: float) -> None:
    sc = full(min_idle=2, reserve_ahead_s=60)
    sc.submit("later", join_in=500)
    assert sc.step(RescheduleRequested("later", sc.wall + join_in)) == [Reschedule("later", sc.wall + join_in)]
    began = sc.now
    for at in sorted({240.0, 300.0, 440.0, 500.0, 940.0, 1000.0}):
        sc.wait(began + at - sc.now)
        assert (sc.count(RESERVED) == 1) is (join_in - 60 <= at < join_in), at
        assert (sc.bot("later").state is BotState.ASSIGNED) is (at >= join_in), at


def test_a_worker_that_was_put_aside_is_free_again_when_its_bot_is_moved() -> None:
    sc = full(min_idle=2)
    sc.submit("later", join_in=60)
    sc.wait(0)
    (reserved,) = sc.names(RESERVED)
    free, move = sc.step(RescheduleRequested("later", sc.wall + 1000))
    assert free == KeepWorker("vm", reserved, IDLE, sc.now, START)
    assert isinstance(move, Reschedule)
    assert sc.wait(60) == []


def test_a_bot_that_waits_for_a_reservation_waits_for_none_once_it_is_moved() -> None:
    sc = scenario()
    sc.submit("later", join_in=60)
    sc.wait(0)
    sc.step(RescheduleRequested("later", sc.wall + 1000))
    assert len(sc.pool.to_reserve) == 0


def test_a_bot_that_is_moved_to_a_time_that_has_passed_joins_now() -> None:
    sc = full()
    sc.submit("later", join_in=1000)
    sc.step(RescheduleRequested("later", sc.wall - 5))
    sc.wait(0)
    assert sc.bot("later").state is BotState.ASSIGNED


def test_only_a_bot_that_is_scheduled_can_be_moved() -> None:
    sc = full()
    sc.submit("now")
    assert sc.step(RescheduleRequested("now", sc.wall + 1000)) == []
    assert sc.step(RescheduleRequested("nobody", sc.wall + 1000)) == []


def test_a_bot_that_waits_for_a_reservation_may_leave() -> None:
    sc = scenario()
    sc.submit("later", join_in=60)
    sc.wait(0)
    assert [bot.bot_id for bot in sc.pool.to_reserve] == ["later"]
    sc.step(LeaveRequested("later"))
    assert len(sc.pool.to_reserve) == 0


@pytest.mark.parametrize("how", ["drained", "silent"])
def test_a_reservation_moves_away_from_a_vm_that_takes_no_more_work(how: str) -> None:
    sc = full("vm1", "vm2", min_idle=1, heartbeat_timeout_s=30, lost_after_s=100)
    sc.wait(20)
    sc.submit("later", join_in=60)
    sc.wait(0)
    holder = sc.bot("later").vm_id
    other = {"vm1": "vm2", "vm2": "vm1"}[holder]
    if how == "drained":
        sc.step(DrainRequested(holder))
    else:
        sc.beat(other)
        sc.wait(10)
    assert sc.bot("later").vm_id == other
    assert sc.names(RESERVED, holder) == []
    keep_alive(sc, other, 60)
    assert sc.assigned_to("later") == other


def test_a_reservation_on_a_vm_that_is_stopping_is_not_used() -> None:
    sc = full("vm1", min_idle=1)
    sc.submit("later", join_in=60)
    sc.wait(0)
    assert sc.bot("later").vm_id == "vm1"
    sc.beat("vm1", stopping=True)
    sc.wait(60)
    assert sc.bot("later").state is BotState.QUEUED
    sc.beat("vm1")
    assert sc.bot("later").state is BotState.ASSIGNED
