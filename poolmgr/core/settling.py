"""Runs after every event: serves waiting bots, and brings every changed VM to its target.

policy.py says what to serve, warm and trim; this file carries it out. A new choice of that kind is a function there and
a line here.
"""

from poolmgr.core import bots, policy, reservations, workers
from poolmgr.core.decisions import Why
from poolmgr.core.fleet import Fleet
from poolmgr.core.load import JobKind
from poolmgr.core.model import Bot, Vm
from poolmgr.core.queue import BotQueue
from poolmgr.core.state import PoolState


def settle(pool: PoolState) -> None:
    queue, to_reserve, fleet = pool.queue, pool.to_reserve, pool.fleet
    while served := next_served(pool, queue):
        bot, vm = served
        queue.leave(bot.bot_id)
        bots.assign(pool, bot, vm, policy.pick_worker(vm))
    while served := next_served(pool, to_reserve):
        bot, vm = served
        to_reserve.leave(bot.bot_id)
        reservations.reserve(pool, bot, vm, policy.pick_worker(vm))
    while pool.changed:
        _, vm = pool.changed.popitem()
        _balance(pool, vm)
    wait = len(queue) + len(to_reserve)
    if wait > fleet.warming_in_service:
        kinds = [kind for kind in JobKind if queue.waiting[kind] or to_reserve.waiting[kind]]
        while wait > fleet.warming_in_service and (vm := fleet.vm_to_warm_on(kinds)):
            workers.warm(pool, vm, Why.JOBS_WAIT)
    pool.changed.clear()


def held_bots(waiting: BotQueue, fleet: Fleet) -> int:
    """How many bots wait although workers are idle, because no VM with an idle worker bears them."""
    if not fleet.has_idle:
        return 0
    return sum(number for kind, number in waiting.waiting.items() if number and not fleet.vm_for(kind))


def next_served(pool: PoolState, waiting: BotQueue) -> tuple[Bot, Vm] | None:
    """The first bot for which there is an idle worker on a VM that bears it, and that VM. None: nobody is served."""
    held: Bot | None = None
    for bot in waiting.first():
        if held and not policy.may_pass(bot, held):
            return None
        if vm := pool.fleet.vm_for(bot.kind):
            return bot, vm
        held = held or bot
    return None


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
