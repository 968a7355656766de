"""The indexes answer what a search of the whole fleet would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config.settings import PoolSettings
from common.wire.vocabulary import WorkerState
from poolmgr.core.fleet import Fleet
from poolmgr.core.load import JobKind
from poolmgr.core.model import Vm, Worker
from poolmgr.core.policy import can_warm

SETTINGS = PoolSettings(max_workers=4, warmups_at_once=1)


def add_vm(fleet: Fleet, vm_id: str, workers: str = "", room: int = 0) -> Vm:
    """One worker a letter: i idle, b busy, r reserved, w warming."""
    vm = Vm(vm_id, "s", 0.0, room=room)
    fleet.add_vm(vm)
    states = {
        "i": WorkerState.IDLE,
        "b": WorkerState.BUSY,
        "r": WorkerState.RESERVED,
        "w": WorkerState.WARMING,
    }
    for n, letter in enumerate(workers):
        fleet.add_worker(vm, Worker(f"{vm_id}-{n}", vm_id, states[letter], 0.0, 0.0))
    fleet.mark(vm)
    fleet.refresh(0.0)
    return vm


def counted(vm: Vm, *states: WorkerState) -> int:
    return sum(worker.state in states for worker in vm.workers.values())


def next_vm(fleet: Fleet) -> str | None:
    vm = fleet.everywhere.others.vm_for(JobKind.LISTENS)
    return vm.vm_id if vm else None


@pytest.mark.parametrize(
    ("vms", "chosen"),
    [
        ({}, None),
        ({"a": "b", "c": ""}, None),
        ({"a": "bi", "c": "i"}, "c"),
        ({"a": "i", "c": "i"}, "a"),  # equally loaded: who came first
        ({"a": "ri", "c": "i"}, "c"),  # a reserved worker is a bot to come
        ({"a": "bbi", "c": "bi", "d": "bbbw"}, "c"),
    ],
)
def test_the_next_bot_goes_where_the_fewest_are(vms: dict[str, str], chosen: str | None) -> None:
    fleet = Fleet(SETTINGS)
    for vm_id, workers in vms.items():
        add_vm(fleet, vm_id, workers)
    assert next_vm(fleet) == chosen


def test_a_vm_that_takes_no_work_is_not_chosen() -> None:
    fleet = Fleet(SETTINGS)
    vm = add_vm(fleet, "a", "iw", room=5)
    assert fleet.everywhere.others.warming == 1
    vm.draining = True
    fleet.mark(vm)
    fleet.refresh(0.0)
    assert next_vm(fleet) is None
    assert fleet.everywhere.others.vm_to_warm_on([JobKind.LISTENS]) is None
    assert fleet.everywhere.others.warming == 0


def test_warm_ups_go_round() -> None:
    fleet = Fleet(SETTINGS)
    vms = [add_vm(fleet, vm_id, room=9) for vm_id in "abc"]
    asked: list[str] = []
    for _ in vms:
        vm = fleet.everywhere.others.vm_to_warm_on([JobKind.LISTENS])
        assert vm
        asked.append(vm.vm_id)
        fleet.mark(vm)
        fleet.refresh(0.0)
    assert asked == ["a", "b", "c"]


def test_a_vm_that_was_dropped_leaves_nothing() -> None:
    fleet = Fleet(SETTINGS)
    vm = add_vm(fleet, "a", "ibw", room=9)
    fleet.drop_vm(vm)
    assert list(fleet) == []
    assert next_vm(fleet) is None
    assert fleet.everywhere.others.vm_to_warm_on([JobKind.LISTENS]) is None
    assert not any(fleet.workers.values())
    assert fleet.everywhere.others.warming == 0
    assert fleet.worker("a", "a-0") is None


def test_a_worker_that_became_idle_last_is_the_newest() -> None:
    fleet = Fleet(SETTINGS)
    vm = add_vm(fleet, "a", "ii")
    fleet.change_worker(vm, vm.workers["a-0"], WorkerState.RESERVED, 5.0, "bot")
    assert vm.workers["a-0"].bot_id == "bot"
    fleet.change_worker(vm, vm.workers["a-0"], WorkerState.IDLE, 6.0)
    assert list(vm.idle) == ["a-1", "a-0"]
    assert vm.workers["a-0"].bot_id == ""


_CHANGE = st.tuples(st.integers(0, 3), st.sampled_from(["add", "change", "drop", "drain", "room"]), st.integers(0, 20))


@given(st.lists(_CHANGE, max_size=40))
def test_the_indexes_are_what_a_search_would_find(changes: list[tuple[int, str, int]]) -> None:
    fleet = Fleet(SETTINGS)
    vms = [add_vm(fleet, f"vm{n}") for n in range(4)]
    states = list(WorkerState)
    for at, (n, change, k) in enumerate(changes):
        vm = vms[n]
        workers = list(vm.workers.values())
        if change == "add":
            fleet.add_worker(vm, Worker(f"{n}-{at}", vm.vm_id, states[k % 5], 0.0, 0.0))
        elif change == "change" and workers:
            fleet.change_worker(vm, workers[k % len(workers)], states[k % 5], float(at))
        elif change == "drop" and workers:
            fleet.drop_worker(vm, workers[k % len(workers)])
        elif change == "drain":
            vm.draining = not vm.draining
        elif change == "room":
            vm.room = k % 3
        fleet.mark(vm)
        fleet.refresh(0.0)

        claimable = [vm for vm in fleet if vm.takes_work and vm.idle]
        chosen = fleet.everywhere.others.vm_for(JobKind.LISTENS)
        assert (chosen in claimable) if claimable else chosen is None
        assert chosen is None or chosen.bots == min(vm.bots for vm in claimable)
        warmable = [vm for vm in fleet if can_warm(vm, SETTINGS, 0.0)]
        to_warm = fleet.everywhere.others.vm_to_warm_on([JobKind.LISTENS])
        assert (to_warm in warmable) if warmable else to_warm is None
        assert fleet.everywhere.others.warming == sum(counted(vm, WorkerState.WARMING) for vm in fleet if vm.takes_work)
        for vm in fleet:
            assert vm.warming == counted(vm, WorkerState.WARMING)
            assert vm.bots == counted(vm, WorkerState.BUSY, WorkerState.RESERVED)
        for state in WorkerState:
            assert fleet.workers[state] == sum(counted(vm, state) for vm in fleet)


def test_a_vm_that_has_changed_and_is_dropped_comes_back_into_no_place() -> None:
    fleet = Fleet(PoolSettings())
    vm = add_vm(fleet, "a", "i")
    fleet.mark(vm)
    fleet.drop_vm(vm)
    fleet.refresh(0.0)
    assert not fleet.everywhere.others.takes_work
