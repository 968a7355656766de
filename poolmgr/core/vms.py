"""Compares a VM's heartbeats with the pool's state, and handles its silence: no new work, then lost, then forgotten.

A VM that is cut off looks like one that is gone. attempts.py and policy.py say what its loss means for its bots.
"""

from common.wire.messages import Heartbeat, WorkerReport
from common.wire.vocabulary import BotState, GoneCause, WorkerState
from poolmgr.core import attempts, policy, reservations, workers
from poolmgr.core.decisions import ForgetVm, Why
from poolmgr.core.events import DrainRequested, ProcessResumed
from poolmgr.core.load import cost
from poolmgr.core.model import Joins, Vm, Worker, labels_of
from poolmgr.core.state import PoolState
from poolmgr.core.timers import Timer


def add(pool: PoolState, vm: Vm) -> Vm:
    pool.fleet.add_vm(vm)
    _listen(pool, vm)
    return vm


def _listen(pool: PoolState, vm: Vm) -> None:
    pool.timers.set(pool.now + pool.settings.heartbeat_timeout_s, Timer.VM_SILENT, vm.vm_id)


# Heartbeats


def on_heartbeat(pool: PoolState, beat: Heartbeat) -> None:
    vm = pool.fleet.get(beat.vm_id) or add(pool, Vm(beat.vm_id, "", pool.now))
    is_new_session = vm.session != beat.session
    if vm.silent or vm.lost:
        _listen(pool, vm)
    is_other_labels = (beat.labels or vm.labels) and labels_of(beat.labels) != vm.labels
    is_relabelled = is_other_labels or vm.canary != beat.canary
    makes_displays = beat.display_room is not None
    is_other = vm.stopping != beat.stopping or vm.processors != beat.processors or is_relabelled
    is_other = is_other or vm.makes_displays != makes_displays
    is_news = is_new_session or vm.lost or is_other
    vm.session, vm.last_seen = beat.session, pool.now
    vm.silent = vm.lost = False
    vm.stopping, vm.processors, vm.makes_displays = beat.stopping, beat.processors, makes_displays
    if is_relabelled:
        if vm.canary != beat.canary:
            vm.joins = Joins()
        pool.fleet.relabel(vm, labels_of(beat.labels), canary=beat.canary)
        reservations.free_all(pool, vm)  # a bot may have its worker there for a label that is gone
    if is_news:
        pool.keep_vm(vm)
    _match_workers(pool, vm, beat, is_new_session=is_new_session)
    unreported = sum(w.state is WorkerState.WARMING and w.worker_id not in beat.workers for w in vm.workers.values())
    vm.room, vm.display_room = beat.room - unreported, (beat.display_room or 0) - unreported
    vm.free_mb = None if beat.free_mb is None else beat.free_mb - _promised_mb(pool, vm)
    pool.touch(vm)


def _promised_mb(pool: PoolState, vm: Vm) -> int:
    """The load of recordings that have not begun: those of bots that are not in their meeting yet. The agent's figures
    already include the others.
    """
    here = (pool.bots.get(worker.bot_id) for worker in vm.workers.values())
    return sum(
        cost(bot.kind, pool.settings).memory_mb
        for bot in here
        if bot and bot.vm_id == vm.vm_id and not bot.state.is_admitted
    )


def _match_workers(pool: PoolState, vm: Vm, beat: Heartbeat, *, is_new_session: bool) -> None:
    """Compare the agent's workers with the pool's. A worker that the agent does not list is gone, because events come
    in order. A worker that only the agent knows is taken over.

    After `restore`, events that the last leader had not acknowledged come again, and such a heartbeat may be older than
    the restored workers. So for a while a missing worker does not count as gone, unless the agent has a new session.
    """
    may_be_old_news = not is_new_session and pool.now < pool.absence_counts_from
    for worker in list(vm.workers.values()):
        if worker.worker_id in beat.workers or may_be_old_news:
            continue
        if worker.state is not WorkerState.WARMING:
            attempts.worker_gone(pool, vm, worker, GoneCause.MISSING)
        elif is_new_session:
            # Ordered from the earlier agent, or from this one before this heartbeat was read; then it will obey.
            # The worker counts until the next heartbeat. It gets the order to retire after the order to warm.
            workers.retire(pool, vm, worker, Why.WORKER_LOST)
    for worker_id, report in beat.workers.items():
        worker = vm.workers.get(worker_id)
        if worker is None:
            _take_over(pool, vm, worker_id, report)
        elif (
            report.state is WorkerState.IDLE
            and worker.state is WorkerState.BUSY
            and attempts.bot_on(pool, worker) is None
        ):
            # Its assignment failed before the agent began it.
            workers.retire(pool, vm, worker, Why.REFUSED)
        elif report.bot_id and not may_be_old_news and not attempts.counts(pool, worker_id, report):
            # The bot was given up, and either the leader died before it asked it to leave, or the order was lost.
            attempts.supersede(pool, vm.vm_id, worker_id, report.bot_id, report.attempt)
        if worker is not None and worker.display is not report.display:  # its agent knows what it has made
            pool.fleet.set_display(vm, worker, display=report.display)
        if report.outdated:
            _count_as_aged(vm, worker_id)
        if report.state is WorkerState.BUSY and worker is not None and not may_be_old_news:
            _end_if_spent(pool, vm, worker)


