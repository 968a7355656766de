"""Jobs that require labels of a VM: who is given them, who does not wait for them, and what becomes of one that no VM
can serve.
"""

from typing import Any, Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from common.config.settings import PoolSettings
from common.wire import codec
from common.wire.messages import Heartbeat
from common.wire.vocabulary import BotState, Reason, WorkerState
from poolmgr.core.decisions import Accept, Assign, End, Enqueue, KeepVm, Warm
from poolmgr.core.events import LeaveRequested
from poolmgr.core.fleet import PLACES_KEPT, Fleet
from poolmgr.core.load import JobKind
from poolmgr.core.model import NO_LABELS, Vm, Worker, labels_of
from poolmgr.core.queue import MOST_LINES
from poolmgr.core.settling import held_bots, unplaceable_bots
from tests.core.builders import IDLE, RESERVED, WARMING, Scenario, of_type, scenario

EU: Final = {"region": "eu"}
EU_A: Final = {"region": "eu", "account": "a"}


def two_regions(min_idle: int = 1, **settings: Any) -> Scenario:
    """Two VMs at min_idle: one in each region, the one in Europe with an account."""
    sc = scenario(min_idle=min_idle, **settings)
    sc.fill("us", labels={"region": "us"})
    sc.fill("eu", labels=EU_A)
    sc.log.clear()
    return sc


def where(sc: Scenario) -> dict[str, str]:
    return {step.join.bot_id: step.vm_id for step in of_type(sc.log, Assign)}


def test_a_job_is_given_only_to_a_vm_that_has_all_that_it_requires() -> None:
    sc = two_regions()
    sc.submit("in-eu", requires=EU)
    sc.submit("with-a", requires=EU_A)
    sc.submit("anywhere")
    assert where(sc) == {"in-eu": "eu", "anywhere": "us"}
    sc.warmed(sc.names(WARMING, "eu")[0], "eu")
    assert where(sc)["with-a"] == "eu"


def test_jobs_behind_one_that_waits_for_its_vm_are_not_held_up() -> None:
    sc = two_regions()
    sc.submit("first", requires=EU)
    sc.submit("waits", requires=EU, priority=10)
    sc.submit("other", requires={"region": "us"})
    assert where(sc) == {"first": "eu", "other": "us"}
    assert sc.bot("waits").state is BotState.QUEUED


def test_whoever_stands_first_gets_the_worker_that_both_may_have() -> None:
    sc = two_regions(max_workers=1)
    sc.submit("eu1", requires=EU)
    sc.submit("us1")
    sc.submit("eu2", requires=EU)
    sc.submit("any")
    sc.ended("eu1")
    sc.gone(sc.names(WorkerState.BUSY, "eu")[0], vm_id="eu")
    sc.warmed(sc.names(WARMING, "eu")[0], "eu")
    assert where(sc) == {"eu1": "eu", "us1": "us", "eu2": "eu"}


def test_a_job_of_a_higher_priority_is_passed_only_by_those_that_take_nothing_from_it() -> None:
    """Its VM has an idle worker, and does not bear it beside what is recorded there."""
    shares = {"cpu_limit": 1.0, "listens_cpu_share": 0.1, "picture_cpu_share": 0.6}
    sc = scenario(records=True, min_idle=2, **shares)
    sc.fill("us", processors=1.0, labels={"region": "us"})
    sc.fill("eu", processors=1.0, labels=EU_A)
    sc.submit("p1", video=True, requires=EU)
    sc.submit("p2", video=True, requires=EU, priority=5)
    assert held_bots(sc.pool.queue, sc.pool.fleet) == 1
    sc.submit("also-eu", no_audio=True, requires=EU_A)
    assert sc.bot("also-eu").state is BotState.QUEUED
    sc.submit("anywhere", no_audio=True)
    assert where(sc) == {"p1": "eu", "anywhere": "us"}


