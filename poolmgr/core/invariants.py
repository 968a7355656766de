"""The invariants of a Pool, which hold after every event. Tests check them after each step."""

from collections import Counter
from typing import Final

from common.wire.vocabulary import BotState, WorkerState
from poolmgr.core.load import JobKind, wants_display
from poolmgr.core.model import Bot, Vm
from poolmgr.core.policy import bears, can_warm, may_pass
from poolmgr.core.pool import Pool

_WITH_BOT: Final = (WorkerState.BUSY, WorkerState.RESERVED)


def broken_invariants(pool: Pool) -> list[str]:
    """One sentence for each rule that does not hold. Empty when all is well."""
    return [*_about_bots(pool), *_about_vms(pool), *_about_places(pool)]


def _about_bots(pool: Pool) -> list[str]:
    faults: list[str] = []
    holders: dict[str, str] = {}
    for bot in pool.bots.values():
        if bot.state is BotState.STOPPED:
            faults.append(f"bot {bot.bot_id} has ended but is still known")
        if (bot.state is BotState.QUEUED) != (bot.bot_id in pool.queue):
            faults.append(f"bot {bot.bot_id} is {bot.state}, but in the queue: {bot.bot_id in pool.queue}")
        if bot.is_on_vm:
            worker = pool.fleet.worker(bot.vm_id, bot.worker_id)
            if worker is None or worker.state is not WorkerState.BUSY or worker.bot_id != bot.bot_id:
                faults.append(f"bot {bot.bot_id} is {bot.state} without a busy worker of its own")
        if bot.worker_id and holders.setdefault(bot.worker_id, bot.bot_id) != bot.bot_id:
            faults.append(f"worker {bot.worker_id} has two bots: {holders[bot.worker_id]} and {bot.bot_id}")
        if bot.state is BotState.QUEUED and bot.worker_id:
            faults.append(f"bot {bot.bot_id} waits although it has worker {bot.worker_id}")
    for line in (pool.queue, pool.to_reserve):
        held: list[Bot] = []
        for bot in line.first(line.required):
            having = [vm for vm in pool.fleet if bot.requires <= vm.labels]
            has_others = any(vm.takes_work and not vm.canary for vm in having)
            serving = [vm for vm in having if not vm.canary or not has_others or pool.is_canarys_turn]
            ready = [vm for vm in serving if vm.idle and vm.takes_bots]
            if line is pool.to_reserve and wants_display(bot.kind) and _display_comes(pool, serving):
                ready = [vm for vm in ready if vm.idle_displays]
            is_borne = any(bears(vm, bot.kind, pool.settings) for vm in ready)
            if is_borne and all(may_pass(bot, before) for before in held):
                faults.append("somebody waits although a worker is idle on a VM that bears it")
            held.append(bot)
    return faults


def _display_comes(pool: Pool, vms: list[Vm]) -> bool:
    """Whether a worker with a display is on its way on one of the VMs, or one of them can be told to make one."""
    now = pool.now
    return any(
        vm.takes_work
        and (
            vm.warming_displays
            or (
                can_warm(vm, pool.settings, now, display=True)
                and bears(vm, JobKind.PICTURE, pool.settings) > len(vm.idle) + vm.warming
            )
        )
        for vm in vms
    )


def _about_vms(pool: Pool) -> list[str]:
    faults: list[str] = []
    for vm in pool.fleet:
        idle = [worker for worker in vm.workers.values() if worker.state is WorkerState.IDLE]
        if sorted(vm.idle) != sorted(worker.worker_id for worker in idle):
            faults.append(f"the idle list of {vm.vm_id} is not its idle workers")
        if [w.since for w in vm.idle.values()] != sorted(w.since for w in vm.idle.values()):
            faults.append(f"the idle list of {vm.vm_id} is not oldest first")
        carried = Counter(worker.kind for worker in vm.workers.values() if worker.state in _WITH_BOT)
        if any(carried[kind] != vm.carried[kind] for kind in JobKind):
            faults.append(f"{vm.vm_id} carries {carried}, {vm.carried} is counted")
        warming = sum(worker.state is WorkerState.WARMING for worker in vm.workers.values())
        displays = Counter(worker.state for worker in vm.workers.values() if worker.display)
        if (displays[WorkerState.IDLE], displays[WorkerState.WARMING]) != (vm.idle_displays, vm.warming_displays):
            faults.append(
                f"{vm.vm_id} has {displays} with a display; {vm.idle_displays}, {vm.warming_displays} counted"
            )
        if warming != vm.warming:
            faults.append(f"{warming} workers of {vm.vm_id} are warming, {vm.warming} are counted")
        for worker in vm.workers.values():
            bot = pool.bots.get(worker.bot_id)
            if worker.state in _WITH_BOT and bot and bot.kind is not worker.kind:
                faults.append(f"worker {worker.worker_id} counts as {worker.kind}, its bot is {bot.kind}")
    states = Counter(worker.state for vm in pool.fleet for worker in vm.workers.values())
    for state in WorkerState:
        counted = states[state]
        if counted != pool.fleet.workers[state]:
            faults.append(f"{counted} workers are {state}, {pool.fleet.workers[state]} are counted")
    displays = Counter(worker.state for vm in pool.fleet for worker in vm.workers.values() if worker.display)
    if +displays != +pool.fleet.displays:
        faults.append(f"{displays} have a display, {pool.fleet.displays} are counted")
    return faults


def _about_places(pool: Pool) -> list[str]:
    faults: list[str] = []
    for place in pool.fleet.places.values():
        having = [vm for vm in pool.fleet if place.labels <= vm.labels]
        if {vm.vm_id for vm in having} != set(place.vms):
            faults.append(f"{len(having)} VMs have {sorted(place.labels)}, {len(place.vms)} are known to")
        for side, canary in ((place.canaries, True), (place.others, False)):
            those = [vm for vm in having if vm.takes_work and vm.canary is canary]
            where = f"where VMs have {sorted(place.labels)}"
            warming, displays = sum(vm.warming for vm in those), sum(vm.warming_displays for vm in those)
            if warming != side.warming:
                faults.append(f"{warming} workers warm {where}, {side.warming} are counted")
            if displays != side.warming_displays:
                faults.append(f"{displays} with a display warm {where}, {side.warming_displays} are counted")
    return faults
