"""Short names for what core tests build over and over: jobs, heartbeats, a pool with VMs, and what Redis would keep."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec

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
    Reschedule,
    Retire,
    Revoke,
    Warm,
)
from poolmgr.core.events import CoreEvent, JobAccepted, Revoked, Tick
from poolmgr.core.invariants import broken_invariants
from poolmgr.core.job import Job
from poolmgr.core.model import Bot, Vm, Worker
from poolmgr.core.pool import Pool
from wire.messages import (
    BotEnded,
    BotMoved,
    BotVitals,
    Heartbeat,
    JoinRefused,
    WorkerGone,
    WorkerReport,
    WorkerWarm,
)
from wire.settings import PoolSettings
from wire.vocabulary import BotState, GoneCause, OnWorkerLost, Reason, RefusalCause, WorkerState

_T = TypeVar("_T")

WALL: Final = 1_900_000_000.0
"""The calendar's time when a scenario begins. The steady clock begins at 1000."""

START: Final = 1000.0


def job(
    priority: int = 0,
    join_at: float | None = None,
    on_worker_lost: OnWorkerLost | None = None,
    queue_timeout_s: float | None = None,
) -> Job:
    return Job(
        platform="room",
        meeting_url="https://rooms.example/r/demo",
        bot_name="Notetaker",
        payload="{}",
        priority=priority,
        join_at=join_at,
        on_worker_lost=on_worker_lost,
        queue_timeout_s=queue_timeout_s,
    )


def of_type(decisions: Iterable[Decision], kind: type[_T]) -> list[_T]:
    return [decision for decision in decisions if isinstance(decision, kind)]


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
    failed: int = 0
    end: End | None = None


@dataclass
class VmRecord:
    """What Redis keeps of a VM."""

    session: str
    draining: bool = False
    lost: bool = False
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
            case Ask(bot_id=bot_id, attempt=attempt, reason=reason):
                bot = self.bots.get(bot_id)
                if bot and bot.attempt == attempt and reason is not Reason.SUPERSEDED:
                    bot.leave_requested = True
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

    def restored_into(self, pool: Pool, now: float) -> list[Decision]:
        """Let `pool` take over, as a new leader does."""
        vms: list[Vm] = []
        for vm_id, record in self.vms.items():
            if not record.lost:
                vm = Vm(vm_id, record.session, 0.0, draining=record.draining)
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
                failed=record.failed,
            )
            for bot_id, record in self.bots.items()
            if record.end is None
        ]
        return pool.restore(bots, vms, now)

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
            case Warm(vm_id=vm_id, worker_id=worker_id, since=since):
                self._expect(worker_id not in self.workers.get(vm_id, {}), decision)
                self._put(Worker(worker_id, vm_id, WorkerState.WARMING, since, since))
            case Retire(vm_id=vm_id, worker_id=worker_id, since=since):
                self._put(Worker(worker_id, vm_id, WorkerState.RETIRING, since, since))
            case KeepWorker():
                d = decision
                self._put(Worker(d.worker_id, d.vm_id, d.state, d.since, d.born, d.bot_id))
            case ForgetWorker(vm_id=vm_id, worker_id=worker_id):
                kept = self.workers.get(vm_id, {}).pop(worker_id, None)
                self._expect(kept is not None or self.vms[vm_id].lost, decision)  # a lost VM's went with its record
            case KeepVm(vm_id=vm_id):
                self.vms[vm_id] = VmRecord(decision.session, decision.draining, decision.lost)
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
    return Worker(worker.worker_id, worker.vm_id, worker.state, worker.since, worker.born, worker.bot_id, worker.aged)


