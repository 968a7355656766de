"""Takes over what an earlier leader left in Redis, and finishes what that leader left half done.

It relies on the records. The agents' next heartbeats correct what has changed since.
"""

from collections.abc import Iterable

from common.wire.vocabulary import BotState, Reason, WorkerState
from poolmgr.core import attempts, backoff, bots, vms, workers
from poolmgr.core.bots import Ending
from poolmgr.core.decisions import Why
from poolmgr.core.load import JobKind, kind_of
from poolmgr.core.model import Bot, Vm, Worker, labels_of
from poolmgr.core.state import PoolState


def restore(pool: PoolState, kept_bots: Iterable[Bot], kept_vms: Iterable[Vm]) -> None:
    """Take over all bots and VMs. VMs count as silent from now on. For a while a worker that is missing in a heartbeat
    does not count as gone: the heartbeat may be older than the records.
    """
    pool.absence_counts_from = pool.now + pool.settings.heartbeat_timeout_s
    bots_kept = list(kept_bots)
    for bot in bots_kept:
        bot.kind, bot.requires = kind_of(bot.job, pool.capture), labels_of(bot.job.requires)
    kinds = {bot.bot_id: bot.kind for bot in bots_kept}
    for vm in kept_vms:
        for worker in vm.workers.values():
            worker.kind = kinds.get(worker.bot_id, JobKind.LISTENS)
        _restore_vm(pool, vm)
    pool.bots.update((bot.bot_id, bot) for bot in bots_kept)
    for bot in bots_kept:
        _restore_bot(pool, bot)


def _restore_vm(pool: PoolState, record: Vm) -> None:
    kept = Vm(record.vm_id, record.session, pool.now, draining=record.draining, stopping=record.stopping)
    kept.processors, kept.labels, kept.makes_displays = record.processors, record.labels, record.makes_displays
    kept.canary, kept.joins, kept.out = record.canary, record.joins, record.out
    vm = vms.add(pool, kept)
    if record.shunned:  # the earlier leader knew for how long; start the time again
        backoff.shun(pool, vm)
    for worker in sorted(record.workers.values(), key=lambda worker: worker.since):
        # The last leader's clock may have been ahead: a time in the future becomes now.
        worker.since, worker.born = min(worker.since, pool.now), min(worker.born, pool.now)
        if worker.state is WorkerState.RESERVED:  # the bot's calendar timer fires again and makes a new reservation
            worker.state, worker.bot_id, worker.kind = WorkerState.IDLE, "", JobKind.LISTENS
            workers.keep(pool, worker)
        workers.add(pool, vm, worker)
    pool.touch(vm)


def _restore_bot(pool: PoolState, bot: Bot) -> None:
    bot.queued_since = pool.now  # only the earlier leader knew the time, by its own clock
    pool.last_seq = max(pool.last_seq, bot.seq)
    if bot.state is BotState.SCHEDULED:
        bots.put_on_calendar(pool, bot)
    elif bot.state is BotState.QUEUED and bots.has_missed(pool, bot):
        bots.miss(pool, bot, pool.wall)
    elif bot.state is BotState.QUEUED:
        bots.stand_in_line(pool, bot)
    elif not bot.worker_id:  # the leader died between revoking its assignment and queueing it
        attempts.not_claimed(pool, bot)
    else:
        vm = pool.fleet.get(bot.vm_id) or vms.add(pool, Vm(bot.vm_id, "", pool.now))
        if not _has_its_worker(pool, vm, bot):
            detail = "its worker is another bot's"
            attempts.failed(pool, bot, Why.WORKER_LOST, Ending(Reason.WORKER_LOST, detail), is_out=False)
            return
        if bot.state is BotState.ASSIGNED:
            bots.await_claim(pool, bot)
        bots.await_end(pool, bot, since=vm.workers[bot.worker_id].since)
        if bot.leave_requested:
            attempts.await_leaving(pool, bot)
        pool.touch(vm)


def _has_its_worker(pool: PoolState, vm: Vm, bot: Bot) -> bool:
    """Join the bot with its worker, whatever the worker's record says, unless another bot is on that worker in its
    current attempt. If the worker did not name its bot, nobody would notice that the bot is lost.
    """
    worker = vm.workers.get(bot.worker_id)
    if worker is None:  # the leader died between forgetting the worker and writing what follows for the bot
        worker = Worker(bot.worker_id, vm.vm_id, WorkerState.BUSY, pool.now, pool.now, bot.bot_id, bot.kind)
        workers.add(pool, vm, worker)
    elif worker.state is WorkerState.BUSY and worker.bot_id == bot.bot_id:
        return True
    elif worker.state is WorkerState.BUSY and attempts.bot_on(pool, worker):
        return False
    else:
        pool.fleet.change_worker(vm, worker, WorkerState.BUSY, pool.now, bot.bot_id, bot.kind)
    workers.keep(pool, worker)
    return True
