"""The part of the pool that the scaling reads."""

from collections.abc import Iterable
from typing import Final

from common.wire.vocabulary import BotState, WorkerState
from poolmgr.core.decisions import Accept, Decision, Enqueue
from poolmgr.core.model import Vm
from poolmgr.core.pool import Pool
from poolmgr.scaling.need import Demand
from poolmgr.scaling.steps import Seen

_WITHOUT_A_BOT: Final = (WorkerState.WARMING, WorkerState.IDLE)


def demand_of(pool: Pool, wall: float, lead_time_s: float) -> Demand:
    """`wall`: calendar time, for the bots that are due within the lead time."""
    until = wall + lead_time_s
    due = 0
    if len(pool.calendar):
        due = sum(bot.state is BotState.SCHEDULED and (bot.job.join_at or 0.0) <= until for bot in pool.bots.values())
    return Demand(pool.fleet.workers[WorkerState.BUSY], len(pool.queue), due)


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


def came_due(decision: Decision) -> bool:
    """Whether this decision means that a bot needs a worker for the first time."""
    match decision:
        case Accept():
            return decision.state is BotState.QUEUED
        case Enqueue():
            return decision.why is None
        case _:
            return False
