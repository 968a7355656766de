"""A new leader takes over: what it believes, what it finishes, and that a story ends the same."""

from collections.abc import Callable
from typing import Final

import pytest

from common.config.settings import PoolSettings
from common.wire.messages import Heartbeat, WorkerReport, WorkerWarm
from common.wire.vocabulary import BotState, GoneCause, Reason, RefusalCause, VmState
from poolmgr.core.decisions import Accept, Assign, End, Enqueue, KeepVm, KeepWorker, Retire, Revoke, Warm, Why
from poolmgr.core.events import DrainRequested, JobAccepted, LeaveRequested, Tick
from poolmgr.core.invariants import broken_invariants
from poolmgr.core.model import Bot, Vm, Worker
from poolmgr.core.pool import Pool
from tests.core.builders import (
    BUSY,
    IDLE,
    RESERVED,
    RETIRING,
    START,
    WALL,
    WARMING,
    Scenario,
    bring_to,
    full,
    job,
    of_type,
    scenario,
    watched,
)


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
    rested = KeepVm("vm", "s1", draining=False, lost=False)
    assert sc.wait(84) == [rested]
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


def test_an_agent_that_was_stopping_is_known_to_be_and_to_be_back() -> None:
    sc = full()
    sc.beat(stopping=True)
    sc.fail_over()
    assert sc.vm().stopping
    assert KeepVm("vm", "s1", draining=False, lost=False) in sc.beat()


def test_a_vm_that_rests_does_so_under_the_next_leader_and_not_for_ever() -> None:
    sc = full(min_idle=1, max_workers=1, claim_timeout_s=15, queue_timeout_s=1000)
    sc.submit("a")
    sc.wait(15)
    assert KeepVm("vm", "s1", draining=False, lost=False, resting=True) in sc.answer(Revoke("a", 1))
    sc.fail_over()
    assert sc.vm().state is VmState.RESTING
    assert KeepVm("vm", "s1", draining=False, lost=False) in sc.wait(60)
    assert sc.vm().state is VmState.UP


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
    assert pool.restore([bot], [], START) == [KeepWorker("vm", "w", BUSY, START, START, "a")]
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


def test_what_was_kept_by_a_clock_that_was_ahead_is_of_now() -> None:
    pool = Pool(PoolSettings(min_idle=0, idle_ttl_s=60, heartbeat_timeout_s=100))
    record = Vm("vm", "s1", 0.0)
    record.workers["ahead"] = Worker("ahead", "vm", IDLE, START + 3600, START + 3600)
    pool.restore([], [record], START)
    reports = {"ahead": WorkerReport(IDLE), "new": WorkerReport(IDLE)}
    pool.handle(Heartbeat("vm", "s1", WALL, reports, 9), START + 1)
    assert list(pool.fleet.vms["vm"].idle) == ["ahead", "new"], "oldest first"
    assert broken_invariants(pool) == []
    retired = of_type(pool.handle(Tick(WALL), START + 60), Retire)
    assert [retire.worker_id for retire in retired] == ["ahead"]


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
