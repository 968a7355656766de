"""Bots, workers and VMs as the pool keeps them: plain state. Only functions that pool.py calls may change it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from common.jobs.record import Job
from common.wire.vocabulary import BotState, Reason, VmState, WorkerState
from poolmgr.core.load import JobKind

Labels: TypeAlias = frozenset[tuple[str, str]]
"""The labels of a VM, or those that a job requires: (name, value) each."""
NO_LABELS: Final[Labels] = frozenset()


def labels_of(given: Mapping[str, str]) -> Labels:
    return frozenset(given.items()) if given else NO_LABELS


@dataclass(frozen=True, slots=True)
class Joins:
    """How many joins came to something: `ok` are in their meeting, `failed` did not get so far by our doing."""

    ok: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        return self.ok + self.failed


@dataclass(slots=True)
class Bot:
    """One session in one meeting. `seq` keeps the order in which bots were accepted. `requires`: labels of its VM."""

    bot_id: str
    job: Job
    seq: int
    created_at: float  # wall clock
    state: BotState
    attempt: int = 0
    vm_id: str = ""
    worker_id: str = ""
    queued_since: float = 0.0  # steady clock
    leave_requested: bool = False
    paused: bool = False  # nothing of its meeting is to be recorded, in whichever attempt
    overdue_at: float = 0.0  # steady clock: after it the bot is overdue in this attempt
    asked_since: float | None = None  # steady clock: since when it has been asked to leave, on a VM that is not silent
    failed: int = 0  # attempts that failed and count
    failure: Reason | None = None  # the most specific reason of them
    failure_detail: str = ""
    kind: JobKind = JobKind.LISTENS
    requires: Labels = NO_LABELS

    @property
    def order(self) -> tuple[int, float, int]:
        """The key of its place in the queue: priority, then due time, then order of arrival. If the due time was past
        when the job came, the time of arrival counts instead, so nobody jumps the queue.
        """
        return (-self.job.priority, max(self.job.join_at or 0.0, self.created_at), self.seq)

    @property
    def story(self) -> str:
        """Its state and history, for error messages. It contains nothing that the client sent."""
        place = f", on {self.worker_id} of {self.vm_id}" if self.worker_id else ""
        wish = ", asked to leave" if self.leave_requested else ""
        failed = f", {self.failed} attempts failed ({self.failure})" if self.failure else ""
        return f"bot {self.bot_id} (attempt {self.attempt}{place}{wish}{failed}) from {self.state}"

    @property
    def is_on_vm(self) -> bool:
        return BotState.ASSIGNED.rank <= self.state.rank < BotState.STOPPED.rank


@dataclass(slots=True)
class Worker:
    """One warm Chromium. `since`: when it entered its state; `born`: when it was first warm (both steady clock).
    `kind`: of its bot. `display`: it has a virtual display, from which a picture can be recorded.
    """

    worker_id: str
    vm_id: str
    state: WorkerState
    since: float
    born: float
    bot_id: str = ""
    kind: JobKind = JobKind.LISTENS
    served: str = ""  # the last bot that it was given
    aged: bool = False
    asked: int = 0  # how often it was ordered to end
    spent_since: float | None = None  # steady clock: since when its agent reports it with an ended or superseded bot
    display: bool = False


@dataclass(slots=True)
class Vm:
    """A VM of the fleet, and what its agent last reported.

    `processors`: how many it has; 0: unknown. `free_mb`: memory beside the reserve that no worker is expected to take;
    None: unknown. `carried`: its bots, and those that will come, by kind.
    `labels`, `canary`: by the settings of its agent. `joins`: of a canary, since it is in service. `out`: why the
    manager drains it; empty: it does not.
    `makes_displays`: its agent starts workers with a display, and `display_room` is the `room` for those.
    """

    vm_id: str
    session: str
    last_seen: float
    draining: bool = False  # by an operator
    stopping: bool = False  # by its agent
    silent: bool = False
    lost: bool = False
    shunned: bool = False  # it did not begin assignments: no bots before `shunned_until`
    shunned_until: float = float("-inf")
    unbegun: int = 0  # assignments in a row that it did not begin
    room: int = 0
    processors: float = 0.0
    free_mb: int | None = None
    carried: Counter[JobKind] = field(default_factory=Counter[JobKind])
    failures: int = 0
    last_failure: float = float("-inf")
    backoff_until: float = float("-inf")
    workers: dict[str, Worker] = field(default_factory=dict[str, Worker])
    idle: dict[str, Worker] = field(default_factory=dict[str, Worker])  # oldest first
    warming: int = 0  # how many of the workers are
    makes_displays: bool = False
    display_room: int = 0
    idle_displays: int = 0  # how many of the idle ones have a display
    warming_displays: int = 0  # and of the warming ones
    labels: Labels = NO_LABELS
    canary: bool = False
    joins: Joins = Joins()
    out: str = ""

    @property
    def state(self) -> VmState:
        if self.lost or self.silent:
            return VmState.LOST if self.lost else VmState.SILENT
        if self.draining or self.stopping:
            return VmState.STOPPING if self.stopping else VmState.DRAINING
        return VmState.RESTING if self.shunned else VmState.UP

    @property
    def takes_work(self) -> bool:
        return not (self.draining or self.stopping or self.silent or self.lost)

    @property
    def takes_bots(self) -> bool:
        return self.takes_work and not self.shunned

    @property
    def bots(self) -> int:
        return self.carried.total()
