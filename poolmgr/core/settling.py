"""Runs after every event: serves waiting bots, and brings every changed VM to its target.

policy.py says what to serve, warm and trim; this file carries it out. A new choice of that kind is a function there and
a line here.
"""

from poolmgr.core import bots, policy, reservations, workers
from poolmgr.core.decisions import Why
from poolmgr.core.model import Vm
from poolmgr.core.state import PoolState


def settle(pool: PoolState) -> None:
    queue, to_reserve, fleet = pool.queue, pool.to_reserve, pool.fleet
    while len(queue) and (vm := fleet.vm_for_next_bot()):
        bots.assign(pool, queue.take(), vm, policy.pick_worker(vm))
    while to_reserve and (vm := fleet.vm_for_next_bot()):
        bot = to_reserve.pop(next(iter(to_reserve)))
        reservations.reserve(pool, bot, vm, policy.pick_worker(vm))
    while pool.changed:
        _, vm = pool.changed.popitem()
        _balance(pool, vm)
    while len(queue) + len(to_reserve) > fleet.warming_in_service and (vm := fleet.vm_to_warm_on()):
        workers.warm(pool, vm, Why.JOBS_WAIT)
    pool.changed.clear()


def _balance(pool: PoolState, vm: Vm) -> None:
    if vm.draining and not vm.lost:
        for worker in [w for w in vm.workers.values() if w.state in workers.NOT_YET_USED]:
            workers.retire(pool, vm, worker, Why.VM_DRAINS)
        return
    settings = pool.settings
    while policy.shortfall(vm, settings) > 0 and policy.can_warm(vm, settings, pool.now):
        workers.warm(pool, vm, Why.BELOW_MIN_IDLE)
    if not vm.takes_work:
        return
    for worker in list(policy.to_trim(vm, settings, pool.now)):
        workers.retire(pool, vm, worker, Why.TOO_OLD if worker.aged else Why.IDLE_TTL)
    if worker := policy.recycled_first(vm, settings):
        workers.retire(pool, vm, worker, Why.TOO_OLD)
