"""Runs after every event: serves waiting bots, and brings every changed VM to its target.

policy.py says what to serve, warm and trim; this file carries it out. A new choice of that kind is a function there and
a line here.
"""

from typing import NamedTuple

from poolmgr.core import bots, canaries, policy, reservations, workers
from poolmgr.core.decisions import Why
from poolmgr.core.fleet import Fleet
from poolmgr.core.load import JobKind, wants_display
from poolmgr.core.model import NO_LABELS, Bot, Labels, Vm
from poolmgr.core.placement import Side
from poolmgr.core.queue import BotQueue
from poolmgr.core.state import PoolState


def settle(pool: PoolState) -> None:
    queue, to_reserve = pool.queue, pool.to_reserve
    while served := next_served(pool, queue):
        bot, vm = served
        queue.leave(bot.bot_id)
        canaries.given(pool, vm)
        bots.assign(pool, bot, vm, policy.pick_worker(vm, bot.kind))
    while served := next_served(pool, to_reserve, have_time=True):
        bot, vm = served
        to_reserve.leave(bot.bot_id)
        canaries.given(pool, vm)
        reservations.reserve(pool, bot, vm, policy.pick_worker(vm, bot.kind))
    while pool.changed:
        _, vm = pool.changed.popitem()
        _balance(pool, vm)
    pool.fleet.refresh(pool.now)
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


def next_served(pool: PoolState, waiting: BotQueue, *, have_time: bool = False) -> tuple[Bot, Vm] | None:
    """The first bot for which there is an idle worker on a VM that has what it requires and bears it, and that VM.
    None: nobody is served. `have_time`: they are scheduled, so they rather wait for a worker of the kind for them.

    Those whose place has no VM are not asked: only those that require as much would have to wait for them.
    """
    if not waiting:
        return None
    pool.fleet.refresh(pool.now)
    held: list[Bot] = []
    is_canarys = canaries.is_their_turn(pool)
    occupied = pool.fleet.occupied
    for bot in waiting.first(occupied):
        if any(not policy.may_pass(bot, before) for before in held):
            continue
        if vm := occupied[bot.requires].vm_for(bot.kind, is_canarys=is_canarys, has_time=have_time):
            return bot, vm
        held.append(bot)
    return None


def _warm_for_who_waits(pool: PoolState) -> None:
    """Have as many workers on their way as there are bots that wait, with a display where they want one: first where
    the VM has to have labels, then anywhere for the rest. A bot that no VM can serve asks for none.
    """
    occupied, spoken_for = pool.fleet.occupied, _OnTheirWay(0, 0)
    for place in list(occupied.values())[1:]:
        theirs = _warm_for(pool, place.labels, place.serving, _OnTheirWay(0, 0))
        spoken_for = _OnTheirWay(spoken_for.workers + theirs.workers, spoken_for.displays + theirs.displays)
    _warm_for(pool, NO_LABELS, pool.fleet.everywhere.serving, spoken_for)


class _OnTheirWay(NamedTuple):
    """Workers that warm up, and those of them that will have a display."""

    workers: int
    displays: int


def _warm_for(pool: PoolState, labels: Labels, serving: Side, spoken_for: _OnTheirWay) -> _OnTheirWay:
    """Warm for those that wait and require just that. `spoken_for`: workers that others wait for. Returns how many
    these may count on.

    Scheduled bots that want a display are not served by another worker as long as they have time, so for each of them
    one has to be on its way, whatever else is.
    """
    lines = (pool.queue.waiting(labels), pool.to_reserve.waiting(labels))
    wait = sum(sum(line.values()) for line in lines)
    kinds = [kind for kind in JobKind if any(line.get(kind) for line in lines)]
    in_line, scheduled = (sum(number for kind, number in line.items() if wants_display(kind)) for line in lines)
    while True:
        pool.fleet.refresh(pool.now)
        lacking = wait - (serving.warming - spoken_for.workers)
        displays = serving.warming_displays - spoken_for.displays
        is_display = displays < scheduled or (lacking > 0 and displays < scheduled + in_line)
        if is_display and (vm := serving.vm_to_warm_display_on()):
            workers.warm(pool, vm, Why.JOBS_WAIT, display=True)
        elif lacking > 0 and (vm := serving.vm_to_warm_on(kinds)):
            workers.warm(pool, vm, Why.JOBS_WAIT)
        else:
            return _OnTheirWay(min(wait, serving.warming), min(scheduled + in_line, serving.warming_displays))


def _balance(pool: PoolState, vm: Vm) -> None:
    if vm.draining and not vm.lost:
        for worker in [w for w in vm.workers.values() if w.state in workers.NOT_YET_USED]:
            workers.retire(pool, vm, worker, Why.VM_DRAINS)
        return
    settings = pool.settings
    for display in (False, True) if vm.makes_displays else (False,):
        while policy.shortfall(vm, settings, display=display) > 0 and policy.can_warm(
            vm, settings, pool.now, display=display
        ):
            workers.warm(pool, vm, Why.BELOW_MIN_IDLE, display=display)
    if not vm.takes_work:
        return
    for worker in list(policy.to_trim(vm, settings, pool.now)):
        workers.retire(pool, vm, worker, Why.TOO_OLD if worker.aged else Why.IDLE_TTL)
    if worker := policy.recycled_first(vm, settings):
        workers.retire(pool, vm, worker, Why.TOO_OLD)