class Scenario:
    """A pool and a clock. Every step checks the invariants, and that each decision fits those before it.

    With `interrupt`, the leader dies after every step and another takes over from what is durable.
    """

    def __init__(self, settings: PoolSettings, *, interrupt: bool = False) -> None:
        self.settings = settings
        self.interrupt = interrupt
        self.now = START
        self.epoch = 1
        self.pool = Pool(settings, epoch=1)
        self.durable = Durable(settings.on_worker_lost)
        self.log: list[Decision] = []
        self._accepted = 0

    # Whatever happens goes through here.

    def step(self, event: CoreEvent) -> list[Decision]:
        """What the pool decides. Both clocks go on by themselves only in `wait`."""
        decisions = self.pool.handle(event, self.now)
        self.take(decisions)
        if self.interrupt:
            self.fail_over()
        return decisions

    def take(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            self.durable.apply(decision, self.now)
            self.log.append(decision)
        assert self.durable.refused == []
        assert broken_invariants(self.pool) == []

    def fail_over(self) -> list[Decision]:
        self.epoch += 1
        self.pool = Pool(self.settings, epoch=self.epoch)
        decisions = self.durable.restored_into(self.pool, self.now)
        self.take(decisions)
        return decisions

    # Time

    @property
    def wall(self) -> float:
        return WALL + self.now - START

    def wait(self, seconds: float) -> list[Decision]:
        self.now += seconds
        return self.step(Tick(self.wall))

    # Clients

    def submit(
        self,
        *bot_ids: str,
        priority: int = 0,
        join_in: float | None = None,
        on_worker_lost: OnWorkerLost | None = None,
        queue_timeout_s: float | None = None,
    ) -> list[Decision]:
        join_at = None if join_in is None else self.wall + join_in
        return [
            decision
            for bot_id in bot_ids
            for decision in self.step(
                JobAccepted(bot_id, job(priority, join_at, on_worker_lost, queue_timeout_s), self.wall)
            )
        ]

    # Agents

    def beat(
        self,
        vm_id: str = "vm",
        *,
        room: int = 99,
        session: str = "s1",
        stopping: bool = False,
        reports: Mapping[str, WorkerReport] | None = None,
        without: Iterable[str] = (),
    ) -> list[Decision]:
        """A heartbeat that lists what the pool believes, except `without`, or else `reports`."""
        listed = dict(reports) if reports is not None else self.reports(vm_id)
        for worker_id in without:
            del listed[worker_id]
        return self.step(Heartbeat(vm_id, session, self.wall, listed, room, stopping))

    def reports(self, vm_id: str) -> dict[str, WorkerReport]:
        vm = self.pool.fleet.get(vm_id)
        return {worker.worker_id: self._report(worker) for worker in vm.workers.values()} if vm else {}

    def _report(self, worker: Worker) -> WorkerReport:
        bot = self.pool.bots.get(worker.bot_id)
        state = WorkerState.IDLE if worker.state is WorkerState.RESERVED else worker.state
        if state is WorkerState.BUSY:
            return WorkerReport(state, worker.bot_id, bot.attempt if bot else 1)
        return WorkerReport(state)

    def warmed(self, worker_id: str, vm_id: str = "vm") -> list[Decision]:
        return self.step(WorkerWarm(vm_id, worker_id, self.wall))

    def answer(self, revoke: Revoke) -> list[Decision]:
        """As the store does it."""
        return self.step(Revoked(revoke.bot_id, revoke.attempt, revoked=self.durable.revoke(revoke)))

    def gone(self, worker_id: str, cause: GoneCause = GoneCause.SPENT, vm_id: str = "vm") -> list[Decision]:
        return self.step(WorkerGone(vm_id, worker_id, self.wall, cause))

    def fill(self, *vm_ids: str, room: int = 99) -> None:
        """The VMs come up and warm everything that the pool asks for, one after the other."""
        for vm_id in vm_ids or ("vm",):
            self.beat(vm_id, room=room)
            while warming := self.names(WorkerState.WARMING, vm_id):
                for worker_id in warming:
                    self.warmed(worker_id, vm_id)

    def moved(self, bot_id: str, state: BotState, **other: Any) -> list[Decision]:
        return self.step(BotMoved(**self._of(bot_id, **other), at=self.wall, state=state))

    def ended(self, bot_id: str, reason: Reason = Reason.MEETING_ENDED, **other: Any) -> list[Decision]:
        return self.step(BotEnded(**self._of(bot_id, **other), at=self.wall, reason=reason, audio_packets=7))

    def vitals(self, bot_id: str, **other: Any) -> list[Decision]:
        return self.step(BotVitals(**self._of(bot_id, **other), at=self.wall, participants=2, audio_packets=5))

    def refused(self, bot_id: str, cause: RefusalCause, **other: Any) -> list[Decision]:
        return self.step(JoinRefused(**self._of(bot_id, **other), at=self.wall, cause=cause))

    def _of(self, bot_id: str, **other: Any) -> dict[str, Any]:
        record = self.durable.bots[bot_id]
        named = {"vm_id": record.vm_id, "worker_id": record.worker_id, "bot_id": bot_id, "attempt": record.attempt}
        return {**named, **other}

    # What one looks at

    def bot(self, bot_id: str) -> Bot:
        return self.pool.bots[bot_id]

    def vm(self, vm_id: str = "vm") -> Vm:
        return self.pool.fleet.vms[vm_id]

    def names(self, state: WorkerState, vm_id: str = "vm") -> list[str]:
        vm = self.pool.fleet.get(vm_id)
        if vm is None:
            return []
        found = [worker for worker in vm.workers.values() if worker.state is state]
        return [worker.worker_id for worker in sorted(found, key=lambda worker: worker.since)]

    def count(self, state: WorkerState, vm_id: str = "vm") -> int:
        return len(self.names(state, vm_id))

    def end_of(self, bot_id: str) -> End | None:
        return self.durable.bots[bot_id].end

    def assigned_to(self, bot_id: str) -> str:
        """The VM of the bot's last assignment."""
        return [d for d in of_type(self.log, Assign) if d.join.bot_id == bot_id][-1].vm_id
