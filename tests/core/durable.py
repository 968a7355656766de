"""What Redis would keep: decisions, carried out in their order, each checked against those before it."""

from dataclasses import dataclass, field

import msgspec

from common.wire.vocabulary import BotState, OnWorkerLost, Reason, WorkerState
from poolmgr.core.decisions import (
    Accept,
    Ask,
    Assign,
    Decision,
    End,
    Enqueue,
    ForgetVm,
    ForgetWorker,
    KeepVm,
    KeepWorker,
    Move,
    Pause,
    Remember,
    Reschedule,
    Retire,
    Revoke,
    Warm,
)
from poolmgr.core.model import Bot, Joins, Vm, Worker, labels_of
from poolmgr.core.pool import Pool


@dataclass
class BotRecord:
    """What Redis keeps of a bot."""

    accept: Accept
    state: BotState
    attempt: int = 0
    vm_id: str = ""
    worker_id: str = ""
    claimed: int = 0
    leave_requested: bool = False
    paused: bool = False
    failed: int = 0
    failure: tuple[Reason | None, str] = (None, "")
    end: End | None = None


@dataclass
class VmRecord:
    """What Redis keeps of a VM."""

    session: str
    draining: bool = False
    lost: bool = False
    stopping: bool = False
    resting: bool = False
    processors: float = 0.0
    labels: dict[str, str] = field(default_factory=dict[str, str])
    canary: bool = False
    joins: Joins = field(default_factory=Joins)
    out: str = ""
    makes_displays: bool = False
    workers: dict[str, Worker] = field(default_factory=dict[str, Worker])


