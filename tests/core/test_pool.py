"""The pool through its one door: who gets the job, what is warmed, trimmed, lost, asked again."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

import pytest
from msgspec.structs import replace

from poolmgr.core.decisions import (
    Accept,
    Ask,
    Assign,
    End,
    Enqueue,
    ForgetVm,
    ForgetWorker,
    KeepVm,
    KeepWorker,
    Move,
    NoteChat,
    NoteParticipants,
    NoteVitals,
    Reschedule,
    Retire,
    Revoke,
    Say,
    Unsaid,
    Warm,
    Why,
)
from poolmgr.core.events import (
    DrainRequested,
    JobAccepted,
    LeaveRequested,
    RescheduleRequested,
    Revoked,
    SayRequested,
    Tick,
    Unheard,
)
from poolmgr.core.invariants import broken_invariants
from poolmgr.core.model import Bot, Vm, Worker
from poolmgr.core.pool import Pool
from tests.core.builders import START, WALL, Scenario, job, of_type
from wire.messages import (
    BotMoved,
    ChatHeard,
    ChatLine,
    Heartbeat,
    Join,
    JoinRefused,
    Participant,
    ParticipantsSeen,
    WorkerGone,
    WorkerReport,
    WorkerWarm,
)
from wire.settings import PoolSettings
from wire.vocabulary import BotState, GoneCause, OnWorkerLost, Reason, RefusalCause, WorkerState

WARMING, IDLE, RESERVED, BUSY, RETIRING = WorkerState
ON_VM: Final = [
    BotState.ASSIGNED,
    BotState.JOINING,
    BotState.WAITING_ROOM,
    BotState.IN_MEETING,
    BotState.LEAVING,
]
BEFORE_ADMISSION: Final = [BotState.ASSIGNED, BotState.JOINING, BotState.WAITING_ROOM]
RETRIED: Final = [
    Reason.PAGE_LOAD_FAILED,
    Reason.UI_ELEMENT_NOT_FOUND,
    Reason.CONNECTION_LOST,
    Reason.BROWSER_CRASHED,
    Reason.BROWSER_HUNG,
    Reason.MEMORY_LIMIT,
    Reason.CUT_OFF,
    Reason.WORKER_LOST,
    Reason.SHUTDOWN,
]
FINAL: Final = [reason for reason in Reason if reason not in RETRIED]


def scenario(**settings: Any) -> Scenario:
    """Small numbers, and nothing that fires by itself unless the test asks for it."""
    defaults: dict[str, Any] = {
        "min_idle": 2,
        "max_workers": 6,
        "warmups_at_once": 2,
        "idle_ttl_s": 1e6,
        "max_age_s": 1e6,
        "heartbeat_timeout_s": 1e5,
        "lost_after_s": 2e5,
        "warmup_timeout_s": 1e6,
        "claim_timeout_s": 1e6,
        "queue_timeout_s": 1e6,
    }
    return Scenario(PoolSettings(**{**defaults, **settings}))


def full(*vm_ids: str, **settings: Any) -> Scenario:
    """VMs at min_idle."""
    sc = scenario(**settings)
    sc.fill(*vm_ids)
    sc.log.clear()
    return sc


def bring_to(sc: Scenario, bot_id: str, state: BotState) -> None:
    for step in ON_VM[1:]:
        if step.rank <= state.rank:
            sc.moved(bot_id, step)
    assert sc.bot(bot_id).state is state


def whose(assigns: Sequence[Assign]) -> list[str]:
    return [assign.join.bot_id for assign in assigns]


# Assignment


def test_a_job_goes_to_an_idle_worker_at_once_and_its_place_is_filled() -> None:
    sc = full()
    sc.now += 5
    accept, assign, warm = sc.submit("b1")
    assert accept == Accept("b1", job(), BotState.QUEUED, WALL + 5, seq=1)
    join = Join("vm-1-2", "b1", 1, "room", "https://rooms.example/r/demo", "Notetaker", job().automatic_leave)
    assert assign == Assign("vm", join, born=START, warm=True, waited_s=0.0)
    assert warm == Warm("vm", "vm-1-3", START + 5, Why.BELOW_MIN_IDLE)


def test_every_assignment_orders_its_replacement_in_the_same_step() -> None:
    sc = full(min_idle=3, max_workers=9)
    for n in range(3):
        assert len(of_type(sc.submit(f"b{n}"), Warm)) == (1 if n < 2 else 0)  # two warm-ups at once
    assert sc.count(WARMING) == 2
    assert len(of_type(sc.warmed(sc.names(WARMING)[0]), Warm)) == 1


def test_the_same_job_twice_is_one_bot() -> None:
    sc = full()
    sc.submit("b1")
    assert sc.submit("b1") == []


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


def test_a_join_time_in_the_past_means_now_and_jumps_no_queue() -> None:
    sc = scenario(min_idle=0)
    sc.submit("a")
    (accept,) = sc.submit("late", join_in=-3600)
    assert isinstance(accept, Accept)
    assert accept.state is BotState.QUEUED
    sc.beat()
    order: list[str] = []
    for worker_id in sc.names(WARMING):
        order += whose(of_type(sc.warmed(worker_id), Assign))
    assert order == ["a", "late"]


def test_a_job_that_waits_too_long_ends_without_capacity() -> None:
    sc = scenario(queue_timeout_s=100)
    sc.submit("b1")
    assert sc.wait(99) == []
    assert sc.wait(1) == [End("b1", 0, Reason.NO_CAPACITY, "waited 100 s for a warm worker")]
    assert sc.wait(1000) == []


def test_a_job_that_was_served_meanwhile_does_not_end_by_its_old_deadline() -> None:
    sc = full(queue_timeout_s=100)
    sc.submit("b1")
    bring_to(sc, "b1", BotState.JOINING)
    sc.wait(60)
    sc.ended("b1", Reason.BROWSER_CRASHED)  # and back in the queue, and out of it again
    sc.wait(60)
    assert sc.bot("b1").attempt == 2
    assert sc.end_of("b1") is None


# Warming: limits, demand, backoff


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
def test_a_new_vm_is_warmed_within_all_limits(settings: dict[str, int], room: int, expected: int) -> None:
    sc = scenario(**settings)
    decisions = sc.beat(room=room)
    assert decisions[0] == KeepVm("vm", "s1", draining=False, lost=False)
    assert len(of_type(decisions, Warm)) == expected


def test_worker_names_are_new_for_every_order_and_every_leader() -> None:
    sc = full()
    sc.submit("a", "b")
    sc.fail_over()
    sc.fill()
    names = [warm.worker_id for warm in of_type(sc.log, Warm)]
    assert len(set(names)) == len(names) >= 2


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


def test_failed_warm_ups_back_off_and_never_spin() -> None:
    sc = scenario(min_idle=1, warmups_at_once=1, backoff_s=2, backoff_max_s=60)
    sc.beat()
    ordered_at: list[float] = []
    for _ in range(3600):
        for worker_id in sc.names(WARMING):
            ordered_at.append(sc.now)
            assert of_type(sc.gone(worker_id, GoneCause.WARMUP_FAILED), Warm) == []
        sc.beat()
        sc.wait(1)
    waits = [later - earlier for earlier, later in pairwise(ordered_at)]
    assert waits[:6] == [2, 4, 8, 16, 32, 60]
    assert set(waits[6:]) == {60}


def test_waiting_jobs_do_not_make_failing_warm_ups_spin() -> None:
    sc = scenario(min_idle=0, backoff_s=2, backoff_max_s=60)
    sc.beat()
    sc.submit(*[f"b{n}" for n in range(5)])
    for _ in range(600):
        for worker_id in sc.names(WARMING):
            sc.gone(worker_id, GoneCause.LOW_MEMORY)
        sc.wait(1)
    assert len(of_type(sc.log, Warm)) < 40


def test_a_failure_after_a_long_good_time_is_the_first_again() -> None:
    sc = scenario(min_idle=1, backoff_s=2, backoff_max_s=60, warmup_timeout_s=60)
    sc.beat()
    for _ in range(4):
        sc.gone(sc.names(WARMING)[0], GoneCause.WARMUP_FAILED)
        sc.wait(60)
    sc.fill()
    sc.wait(121)
    sc.gone(sc.names(IDLE)[0], GoneCause.CRASHED)
    assert sc.vm().failures == 1
    assert sc.wait(1.9) == []
    assert len(of_type(sc.wait(0.1), Warm)) == 1


@pytest.mark.parametrize("cause", [GoneCause.SPENT, GoneCause.RETIRED, GoneCause.AGENT_STOPPED, GoneCause.MISSING])
def test_a_worker_that_did_not_fail_is_replaced_at_once(cause: GoneCause) -> None:
    sc = full()
    assert len(of_type(sc.gone(sc.names(IDLE)[0], cause), Warm)) == 1


def test_a_crashed_idle_worker_leaves_at_once_and_the_next_job_goes_elsewhere() -> None:
    sc = full()
    first, second = sc.names(IDLE)
    assert sc.gone(second, GoneCause.CRASHED)[0] == ForgetWorker("vm", second, GoneCause.CRASHED)
    assert of_type(sc.submit("a"), Assign)[0].join.worker_id == first


def test_a_warm_up_that_takes_too_long_is_retired_and_counts_as_failed() -> None:
    sc = scenario(min_idle=1, warmup_timeout_s=60, backoff_s=2)
    sc.beat()
    (worker_id,) = sc.names(WARMING)
    assert sc.wait(59) == []
    assert sc.wait(1) == [Retire("vm", worker_id, sc.now, Why.WARMUP_OVERDUE)]
    assert sc.warmed(worker_id) == []
    assert len(of_type(sc.wait(2), Warm)) == 1  # a retiring one is no replacement


def test_a_worker_that_does_not_go_is_asked_again() -> None:
    sc = scenario(min_idle=1, warmup_timeout_s=60)
    sc.beat()
    (worker_id,) = sc.names(WARMING)
    sc.wait(60)
    assert Retire("vm", worker_id, sc.now + 60, Why.RETIRE_OVERDUE) in sc.wait(60)
    sc.gone(worker_id, GoneCause.RETIRED)
    assert of_type(sc.wait(60), Retire) == [Retire("vm", "vm-1-2", sc.now, Why.WARMUP_OVERDUE)]


def test_a_silent_vm_is_not_asked_again_until_it_speaks() -> None:
    sc = scenario(min_idle=1, warmup_timeout_s=60, heartbeat_timeout_s=70, lost_after_s=1000)
    sc.beat()
    (worker_id,) = sc.names(WARMING)
    sc.wait(60)
    sc.wait(10)
    assert sc.wait(60) == []
    sc.beat()
    assert Retire("vm", worker_id, sc.now + 60, Why.RETIRE_OVERDUE) in sc.wait(60)


# Trimming and recycling


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


# Scheduled bots


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
    assert sc.pool.to_reserve == {}
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
    assert sc.pool.to_reserve == {}


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


def test_a_job_that_does_not_wait_has_a_worker_at_once_or_ends_for_want_of_one() -> None:
    sc = full(min_idle=1, max_workers=1)
    assert of_type(sc.submit("first", queue_timeout_s=0), Assign) != []
    sc.submit("second", queue_timeout_s=0)
    assert of_type(sc.wait(0), End) == [End("second", 0, Reason.NO_CAPACITY, "waited 0 s for a warm worker")]


def test_an_end_says_whose_quota_the_bot_counted_in() -> None:
    sc = full()
    sc.step(JobAccepted("a", replace(job(), owner="app"), sc.wall))
    assert [end.owner for end in of_type(sc.step(LeaveRequested("a")) + sc.ended("a"), End)] == ["app"]


def test_a_job_says_how_long_it_waits_for_its_first_worker_and_the_settings_how_long_for_others() -> None:
    sc = full(min_idle=1, max_workers=1, queue_timeout_s=100)
    sc.submit("first", queue_timeout_s=20)
    sc.ended("first", Reason.BROWSER_CRASHED)
    sc.gone(sc.names(BUSY)[0])
    sc.submit("impatient", queue_timeout_s=20)
    sc.submit("patient", queue_timeout_s=1e6)
    assert [end.bot_id for end in of_type(sc.wait(20), End)] == ["impatient"]
    assert {end.bot_id for end in of_type(sc.wait(80), End)} == {"first", "patient"}


def test_a_bot_that_waits_for_a_reservation_may_leave() -> None:
    sc = scenario()
    sc.submit("later", join_in=60)
    sc.wait(0)
    assert list(sc.pool.to_reserve) == ["later"]
    sc.step(LeaveRequested("later"))
    assert sc.pool.to_reserve == {}


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


# Draining and stopping


def test_draining_retires_what_serves_nobody_and_lets_calls_end() -> None:
    sc = full("vm1", "vm2")
    sc.submit("a")
    vm_id = sc.assigned_to("a")
    bring_to(sc, "a", BotState.IN_MEETING)
    decisions = sc.step(DrainRequested(vm_id))
    assert KeepVm(vm_id, "s1", draining=True, lost=False) in decisions
    assert {retire.why for retire in of_type(decisions, Retire)} == {Why.VM_DRAINS}
    assert (sc.count(BUSY, vm_id), sc.count(RETIRING, vm_id), sc.count(IDLE, vm_id)) == (1, 2, 0)
    sc.submit("b", "c")
    assert vm_id not in (sc.assigned_to("b"), sc.assigned_to("c"))
    for worker_id in sc.names(RETIRING, vm_id):
        assert of_type(sc.gone(worker_id, GoneCause.RETIRED, vm_id), Warm) == []
    sc.ended("a")
    assert sc.end_of("a") == End("a", 1, Reason.MEETING_ENDED, "", sc.wall, 7)


def test_a_warm_up_on_a_draining_vm_is_retired_and_what_it_brings_with_it_too() -> None:
    sc = scenario(min_idle=1)
    sc.beat()
    assert [retire.worker_id for retire in of_type(sc.step(DrainRequested("vm")), Retire)] == ["vm-1-1"]
    decisions = sc.beat(session="s2", reports={"x": WorkerReport(IDLE)})
    assert of_type(decisions, Retire) == [Retire("vm", "x", sc.now, Why.VM_DRAINS)]
    assert of_type(decisions, KeepVm) == [KeepVm("vm", "s2", draining=True, lost=False)]


def test_a_vm_taken_back_into_service_is_filled_again() -> None:
    sc = full()
    sc.step(DrainRequested("vm"))
    for worker_id in sc.names(RETIRING):
        sc.gone(worker_id, GoneCause.RETIRED)
    assert len(of_type(sc.step(DrainRequested("vm", draining=False)), Warm)) == 2


def test_draining_twice_or_a_vm_that_is_not_there_changes_nothing() -> None:
    sc = full()
    sc.step(DrainRequested("vm"))
    assert sc.step(DrainRequested("vm")) == []
    assert sc.step(DrainRequested("nowhere")) == []


def test_a_stopping_agent_gets_no_work_and_its_own_idle_workers_are_its_own_affair() -> None:
    sc = full()
    assert sc.beat(stopping=True) == []
    sc.submit("a")
    assert sc.bot("a").state is BotState.QUEUED
    for worker_id in sc.names(IDLE):
        assert of_type(sc.gone(worker_id, GoneCause.AGENT_STOPPED), Warm) == []
    sc.fill()
    assert sc.bot("a").state is BotState.ASSIGNED


# Silence and loss


def watched(**settings: Any) -> Scenario:
    return full(
        "vm1",
        "vm2",
        **{"heartbeat_timeout_s": 10, "lost_after_s": 60, "min_idle": 1, **settings},
    )


def keep_alive(sc: Scenario, vm_id: str, seconds: float) -> None:
    for _ in range(int(seconds / 5)):
        sc.wait(5)
        sc.beat(vm_id)


def test_a_silent_vm_gets_no_work_and_keeps_its_bots() -> None:
    sc = watched()
    sc.submit("a", "b")
    silent, other = sc.assigned_to("a"), sc.assigned_to("b")
    bring_to(sc, "a", BotState.IN_MEETING)
    sc.fill("vm1", "vm2")
    keep_alive(sc, other, 15)
    assert sc.vm(silent).silent
    sc.submit("c", "d", "e")
    assert not [bot_id for bot_id in "cde" if sc.bot(bot_id).vm_id == silent]
    assert sc.bot("a").state is BotState.IN_MEETING
    assert of_type(sc.log, End) == []


def test_a_vm_that_speaks_again_in_time_goes_on_as_if_nothing_had_been() -> None:
    sc = watched()
    sc.submit("a")
    vm_id = sc.assigned_to("a")
    bring_to(sc, "a", BotState.JOINING)
    sc.wait(50)
    sc.log.clear()
    sc.beat(vm_id)
    assert of_type(sc.log, KeepVm) == []
    assert not sc.vm(vm_id).silent
    assert sc.bot("a").state is BotState.JOINING
    keep_alive(sc, vm_id, 200)
    assert sc.bot("a").state is BotState.JOINING
    sc.wait(11)
    assert sc.vm(vm_id).silent  # and it can fall silent again


def test_the_silence_of_a_time_in_which_nobody_listened_does_not_count() -> None:
    sc = watched()
    sc.submit("a")
    heard, silent = sc.assigned_to("a"), ({"vm1", "vm2"} - {sc.assigned_to("a")}).pop()
    bring_to(sc, "a", BotState.IN_MEETING)
    keep_alive(sc, heard, 30)
    assert sc.vm(silent).silent
    sc.now += 500
    sc.step(Unheard())
    sc.wait(0)
    assert not sc.vm(heard).silent
    assert not sc.vm(silent).lost
    keep_alive(sc, heard, 55)
    assert not sc.vm(silent).lost
    keep_alive(sc, heard, 30)
    assert sc.vm(silent).lost
    sc.step(Unheard())
    assert sc.vm(silent).lost  # what was concluded before stays
    keep_alive(sc, heard, 10)
    assert sc.vm(silent).lost, "who stays silent is lost in the end"
    assert sc.bot("a").state is BotState.IN_MEETING


@pytest.mark.parametrize("state", ON_VM)
@pytest.mark.parametrize("asked", OnWorkerLost)
@pytest.mark.parametrize("by_the_job", [True, False], ids=["by the job", "by the settings"])
def test_a_lost_vms_bots_end_or_are_sent_in_again_as_asked(
    state: BotState, asked: OnWorkerLost, *, by_the_job: bool
) -> None:
    sc = watched(min_idle=2, **({} if by_the_job else {"on_worker_lost": asked}))
    sc.submit("a", on_worker_lost=asked if by_the_job else None)
    lost = sc.assigned_to("a")
    [assign] = of_type(sc.log, Assign)
    assert assign.join.leave_when_cut_off_s == (30.0 if asked is OnWorkerLost.REJOIN else 0.0)
    bring_to(sc, "a", state)
    other = "vm2" if lost == "vm1" else "vm1"
    sc.fill(other)
    if state is BotState.ASSIGNED:
        sc.durable.claim("a", 1, sc.bot("a").worker_id)
    keep_alive(sc, other, 60)
    assert sc.vm(lost).lost
    for revoke in of_type(sc.log, Revoke)[-1:]:  # begun or not? Redis knows
        sc.answer(revoke)
    assert sc.vm(lost).workers == {}
    assert KeepVm(lost, "s1", draining=False, lost=True) in sc.log
    if asked is OnWorkerLost.REJOIN and state is not BotState.LEAVING:
        assert Enqueue("a", 1, Why.VM_LOST, failed=1) in sc.log
        assert (sc.bot("a").attempt, sc.bot("a").vm_id) == (2, other)
    else:
        assert sc.end_of("a") == End("a", 1, Reason.WORKER_LOST, "its VM fell silent")


def test_a_bot_that_its_lost_vm_never_began_is_sent_in_from_another() -> None:
    sc = watched(claim_timeout_s=1000)
    sc.submit("a")
    lost = sc.assigned_to("a")
    other = "vm2" if lost == "vm1" else "vm1"
    sc.fill(other)
    keep_alive(sc, other, 60)
    assert of_type(sc.log, Revoke) == [Revoke("a", 1)]
    assert sc.bot("a").state is BotState.ASSIGNED
    sc.answer(Revoke("a", 1))
    assert (sc.bot("a").attempt, sc.bot("a").vm_id) == (2, other)
    assert sc.vm(lost).workers == {}


def test_a_vm_that_is_back_before_redis_answers_keeps_what_it_began() -> None:
    sc = watched(claim_timeout_s=1000)
    sc.submit("a")
    lost, worker_id = sc.assigned_to("a"), sc.bot("a").worker_id
    other = "vm2" if lost == "vm1" else "vm1"
    sc.durable.claim("a", 1, worker_id)
    keep_alive(sc, other, 60)
    sc.beat(lost, reports={worker_id: WorkerReport(BUSY, "a", 1)})
    sc.answer(Revoke("a", 1))
    sc.moved("a", BotState.JOINING)
    assert (sc.bot("a").state, sc.bot("a").attempt) == (BotState.JOINING, 1)


def test_when_many_fall_silent_at_once_they_are_given_up_one_after_the_other() -> None:
    sc = watched(lost_share=0.1)
    vm_ids = [f"vm{number}" for number in range(1, 31)]
    sc.fill(*vm_ids)

    def lost() -> int:
        return sum(vm.lost for vm in sc.pool.fleet)

    sc.wait(60)
    sc.wait(0)
    assert lost() == 3
    sc.wait(59)
    assert lost() == 3
    sc.wait(1)
    assert lost() == 6
    for vm_id in vm_ids:
        sc.beat(vm_id)
    sc.wait(5)
    assert lost() == 0, "whoever speaks again was not lost for good"


def test_a_lost_vm_that_comes_back_leaves_what_is_no_longer_its_own() -> None:
    sc = watched()
    sc.submit("a", on_worker_lost=OnWorkerLost.REJOIN)
    lost, worker_id = sc.assigned_to("a"), sc.bot("a").worker_id
    other = "vm2" if lost == "vm1" else "vm1"
    bring_to(sc, "a", BotState.JOINING)
    keep_alive(sc, other, 65)
    assert sc.bot("a").attempt == 2
    superseded = Ask(lost, worker_id, "a", 1, Reason.SUPERSEDED)
    spooled = BotMoved(lost, worker_id, "a", 1, sc.wall, BotState.IN_MEETING)
    assert sc.step(spooled) == [superseded]
    decisions = sc.beat(lost, reports={worker_id: WorkerReport(BUSY, "a", 1), "x": WorkerReport(IDLE)})
    assert KeepVm(lost, "s1", draining=False, lost=False) in decisions
    assert superseded in decisions
    assert sc.names(BUSY, lost) == [worker_id]
    assert sc.names(IDLE, lost) == ["x"]
    assert sc.vm(lost).takes_work
    assert sc.ended("a", Reason.SUPERSEDED, vm_id=lost, worker_id=worker_id, attempt=1) == []
    sc.gone(worker_id, vm_id=lost)
    assert sc.bot("a").attempt == 2
    assert sc.count(BUSY, lost) == 0


def test_a_vm_lost_for_long_is_forgotten_and_may_come_back_as_a_new_one() -> None:
    sc = watched()
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    sc.wait(60)
    sc.wait(0)
    sc.answer(Revoke("a", 1))
    assert sc.wait(86399.0) == []
    assert set(sc.wait(1)) == {ForgetVm("vm1"), ForgetVm("vm2")}
    assert list(sc.pool.fleet) == []
    assert not any(isinstance(decision, Retire | Warm) for decision in sc.wait(1e7))  # whatever was due on it
    sc.beat("vm1", reports={worker_id: WorkerReport(BUSY, "a", 1)})
    ordered = [warm.worker_id for warm in of_type(sc.log, Warm)]
    assert len(set(ordered)) == len(ordered)
    assert worker_id in sc.vm("vm1").workers


def test_a_vm_that_came_back_is_not_forgotten() -> None:
    sc = watched()
    sc.wait(60)
    sc.wait(0)
    sc.wait(86300)
    sc.beat("vm1")
    sc.wait(100)
    assert ForgetVm("vm1") not in sc.log
    assert ForgetVm("vm2") in sc.log


def test_loss_may_follow_silence_at_once() -> None:
    sc = watched(heartbeat_timeout_s=60, lost_after_s=60)
    sc.wait(60)
    assert sc.vm("vm1").lost


# Heartbeats against what is believed


def test_what_the_agent_does_not_list_is_gone() -> None:
    sc = full()
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    decisions = sc.beat(without=[worker_id])
    assert ForgetWorker("vm", worker_id, GoneCause.MISSING) in decisions
    assert Enqueue("a", 1, Why.WORKER_LOST, failed=1) in decisions
    assert sc.bot("a").attempt == 2


def test_a_warm_up_that_was_just_ordered_need_not_be_listed_yet() -> None:
    sc = scenario(min_idle=1)
    sc.beat()
    assert sc.beat(without=["vm-1-1"]) == []
    assert sc.names(WARMING) == ["vm-1-1"]


def test_an_agent_that_started_anew_lists_all_that_is_left() -> None:
    sc = full(min_idle=2)
    sc.submit("a")
    kept, lost = sc.bot("a").worker_id, sc.names(WARMING)[0]
    decisions = sc.beat(session="s2", reports={kept: WorkerReport(BUSY, "a", 1), "vm-1-1": WorkerReport(IDLE)})
    assert decisions[:2] == [
        KeepVm("vm", "s2", draining=False, lost=False),
        ForgetWorker("vm", lost, GoneCause.MISSING),
    ]
    assert sc.bot("a").attempt == 1
    assert len(of_type(decisions, Warm)) == 1


@pytest.mark.parametrize("state", [WARMING, IDLE, RETIRING])
def test_a_worker_that_only_the_agent_knows_is_taken_over(state: WorkerState) -> None:
    sc = scenario(min_idle=1)
    decisions = sc.beat(reports={"old": WorkerReport(state)})
    assert KeepWorker("vm", "old", state, START, START) in decisions
    assert len(of_type(decisions, Warm)) == (1 if state is RETIRING else 0)
    assert sc.names(state) == ["old"]


def test_a_bot_that_nobody_knows_has_to_leave() -> None:
    sc = scenario(min_idle=0)
    decisions = sc.beat(reports={"old": WorkerReport(BUSY, "stray", 3)})
    assert Ask("vm", "old", "stray", 3, Reason.SUPERSEDED) in decisions


def test_a_worker_whose_assignment_came_to_nothing_is_retired_when_the_agent_calls_it_idle() -> None:
    sc = full(min_idle=1)
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    sc.refused("a", RefusalCause.STOPPING)
    assert sc.names(BUSY) == [worker_id]
    decisions = sc.beat(reports={**sc.reports("vm"), worker_id: WorkerReport(IDLE)})
    assert Retire("vm", worker_id, sc.now, Why.REFUSED) in decisions


def test_a_worker_with_a_bot_on_its_way_may_still_be_called_idle() -> None:
    sc = full(min_idle=1)
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    assert of_type(sc.beat(reports={**sc.reports("vm"), worker_id: WorkerReport(IDLE)}), Retire) == []
    assert sc.bot("a").state is BotState.ASSIGNED


# Claims, refusals, attempts


def test_an_assignment_that_nobody_claims_is_taken_back_and_made_anew() -> None:
    sc = full(claim_timeout_s=15)
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    assert sc.wait(14) == []
    assert sc.wait(1) == [Revoke("a", 1)]
    decisions = sc.answer(Revoke("a", 1))
    assert Enqueue("a", 1, Why.CLAIM_OVERDUE, failed=1) in decisions
    assert Retire("vm", worker_id, sc.now, Why.CLAIM_OVERDUE) in decisions
    sc.wait(2)  # others come first, if there are any
    assert sc.bot("a").attempt == 2
    assert sc.bot("a").worker_id != worker_id
    assert sc.step(Revoked("a", 1, revoked=True)) == []


def test_an_assignment_claimed_just_in_time_goes_on_and_is_looked_at_again() -> None:
    sc = full(claim_timeout_s=15)
    sc.submit("a")
    sc.wait(15)
    assert sc.step(Revoked("a", 1, revoked=False)) == []
    assert sc.wait(14) == []
    assert sc.wait(1) == [Revoke("a", 1)]
    sc.moved("a", BotState.JOINING)
    assert sc.step(Revoked("a", 1, revoked=False)) == []
    assert sc.wait(1000) == []


def test_the_deadline_of_an_attempt_that_came_to_nothing_is_not_that_of_the_next() -> None:
    sc = full(claim_timeout_s=15)
    sc.submit("a")
    sc.wait(10)
    sc.refused("a", RefusalCause.NO_SUCH_WORKER)
    assert sc.bot("a").attempt == 2
    assert sc.wait(5) == []
    assert sc.wait(9) == []
    assert sc.wait(1) == [Revoke("a", 2)]


def test_an_answer_about_a_bot_that_is_gone_changes_nothing() -> None:
    sc = full()
    assert sc.step(Revoked("nobody", 1, revoked=True)) == []


def test_a_revoked_assignment_on_a_vm_that_is_gone_is_made_anew_all_the_same() -> None:
    pool = Pool(PoolSettings(claim_timeout_s=5))
    pool.restore([Bot("a", job(), 1, WALL, BotState.ASSIGNED, 1, "vm", "w")], [], START)
    pool.handle(Tick(WALL), START + 5)
    vm = pool.fleet.vms["vm"]
    pool.fleet.drop_vm(vm)
    assert Enqueue("a", 1, Why.CLAIM_OVERDUE, failed=1) in pool.handle(Revoked("a", 1, revoked=True), START + 5)


def test_unclaimed_assignments_end_after_the_last_attempt() -> None:
    sc = full(min_idle=4, max_workers=9, claim_timeout_s=15, max_attempts=2)
    sc.submit("a")
    for attempt in (1, 2):
        sc.wait(15)
        sc.step(Revoked("a", attempt, revoked=True))
        sc.wait(2)
    assert sc.end_of("a") == End("a", 2, Reason.WORKER_LOST, "no agent claimed the assignment in time")


def test_a_bot_that_was_to_leave_ends_when_its_assignment_is_taken_back() -> None:
    sc = full(claim_timeout_s=15)
    sc.submit("a")
    sc.step(LeaveRequested("a"))
    sc.wait(15)
    sc.step(Revoked("a", 1, revoked=True))
    end = sc.end_of("a")
    assert end
    assert end.reason is Reason.USER_REQUESTED


@pytest.mark.parametrize("cause", [RefusalCause.NO_SUCH_WORKER, RefusalCause.BROWSER_DEAD])
def test_a_refused_bot_gets_another_worker_at_once(cause: RefusalCause) -> None:
    sc = full()
    sc.submit("a")
    refused_by = sc.bot("a").worker_id
    decisions = sc.refused("a", cause)
    assert Enqueue("a", 1, Why.REFUSED, failed=1) in decisions
    assert sc.bot("a").attempt == 2
    assert sc.bot("a").worker_id != refused_by
    assert (refused_by in sc.vm().workers) is (cause is RefusalCause.BROWSER_DEAD)  # its end is reported by itself


@pytest.mark.parametrize("cause", [RefusalCause.STOPPING, RefusalCause.LOW_MEMORY])
def test_a_refusal_that_says_nothing_of_the_bot_is_none_of_its_attempts(cause: RefusalCause) -> None:
    sc = full(max_attempts=1, backoff_s=2)
    sc.submit("a")
    assert Enqueue("a", 1, Why.REFUSED, failed=0) in sc.refused("a", cause)
    sc.fill("other")
    assert (sc.bot("a").attempt, sc.bot("a").vm_id) == (2, "other")


def test_a_refused_bot_waits_no_longer_than_any_other() -> None:
    sc = full(min_idle=1, max_workers=1, queue_timeout_s=100, backoff_s=60, backoff_max_s=60)
    sc.submit("a")
    sc.wait(10)
    sc.refused("a", RefusalCause.LOW_MEMORY)
    sc.wait(60)
    assert sc.bot("a").attempt == 2
    sc.refused("a", RefusalCause.LOW_MEMORY)
    assert sc.wait(29) == []
    assert sc.wait(1) == [End("a", 2, Reason.NO_CAPACITY, "waited 100 s for a warm worker")]


def test_a_vm_that_begins_nothing_gets_less_and_less_until_it_begins_something() -> None:
    sc = full(min_idle=4, max_workers=9, backoff_s=2, backoff_max_s=100, max_attempts=9)
    sc.submit("a")
    for pause_s in (2, 4, 8):
        sc.refused("a", RefusalCause.LOW_MEMORY)
        assert sc.bot("a").state is BotState.QUEUED
        sc.wait(pause_s - 1)
        assert sc.bot("a").state is BotState.QUEUED
        sc.wait(1)
        assert sc.bot("a").state is BotState.ASSIGNED
    sc.submit("b")
    sc.refused("a", RefusalCause.LOW_MEMORY)
    sc.moved("b", BotState.JOINING)
    assert sc.bot("a").state is BotState.ASSIGNED, "it does begin what it is given"
    sc.refused("a", RefusalCause.LOW_MEMORY)
    sc.wait(2)
    assert sc.bot("a").state is BotState.ASSIGNED


def test_a_bot_that_ended_was_begun() -> None:
    sc = full(min_idle=4, max_workers=9, backoff_s=50, backoff_max_s=100)
    sc.submit("a", "b")
    sc.refused("a", RefusalCause.LOW_MEMORY)
    assert sc.bot("a").state is BotState.QUEUED
    sc.ended("b", Reason.PAGE_LOAD_FAILED)
    assert sc.bot("a").state is BotState.ASSIGNED


def test_a_bot_whose_browser_is_reserved_on_a_vm_that_rests_takes_another() -> None:
    sc = full(min_idle=3, max_workers=3, backoff_s=500, backoff_max_s=500, reserve_ahead_s=60)
    sc.submit("later", join_in=100)
    sc.wait(50)
    assert sc.bot("later").vm_id == "vm"
    sc.submit("a")
    sc.refused("a", RefusalCause.LOW_MEMORY)
    sc.fill("other")
    sc.wait(50)
    assert sc.assigned_to("later") == "other"


def test_the_end_of_a_rest_means_nothing_to_a_vm_that_was_forgotten() -> None:
    sc = full(backoff_s=1e6, backoff_max_s=1e6, heartbeat_timeout_s=10, lost_after_s=60, queue_timeout_s=50)
    sc.submit("a")
    sc.refused("a", RefusalCause.LOW_MEMORY)
    sc.wait(60)
    sc.wait(86400)
    assert list(sc.pool.fleet) == []
    assert sc.wait(1e6) == []


def test_a_refused_bot_has_the_first_place_in_the_queue() -> None:
    sc = full(min_idle=1, max_workers=1)
    sc.submit("a", "b")
    sc.refused("a", RefusalCause.NO_SUCH_WORKER)
    assert whose(of_type(sc.warmed(sc.names(WARMING)[0]), Assign)) == ["a"]


def test_an_agent_that_refuses_because_it_stops_gets_no_more_work() -> None:
    sc = full("vm1", "vm2")
    sc.submit("a")
    first = sc.assigned_to("a")
    sc.refused("a", RefusalCause.STOPPING)
    assert sc.assigned_to("a") != first
    assert sc.vm(first).stopping


def test_a_platform_without_an_adapter_is_our_error_and_the_worker_stays() -> None:
    sc = full()
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    decisions = sc.refused("a", RefusalCause.UNKNOWN_PLATFORM)
    assert End("a", 1, Reason.UNSUPPORTED_PLATFORM, "the agent of vm has no adapter for room") in decisions
    assert worker_id in sc.vm().idle


def test_refusals_end_after_the_last_attempt() -> None:
    sc = full(min_idle=5, max_attempts=3)
    sc.submit("a")
    for _ in range(3):
        sc.refused("a", RefusalCause.BROWSER_DEAD)
    assert sc.end_of("a") == End("a", 3, Reason.WORKER_LOST, "refused: browser_dead")


@pytest.mark.parametrize("cause", RefusalCause)
def test_a_refusal_of_an_attempt_that_no_longer_counts_changes_nothing(cause: RefusalCause) -> None:
    sc = full()
    sc.submit("a")
    assert sc.refused("a", cause, attempt=7) == []
    assert sc.refused("a", cause, worker_id="other") == []
    assert sc.refused("a", cause, vm_id="nowhere") == []
    assert sc.step(JoinRefused("vm", "w", "nobody", 1, sc.wall, cause)) == []


@pytest.mark.parametrize("cause", [RefusalCause.NO_SUCH_WORKER, RefusalCause.UNKNOWN_PLATFORM])
def test_a_refusal_by_a_vm_without_that_worker_counts_all_the_same(cause: RefusalCause) -> None:
    sc = full("vm1", "vm2")
    sc.submit("a")
    other = "vm2" if sc.assigned_to("a") == "vm1" else "vm1"
    decisions = sc.refused("a", cause, vm_id=other)
    assert any(isinstance(decision, End | Enqueue) for decision in decisions)


# The way of a bot


def test_a_bot_moves_forward_and_each_step_is_told_once() -> None:
    sc = full()
    sc.submit("a")
    for state in ON_VM[1:]:
        assert sc.moved("a", state) == [Move("a", 1, state, sc.wall)]
        assert sc.moved("a", state) == []
        for earlier in BotState:
            if earlier.rank < state.rank:
                assert sc.moved("a", earlier) == []
    assert sc.moved("a", BotState.STOPPED) == []


def test_what_the_agent_saw_is_passed_on() -> None:
    sc = full()
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    event = BotMoved("vm", worker_id, "a", 1, 5.0, BotState.JOINING, "pre_join", "rule", 4.0)
    assert sc.step(event) == [Move("a", 1, BotState.JOINING, 5.0, "pre_join", "rule", 4.0)]


def test_signs_of_life_are_noted_for_the_attempt_that_counts() -> None:
    sc = full()
    sc.submit("a")
    assert sc.vitals("a") == [NoteVitals("a", 1, sc.wall, 2, 5)]
    assert sc.vitals("a", attempt=2) == []


def test_who_is_there_and_what_is_said_is_noted_for_the_attempt_that_counts() -> None:
    sc = full()
    sc.submit("a")
    ann, line = Participant("1", "Ann"), ChatLine("7", "1", "Ann", "Hello", 5.0)
    for attempt, is_noted in ((1, True), (2, False)):
        who = ("vm", sc.bot("a").worker_id, "a", attempt, 5.0)
        seen = sc.step(ParticipantsSeen(*who, joined=[ann], left=["2"], anew=True))
        heard = sc.step(ChatHeard(*who, chats=[line]))
        notes = [NoteParticipants("a", 1, 5.0, [ann], ["2"], anew=True), NoteChat("a", 1, [line])]
        assert seen + heard == (notes if is_noted else [])


@pytest.mark.parametrize("state", ON_VM)
def test_what_a_bot_is_to_say_goes_to_its_agent_only_while_it_is_in_its_meeting(state: BotState) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", state)
    told = Say("vm", sc.bot("a").worker_id, "a", 1, "Hello")
    assert sc.step(SayRequested("a", "Hello")) == [told if state is BotState.IN_MEETING else Unsaid("a", state)]


def test_nobody_says_anything_who_is_not_there() -> None:
    sc = full()
    assert sc.step(SayRequested("nobody", "Hello")) == [Unsaid("nobody", None)]


@pytest.mark.parametrize("state", ON_VM)
@pytest.mark.parametrize("reason", FINAL)
def test_an_end_that_a_fresh_browser_would_not_change_is_final(state: BotState, reason: Reason) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", state)
    assert sc.ended("a", reason) == [End("a", 1, reason, "", sc.wall, 7)]


@pytest.mark.parametrize("state", ON_VM)
@pytest.mark.parametrize("reason", RETRIED)
def test_a_bot_is_sent_in_again_only_before_anybody_saw_it(state: BotState, reason: Reason) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", state)
    decisions = sc.ended("a", reason)
    if state in BEFORE_ADMISSION:
        assert Enqueue("a", 1, Why.RETRY, failed=1) in decisions
        assert sc.bot("a").attempt == 2
    else:
        assert decisions == [End("a", 1, reason, "", sc.wall, 7)]


def test_a_bot_that_fails_again_and_again_ends_with_its_last_reason() -> None:
    sc = full(min_idle=5, max_attempts=3)
    sc.submit("a")
    for reason in (Reason.BROWSER_CRASHED, Reason.BROWSER_HUNG, Reason.PAGE_LOAD_FAILED):
        assert sc.end_of("a") is None
        sc.ended("a", reason)
    assert sc.end_of("a") == End("a", 3, Reason.PAGE_LOAD_FAILED, "", sc.wall, 7)


@pytest.mark.parametrize("state", ON_VM)
def test_the_worker_of_a_bot_dying_without_a_word_is_a_lost_worker(state: BotState) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", state)
    decisions = sc.gone(sc.bot("a").worker_id, GoneCause.CRASHED)
    if state in BEFORE_ADMISSION:
        assert Enqueue("a", 1, Why.WORKER_LOST, failed=1) in decisions
    else:
        assert End("a", 1, Reason.WORKER_LOST, "worker crashed") in decisions
    assert sc.vm().failures == 0  # a browser in use says nothing of the next warm-up


def test_a_spent_worker_says_nothing_of_the_bots_next_attempt() -> None:
    sc = full()
    sc.submit("a")
    first = sc.bot("a").worker_id
    sc.ended("a", Reason.BROWSER_CRASHED)
    sc.gone(first)
    assert (sc.bot("a").state, sc.bot("a").attempt) == (BotState.ASSIGNED, 2)


# Leaving


def test_whoever_was_asked_to_leave_is_asked_again_until_it_has() -> None:
    sc = full(claim_timeout_s=15)
    sc.submit("a")
    bring_to(sc, "a", BotState.IN_MEETING)
    again = [Ask("vm", sc.bot("a").worker_id, "a", 1, Reason.USER_REQUESTED)]
    assert sc.step(LeaveRequested("a")) == again
    assert sc.wait(14) == []
    assert sc.wait(1) == again
    assert sc.step(LeaveRequested("a")) == again
    sc.fail_over()
    sc.step(LeaveRequested("a"))
    assert sc.wait(15) == again, "once, however often it is wished"
    sc.ended("a", Reason.USER_REQUESTED)
    assert sc.wait(100) == []


@pytest.mark.parametrize("state", ON_VM)
def test_a_bot_on_a_vm_is_asked_to_leave_and_ends_by_its_own_report(state: BotState) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", state)
    worker_id = sc.bot("a").worker_id
    assert sc.step(LeaveRequested("a")) == [Ask("vm", worker_id, "a", 1, Reason.USER_REQUESTED)]
    assert sc.ended("a", Reason.USER_REQUESTED) == [End("a", 1, Reason.USER_REQUESTED, "", sc.wall, 7)]


@pytest.mark.parametrize("state", ON_VM)
def test_a_bot_that_was_to_leave_is_not_sent_in_again(state: BotState) -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", state)
    sc.step(LeaveRequested("a"))
    assert sc.ended("a", Reason.BROWSER_CRASHED) == [End("a", 1, Reason.USER_REQUESTED, "", sc.wall, 7)]


def test_a_bot_that_waits_leaves_at_once_with_the_reason_given() -> None:
    sc = scenario()
    sc.submit("a")
    assert sc.step(LeaveRequested("a", Reason.SHUTDOWN)) == [End("a", 0, Reason.SHUTDOWN)]
    sc.fill()
    assert of_type(sc.log, Assign) == []


def test_nobody_can_leave_who_is_not_there() -> None:
    sc = full()
    assert sc.step(LeaveRequested("nobody")) == []
    sc.submit("a")
    sc.ended("a")
    assert sc.step(LeaveRequested("a")) == []


# Repeated and stale news


def test_news_that_comes_twice_changes_nothing() -> None:
    sc = full()
    sc.submit("a")
    bring_to(sc, "a", BotState.IN_MEETING)
    worker_id = sc.bot("a").worker_id
    warming = sc.names(WARMING)[0]
    sc.warmed(warming)
    assert sc.warmed(warming) == []
    assert sc.beat() == []
    assert sc.beat() == []
    sc.ended("a")
    assert sc.ended("a") == []
    assert sc.vitals("a") == []
    assert sc.gone(worker_id) != []
    assert sc.gone(worker_id) == []


def test_whoever_still_moves_after_the_end_has_to_leave() -> None:
    sc = full()
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    sc.ended("a")
    assert sc.moved("a", BotState.IN_MEETING) == [Ask("vm", worker_id, "a", 1, Reason.SUPERSEDED)]


def test_news_of_a_vm_that_nobody_knows_changes_nothing() -> None:
    sc = full()
    assert sc.warmed("w", "nowhere") == []
    assert sc.gone("w", GoneCause.CRASHED, "nowhere") == []


def test_a_clock_that_goes_back_is_not_believed() -> None:
    sc = full(max_age_s=100)
    sc.wait(50)
    sc.now -= 40
    sc.submit("a")
    assert of_type(sc.log, Warm)[-1].since == START + 50


def test_a_tick_is_due_when_a_deadline_has_come() -> None:
    sc = scenario(heartbeat_timeout_s=10)
    assert not sc.pool.is_due(1e12, 1e12)
    sc.beat()
    assert not sc.pool.is_due(START + 9.9, WALL)
    assert sc.pool.is_due(START + 10, WALL)
    sc.submit("later", join_in=100)
    assert not sc.pool.is_due(START, WALL + 39.9)
    assert sc.pool.is_due(START, WALL + 40)


# Taking over


def test_a_new_leader_waits_for_the_agents_before_it_calls_them_silent() -> None:
    sc = watched()
    sc.submit("a")
    sc.now += 3600  # the manager was away
    assert of_type(sc.fail_over(), End) == []
    assert sc.wait(9.9) == []
    for vm_id in ("vm1", "vm2"):
        sc.beat(vm_id)
    sc.wait(5)
    assert sc.bot("a").attempt == 1
    assert not any(vm.silent for vm in sc.pool.fleet)


def test_an_agent_that_does_not_speak_to_the_new_leader_is_lost_in_the_usual_time() -> None:
    sc = watched()
    sc.submit("a")
    sc.fail_over()
    sc.wait(10)
    assert sc.vm("vm1").silent
    sc.wait(50)
    assert sc.vm("vm1").lost
    sc.answer(Revoke("a", 1))
    assert sc.bot("a").state is BotState.QUEUED


def test_an_assignment_that_an_earlier_leader_made_may_come_to_nothing_and_wait() -> None:
    sc = full(min_idle=1, max_workers=1, claim_timeout_s=15, queue_timeout_s=100)
    sc.submit("a")
    sc.fail_over()
    sc.wait(15)
    assert Enqueue("a", 1, Why.CLAIM_OVERDUE, failed=1) in sc.answer(Revoke("a", 1))
    assert sc.wait(84) == []
    assert sc.end_of("a") is None


def test_the_queue_keeps_its_order_over_a_change_of_leaders() -> None:
    sc = scenario(min_idle=0, max_workers=1)
    sc.submit("a", "b")
    sc.submit("urgent", priority=1)
    sc.fail_over()
    sc.submit("c")
    sc.beat()
    order: list[str] = []
    for _ in range(4):
        (assign,) = of_type(sc.warmed(sc.names(WARMING)[0]), Assign)
        order.append(assign.join.bot_id)
        sc.ended(assign.join.bot_id)
        sc.gone(assign.join.worker_id)
    assert order == ["urgent", "a", "b", "c"]


def test_draining_survives_a_change_of_leaders() -> None:
    sc = full()
    sc.step(DrainRequested("vm"))
    sc.fail_over()
    assert sc.vm().draining
    assert of_type(sc.beat(), Warm) == []


def test_a_reservation_is_made_anew_by_the_next_leader() -> None:
    sc = full(min_idle=1)
    sc.submit("later", join_in=60)
    sc.wait(0)
    (reserved,) = sc.names(RESERVED)
    sc.fail_over()
    sc.wait(0)
    assert sc.names(RESERVED) == [reserved]
    sc.wait(60)
    assert sc.bot("later").worker_id == reserved


def test_an_assignment_is_watched_by_the_next_leader_too() -> None:
    sc = full(claim_timeout_s=15)
    sc.submit("a")
    sc.fail_over()
    assert sc.wait(15) == [Revoke("a", 1)]


@pytest.mark.parametrize(
    ("leave", "max_attempts", "expected"),
    [(False, 3, None), (True, 3, Reason.USER_REQUESTED), (False, 1, Reason.WORKER_LOST)],
)
def test_a_leader_that_dies_after_revoking_leaves_the_rest_to_the_next(
    leave: bool, max_attempts: int, expected: Reason | None
) -> None:
    sc = full(claim_timeout_s=15, max_attempts=max_attempts)
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    if leave:
        sc.step(LeaveRequested("a"))
    sc.wait(15)
    assert sc.durable.revoke(Revoke("a", 1))
    sc.fail_over()
    end = sc.end_of("a")
    assert (end.reason if end else None) is expected
    if not expected:
        assert sc.bot("a").attempt == 2
    # The agent never began with it, and says so: the worker is not left standing as busy for ever.
    decisions = sc.beat(reports={**sc.reports("vm"), worker_id: WorkerReport(IDLE)})
    assert Retire("vm", worker_id, sc.now, Why.REFUSED) in decisions


def test_a_bot_whose_vm_left_no_record_is_waited_for_like_any_other() -> None:
    pool = Pool(PoolSettings(heartbeat_timeout_s=10, lost_after_s=60, min_idle=0))
    bot = Bot("a", job(), 7, WALL, BotState.IN_MEETING, 2, "vm", "w")
    assert pool.restore([bot], [], START) == []
    assert broken_invariants(pool) == []
    beat = Heartbeat("vm", "s1", WALL, {"w": WorkerReport(BUSY, "a", 2)}, 5)
    assert pool.handle(beat, START + 5) == [KeepVm("vm", "s1", draining=False, lost=False)]
    assert pool.bots["a"].state is BotState.IN_MEETING
    (accept,) = of_type(pool.handle(JobAccepted("b", job(), WALL), START + 5), Accept)
    assert accept.seq == 8


def test_news_from_before_the_change_of_leaders_takes_no_bot_from_its_worker() -> None:
    sc = scenario(min_idle=0, heartbeat_timeout_s=10, lost_after_s=60)
    sc.beat()
    sc.submit("a")
    (worker_id,) = sc.names(WARMING)
    old_news = [
        Heartbeat("vm", "s1", sc.wall, {}, 5),  # from before the agent knew of the worker
        WorkerWarm("vm", worker_id, sc.wall),
    ]
    for event in old_news:
        sc.step(event)
    bring_to(sc, "a", BotState.IN_MEETING)
    sc.fail_over()
    for event in old_news:
        assert sc.step(event) == []
    assert (sc.bot("a").state, sc.bot("a").attempt) == (BotState.IN_MEETING, 1)
    sc.now += sc.settings.heartbeat_timeout_s
    sc.beat(reports={})
    assert sc.end_of("a")


def test_an_agent_that_started_anew_during_the_change_of_leaders_is_believed_at_once() -> None:
    sc = full()
    sc.submit("a")
    sc.fail_over()
    sc.beat(session="s2", reports={})
    assert sc.durable.bots["a"].state is BotState.QUEUED


def test_a_retiring_worker_and_an_old_one_are_taken_over_with_their_deadlines() -> None:
    pool = Pool(PoolSettings(min_idle=1, max_age_s=100, warmup_timeout_s=60, heartbeat_timeout_s=100))
    record = Vm("vm", "s1", 0.0)
    for worker in (
        Worker("old", "vm", IDLE, 10.0, 10.0),
        Worker("going", "vm", RETIRING, 10.0, 10.0),
        Worker("coming", "vm", WARMING, 10.0, 10.0),  # it may be warm for long, and the news on its way
    ):
        record.workers[worker.worker_id] = worker
    pool.restore([], [record], START)
    decisions = pool.handle(Tick(WALL), START + 1)
    assert of_type(decisions, Retire) == []
    assert pool.fleet.vms["vm"].workers["old"].aged
    pool.handle(Heartbeat("vm", "s1", WALL, {w: WorkerReport(IDLE) for w in record.workers}, 9), START + 2)
    decisions = pool.handle(Tick(WALL), START + 60)
    assert Retire("vm", "going", START + 60, Why.RETIRE_OVERDUE) in decisions
    assert Retire("vm", "coming", START + 60, Why.WARMUP_OVERDUE) in decisions


# As if interrupted: the same story, with another leader after each single step, comes to the same end.

Step = Callable[[Scenario], object]


def _serve_queue(sc: Scenario) -> None:
    """The agents do what they were told, and say so."""
    for vm_id in ("vm1", "vm2"):
        for worker_id in sc.names(RETIRING, vm_id):
            sc.gone(worker_id, GoneCause.RETIRED, vm_id)
        sc.fill(vm_id)


STORY: Final[list[Step]] = [
    _serve_queue,
    lambda sc: sc.submit("a", "b", "c", "d"),
    lambda sc: sc.submit("later", join_in=60),
    _serve_queue,
    lambda sc: bring_to(sc, "a", BotState.IN_MEETING),
    lambda sc: sc.moved("b", BotState.JOINING),
    lambda sc: sc.ended("b", Reason.BROWSER_CRASHED),
    lambda sc: sc.gone(sc.names(BUSY, "vm2")[0], GoneCause.SPENT, "vm2"),
    _serve_queue,
    lambda sc: sc.refused("c", RefusalCause.BROWSER_DEAD),
    lambda sc: sc.wait(5),
    _serve_queue,
    lambda sc: sc.step(LeaveRequested("d")),
    lambda sc: sc.ended("d", Reason.USER_REQUESTED),
    lambda sc: sc.wait(55),
    _serve_queue,
    lambda sc: sc.step(DrainRequested("vm1")),
    _serve_queue,
    lambda sc: sc.submit("e"),
    _serve_queue,
    lambda sc: sc.ended("a", Reason.EVERYONE_LEFT),
    lambda sc: sc.step(DrainRequested("vm1", draining=False)),
    _serve_queue,
    lambda sc: [sc.ended(bot_id) for bot_id in list(sc.pool.bots)],
    _serve_queue,
]


def outcome(interrupted_after: int | None) -> dict[str, tuple[int, Reason]]:
    sc = scenario(min_idle=2, max_workers=12)
    for n, step in enumerate(STORY):
        step(sc)
        if n == interrupted_after:
            sc.fail_over()
            _serve_queue(sc)
    assert sc.pool.bots == {}
    assert [sc.count(IDLE, vm_id) for vm_id in ("vm1", "vm2")] == [2, 2]
    return {bot_id: (bot.attempt, bot.end.reason) for bot_id, bot in sc.durable.bots.items() if bot.end}


@pytest.mark.parametrize("step", range(len(STORY)))
def test_the_story_ends_the_same_when_the_leader_dies_after_any_step(step: int) -> None:
    whole = outcome(None)
    assert len(whole) == 6
    assert outcome(step) == whole


def test_the_story_ends_the_same_when_leaders_die_all_the_time() -> None:
    sc = Scenario(PoolSettings(min_idle=1, max_workers=3), interrupt=True)
    sc.submit("a", "b")
    sc.submit("later", join_in=60)
    for _ in range(40):
        sc.beat()
        for worker_id in sc.names(WARMING):
            sc.warmed(worker_id)
            sc.beat()
        for bot in list(sc.pool.bots.values()):
            if bot.state is BotState.ASSIGNED:
                sc.moved(bot.bot_id, BotState.IN_MEETING)
                sc.ended(bot.bot_id)
                sc.gone(bot.worker_id)
        sc.wait(2)
    assert {
        bot_id: (bot.attempt, bot.end and bot.end.reason) for bot_id, bot in sc.durable.bots.items()
    } == dict.fromkeys(("a", "b", "later"), (1, Reason.MEETING_ENDED))
    assert sc.count(IDLE) == 1


# The rules themselves: each of them can be broken, and is then told.


def break_it(how: str) -> Pool:
    sc = full(min_idle=2)
    sc.submit("a", "b")
    sc.fill()
    pool, vm = sc.pool, sc.vm()
    a, b = pool.bots["a"], pool.bots["b"]
    match how:
        case "ended":
            a.state = BotState.STOPPED
        case "not in line":
            a.state = BotState.QUEUED
        case "no worker":
            pool.fleet.drop_worker(vm, vm.workers[a.worker_id])
        case "another's worker":
            a.worker_id = b.worker_id
        case "waits":
            a.state = BotState.QUEUED
            pool.queue.add(a)
        case "not listed":
            vm.idle.popitem()
        case "not in order":
            vm.idle[next(iter(vm.idle))].since += 1e9
        case _:
            pool.fleet.workers[IDLE] += 1
    return pool


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("ended", "bot a has ended but is still known"),
        ("not in line", "bot a is queued, but in the queue: False"),
        ("no worker", "bot a is assigned without a busy worker of its own"),
        ("another's worker", "has two bots: a and b"),
        ("waits", "bot a waits although it has worker"),
        ("waits", "somebody waits although a worker is idle"),
        ("not listed", "the idle list of vm is not its idle workers"),
        ("not in order", "the idle list of vm is not oldest first"),
        ("miscounted", "2 workers are idle, 3 are counted"),
    ],
)
def test_a_broken_rule_is_told(how: str, told: str) -> None:
    assert any(told in fault for fault in broken_invariants(break_it(how)))


def test_gone_workers_of_other_pools_are_no_ones() -> None:
    sc = full()
    assert sc.step(WorkerGone("vm", "never heard of", sc.wall, GoneCause.CRASHED)) == []
