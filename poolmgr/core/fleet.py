"""The VMs, with indexes for two questions: which VM takes the next bot, and which VM can warm one more worker.

The indexes answer without looking at the whole fleet, so the cost of an event does not grow with the fleet.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from common.config.settings import PoolSettings
from common.wire.vocabulary import WorkerState
from poolmgr.core.load import JobKind, cost
from poolmgr.core.model import Vm, Worker
from poolmgr.core.policy import bears, can_warm

_WITH_BOT: Final = frozenset({WorkerState.BUSY, WorkerState.RESERVED})


class Fleet:
    """All VMs by id. Call `index` after any change to a VM."""

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self.vms: dict[str, Vm] = {}
        self.workers: Counter[WorkerState] = Counter()
        self.carried: Counter[JobKind] = Counter()
        # For each kind of job, the VMs with an idle worker that bear one more, by the number of their bots; a dict
        # keeps the order in which they came.
        self._claimable: dict[JobKind, dict[int, dict[str, Vm]]] = {kind: {} for kind in JobKind}
        self._claimable_at: dict[str, int] = {}
        self._can_warm: dict[JobKind, dict[str, Vm]] = {kind: {} for kind in JobKind}
        self._warming_at: dict[str, int] = {}
        self.warming_in_service = 0
        """The workers that warm up on VMs that take work: waiting bots may get them."""

    def __iter__(self) -> Iterator[Vm]:
        return iter(self.vms.values())

    def get(self, vm_id: str) -> Vm | None:
        return self.vms.get(vm_id)

    def worker(self, vm_id: str, worker_id: str) -> Worker | None:
        vm = self.vms.get(vm_id)
        return vm.workers.get(worker_id) if vm else None

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

    def drop_worker(self, vm: Vm, worker: Worker) -> None:
        self._count(vm, worker, -1)
        del vm.workers[worker.worker_id]
        vm.idle.pop(worker.worker_id, None)

    def drop_vm(self, vm: Vm) -> None:
        for worker in list(vm.workers.values()):
            self.drop_worker(vm, worker)
        self.vms.pop(vm.vm_id, None)
        self._unindex(vm)

    def index(self, vm: Vm, now: float) -> None:
        """Update the indexes for this VM."""
        self._unindex(vm)
        if not vm.takes_work:
            return
        self._warming_at[vm.vm_id] = vm.warming
        self.warming_in_service += vm.warming
        is_claimable, is_warmable = vm.idle and vm.takes_bots, can_warm(vm, self.settings, now)
        if not (is_claimable or is_warmable):
            return
        bots, on_their_way = vm.bots, len(vm.idle) + vm.warming
        if is_claimable:
            self._claimable_at[vm.vm_id] = bots
        for kind, claimable in self._claimable.items():
            borne = bears(vm, kind, self.settings)
            if is_claimable and borne:
                claimable.setdefault(bots, {})[vm.vm_id] = vm
            if is_warmable and borne > on_their_way:
                self._can_warm[kind][vm.vm_id] = vm

    def vm_for(self, kind: JobKind) -> Vm | None:
        """Of the VMs with an idle worker that bear one more bot of that kind, one with the fewest bots: this spreads
        the load.
        """
        claimable = self._claimable[kind]
        return next(iter(claimable[min(claimable)].values())) if claimable else None

    @property
    def has_idle(self) -> bool:
        """Whether there is an idle worker on a VM that takes bots, whatever load that VM can bear."""
        return bool(self._claimable_at)

    def vm_to_warm_on(self, kinds: Iterable[JobKind]) -> Vm | None:
        """A VM that may start one more warm-up now, and would bear a bot of one of these kinds with it; None: there is
        none.
        """
        return next((vm for kind in kinds for vm in self._can_warm[kind].values()), None)

    def _count(self, vm: Vm, worker: Worker, number: int) -> None:
        """Count the worker by its state, and its bot by its kind; or (-1) count it no longer."""
        self.workers[worker.state] += number
        if worker.state is WorkerState.WARMING:
            vm.warming += number
        elif worker.state in _WITH_BOT:
            self.carried[worker.kind] += number
            vm.carried[worker.kind] += number
            if vm.free_mb is not None:
                vm.free_mb -= number * cost(worker.kind, self.settings).memory_mb

    def _unindex(self, vm: Vm) -> None:
        for warmable in self._can_warm.values():
            warmable.pop(vm.vm_id, None)
        self.warming_in_service -= self._warming_at.pop(vm.vm_id, 0)
        bots = self._claimable_at.pop(vm.vm_id, None)
        if bots is not None:
            for claimable in self._claimable.values():
                of_that_many = claimable.get(bots, {})
                of_that_many.pop(vm.vm_id, None)
                if not of_that_many:
                    claimable.pop(bots, None)
