"""The life of a worker: ordered under a new name, overdue, retired, gone."""

import pytest

from common.wire.messages import WorkerReport
from common.wire.vocabulary import GoneCause, WorkerState
from poolmgr.core.decisions import Assign, ForgetWorker, Retire, Warm, Why
from tests.core.builders import IDLE, RETIRING, WARMING, full, of_type, scenario


def test_worker_names_are_new_for_every_order_and_every_leader() -> None:
    sc = full()
    sc.submit("a", "b")
    sc.fail_over()
    sc.fill()
    names = [warm.worker_id for warm in of_type(sc.log, Warm)]
    assert len(set(names)) == len(names) >= 2


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


@pytest.mark.parametrize(("state", "why"), [(WARMING, Why.WARMUP_OVERDUE), (RETIRING, Why.RETIRE_OVERDUE)])
def test_a_worker_that_was_given_up_and_comes_back_has_its_whole_time_again(state: WorkerState, why: Why) -> None:
    sc = scenario(min_idle=1, warmup_timeout_s=60)
    sc.beat()
    (worker_id,) = sc.names(WARMING)
    if state is RETIRING:
        sc.wait(60)
    sc.wait(40)
    sc.gone(worker_id, GoneCause.CRASHED)
    sc.beat(reports={worker_id: WorkerReport(state)})
    assert worker_id not in [retire.worker_id for retire in of_type(sc.wait(59), Retire)]
    assert Retire("vm", worker_id, sc.now + 1, why) in sc.wait(1)


def test_a_silent_vm_is_not_asked_again_until_it_speaks() -> None:
    sc = scenario(min_idle=1, warmup_timeout_s=60, heartbeat_timeout_s=70, lost_after_s=1000)
    sc.beat()
    (worker_id,) = sc.names(WARMING)
    sc.wait(60)
    sc.wait(10)
    assert sc.wait(60) == []
    sc.beat()
    assert Retire("vm", worker_id, sc.now + 60, Why.RETIRE_OVERDUE) in sc.wait(60)
