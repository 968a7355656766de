"""Short names for what core tests build over and over: jobs, heartbeats, a pool with VMs, bots on their way."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from common.config.settings import CaptureSettings, PoolSettings
from common.jobs.record import Job
from common.wire.messages import (
    BotEnded,
    BotMoved,
    BotVitals,
    Heartbeat,
    JoinRefused,
    WorkerGone,
    WorkerReport,
    WorkerWarm,
)
from common.wire.vocabulary import BotState, GoneCause, OnWorkerLost, Reason, RefusalCause, WorkerState
from poolmgr.core.decisions import Assign, Decision, End, Revoke
from poolmgr.core.events import CoreEvent, JobAccepted, Revoked, Tick
from poolmgr.core.invariants import broken_invariants
from poolmgr.core.model import Bot, Vm, Worker
from poolmgr.core.pool import Pool
from tests.core.durable import Durable

_T = TypeVar("_T")

WALL: Final = 1_900_000_000.0
"""The calendar's time when a scenario begins. The steady clock begins at 1000."""

START: Final = 1000.0

WARMING, IDLE, RESERVED, BUSY, RETIRING = WorkerState
ON_VM: Final = [
    BotState.ASSIGNED,
    BotState.JOINING,
    BotState.WAITING_ROOM,
    BotState.IN_MEETING,
    BotState.LEAVING,
]


def job(
    priority: int = 0,
    join_at: float | None = None,
    on_worker_lost: OnWorkerLost | None = None,
    queue_timeout_s: float | None = None,
    join_late_limit_s: float | None = None,
    **more: Any,
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
        join_late_limit_s=join_late_limit_s,
        **more,
    )


def of_type(decisions: Iterable[Decision], kind: type[_T]) -> list[_T]:
    return [decision for decision in decisions if isinstance(decision, kind)]


class Scenario:
    """A pool and a clock. Every step checks the invariants, and that each decision fits those before it.

    With `interrupt`, the leader dies after every step and another takes over from what is durable. `records`: sound and
    pictures are recorded of jobs that ask for them.
    """

    def __init__(self, settings: PoolSettings, *, interrupt: bool = False, records: bool = False) -> None:
        self.settings = settings
        self.capture = CaptureSettings(store="/recordings" if records else "")
        self.interrupt = interrupt
        self.now = START
        self.epoch = 1
        self.pool = Pool(settings, epoch=1, capture=self.capture)
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
        self.pool = Pool(self.settings, epoch=self.epoch, capture=self.capture)
        decisions = self.durable.restored_into(self.pool, self.now, self.wall)
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
        join_late_limit_s: float | None = None,
        **more: Any,
    ) -> list[Decision]:
        join_at = None if join_in is None else self.wall + join_in
        asked = job(priority, join_at, on_worker_lost, queue_timeout_s, join_late_limit_s, **more)
        return [decision for bot_id in bot_ids for decision in self.step(JobAccepted(bot_id, asked, self.wall))]

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
        processors: float = 0.0,
        free_mb: int | None = None,
        labels: Mapping[str, str] | None = None,
        canary: bool | None = None,
        display_room: int | None = None,
    ) -> list[Decision]:
        """A heartbeat that lists what the pool believes, except `without`, or else `reports`. `labels`, `canary`:
        the VM's if they are not those of its last heartbeat.
        """
        listed = dict(reports) if reports is not None else self.reports(vm_id)
        for worker_id in without:
            del listed[worker_id]
        known = self.pool.fleet.get(vm_id)
        has = dict(labels) if labels is not None else dict(known.labels) if known else {}
        is_one = canary if canary is not None else known is not None and known.canary
        facts = (listed, room, stopping, processors, free_mb, has, is_one, display_room)
        return self.step(Heartbeat(vm_id, session, self.wall, *facts))

    def reports(self, vm_id: str) -> dict[str, WorkerReport]:
        vm = self.pool.fleet.get(vm_id)
        return {worker.worker_id: self._report(worker) for worker in vm.workers.values()} if vm else {}

    def _report(self, worker: Worker) -> WorkerReport:
        bot = self.pool.bots.get(worker.bot_id)
        state = WorkerState.IDLE if worker.state is WorkerState.RESERVED else worker.state
        if state is WorkerState.BUSY:
            attempt = bot.attempt if bot else 0
            return WorkerReport(state, worker.bot_id if bot else "", attempt, display=worker.display)
        return WorkerReport(state, display=worker.display)

    def warmed(self, worker_id: str, vm_id: str = "vm") -> list[Decision]:
        return self.step(WorkerWarm(vm_id, worker_id, self.wall))

    def answer(self, revoke: Revoke) -> list[Decision]:
        """As the store does it."""
        return self.step(Revoked(revoke.bot_id, revoke.attempt, revoked=self.durable.revoke(revoke)))

    def gone(self, worker_id: str, cause: GoneCause = GoneCause.SPENT, vm_id: str = "vm") -> list[Decision]:
        return self.step(WorkerGone(vm_id, worker_id, self.wall, cause))

    def fill(
        self,
        *vm_ids: str,
        room: int = 99,
        processors: float = 0.0,
        labels: Mapping[str, str] | None = None,
        canary: bool | None = None,
        display_room: int | None = None,
    ) -> None:
        """The VMs come up and warm everything that the pool asks for, one after the other."""
        for vm_id in vm_ids or ("vm",):
            facts: dict[str, Any] = {"labels": labels, "canary": canary, "display_room": display_room}
            self.beat(vm_id, room=room, processors=processors, **facts)
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


def scenario(*, records: bool = False, **settings: Any) -> Scenario:
    """Small numbers, and nothing that fires by itself unless the test asks for it."""
    defaults: dict[str, Any] = {
        "min_idle": 2,
        "max_workers": 6,
        "warmups_at_once": 2,
        "idle_ttl_s": 1e6,
        "max_age_s": 1e6,
        "heartbeat_timeout_s": 1e5,
        "lost_after_s": 2e5,
        "warmup_timeout_s": 1e6,
        "claim_timeout_s": 1e6,
        "queue_timeout_s": 1e6,
    }
    return Scenario(PoolSettings(**{**defaults, **settings}), records=records)


def full(*vm_ids: str, **settings: Any) -> Scenario:
    """VMs at min_idle."""
    sc = scenario(**settings)
    sc.fill(*vm_ids)
    sc.log.clear()
    return sc


def watched(**settings: Any) -> Scenario:
    return full(
        "vm1",
        "vm2",
        **{"heartbeat_timeout_s": 10, "lost_after_s": 60, "min_idle": 1, **settings},
    )


def bring_to(sc: Scenario, bot_id: str, state: BotState) -> None:
    for step in ON_VM[1:]:
        if step.rank <= state.rank:
            sc.moved(bot_id, step)
    assert sc.bot(bot_id).state is state


def keep_alive(sc: Scenario, vm_id: str, seconds: float) -> None:
    for _ in range(int(seconds / 5)):
        sc.wait(5)
        sc.beat(vm_id)


def whose(assigns: Sequence[Assign]) -> list[str]:
    return [assign.join.bot_id for assign in assigns]