def _count_as_aged(vm: Vm, worker_id: str) -> None:
    """An outdated worker without a bot makes room for a new one, as if it were too old."""
    worker = vm.workers[worker_id]
    worker.aged = worker.aged or worker.state is WorkerState.IDLE


def _end_if_spent(pool: PoolState, vm: Vm, worker: Worker) -> None:
    """A worker whose bot has ended or been superseded ends by itself. If it does not, order it to."""
    if worker.state is not WorkerState.BUSY or attempts.bot_on(pool, worker):
        worker.spent_since = None
    elif worker.spent_since is None:
        worker.spent_since = pool.now
    elif pool.now - worker.spent_since >= pool.settings.warmup_timeout_s:
        workers.retire(pool, vm, worker, Why.SPENT)


def _take_over(pool: PoolState, vm: Vm, worker_id: str, report: WorkerReport) -> None:
    worker = Worker(worker_id, vm.vm_id, report.state, pool.now, pool.now, report.bot_id, display=report.display)
    workers.add(pool, vm, worker)
    workers.keep(pool, worker)
    if report.state is WorkerState.BUSY:  # if its bot were in its current attempt, the pool would know the worker
        attempts.supersede(pool, vm.vm_id, worker_id, report.bot_id, report.attempt)


def on_drain_requested(pool: PoolState, event: DrainRequested) -> None:
    vm = pool.fleet.get(event.vm_id)
    if vm and vm.draining != event.draining:
        vm.draining, vm.out, vm.joins = event.draining, "", Joins()
        pool.keep_vm(vm)
        reservations.free_all(pool, vm)
        pool.touch(vm)


# Silence


def silence_due(pool: PoolState, vm_id: str) -> None:
    vm = pool.fleet.vms[vm_id]  # every VM that is not silent has exactly one such timer
    silent_at = vm.last_seen + pool.settings.heartbeat_timeout_s
    if pool.now < silent_at:
        pool.timers.set(silent_at, Timer.VM_SILENT, vm_id)
        return
    vm.silent = True
    pool.timers.set(vm.last_seen + pool.settings.lost_after_s, Timer.VM_LOST, vm_id)
    reservations.free_all(pool, vm)
    pool.touch(vm)


def on_process_resumed(pool: PoolState, _: ProcessResumed) -> None:
    """VMs count as silent from now on: their heartbeats may not have been read yet."""
    for vm in pool.fleet:
        if not vm.lost:
            vm.last_seen = pool.now
            if vm.silent:
                pool.timers.set(pool.now + pool.settings.lost_after_s, Timer.VM_LOST, vm.vm_id)


def loss_due(pool: PoolState, vm_id: str) -> None:
    """Declare the VM lost, if not too many were lost lately; otherwise it stays silent and is looked at again."""
    vm = pool.fleet.get(vm_id)
    if vm is None or not vm.silent or pool.now < vm.last_seen + pool.settings.lost_after_s:
        return
    lost_at = pool.lost_at
    while lost_at and lost_at[0] <= pool.now - pool.settings.lost_after_s:
        lost_at.popleft()
    if len(lost_at) >= policy.most_lost_at_once(len(pool.fleet.vms), pool.settings):
        pool.timers.set(lost_at[0] + pool.settings.lost_after_s, Timer.VM_LOST, vm_id)
        return
    lost_at.append(pool.now)
    vm.lost, vm.silent = True, False
    for worker in list(vm.workers.values()):
        bot = attempts.bot_on(pool, worker)
        if bot and bot.state is BotState.ASSIGNED:  # Redis knows whether the attempt was begun
            attempts.take_back(pool, bot)
        else:
            attempts.lost_with_vm(pool, vm, worker, is_out=False)
    pool.keep_vm(vm)
    pool.timers.set(pool.now + pool.forget_vm_s, Timer.VM_FORGOTTEN, vm_id)
    pool.touch(vm)


def forgetting_due(pool: PoolState, vm_id: str) -> None:
    vm = pool.fleet.get(vm_id)
    if vm and vm.lost and pool.now >= vm.last_seen + pool.forget_vm_s:
        pool.fleet.drop_vm(vm)
        pool.decided.append(ForgetVm(vm_id))
