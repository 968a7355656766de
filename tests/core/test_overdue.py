"""The backstops of the manager: nobody who was asked to leave, outlived every limit, or serves nobody who counts
stays for ever. Each step is one that can be counted.
"""

import pytest

from common.wire.messages import WorkerReport
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import Ask, End, EndByForce, Retire, Why
from poolmgr.core.events import DrainRequested, LeaveRequested
from tests.core.builders import BUSY, IDLE, RETIRING, Scenario, bring_to, full, of_type

LEAVE_S = 120.0
AGAIN_S = 15.0
OVERDUE_S = 72000.0


def in_meeting(**settings: float) -> Scenario:
    defaults = {"claim_timeout_s": AGAIN_S, "leave_within_s": LEAVE_S, "overdue_after_s": OVERDUE_S}
    sc = full(**{**defaults, **settings})
    sc.submit("a")
    bring_to(sc, "a", BotState.IN_MEETING)
    sc.log.clear()
    return sc


def wait(sc: Scenario, seconds: float) -> None:
    for _ in range(int(seconds / AGAIN_S)):
        sc.wait(AGAIN_S)
        sc.beat()


def test_who_does_not_leave_is_asked_then_its_browser_is_ended_then_it_is_given_up() -> None:
    sc = in_meeting()
    worker_id = sc.bot("a").worker_id
    sc.step(LeaveRequested("a"))
    wait(sc, LEAVE_S - 1)
    assert {ask.reason for ask in of_type(sc.log, Ask)} == {Reason.USER_REQUESTED}
    assert of_type(sc.log, EndByForce) == []
    wait(sc, LEAVE_S)
    assert EndByForce("vm", worker_id, "a", 1) in sc.log
    assert sc.end_of("a") is None
    wait(sc, 2 * AGAIN_S)
    end = sc.end_of("a")
    assert end
    assert (end.reason, end.given_up) == (Reason.USER_REQUESTED, True), "the client's word goes first"
    assert worker_id in sc.names(BUSY), "there is no room for another one"


def test_who_goes_when_it_is_asked_is_given_no_more_orders() -> None:
    sc = in_meeting()
    sc.step(LeaveRequested("a"))
    sc.ended("a", Reason.USER_REQUESTED)
    sc.log.clear()
    wait(sc, 3 * LEAVE_S)
    assert of_type(sc.log, Ask) + of_type(sc.log, EndByForce) + of_type(sc.log, End) == []


def test_what_a_silent_vm_does_not_hear_it_is_not_given_up_for() -> None:
    sc = in_meeting(heartbeat_timeout_s=60, lost_after_s=1e5)
    sc.step(LeaveRequested("a"))
    for _ in range(100):
        sc.wait(AGAIN_S)
    assert sc.vm().silent
    assert of_type(sc.log, EndByForce) == []
    sc.log.clear()
    wait(sc, LEAVE_S)
    assert of_type(sc.log, EndByForce) == [], "it has all the time that others have, once it is back"
    wait(sc, LEAVE_S)
    assert of_type(sc.log, EndByForce) != []


def test_a_bot_that_outlives_its_agents_limit_is_asked_as_overdue_and_ends_as_that() -> None:
    sc = in_meeting(leave_within_s=1e6)
    sc.wait(OVERDUE_S)
    assert of_type(sc.log, Ask) == [Ask("vm", sc.bot("a").worker_id, "a", 1, Reason.OVERDUE)]
    assert not sc.durable.bots["a"].leave_requested, "nobody wished for it"
    sc.ended("a", Reason.OVERDUE)
    end = sc.end_of("a")
    assert end
    assert (end.reason, end.by_force, end.given_up) == (Reason.OVERDUE, True, False)


def test_one_that_was_overdue_for_the_leader_before_is_so_for_the_next() -> None:
    sc = in_meeting()
    sc.now += OVERDUE_S - 1
    sc.fail_over()
    sc.log.clear()
    sc.wait(2)
    assert [ask.reason for ask in of_type(sc.log, Ask)] == [Reason.OVERDUE]


def test_each_attempt_has_its_own_time() -> None:
    sc = in_meeting()
    sc.now += OVERDUE_S / 2
    sc.ended("a", Reason.MEETING_ENDED)
    sc.submit("b")
    bring_to(sc, "b", BotState.IN_MEETING)
    sc.log.clear()
    sc.wait(OVERDUE_S / 2 + 1)
    assert of_type(sc.log, Ask) == []


@pytest.mark.parametrize("fails_over", [False, True])
def test_a_worker_that_serves_nobody_who_counts_is_ended(*, fails_over: bool) -> None:
    sc = in_meeting(warmup_timeout_s=60)
    worker_id = sc.bot("a").worker_id
    sc.ended("a")
    if fails_over:
        sc.fail_over()
        sc.now += 1e6
    busy = {worker_id: WorkerReport(BUSY)}
    sc.beat(reports={**sc.reports("vm"), **busy})
    sc.log.clear()
    for _ in range(4):
        sc.wait(AGAIN_S)
        sc.beat(reports={**sc.reports("vm"), **busy})
    assert [retire.why for retire in of_type(sc.log, Retire) if retire.worker_id == worker_id] == [Why.SPENT]


def test_a_worker_that_has_to_be_ended_by_force_is_told_of_in_the_story_of_its_last_bot() -> None:
    sc = in_meeting(warmup_timeout_s=60)
    worker_id = sc.bot("a").worker_id
    sc.ended("a")
    for _ in range(24):
        sc.wait(AGAIN_S)
        sc.beat(reports={**sc.reports("vm"), worker_id: WorkerReport(BUSY)})
    orders = [(retire.by_force, retire.served) for retire in of_type(sc.log, Retire) if retire.worker_id == worker_id]
    assert orders[:2] == [(False, ""), (False, "")]
    assert orders[-1] == (True, "a")


def test_a_worker_that_does_not_go_is_ordered_to_by_force_in_the_end() -> None:
    sc = full(warmup_timeout_s=60, min_idle=1, idle_ttl_s=1)
    [worker_id] = sc.names(IDLE)
    sc.step(DrainRequested("vm"))
    for _ in range(5):
        sc.wait(61)
        sc.beat(reports={worker_id: WorkerReport(BUSY, "x", 1)})
    orders = [retire.by_force for retire in of_type(sc.log, Retire) if retire.worker_id == worker_id]
    assert orders == [False, False, False, True, True, True]
    assert sc.names(RETIRING) == [worker_id]
