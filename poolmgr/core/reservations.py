"""Scheduled bots: a worker is put aside ahead of time, so that it is there when the calendar says so.

It is no right: a bot whose worker is not there when its time has come stands in line, and a new leader reserves anew.
"""

from poolmgr.core import bots, workers
from poolmgr.core.model import Bot, Vm, Worker
from poolmgr.core.state import PoolState
from wire.vocabulary import BotState, WorkerState


def reserve_due(pool: PoolState, bot_id: str) -> None:
    bot = pool.bots.get(bot_id)
    if bot and bot.state is BotState.SCHEDULED and not bot.worker_id:
        pool.to_reserve[bot_id] = bot


def reserve(pool: PoolState, bot: Bot, vm: Vm, worker: Worker) -> None:
    bot.vm_id, bot.worker_id = vm.vm_id, worker.worker_id
    pool.fleet.change_worker(vm, worker, WorkerState.RESERVED, pool.now, bot.bot_id)
    workers.keep(pool, worker)
    pool.touch(vm)


def free(pool: PoolState, worker: Worker) -> None:
    """The worker will not be there for its bot: another one is to be put aside."""
    bot = pool.bots.get(worker.bot_id)
    if worker.state is WorkerState.RESERVED and bot:
        bot.vm_id = bot.worker_id = ""
        pool.to_reserve[bot.bot_id] = bot


def free_all(pool: PoolState, vm: Vm) -> None:
    for worker in [worker for worker in vm.workers.values() if worker.state is WorkerState.RESERVED]:
        free(pool, worker)
        workers.make_idle(pool, vm, worker)


def join_due(pool: PoolState, bot_id: str) -> None:
    bot = pool.bots.get(bot_id)
    if bot is None or bot.state is not BotState.SCHEDULED:
        return
    pool.to_reserve.pop(bot_id, None)
    vm, worker = pool.fleet.get(bot.vm_id), pool.fleet.worker(bot.vm_id, bot.worker_id)
    bots.enqueue(pool, bot)
    if vm and worker and vm.takes_bots:
        pool.queue.leave(bot_id)
        bots.assign(pool, bot, vm, worker)
    elif vm and worker:
        workers.make_idle(pool, vm, worker)
