"""The life of a worker: ordered, warm, retired, gone; and its deadlines. Other files choose the worker for a bot.

This file knows only the id of a worker's bot: attempts.py says what the loss of a worker means for the bot.
"""

from common.wire.messages import WorkerWarm
from common.wire.vocabulary import GoneCause, WorkerState
from poolmgr.core import backoff, policy
from poolmgr.core.decisions import ForgetWorker, KeepWorker, Retire, Warm, Why
from poolmgr.core.model import Vm, Worker
from poolmgr.core.state import PoolState
from poolmgr.core.timers import Timer, WorkerOf

_FAILURES = frozenset(
    {GoneCause.WARMUP_FAILED, GoneCause.LOW_MEMORY, GoneCause.CRASHED, GoneCause.UNRESPONSIVE},
)
NOT_YET_USED = frozenset({WorkerState.WARMING, WorkerState.IDLE, WorkerState.RESERVED})


def warm(pool: PoolState, vm: Vm, why: Why, *, display: bool = False) -> None:
    pool.ordered += 1
    vm.room -= 1
    vm.display_room -= 1
    # Counted over all VMs: a VM that was forgotten and comes back with its workers must not get an old name again.
    worker_id = f"{vm.vm_id}-{pool.epoch}-{pool.ordered}"
    add(pool, vm, Worker(worker_id, vm.vm_id, WorkerState.WARMING, pool.now, pool.now, display=display))
    pool.fleet.mark(vm)
    pool.decided.append(Warm(vm.vm_id, worker_id, pool.now, why, display))


def retire(pool: PoolState, vm: Vm, worker: Worker, why: Why) -> None:
    """Order the worker to end; by force after ORDERS_BEFORE_FORCE orders."""
    by_force = worker.asked >= policy.ORDERS_BEFORE_FORCE
    worker.asked += 1
    pool.fleet.change_worker(vm, worker, WorkerState.RETIRING, pool.now)
    _set_timers(pool, worker)
    pool.fleet.mark(vm)
    served = worker.served if by_force else ""
    pool.decided.append(Retire(vm.vm_id, worker.worker_id, pool.now, why, by_force, served))


def make_idle(pool: PoolState, vm: Vm, worker: Worker) -> None:
    pool.fleet.change_worker(vm, worker, WorkerState.IDLE, pool.now)
    _set_timers(pool, worker)
    keep(pool, worker)
    pool.touch(vm)


def add(pool: PoolState, vm: Vm, worker: Worker) -> None:
    """Add the worker to the pool."""
    pool.fleet.add_worker(vm, worker)
    _set_timers(pool, worker)


def keep(pool: PoolState, worker: Worker) -> None:
    state, times, bot = worker.state, (worker.since, worker.born), (worker.bot_id, worker.kind)
    pool.decided.append(KeepWorker(worker.vm_id, worker.worker_id, state, *times, *bot, worker.display))


def drop(pool: PoolState, vm: Vm, worker: Worker, cause: GoneCause) -> None:
    """Remove the worker from the pool. If it had no bot yet, that may count as a failure of its VM."""
    if cause in _FAILURES and worker.state in NOT_YET_USED:
        backoff.count_failure(pool, vm)
    pool.fleet.drop_worker(vm, worker)
    pool.touch(vm)
    pool.decided.append(ForgetWorker(vm.vm_id, worker.worker_id, cause))


def on_worker_warm(pool: PoolState, event: WorkerWarm) -> None:
    vm = pool.fleet.get(event.vm_id)
    worker = pool.fleet.worker(event.vm_id, event.worker_id)
    if vm and worker and worker.state is WorkerState.WARMING:
        worker.born = pool.now
        make_idle(pool, vm, worker)


# Deadlines


def _set_timers(pool: PoolState, worker: Worker) -> None:
    settings = pool.settings
    whose = WorkerOf(worker.vm_id, worker.worker_id)
    if worker.state is WorkerState.WARMING:
        pool.timers.set(pool.now + settings.warmup_timeout_s, Timer.WARMUP, whose)
    elif worker.state is WorkerState.RETIRING:
        pool.timers.set(pool.now + settings.warmup_timeout_s, Timer.RETIRE, whose)
    elif worker.state is WorkerState.IDLE:
        pool.timers.set(worker.since + settings.idle_ttl_s, Timer.IDLE_TTL, worker.vm_id)
        pool.timers.set(worker.born + settings.max_age_s, Timer.MAX_AGE, whose)


def _find(pool: PoolState, whose: WorkerOf, state: WorkerState, within_s: float = 0.0) -> tuple[Vm, Worker] | None:
    """The worker of a timer, if it is in `state`, and has been for `within_s`. A worker that was given up and reported
    again by its agent is new in its state: the timer of its earlier life does not count.
    """
    vm, worker = pool.fleet.get(whose.vm_id), pool.fleet.worker(*whose)
    is_due = worker is not None and worker.state is state and pool.now >= worker.since + within_s
    return (vm, worker) if vm and worker and is_due else None


def warmup_overdue(pool: PoolState, whose: WorkerOf) -> None:
    if found := _find(pool, whose, WorkerState.WARMING, pool.settings.warmup_timeout_s):
        vm, worker = found
        backoff.count_failure(pool, vm)
        retire(pool, vm, worker, Why.WARMUP_OVERDUE)
        pool.touch(vm)


def retire_overdue(pool: PoolState, whose: WorkerOf) -> None:
    if found := _find(pool, whose, WorkerState.RETIRING, pool.settings.warmup_timeout_s):
        vm, worker = found
        if not vm.silent:
            retire(pool, vm, worker, Why.RETIRE_OVERDUE)
        else:
            _set_timers(pool, worker)


def idle_ttl_over(pool: PoolState, vm_id: str) -> None:
    """The worker's idle TTL is over. Settling retires it if it is surplus."""
    if vm := pool.fleet.get(vm_id):
        pool.touch(vm)


def max_age_reached(pool: PoolState, whose: WorkerOf) -> None:
    found = _find(pool, whose, WorkerState.IDLE)
    if found and pool.now >= found[1].born + pool.settings.max_age_s:
        vm, worker = found
        worker.aged = True
        pool.touch(vm)