def test_a_job_that_no_vm_can_serve_is_told_so_and_ends_at_the_deadline_of_the_queue() -> None:
    sc = two_regions(queue_timeout_s=30)
    decided = sc.submit("mars", requires={"region": "mars"})
    (accept,) = of_type(decided, Accept)
    assert accept.unmet
    assert accept.job.warnings == ("requires: no VM of the fleet has region=mars at present; the bot waits for one",)
    assert unplaceable_bots(sc.pool.queue, sc.pool.fleet) == 1
    assert of_type(decided, Warm) == [], "no browser is started that could not serve it"
    sc.submit("behind")
    assert where(sc) == {"behind": "us"}
    (end,) = of_type(sc.wait(30), End)
    assert (end.bot_id, end.reason) == ("mars", Reason.REQUIREMENT_UNMET)
    assert end.detail == "waited 30 s for a warm worker of a VM with region=mars; no VM of the fleet has that"
    assert unplaceable_bots(sc.pool.queue, sc.pool.fleet) == 0


def test_a_job_whose_vms_are_full_ends_for_want_of_capacity() -> None:
    sc = two_regions(queue_timeout_s=30, max_workers=1)
    sc.submit("one", "two", requires=EU)
    (end,) = of_type(sc.wait(30), End)
    assert (end.bot_id, end.reason) == ("two", Reason.NO_CAPACITY)
    assert end.detail == "waited 30 s for a warm worker of a VM with region=eu"


def test_a_job_waits_for_a_vm_that_comes_later() -> None:
    sc = two_regions()
    sc.submit("asia", requires={"region": "asia"})
    sc.fill("far", labels={"region": "asia"})
    assert where(sc) == {"asia": "far"}
    assert not of_type(sc.submit("asia2", requires={"region": "asia"}), Accept)[0].unmet


def test_a_vm_that_is_lost_counts_as_none_and_one_that_drains_may_come_back() -> None:
    sc = two_regions(lost_after_s=20, heartbeat_timeout_s=10)
    sc.submit("takes-it", requires=EU)
    sc.submit("waits", requires=EU)
    assert unplaceable_bots(sc.pool.queue, sc.pool.fleet) == 0
    for _ in range(3):
        sc.wait(9)
        sc.beat("us")
    assert sc.vm("eu").lost
    assert unplaceable_bots(sc.pool.queue, sc.pool.fleet) == 1


def test_a_scheduled_job_is_told_when_it_comes_and_when_its_time_has_come() -> None:
    sc = two_regions()
    (accept,) = of_type(sc.submit("later", join_in=100, requires={"region": "mars"}), Accept)
    assert accept.job.warnings
    assert not accept.unmet, "it does not wait yet"
    (enqueue,) = of_type(sc.wait(100), Enqueue)
    assert enqueue.unmet


def test_a_scheduled_job_has_its_worker_put_aside_where_it_may_have_one() -> None:
    sc = two_regions()
    sc.submit("later", join_in=100, requires=EU)
    sc.wait(50)
    assert sc.bot("later").vm_id == "eu"
    sc.warmed(sc.names(WARMING, "eu")[0], "eu")
    sc.beat("eu", labels={"region": "us"}, reports=sc.reports("eu"))
    assert sc.count(RESERVED) == 0, "its VM is not in Europe any more"
    sc.fill("eu2", labels=EU)
    assert sc.bot("later").vm_id == "eu2"


def test_workers_are_warmed_where_those_who_wait_may_have_them() -> None:
    """Those that warm up elsewhere are none for them, and theirs are none for others."""
    sc = scenario(min_idle=0, warmups_at_once=5)
    sc.beat("us", labels={"region": "us"})
    sc.submit("any1", "any2")
    sc.beat("eu", labels=EU)
    assert [step.vm_id for step in of_type(sc.log, Warm)] == ["us", "us"]
    sc.log.clear()
    sc.submit("eu1", requires=EU)
    assert [step.vm_id for step in of_type(sc.log, Warm)] == ["eu"]
    sc.log.clear()
    sc.submit("any3")
    assert len(of_type(sc.log, Warm)) == 1


def test_what_no_vm_can_serve_warms_nothing_for_others() -> None:
    sc = scenario(min_idle=0, warmups_at_once=9)
    sc.beat("us", labels={"region": "us"})
    sc.submit(*(f"mars{n}" for n in range(5)), requires={"region": "mars"})
    sc.submit("any")
    assert len(of_type(sc.log, Warm)) == 1


