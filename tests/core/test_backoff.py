"""VMs that fail get less for a while: warm-ups after failed ones, bots after those that they did not begin."""

from itertools import pairwise

from common.wire.vocabulary import BotState, GoneCause, Reason, RefusalCause
from poolmgr.core.decisions import KeepVm, Warm
from tests.core.builders import IDLE, WARMING, full, of_type, scenario


def test_failed_warm_ups_back_off_and_never_spin() -> None:
    sc = scenario(min_idle=1, warmups_at_once=1, backoff_s=2, backoff_max_s=60)
    sc.beat()
    ordered_at: list[float] = []
    for _ in range(900):
        for worker_id in sc.names(WARMING):
            ordered_at.append(sc.now)
            assert of_type(sc.gone(worker_id, GoneCause.WARMUP_FAILED), Warm) == []
        sc.beat()
        sc.wait(1)
    waits = [later - earlier for earlier, later in pairwise(ordered_at)]
    assert waits[:6] == [2, 4, 8, 16, 32, 60]
    assert set(waits[6:]) == {60}
    assert len(waits) > 15


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


def test_that_a_vm_rests_is_kept_once_and_so_is_that_it_rests_no_longer() -> None:
    sc = full(min_idle=4, max_workers=9, backoff_s=50, backoff_max_s=100)
    sc.submit("a", "b")
    sc.refused("a", RefusalCause.LOW_MEMORY)
    sc.refused("b", RefusalCause.LOW_MEMORY)
    sc.wait(101)
    sc.moved("a", BotState.JOINING)
    assert sc.vm().unbegun == 0
    assert [decision.resting for decision in of_type(sc.log, KeepVm)][-2:] == [True, False]


def test_the_end_of_a_wait_for_warm_ups_does_not_end_a_vm_s_rest() -> None:
    sc = full(min_idle=4, max_workers=9, backoff_s=50, backoff_max_s=100)
    sc.submit("a")
    sc.gone(sc.names(WARMING)[0], GoneCause.WARMUP_FAILED)
    sc.wait(20)
    sc.refused("a", RefusalCause.LOW_MEMORY)
    sc.wait(40)
    assert sc.vm().shunned, "that wait was over after 50 s, the rest is after 70"
    sc.wait(11)
    assert not sc.vm().shunned


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
