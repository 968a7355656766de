"""Runs after every event: serves waiting bots, and brings every changed VM to its target.

policy.py says what to serve, warm and trim; this file carries it out. A new choice of that kind is a function there and
a line here.
"""

from poolmgr.core import bots, canaries, policy, reservations, workers
from poolmgr.core.decisions import Why
from poolmgr.core.fleet import Fleet
from poolmgr.core.load import JobKind
from poolmgr.core.model import NO_LABELS, Bot, Labels, Vm
from poolmgr.core.queue import BotQueue
from poolmgr.core.state import PoolState


def settle(pool: PoolState) -> None:
    queue, to_reserve = pool.queue, pool.to_reserve
    while served := next_served(pool, queue):
        bot, vm = served
        queue.leave(bot.bot_id)
        canaries.given(pool, vm)
        bots.assign(pool, bot, vm, policy.pick_worker(vm))
    while served := next_served(pool, to_reserve):
        bot, vm = served
        to_reserve.leave(bot.bot_id)
        canaries.given(pool, vm)
        reservations.reserve(pool, bot, vm, policy.pick_worker(vm))
    while pool.changed:
        _, vm = pool.changed.popitem()
        _balance(pool, vm)
    if queue or to_reserve:
        _warm_for_who_waits(pool)
    pool.changed.clear()


def held_bots(waiting: BotQueue, fleet: Fleet) -> int:
    """How many wait although workers stand idle on VMs that have what they require, because none of those bears
    them.
    """
    places = [place for labels in waiting.required if (place := fleet.occupied.get(labels)) and place.serving.has_idle]
    return sum(
        number
        for place in places
        for kind, number in waiting.waiting(place.labels).items()
        if number and not place.serving.vm_for(kind)
    )


def unplaceable_bots(waiting: BotQueue, fleet: Fleet) -> int:
    """How many wait that no VM of the fleet can serve, because none has all that they require."""
    return sum(sum(waiting.waiting(labels).values()) for labels in waiting.required if not fleet.has(labels))


def next_served(pool: PoolState, waiting: BotQueue) -> tuple[Bot, Vm] | None:
    """The first bot for which there is an idle worker on a VM that has what it requires and bears it, and that VM.
    None: nobody is served.

    Those whose place has no VM are not asked: only those that require as much would have to wait for them.
    """
    if not waiting:
        return None
    held: list[Bot] = []
    is_canarys = canaries.is_their_turn(pool)
    occupied = pool.fleet.occupied
    for bot in waiting.first(occupied):
        if any(not policy.may_pass(bot, before) for before in held):
            continue
        if vm := occupied[bot.requires].vm_for(bot.kind, is_canarys=is_canarys):
            return bot, vm
        held.append(bot)
    return None


def _warm_for_who_waits(pool: PoolState) -> None:
    """Have as many workers on their way as there are bots that wait: first where the VM has to have labels, then
    anywhere for the rest. A bot that no VM can serve asks for none.
    """
    queue, to_reserve, fleet = pool.queue, pool.to_reserve, pool.fleet
    spoken_for = 0
    for place in list(fleet.occupied.values())[1:]:
        wait, kinds = _who_wait(queue, to_reserve, place.labels)
        serving = place.serving
        while wait > serving.warming and (vm := serving.vm_to_warm_on(kinds)):
            workers.warm(pool, vm, Why.JOBS_WAIT)
        spoken_for += min(wait, serving.warming)
    wait, kinds = _who_wait(queue, to_reserve, NO_LABELS)
    serving = fleet.everywhere.serving
    while wait > serving.warming - spoken_for and (vm := serving.vm_to_warm_on(kinds)):
        workers.warm(pool, vm, Why.JOBS_WAIT)


def _who_wait(queue: BotQueue, to_reserve: BotQueue, labels: Labels) -> tuple[int, list[JobKind]]:
    """How many wait that require just that, and of which kinds they are."""
    lines = (queue.waiting(labels), to_reserve.waiting(labels))
    kinds = [kind for kind in JobKind if any(line.get(kind) for line in lines)]
    return sum(sum(line.values()) for line in lines), kinds


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