def test_the_next_leader_knows_labels_and_requirements() -> None:
    sc = two_regions(max_workers=1)
    sc.submit("one", "two", requires=EU_A)
    sc.submit("mars", requires={"region": "mars"})
    sc.fail_over()
    assert sc.vm("eu").labels == labels_of(EU_A)
    assert unplaceable_bots(sc.pool.queue, sc.pool.fleet) == 1
    sc.beat("us")
    sc.beat("eu")
    assert sc.bot("two").state is BotState.QUEUED
    sc.ended("one")
    sc.gone(sc.names(WorkerState.BUSY, "eu")[0], vm_id="eu")
    sc.warmed(sc.names(WARMING, "eu")[0], "eu")
    assert sc.bot("two").vm_id == "eu"


def test_labels_are_written_when_they_change_and_not_with_every_heartbeat() -> None:
    sc = scenario()
    (kept,) = of_type(sc.beat("vm", labels=EU_A), KeepVm)
    assert kept.labels == {"account": "a", "region": "eu"}
    assert of_type(sc.beat("vm"), KeepVm) == []
    (kept,) = of_type(sc.beat("vm", labels=EU), KeepVm)
    assert kept.labels == EU


def test_an_agent_of_the_release_before_reports_no_labels_and_serves_those_that_require_none() -> None:
    sc = scenario(min_idle=1)
    told = b'{"type":"heartbeat","vm_id":"old","session":"s","at":1.0,"room":9}'
    event = codec.decode_event(told)
    assert isinstance(event, Heartbeat)
    sc.step(event)
    sc.warmed(sc.names(WARMING, "old")[0], "old")
    sc.submit("eu", requires=EU)
    sc.submit("any")
    assert where(sc) == {"any": "old"}


def test_a_manager_of_the_release_before_reads_the_heartbeats_of_an_agent_with_labels() -> None:
    class OldHeartbeat(msgspec.Struct, tag_field="type", tag="heartbeat"):
        vm_id: str
        session: str
        at: float
        room: int = 0

    written = codec.encode(Heartbeat("vm", "s", 1.0, room=3, labels=EU))
    assert msgspec.json.decode(written, type=OldHeartbeat) == OldHeartbeat("vm", "s", 1.0, 3)
    assert b"labels" not in codec.encode(Heartbeat("vm", "s", 1.0)), "without labels nothing is said of them"


# The places


def add_vm(fleet: Fleet, vm_id: str, labels: dict[str, str]) -> Vm:
    vm = Vm(vm_id, "s", 0.0, room=5, labels=labels_of(labels))
    fleet.add_vm(vm)
    fleet.add_worker(vm, Worker(f"{vm_id}-0", vm_id, IDLE, 0.0, 0.0))
    fleet.mark(vm)
    fleet.refresh(0.0)
    return vm


def test_a_place_that_nobody_waits_for_stays_until_there_are_too_many() -> None:
    fleet = Fleet(PoolSettings())
    vm = add_vm(fleet, "vm", {"n": "0", "m": "1"})
    fleet.make_place(labels_of({"n": "0"}), 0.0, lambda _: False)
    fleet.make_place(labels_of({"m": "1"}), 0.0, lambda _: False)
    for n in range(1, PLACES_KEPT - 1):
        fleet.make_place(labels_of({"n": str(n)}), 0.0, lambda _: False)
    assert len(fleet.places) == PLACES_KEPT + 1
    fleet.make_place(labels_of({"x": "x"}), 0.0, lambda labels: labels == labels_of({"m": "1"}))
    assert set(fleet.places) == {NO_LABELS, labels_of({"m": "1"}), labels_of({"x": "x"})}
    assert set(fleet.occupied) == {NO_LABELS, labels_of({"m": "1"})}
    fleet.mark(vm)
    fleet.refresh(0.0)
    assert fleet.occupied[labels_of({"m": "1"})].others.vm_for(JobKind.LISTENS) is vm