class Durable:
    """What is left when a leader dies: the decisions, carried out in their order, and nothing else.

    `refused` are decisions that do not fit what was decided before them. There is never a good reason for one.
    """

    def __init__(self, on_worker_lost: OnWorkerLost = OnWorkerLost.END) -> None:
        self.on_worker_lost = on_worker_lost
        self.bots: dict[str, BotRecord] = {}
        self.vms: dict[str, VmRecord] = {}
        self.workers: dict[str, dict[str, Worker]] = {}
        self.refused: list[str] = []

    def apply(self, decision: Decision, now: float) -> None:
        match decision:
            case Accept(bot_id=bot_id):
                self._expect(bot_id not in self.bots, decision)
                self.bots[bot_id] = BotRecord(decision, decision.state)
            case Assign():
                self._assign(decision, now)
            case Reschedule(bot_id=bot_id, join_at=join_at):
                bot = self.bots[bot_id]
                self._expect(bot.state is BotState.SCHEDULED, decision)
                moved = msgspec.structs.replace(bot.accept.job, join_at=join_at)
                bot.accept = msgspec.structs.replace(bot.accept, job=moved)
            case Move(bot_id=bot_id, attempt=attempt, state=state):
                bot = self.bots[bot_id]
                self._expect(bot.end is None and bot.attempt == attempt and bot.state.rank < state.rank, decision)
                bot.state = state
            case Enqueue(bot_id=bot_id, attempt=attempt, failed=failed):
                bot = self.bots[bot_id]
                asked = bot.accept.job.on_worker_lost or self.on_worker_lost
                may_go_in_again = asked is OnWorkerLost.REJOIN or not bot.state.is_admitted
                self._expect(bot.end is None and bot.attempt == attempt and may_go_in_again, decision)
                bot.failed = failed
                bot.state, bot.vm_id, bot.worker_id, bot.claimed = BotState.QUEUED, "", "", 0
            case Remember(bot_id=bot_id, attempt=attempt, reason=reason, detail=detail):
                bot = self.bots[bot_id]
                self._expect(bot.end is None and bot.attempt == attempt, decision)
                bot.failure = (reason, detail)
            case Ask(bot_id=bot_id, attempt=attempt, reason=reason):
                bot = self.bots.get(bot_id)
                if bot and bot.attempt == attempt and reason not in (Reason.SUPERSEDED, Reason.OVERDUE):
                    bot.leave_requested = True
            case Pause(bot_id=bot_id, paused=paused):
                self.bots[bot_id].paused = paused
            case End(bot_id=bot_id, attempt=attempt):
                bot = self.bots[bot_id]
                self._expect(bot.end is None and bot.attempt == attempt, decision)
                bot.state, bot.end = BotState.STOPPED, decision
            case _:
                self._apply_to_fleet(decision)

    def revoke(self, decision: Revoke) -> bool:
        """Whether the assignment could be taken back: the agent may have claimed it first."""
        bot = self.bots[decision.bot_id]
        if bot.state is BotState.ASSIGNED and bot.attempt == decision.attempt != bot.claimed:
            bot.worker_id = ""
            return True
        return False

    def claim(self, bot_id: str, attempt: int, worker_id: str) -> bool:
        """Whether the attempt is still this worker's; if so, it is from now on."""
        bot = self.bots[bot_id]
        if bot.state is BotState.ASSIGNED and (bot.attempt, bot.worker_id) == (attempt, worker_id):
            bot.claimed = attempt
            return True
        return False

    def restored_into(self, pool: Pool, now: float, wall: float = 0.0) -> list[Decision]:
        """Let `pool` take over, as a new leader does."""
        vms: list[Vm] = []
        for vm_id, record in self.vms.items():
            if not record.lost:
                vm = Vm(
                    vm_id,
                    record.session,
                    0.0,
                    draining=record.draining,
                    stopping=record.stopping,
                    shunned=record.resting,
                    processors=record.processors,
                    labels=labels_of(record.labels),
                    canary=record.canary,
                    joins=record.joins,
                    out=record.out,
                    makes_displays=record.makes_displays,
                )
                for worker in self.workers.get(vm_id, {}).values():
                    vm.workers[worker.worker_id] = _copy(worker)
                vms.append(vm)
        bots = [
            Bot(
                bot_id,
                record.accept.job,
                record.accept.seq,
                record.accept.at,
                record.state,
                record.attempt,
                record.vm_id,
                record.worker_id,
                leave_requested=record.leave_requested,
                paused=record.paused,
                failed=record.failed,
                failure=record.failure[0],
                failure_detail=record.failure[1],
            )
            for bot_id, record in self.bots.items()
            if record.end is None
        ]
        return pool.restore(bots, vms, now, wall)

    def _assign(self, decision: Assign, now: float) -> None:
        join = decision.join
        bot = self.bots[join.bot_id]
        worker = self.workers[decision.vm_id][join.worker_id]
        ready = worker.state is WorkerState.IDLE or (worker.state, worker.bot_id) == (WorkerState.RESERVED, join.bot_id)
        self._expect(ready and bot.state is BotState.QUEUED and bot.attempt == join.attempt - 1, decision)
        bot.state, bot.attempt = BotState.ASSIGNED, join.attempt
        bot.vm_id, bot.worker_id = decision.vm_id, join.worker_id
        worker.state, worker.since, worker.bot_id = WorkerState.BUSY, now, join.bot_id

    def _apply_to_fleet(self, decision: Decision) -> None:
        match decision:
            case Warm(vm_id=vm_id, worker_id=worker_id, since=since, display=display):
                self._expect(worker_id not in self.workers.get(vm_id, {}), decision)
                self._put(Worker(worker_id, vm_id, WorkerState.WARMING, since, since, display=display))
            case Retire(vm_id=vm_id, worker_id=worker_id, since=since):
                self._put(Worker(worker_id, vm_id, WorkerState.RETIRING, since, since))
            case KeepWorker():
                d = decision
                self._put(Worker(d.worker_id, d.vm_id, d.state, d.since, d.born, d.bot_id, display=d.display))
            case ForgetWorker(vm_id=vm_id, worker_id=worker_id):
                kept = self.workers.get(vm_id, {}).pop(worker_id, None)
                self._expect(kept is not None or self.vms[vm_id].lost, decision)  # a lost VM's went with its record
            case KeepVm(vm_id=vm_id):
                d = decision
                state = (d.draining, d.lost, d.stopping, d.resting)
                facts = (d.processors, d.labels, d.canary, Joins(d.joins_ok, d.joins_failed), d.out, d.makes_displays)
                self.vms[vm_id] = VmRecord(d.session, *state, *facts)
                if decision.lost:
                    self.workers.pop(vm_id, None)
            case ForgetVm(vm_id=vm_id):
                self._expect(self.vms.pop(vm_id, None) is not None, decision)
                self.workers.pop(vm_id, None)
            case _:
                pass

    def _put(self, worker: Worker) -> None:
        self.workers.setdefault(worker.vm_id, {})[worker.worker_id] = worker

    def _expect(self, fits: bool, decision: Decision) -> None:
        if not fits:
            self.refused.append(repr(decision))


def _copy(worker: Worker) -> Worker:
    w = worker
    return Worker(w.worker_id, w.vm_id, w.state, w.since, w.born, w.bot_id, aged=w.aged, display=w.display)
