"""Reserves a worker for a scheduled bot ahead of its time, so that the worker is warm at `join_at`.

A reservation is no guarantee: if the worker is gone by then, the bot waits in the queue. A new leader makes new
reservations.
"""

import msgspec

from common.wire.vocabulary import BotState, WorkerState
from poolmgr.core import bots, workers
from poolmgr.core.decisions import Reschedule
from poolmgr.core.events import RescheduleRequested
from poolmgr.core.model import Bot, Vm, Worker
from poolmgr.core.state import PoolState
from poolmgr.core.timers import PlanOf


def reserve_due(pool: PoolState, whose: PlanOf) -> None:
    bot = _on_calendar(pool, whose)
    if bot and not bot.worker_id:
        pool.wait(pool.to_reserve, bot)


def _on_calendar(pool: PoolState, whose: PlanOf) -> Bot | None:
    """The bot of a timer, if it is still to join at that time."""
    bot = pool.bots.get(whose.bot_id)
    return bot if bot and bot.state is BotState.SCHEDULED and bots.due(bot) == whose.join_at else None


def reserve(pool: PoolState, bot: Bot, vm: Vm, worker: Worker) -> None:
    bot.vm_id, bot.worker_id = vm.vm_id, worker.worker_id
    pool.fleet.change_worker(vm, worker, WorkerState.RESERVED, pool.now, bot.bot_id, bot.kind)
    workers.keep(pool, worker)
    pool.touch(vm)


def free(pool: PoolState, worker: Worker) -> None:
    """End the reservation of this worker, and reserve another one for its bot."""
    bot = pool.bots.get(worker.bot_id)
    if worker.state is WorkerState.RESERVED and bot:
        bot.vm_id = bot.worker_id = ""
        pool.wait(pool.to_reserve, bot)


def free_all(pool: PoolState, vm: Vm) -> None:
    for worker in [worker for worker in vm.workers.values() if worker.state is WorkerState.RESERVED]:
        free(pool, worker)
        workers.make_idle(pool, vm, worker)


def on_reschedule_requested(pool: PoolState, event: RescheduleRequested) -> None:
    """Give a scheduled bot another time. A bot that is joining already is not changed. A time in the past means now."""
    bot = pool.bots.get(event.bot_id)
    if bot is None or bot.state is not BotState.SCHEDULED:
        return
    pool.to_reserve.leave(bot.bot_id)
    if reserved := pool.fleet.worker(bot.vm_id, bot.worker_id):
        workers.make_idle(pool, pool.fleet.vms[bot.vm_id], reserved)
        bot.vm_id = bot.worker_id = ""
    bot.job = msgspec.structs.replace(bot.job, join_at=event.join_at)
    pool.decided.append(Reschedule(bot.bot_id, event.join_at))
    bots.put_on_calendar(pool, bot)


def join_due(pool: PoolState, whose: PlanOf) -> None:
    bot = _on_calendar(pool, whose)
    if bot is None:
        return
    pool.to_reserve.leave(bot.bot_id)
    vm, worker = pool.fleet.get(bot.vm_id), pool.fleet.worker(bot.vm_id, bot.worker_id)
    if bots.has_missed(pool, bot):
        if vm and worker:
            workers.make_idle(pool, vm, worker)
        bots.miss(pool, bot, pool.wall)
        return
    bots.enqueue(pool, bot)
    if vm and worker and vm.takes_bots:
        pool.queue.leave(bot.bot_id)
        bots.assign(pool, bot, vm, worker)
    elif vm and worker:
        workers.make_idle(pool, vm, worker)
