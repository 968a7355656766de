"""What a VM says against what is believed of it; draining, silence, loss."""

import pytest

from common.wire.messages import BotMoved, WorkerReport
from common.wire.vocabulary import BotState, GoneCause, OnWorkerLost, Reason, RefusalCause, WorkerState
from poolmgr.core.decisions import (
    Ask,
    Assign,
    End,
    Enqueue,
    ForgetVm,
    ForgetWorker,
    KeepVm,
    KeepWorker,
    Retire,
    Revoke,
    Warm,
    Why,
)
from poolmgr.core.events import DrainRequested, ProcessResumed
from tests.core.builders import (
    BUSY,
    IDLE,
    ON_VM,
    RETIRING,
    START,
    WARMING,
    bring_to,
    full,
    keep_alive,
    of_type,
    scenario,
    watched,
)

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
    assert sc.beat(stopping=True) == [KeepVm("vm", "s1", draining=False, lost=False, stopping=True)]
    assert sc.beat(stopping=True) == []
    sc.submit("a")
    assert sc.bot("a").state is BotState.QUEUED
    for worker_id in sc.names(IDLE):
        assert of_type(sc.gone(worker_id, GoneCause.AGENT_STOPPED), Warm) == []
    sc.fill()
    assert sc.bot("a").state is BotState.ASSIGNED


# Silence and loss


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
    sc.step(ProcessResumed())
    sc.wait(0)
    assert not sc.vm(heard).silent
    assert not sc.vm(silent).lost
    keep_alive(sc, heard, 55)
    assert not sc.vm(silent).lost
    keep_alive(sc, heard, 30)
    assert sc.vm(silent).lost
    sc.step(ProcessResumed())
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
        assert sc.end_of("a") == End("a", 1, Reason.HEARTBEAT_TIMEOUT, "its VM fell silent")


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
        Retire("vm", lost, sc.now, Why.WORKER_LOST),
    ]
    assert sc.bot("a").attempt == 1
    assert len(of_type(decisions, Warm)) == 1
    reports = {kept: WorkerReport(BUSY, "a", 1), "vm-1-1": WorkerReport(IDLE)}
    assert of_type(sc.beat(session="s2", reports=reports), ForgetWorker) == [
        ForgetWorker("vm", lost, GoneCause.MISSING)
    ]


def test_warm_ups_that_the_next_agent_may_have_been_given_count_until_it_says_otherwise() -> None:
    """One agent after the other lost its folder while nobody read; what they say is read at once. The last of them
    finds in its stream what was ordered from those before it.
    """
    sc = scenario(min_idle=2, max_workers=3, warmups_at_once=3)
    sc.beat(session="s1", reports={})
    orders: list[Warm | Retire] = [Warm("vm", worker_id, sc.now, Why.BELOW_MIN_IDLE) for worker_id in sc.names(WARMING)]
    for session in ("s2", "s3", "s4"):
        decisions = sc.beat(session=session, reports={})
        orders += [decision for decision in decisions if isinstance(decision, Warm | Retire)]
    there: set[str] = set()
    for order in orders:
        (there.add if isinstance(order, Warm) else there.discard)(order.worker_id)
        assert len(there) <= 3


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
