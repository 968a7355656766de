"""Workers with a display beside the others: each kind at its own target, each bot on the kind for it, and nobody late
for that.
"""

from typing import Any, Final

import pytest
from msgspec.structs import replace

from common.config.settings import PoolSettings
from common.wire.messages import WorkerReport
from common.wire.vocabulary import GoneCause, WorkerState
from poolmgr.core.decisions import Assign, Decision, KeepVm, Retire, Warm, Why
from poolmgr.core.load import JobKind, wants_display
from poolmgr.core.policy import can_warm, pick_worker, shortfall, surplus, to_trim
from tests.core.builders import BUSY, IDLE, RESERVED, START, WARMING, Scenario, of_type
from tests.core.test_policy import NOW, vm_with

SETTINGS: Final = PoolSettings(
    min_idle=2,
    min_idle_display=1,
    max_workers=6,
    warmups_at_once=6,
    reserve_ahead_s=60,
    heartbeat_timeout_s=1000,
    lost_after_s=2000,
)
ROOM: Final = 99


def of(settings: PoolSettings = SETTINGS, *vm_ids: str, display_room: int | None = ROOM, **more: Any) -> Scenario:
    """VMs that make workers with a display, all warm."""
    sc = Scenario(settings, records=True, **more)
    sc.fill(*vm_ids, display_room=display_room)
    return sc


def kinds(sc: Scenario, state: WorkerState = IDLE, vm_id: str = "vm") -> list[bool]:
    """Of the VM's workers in that state, whether each has a display."""
    return sorted(worker.display for worker in sc.pool.fleet.vms[vm_id].workers.values() if worker.state is state)


def ordered(decisions: list[Decision]) -> list[bool]:
    return [warm.display for warm in of_type(decisions, Warm)]


def got(decisions: list[Decision]) -> list[bool]:
    return [assign.display for assign in of_type(decisions, Assign)]


@pytest.mark.parametrize(
    ("kind", "wanted"), [(JobKind.LISTENS, False), (JobKind.SOUND, False), (JobKind.PICTURE, True)]
)
def test_who_has_its_picture_recorded_wants_a_display(kind: JobKind, *, wanted: bool) -> None:
    assert wants_display(kind) is wanted


@pytest.mark.parametrize("interrupt", [False, True], ids=["", "leaders die"])
def test_a_vm_is_kept_at_so_many_of_each_kind(*, interrupt: bool) -> None:
    sc = of(interrupt=interrupt)
    assert kinds(sc) == [False, False, True]
    assert got(sc.submit("b", video=True)) == [True]
    sc.beat(display_room=ROOM)
    assert kinds(sc, WARMING) == [True], "its replacement is of its kind"
    assert got(sc.submit("c")) == [False]
    sc.beat(display_room=ROOM)
    assert kinds(sc, WARMING) == [False, True]


@pytest.mark.parametrize("makes_none", [None, 0])
def test_a_vm_that_makes_none_or_has_no_memory_for_one_gets_none_ordered(makes_none: int | None) -> None:
    sc = of(display_room=makes_none)
    assert kinds(sc) == [False, False]
    sc.beat(display_room=ROOM)
    assert kinds(sc, WARMING) == [True]
    assert sc.pool.fleet.vms["vm"].display_room == ROOM - 1, "what is on its way is counted until it is reported"


def test_a_job_with_a_picture_takes_what_is_idle_at_once_when_no_display_is() -> None:
    sc = of(replace(SETTINGS, min_idle_display=0))
    given = sc.submit("b", video=True)
    assert (got(given), ordered(given)) == ([False], [False]), "nobody is late for a nicer recording"
    [assign] = of_type(given, Assign)
    assert assign.warm
    assert (assign.kind, assign.waited_s) == (JobKind.PICTURE, 0.0)


def test_other_jobs_take_displays_only_when_nothing_else_is_idle_and_do_not_wait_then() -> None:
    sc = of()
    assert got(sc.submit("b", "c", "d")) == [
        False,
        False,
        True,
    ]


