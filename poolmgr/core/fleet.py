"""The VMs, with indexes for two questions: which VM takes the next bot, and which VM can warm one more worker.

The indexes answer without looking at the whole fleet, so the cost of an event does not grow with the fleet.
"""

from collections import Counter
from collections.abc import Iterator

from common.config.settings import PoolSettings
from common.wire.vocabulary import WorkerState
from poolmgr.core.model import Vm, Worker
from poolmgr.core.policy import can_warm


class Fleet:
    """All VMs by id. Call `index` after any change to a VM."""

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self.vms: dict[str, Vm] = {}
        self.workers: Counter[WorkerState] = Counter()
        # VMs with an idle worker, by the number of their bots; a dict keeps the order in which they came.
        self._claimable: dict[int, dict[str, Vm]] = {}
        self._claimable_at: dict[str, int] = {}
        self._can_warm: dict[str, Vm] = {}
        self._warming_at: dict[str, int] = {}
        self.warming_in_service = 0
        """Workers on their way on VMs that take work: those that whoever waits may count on."""

    def __iter__(self) -> Iterator[Vm]:
        return iter(self.vms.values())

    def get(self, vm_id: str) -> Vm | None:
        return self.vms.get(vm_id)

    def worker(self, vm_id: str, worker_id: str) -> Worker | None:
        vm = self.vms.get(vm_id)
        return vm.workers.get(worker_id) if vm else None

    def add_worker(self, vm: Vm, worker: Worker) -> None:
        vm.workers[worker.worker_id] = worker
        self.workers[worker.state] += 1
        if worker.state is WorkerState.IDLE:
            vm.idle[worker.worker_id] = worker

    def change_worker(self, vm: Vm, worker: Worker, state: WorkerState, now: float, bot_id: str = "") -> None:
        self.workers[worker.state] -= 1
        self.workers[state] += 1
        vm.idle.pop(worker.worker_id, None)
        worker.served = bot_id or worker.bot_id or worker.served
        worker.state, worker.since, worker.bot_id = state, now, bot_id
        if state is WorkerState.IDLE:
            vm.idle[worker.worker_id] = worker

    def drop_worker(self, vm: Vm, worker: Worker) -> None:
        del vm.workers[worker.worker_id]
        vm.idle.pop(worker.worker_id, None)
        self.workers[worker.state] -= 1

    def drop_vm(self, vm: Vm) -> None:
        for worker in list(vm.workers.values()):
            self.drop_worker(vm, worker)
        self.vms.pop(vm.vm_id, None)
        self._unindex(vm)

    def index(self, vm: Vm, now: float) -> None:
        """Update the indexes for this VM."""
        self._unindex(vm)
        if vm.takes_bots and vm.idle:
            bots = vm.bots
            self._claimable.setdefault(bots, {})[vm.vm_id] = vm
            self._claimable_at[vm.vm_id] = bots
        if vm.takes_work:
            self._warming_at[vm.vm_id] = vm.count(WorkerState.WARMING)
            self.warming_in_service += self._warming_at[vm.vm_id]
        if can_warm(vm, self.settings, now):
            self._can_warm[vm.vm_id] = vm

    def vm_for_next_bot(self) -> Vm | None:
        """Of the VMs with an idle worker, one with the fewest bots: this spreads the load."""
        return next(iter(self._claimable[min(self._claimable)].values())) if self._claimable else None

    def vm_to_warm_on(self) -> Vm | None:
        """A VM that may start one more warm-up now; None: there is none."""
        return next(iter(self._can_warm.values()), None)

    def _unindex(self, vm: Vm) -> None:
        self._can_warm.pop(vm.vm_id, None)
        self.warming_in_service -= self._warming_at.pop(vm.vm_id, 0)
        bots = self._claimable_at.pop(vm.vm_id, None)
        if bots is not None:
            del self._claimable[bots][vm.vm_id]
            if not self._claimable[bots]:
                del self._claimable[bots]
