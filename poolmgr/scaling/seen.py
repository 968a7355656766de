"""The part of the pool that the scaling reads."""

from collections.abc import Iterable, Mapping
from typing import Final

from common.wire.vocabulary import BotState, WorkerState
from poolmgr.core.decisions import Accept, Decision, Enqueue
from poolmgr.core.model import Vm, labels_of
from poolmgr.core.pool import Pool
from poolmgr.scaling.need import Demand
from poolmgr.scaling.steps import Seen

_WITHOUT_A_BOT: Final = (WorkerState.WARMING, WorkerState.IDLE)


def demand_of(pool: Pool, wall: float, lead_time_s: float, labels: Mapping[str, str]) -> Demand:
    """`wall`: calendar time, for the bots that are due within the lead time. `labels`: of the VMs that the provider
    makes. Bots that wait for other labels are no demand: no VM of the provider's would serve them.
    """
    until, made = wall + lead_time_s, labels_of(labels)
    due = 0
    if len(pool.calendar):
        due = sum(
            bot.state is BotState.SCHEDULED and (bot.job.join_at or 0.0) <= until and bot.requires <= made
            for bot in pool.bots.values()
        )
    waiting = sum(sum(pool.queue.waiting(required).values()) for required in pool.queue.required if required <= made)
    return Demand(pool.fleet.workers[WorkerState.BUSY], waiting, due)


def seen(vms: Iterable[Vm]) -> list[Seen]:
    """A worker that is ending may have had a bot: its VM is not empty until the worker is gone."""
    return [
        Seen(
            vm.vm_id,
            sum(worker.state not in _WITHOUT_A_BOT for worker in vm.workers.values()),
            vm.draining,
            vm.stopping,
            vm.silent,
            vm.lost,
        )
        for vm in vms
    ]


def came_due(decision: Decision, pool: Pool, labels: Mapping[str, str]) -> bool:
    """Whether by this decision a bot needs a worker for the first time that a VM with these labels may have. The
    decision is one of this pool's.
    """
    match decision:
        case Accept():
            is_first = decision.state is BotState.QUEUED
        case Enqueue():
            is_first = decision.why is None
        case _:
            return False
    bot = pool.bots.get(decision.bot_id)
    return is_first and (bot is None or bot.requires <= labels_of(labels))
