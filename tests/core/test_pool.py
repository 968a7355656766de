"""The pool through its one entry point: repeated and stale news, clocks and deadlines."""

from common.wire.messages import WorkerGone
from common.wire.vocabulary import BotState, GoneCause
from poolmgr.core.decisions import Warm
from tests.core.builders import START, WALL, WARMING, bring_to, full, of_type, scenario


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


def test_gone_workers_of_other_pools_are_no_ones() -> None:
    sc = full()
    assert sc.step(WorkerGone("vm", "never heard of", sc.wall, GoneCause.CRASHED)) == []