def test_of_two_vms_in_a_place_one_may_leave_it() -> None:
    fleet = Fleet(PoolSettings())
    stays, leaves = add_vm(fleet, "stays", EU_A), add_vm(fleet, "leaves", EU_A)
    fleet.make_place(labels_of(EU), 0.0, lambda _: True)
    fleet.relabel(leaves, labels_of({"region": "us"}), canary=False)
    assert fleet.occupied[labels_of(EU)].vms == {"stays": stays}
    assert fleet.has(labels_of(EU_A))
    fleet.drop_vm(stays)
    assert labels_of(EU) not in fleet.occupied
    assert not fleet.has(labels_of(EU_A))


def test_places_are_dropped_only_of_those_for_whom_nobody_waits() -> None:
    sc = two_regions()
    sc.submit("now", requires={"never": "now"})
    sc.submit("later", join_in=10, requires={"never": "later"})
    sc.wait(1)
    for n in range(PLACES_KEPT):
        sc.submit(f"bot{n}", requires={"n": str(n)}, queue_timeout_s=0)
        sc.wait(0)
    sc.submit("eu", requires=EU)
    assert {labels_of({"never": "now"}), labels_of({"never": "later"})} < set(sc.pool.fleet.places)
    assert len(sc.pool.fleet.places) < PLACES_KEPT
    assert where(sc)["eu"] == "eu"


def test_of_more_label_sets_than_may_be_waited_for_one_more_ends_at_once_and_holds_nobody_up() -> None:
    sc = two_regions(reserve_ahead_s=5)
    for n in range(MOST_LINES):
        sc.submit(f"bot{n}", requires={"n": str(n)})
    sc.submit("one-more", requires={"n": "more"})
    sc.submit("later", join_in=10, requires={"n": "later"})
    sc.submit("like-another", requires={"n": "0"})
    sc.submit("anywhere")
    assert "anywhere" in where(sc)
    sc.wait(11)
    ends = {end.bot_id: (end.reason, "200 different sets of labels" in end.detail) for end in of_type(sc.log, End)}
    assert ends == dict.fromkeys(("one-more", "later"), (Reason.NO_CAPACITY, True))
    assert sc.bot("like-another").state is BotState.QUEUED
    sc.step(LeaveRequested("bot1"))
    sc.submit("in-its-place", requires={"n": "more"})
    assert sc.bot("in-its-place").state is BotState.QUEUED


_LABELS: Final = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["add", "drop", "relabel", "idle"]), _LABELS), max_size=40),
    st.lists(_LABELS, max_size=4),
)
def test_a_place_has_the_vms_that_a_search_would_find(
    changes: list[tuple[int, str, dict[str, str]]], wanted: list[dict[str, str]]
) -> None:
    """`wanted`: places made one after the other, between the changes."""
    fleet = Fleet(PoolSettings())
    places = list(map(labels_of, wanted))
    for n, change, given_labels in changes:
        vm_id = f"vm{n}"
        vm = fleet.get(vm_id)
        if places:
            fleet.make_place(places.pop(), 0.0, lambda _: True)
        if vm is None:
            add_vm(fleet, vm_id, given_labels)
        elif change == "drop":
            fleet.drop_vm(vm)
        elif change == "relabel":
            fleet.relabel(vm, labels_of(given_labels), canary=vm.canary)
            fleet.mark(vm)
            fleet.refresh(0.0)
        elif change == "idle":
            state = IDLE if vm.workers[f"{vm_id}-0"].state is not IDLE else WorkerState.BUSY
            fleet.change_worker(vm, vm.workers[f"{vm_id}-0"], state, 0.0)
            fleet.mark(vm)
            fleet.refresh(0.0)
        for labels, place in fleet.places.items():
            having = {vm.vm_id for vm in fleet if labels <= vm.labels}
            assert set(place.vms) == having
            assert (labels in fleet.occupied) == (bool(having) or not labels)
            assert fleet.has(labels) == bool(having)
            idle = {vm.vm_id for vm in fleet if labels <= vm.labels and vm.idle}
            chosen = place.others.vm_for(JobKind.LISTENS)
            assert chosen.vm_id in idle if chosen else not idle