def test_the_right_kind_on_a_fuller_vm_comes_before_the_other_kind_on_an_emptier_one() -> None:
    sc = of(SETTINGS, "vm1", display_room=ROOM)
    sc.fill("vm2")
    for bot_id in ("a", "b"):
        sc.submit(bot_id)
    on = {assign.vm_id for assign in of_type(sc.log, Assign)}
    assert on == {"vm1", "vm2"}
    assert [(assign.vm_id, assign.display) for assign in of_type(sc.submit("c", video=True), Assign)] == [("vm1", True)]
    assert [(assign.vm_id, assign.display) for assign in of_type(sc.submit("d"), Assign)] == [("vm2", False)]


def test_who_waits_gets_a_warm_up_of_its_kind_and_no_more_than_one() -> None:
    sc = of(replace(SETTINGS, min_idle=0, min_idle_display=0))
    assert ordered(sc.submit("b", video=True)) == [True]
    assert ordered(sc.submit("c")) == [False]
    assert ordered(sc.submit("d", video=True)) == [True]
    first, *_ = sc.names(WARMING)
    assert got(sc.warmed(first)) == [True]


def test_where_no_display_can_be_made_who_waits_for_one_gets_another() -> None:
    sc = of(replace(SETTINGS, min_idle=0, min_idle_display=0), display_room=0)
    assert ordered(sc.submit("b", video=True)) == [False]
    assert got(sc.warmed(sc.names(WARMING)[0])) == [False]


def test_who_waits_with_a_picture_takes_whatever_is_warm_first() -> None:
    sc = of(replace(SETTINGS, min_idle=0, min_idle_display=0))
    sc.submit("b", video=True)
    sc.submit("c")
    display, plain = sc.names(WARMING)
    [assign] = of_type(sc.warmed(plain), Assign)
    assert (assign.join.bot_id, assign.display) == ("b", False)
    assert got(sc.warmed(display)) == [True]


# Scheduled bots


def test_a_scheduled_bot_with_a_picture_has_time_so_a_display_is_made_for_it() -> None:
    sc = of(replace(SETTINGS, min_idle_display=0))
    sc.submit("b", join_in=100, video=True)
    assert ordered(sc.wait(40)) == [True]
    assert kinds(sc, RESERVED) == []
    sc.warmed(sc.names(WARMING)[0])
    assert kinds(sc, RESERVED) == [True]
    assert got(sc.wait(60)) == [True]


def test_each_scheduled_bot_has_one_on_its_way_whatever_else_warms() -> None:
    sc = of(replace(SETTINGS, min_idle_display=0, max_workers=12))
    sc.submit("a", "b")  # two replacements are on their way
    sc.submit("c", "d", join_in=50, video=True)
    sc.wait(1)
    assert kinds(sc, WARMING) == [False, False, True, True]


def test_a_scheduled_bot_for_which_no_display_comes_has_another_put_aside() -> None:
    sc = of(replace(SETTINGS, min_idle_display=0))
    sc.submit("b", join_in=100, video=True)
    sc.wait(40)
    [coming] = sc.names(WARMING)
    sc.gone(coming, GoneCause.WARMUP_FAILED)
    assert kinds(sc, RESERVED) == [False], "its VM backs off"
    assert got(sc.wait(60)) == [False]


def test_a_scheduled_bot_takes_whatever_is_idle_when_its_time_comes_before_the_display() -> None:
    sc = of(replace(SETTINGS, min_idle_display=0))
    sc.submit("b", join_in=10, video=True)
    assert kinds(sc, RESERVED) == []
    assert got(sc.wait(10)) == [False]


def test_a_scheduled_bot_without_a_picture_waits_for_no_kind() -> None:
    sc = of(replace(SETTINGS, min_idle=0))
    sc.submit("b", join_in=10)
    sc.wait(1)
    assert kinds(sc, RESERVED) == [True]


# What the agent says


def test_a_worker_is_of_the_kind_that_its_agent_says_and_the_target_follows() -> None:
    sc = of()
    [display] = [w.worker_id for w in sc.pool.fleet.vms["vm"].workers.values() if w.display]
    reports = sc.reports("vm") | {display: WorkerReport(IDLE)}
    assert ordered(sc.beat(display_room=ROOM, reports=reports)) == [True]
    assert kinds(sc) == [False, False, False]


