"""The VMs, by their labels: whoever waits for what a job requires asks its place, which answers without a search.

So the cost of an event does not grow with the fleet.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from common.config.settings import PoolSettings
from common.wire.vocabulary import WorkerState
from poolmgr.core.load import JobKind, cost
from poolmgr.core.model import NO_LABELS, Labels, Vm, Worker
from poolmgr.core.placement import Place

_WITH_BOT: Final = frozenset({WorkerState.BUSY, WorkerState.RESERVED})
PLACES_KEPT: Final = 100
"""So many places stay although nobody waits for them: the next job that requires the same finds its place made."""


class Fleet:
    """All VMs by id. Call `mark` after any change to a VM, and `refresh` before the places are asked."""

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self.vms: dict[str, Vm] = {}
        self.workers: Counter[WorkerState] = Counter()
        self.displays: Counter[WorkerState] = Counter()
        """Those of the workers that have a display."""
        self.carried: Counter[JobKind] = Counter()
        self.everywhere = Place(NO_LABELS, settings)
        self.places: dict[Labels, Place] = {NO_LABELS: self.everywhere}
        self.occupied: dict[Labels, Place] = {NO_LABELS: self.everywhere}
        """The places that have a VM, and the whole fleet. To be read only."""
        self._having: dict[tuple[str, str], dict[str, Vm]] = {}  # by label
        self._nowhere_else = (self.everywhere,)
        self._places_of: dict[str, tuple[Place, ...]] = {}  # of VMs that have more than one
        self._most_places = PLACES_KEPT
        self._marked: dict[str, Vm] = {}

    def __iter__(self) -> Iterator[Vm]:
        return iter(self.vms.values())

    def get(self, vm_id: str) -> Vm | None:
        return self.vms.get(vm_id)

    def worker(self, vm_id: str, worker_id: str) -> Worker | None:
        vm = self.vms.get(vm_id)
        return vm.workers.get(worker_id) if vm else None

    def add_vm(self, vm: Vm) -> None:
        """The VM comes with its labels."""
        self.vms[vm.vm_id] = self.everywhere.vms[vm.vm_id] = vm
        self._place(vm)

    def relabel(self, vm: Vm, labels: Labels, *, canary: bool) -> None:
        """The VM has other labels now, or is a canary now, or no more. The caller touches it."""
        self._unplace(vm)
        self.everywhere.unindex(vm)
        vm.labels, vm.canary = labels, canary
        self._place(vm)

    def drop_vm(self, vm: Vm) -> None:
        for worker in list(vm.workers.values()):
            self.drop_worker(vm, worker)
        self._unplace(vm)
        self.everywhere.unindex(vm)
        self._marked.pop(vm.vm_id, None)
        del self.vms[vm.vm_id], self.everywhere.vms[vm.vm_id]

    def add_worker(self, vm: Vm, worker: Worker) -> None:
        vm.workers[worker.worker_id] = worker
        if worker.state is WorkerState.IDLE:
            vm.idle[worker.worker_id] = worker
        self._count(vm, worker, 1)

    def change_worker(
        self,
        vm: Vm,
        worker: Worker,
        state: WorkerState,
        now: float,
        bot_id: str = "",
        kind: JobKind = JobKind.LISTENS,
    ) -> None:
        """`kind`: of the bot."""
        self._count(vm, worker, -1)
        vm.idle.pop(worker.worker_id, None)
        worker.served = bot_id or worker.bot_id or worker.served
        worker.state, worker.since, worker.bot_id, worker.kind = state, now, bot_id, kind
        if state is WorkerState.IDLE:
            vm.idle[worker.worker_id] = worker
        self._count(vm, worker, 1)

    def set_display(self, vm: Vm, worker: Worker, *, display: bool) -> None:
        self._count(vm, worker, -1)
        worker.display = display
        self._count(vm, worker, 1)

    def drop_worker(self, vm: Vm, worker: Worker) -> None:
        self._count(vm, worker, -1)
        del vm.workers[worker.worker_id]
        vm.idle.pop(worker.worker_id, None)

    def mark(self, vm: Vm) -> None:
        """The VM has changed. An event changes it several times, and its places learn of that once."""
        self._marked[vm.vm_id] = vm

    def refresh(self, now: float) -> None:
        """Update the indexes of the places of all VMs that have changed."""
        for vm in self._marked.values():
            for place in self._places_of.get(vm.vm_id, self._nowhere_else):
                (place.canaries if vm.canary else place.others).index(vm, now)
        self._marked.clear()

    def has(self, labels: Labels) -> bool:
        """Whether a VM that is not lost has all of the labels, whatever it does now."""
        with_each = [self._having.get(label, {}) for label in labels]
        having = min(with_each, key=len) if with_each else self.vms
        return any(not vm.lost and labels <= vm.labels for vm in having.values())

    def make_place(self, labels: Labels, now: float, is_needed: Callable[[Labels], bool]) -> None:
        """Follow from now on which VMs have all of the labels. Idempotent. `is_needed`: whether somebody waits for a
        place; if there are too many, those for which nobody does are dropped.
        """
        if labels in self.places:
            return
        if len(self.places) > self._most_places:
            self._drop_places(is_needed)
        place = self.places[labels] = Place(labels, self.settings)
        with_each = [self._having.get(label, {}) for label in labels]
        for vm in [vm for vm in min(with_each, key=len).values() if labels <= vm.labels]:
            place.vms[vm.vm_id] = vm
            self._places_of[vm.vm_id] = (*self._places_of.get(vm.vm_id, self._nowhere_else), place)
            place.index(vm, now)
        if place.vms:
            self.occupied[labels] = place

    def _drop_places(self, is_needed: Callable[[Labels], bool]) -> None:
        for labels in [labels for labels in self.places if labels and not is_needed(labels)]:
            dropped = self.places.pop(labels)
            self.occupied.pop(labels, None)
            for vm_id in dropped.vms:
                self._places_of[vm_id] = tuple(place for place in self._places_of[vm_id] if place is not dropped)
        self._most_places = max(PLACES_KEPT, 2 * len(self.places))

    def _place(self, vm: Vm) -> None:
        for label in vm.labels:
            self._having.setdefault(label, {})[vm.vm_id] = vm
        places = [place for labels, place in self.places.items() if labels and labels <= vm.labels]
        for place in places:
            place.vms[vm.vm_id] = vm
            self.occupied[place.labels] = place
        if places:
            self._places_of[vm.vm_id] = (self.everywhere, *places)

    def _unplace(self, vm: Vm) -> None:
        for label in vm.labels:
            having = self._having[label]
            del having[vm.vm_id]
            if not having:
                del self._having[label]
        for place in self._places_of.pop(vm.vm_id, self._nowhere_else)[1:]:
            place.unindex(vm)
            del place.vms[vm.vm_id]
            if not place.vms:
                del self.occupied[place.labels]

    def _count(self, vm: Vm, worker: Worker, number: int) -> None:
        """Count the worker by its state, and its bot by its kind; or (-1) count it no longer."""
        self.workers[worker.state] += number
        if worker.display:
            self._count_display(vm, worker.state, number)
        if worker.state is WorkerState.WARMING:
            vm.warming += number
        elif worker.state in _WITH_BOT:
            self.carried[worker.kind] += number
            vm.carried[worker.kind] += number
            if vm.free_mb is not None:
                vm.free_mb -= number * cost(worker.kind, self.settings).memory_mb

    def _count_display(self, vm: Vm, state: WorkerState, number: int) -> None:
        self.displays[state] += number
        if state is WorkerState.WARMING:
            vm.warming_displays += number
        elif state is WorkerState.IDLE:
            vm.idle_displays += number
