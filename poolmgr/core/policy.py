"""The choices, one function each: how many to warm, whom to trim, who is to do the next job. To change one, change it
here and its table in tests/core/test_policy.py; pool.py only carries it out.
"""

from collections.abc import Iterator

from poolmgr.core.model import Vm, Worker
from wire.settings import PoolSettings
from wire.vocabulary import WorkerState


def can_warm(vm: Vm, settings: PoolSettings, now: float) -> bool:
    """True if one more warm-up keeps every limit: VM size, warm-ups at once, memory reserve, backoff."""
    return (
        vm.takes_work
        and now >= vm.backoff_until
        and len(vm.workers) < settings.max_workers
        and vm.count(WorkerState.WARMING) < settings.warmups_at_once
        and vm.room > 0
    )


def shortfall(vm: Vm, settings: PoolSettings) -> int:
    """How many workers the VM lacks of its min_idle. Those too old count as absent: their replacement comes first."""
    young = sum(not worker.aged for worker in vm.idle.values())
    return settings.min_idle - young - vm.count(WorkerState.WARMING)


def surplus(vm: Vm, settings: PoolSettings) -> int:
    """How many idle workers stand above min_idle."""
    return len(vm.idle) - settings.min_idle


def to_trim(vm: Vm, settings: PoolSettings, now: float) -> Iterator[Worker]:
    """The surplus workers that have to go now, oldest first: those too old, then those idle past their TTL."""
    left = surplus(vm, settings)
    candidates = list(vm.idle.values())
    for worker in [w for w in candidates if w.aged] + [w for w in candidates if not w.aged]:
        if left <= 0:
            return
        if worker.aged or now >= worker.since + settings.idle_ttl_s:
            left -= 1
            yield worker


def recycled_first(vm: Vm, settings: PoolSettings) -> Worker | None:
    """The old worker to end before its replacement starts: only when the VM is so full of idle workers that no
    replacement would ever fit beside them.
    """
    full_of_idle = len(vm.idle) == len(vm.workers) == settings.max_workers
    return next((worker for worker in vm.idle.values() if worker.aged), None) if full_of_idle else None


def pick_worker(vm: Vm) -> Worker:
    """The newest idle worker, so that the surplus ages at the other end. `vm` has one."""
    return next(reversed(vm.idle.values()))


def backoff_s(failures: int, settings: PoolSettings) -> float:
    """How long a VM waits after its `failures`-th failed warm-up in a row."""
    return min(settings.backoff_s * 2 ** min(failures - 1, 32), settings.backoff_max_s)