def test_workers_that_only_the_agent_knows_keep_their_kind() -> None:
    sc = of(replace(SETTINGS, min_idle=0))
    sc.beat(display_room=ROOM, reports={**sc.reports("vm"), "adopted": WorkerReport(IDLE, display=True)})
    assert kinds(sc) == [True, True]


@pytest.mark.parametrize("fails_over", [False, True])
def test_an_agent_that_makes_no_more_of_them_has_them_trimmed_and_one_that_does_keeps_them(*, fails_over: bool) -> None:
    sc = of(replace(SETTINGS, idle_ttl_s=100, max_age_s=10_000))
    assert KeepVm("vm", "s1", draining=False, lost=False, makes_displays=True) in sc.log
    if fails_over:
        sc.fail_over()
    assert of_type(sc.wait(101), Retire) == [], "also before the first heartbeat that the new leader reads"
    [retired] = of_type(sc.beat(), Retire)
    assert retired.why is Why.IDLE_TTL
    assert kinds(sc) == [False, False]
    assert KeepVm("vm", "s1", draining=False, lost=False) in sc.log


def test_an_agent_of_the_release_before_gets_orders_that_it_knows_and_its_workers_serve_any_bot() -> None:
    """It warms what it always did, and says nothing of displays."""
    sc = of(display_room=None)
    assert set(ordered(sc.log)) == {False}
    assert got(sc.submit("b", video=True)) == [False]
    sc.beat(reports={**sc.reports("vm")})
    assert kinds(sc, BUSY) == [False]


# The choices, as tables (d: idle with a display, v: warming with one)


@pytest.mark.parametrize(
    ("workers", "lacks", "displays_lack"),
    [("", 2, 1), ("ii", 0, 1), ("dd", 2, -1), ("iv", 1, 0), ("wwv", 0, 0), ("id", 1, 0), ("bbxx", 2, 1)],
)
def test_what_lacks_of_each_kind(workers: str, lacks: int, displays_lack: int) -> None:
    vm = vm_with(workers, makes_displays=True)
    assert (shortfall(vm, SETTINGS), shortfall(vm, SETTINGS, display=True)) == (lacks, displays_lack)


@pytest.mark.parametrize(("workers", "above", "displays_above"), [("iiid", 1, 0), ("dd", -2, 1), ("", -2, -1)])
def test_what_is_surplus_of_each_kind(workers: str, above: int, displays_above: int) -> None:
    vm = vm_with(workers, makes_displays=True)
    assert (surplus(vm, SETTINGS), surplus(vm, SETTINGS, display=True)) == (above, displays_above)


@pytest.mark.parametrize(
    ("workers", "trimmed"),
    [("iid", []), ("iidd", ["w2"]), ("diii", ["w1"]), ("ddiii", ["w2", "w0"]), ("dddii", ["w0", "w1"])],
)
def test_each_kind_is_trimmed_by_itself(workers: str, trimmed: list[str]) -> None:
    vm = vm_with(workers, since=[0.0] * len(workers), makes_displays=True)
    assert [worker.worker_id for worker in to_trim(vm, replace(SETTINGS, idle_ttl_s=100), NOW)] == trimmed


@pytest.mark.parametrize(
    ("workers", "for_others", "for_pictures"),
    [("iid", "w1", "w2"), ("di", "w1", "w0"), ("dd", "w1", "w1"), ("iib", "w1", "w1")],
)
def test_the_newest_of_the_right_kind_gets_the_bot_or_else_the_newest(
    workers: str, for_others: str, for_pictures: str
) -> None:
    vm = vm_with(workers)
    assert pick_worker(vm, JobKind.LISTENS).worker_id == pick_worker(vm, JobKind.SOUND).worker_id == for_others
    assert pick_worker(vm, JobKind.PICTURE).worker_id == for_pictures


@pytest.mark.parametrize(
    ("facts", "can"),
    [
        ({"makes_displays": True, "display_room": 1}, True),
        ({"makes_displays": True, "display_room": 0}, False),
        ({"makes_displays": False, "display_room": 1}, False),
        ({"makes_displays": True, "display_room": 1, "room": 0}, False),
    ],
)
def test_a_display_is_warmed_only_where_one_can_be_made_and_fits(facts: dict[str, Any], *, can: bool) -> None:
    assert can_warm(vm_with(**facts), PoolSettings(), START, display=True) is can
