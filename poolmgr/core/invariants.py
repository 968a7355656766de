"""The invariants of a Pool, which hold after every event. Tests check them after each step."""

from common.wire.vocabulary import BotState, WorkerState
from poolmgr.core.pool import Pool


def broken_invariants(pool: Pool) -> list[str]:
    """One sentence for each rule that does not hold. Empty when all is well."""
    return [*_about_bots(pool), *_about_vms(pool)]


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
    idle_anywhere = any(vm.idle and vm.takes_bots for vm in pool.fleet)
    if idle_anywhere and (len(pool.queue) or pool.to_reserve):
        faults.append("somebody waits although a worker is idle")
    return faults


def _about_vms(pool: Pool) -> list[str]:
    faults: list[str] = []
    for vm in pool.fleet:
        idle = [worker for worker in vm.workers.values() if worker.state is WorkerState.IDLE]
        if sorted(vm.idle) != sorted(worker.worker_id for worker in idle):
            faults.append(f"the idle list of {vm.vm_id} is not its idle workers")
        if [w.since for w in vm.idle.values()] != sorted(w.since for w in vm.idle.values()):
            faults.append(f"the idle list of {vm.vm_id} is not oldest first")
    for state in WorkerState:
        counted = sum(vm.count(state) for vm in pool.fleet)
        if counted != pool.fleet.workers[state]:
            faults.append(f"{counted} workers are {state}, {pool.fleet.workers[state]} are counted")
    return faults
