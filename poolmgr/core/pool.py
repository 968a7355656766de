"""The entry point of the core: `Pool.handle(event, now) -> decisions`.

Two tables say which part handles which event and which deadline. Nothing is decided in this file.

The pool holds every bot that has not ended and every VM. Each part calls only those below it:

    settling        after every event: who waits is served, VMs come to their target
    restoring       what an earlier leader left
    vms             heartbeats, silence, loss, draining
    attempts        what becomes of an assignment
    reservations    workers put aside for scheduled bots
    bots            accepted, in line, assigned, ended
    workers         warming, idle, retiring, gone
    backoff         VMs that fail get less
    canaries        VMs that get a share, and are taken out when their joins fail more than the others'
    state           what all of these share: fleet, queue, timers, and the decisions so far
    placement       which VMs have what a job requires, and which of those can serve it
    policy          the choices that they carry out
    load            what a bot takes of its VM, and whether it wants a worker with a display

Repeated and stale events change nothing, so the same event may come twice.

`now` is the steady clock: epoch seconds that never jump. The calendar's time comes with Tick, and is used for join_at
only.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from common.config.settings import CaptureSettings, PoolSettings
from common.wire.messages import (
    BotEnded,
    BotMoved,
    BotRecorded,
    BotSaw,
    BotStreamed,
    BotTranscribed,
    BotVitals,
    ChatHeard,
    Heartbeat,
    JoinRefused,
    ParticipantsSeen,
    PermissionSeen,
    WorkerGone,
    WorkerWarm,
)
from poolmgr.core import attempts, backoff, bots, canaries, reservations, restoring, vms, workers
from poolmgr.core.decisions import Decision
from poolmgr.core.events import (
    CoreEvent,
    DrainRequested,
    JobAccepted,
    LeaveRequested,
    PauseRequested,
    ProcessResumed,
    RescheduleRequested,
    Revoked,
    SayRequested,
    Tick,
)
from poolmgr.core.model import Bot, Joins, Vm
from poolmgr.core.settling import settle
from poolmgr.core.state import PoolState
from poolmgr.core.timers import Timer

_ON_TIMER: Final[dict[Timer, Callable[[PoolState, Any], None]]] = {
    Timer.VM_SILENT: vms.silence_due,
    Timer.VM_LOST: vms.loss_due,
    Timer.VM_FORGOTTEN: vms.forgetting_due,
    Timer.WARMUP: workers.warmup_overdue,
    Timer.BACKOFF: backoff.over,
    Timer.IDLE_TTL: workers.idle_ttl_over,
    Timer.MAX_AGE: workers.max_age_reached,
    Timer.RETIRE: workers.retire_overdue,
    Timer.CLAIM: attempts.claim_overdue,
    Timer.LEAVE: attempts.leave_overdue,
    Timer.OVERDUE: attempts.overdue,
    Timer.QUEUE: bots.queue_overdue,
    Timer.RESERVE: reservations.reserve_due,
    Timer.DUE: reservations.join_due,
    Timer.MISSED: bots.start_missed,
}


def _on_tick(pool: PoolState, tick: Tick) -> None:
    pool.wall = tick.wall
    for timer, whose in pool.timers.due(pool.now):
        _ON_TIMER[timer](pool, whose)
    for timer, whose in pool.calendar.due(tick.wall):
        _ON_TIMER[timer](pool, whose)


_ON_EVENT: Final[dict[type, Callable[[PoolState, Any], None]]] = {
    JobAccepted: bots.on_job_accepted,
    LeaveRequested: attempts.on_leave_requested,
    SayRequested: attempts.on_say_requested,
    PauseRequested: attempts.on_pause_requested,
    RescheduleRequested: reservations.on_reschedule_requested,
    DrainRequested: vms.on_drain_requested,
    Revoked: attempts.on_revoked,
    ProcessResumed: vms.on_process_resumed,
    Tick: _on_tick,
    Heartbeat: vms.on_heartbeat,
    WorkerWarm: workers.on_worker_warm,
    WorkerGone: attempts.on_worker_gone,
    JoinRefused: attempts.on_join_refused,
    BotMoved: attempts.on_bot_moved,
    BotSaw: attempts.on_fact,
    BotVitals: attempts.on_fact,
    ParticipantsSeen: attempts.on_fact,
    ChatHeard: attempts.on_fact,
    PermissionSeen: attempts.on_fact,
    BotRecorded: attempts.on_bot_recorded,
    BotStreamed: attempts.on_bot_recorded,
    BotTranscribed: attempts.on_bot_recorded,
    BotEnded: attempts.on_bot_ended,
}


class Pool:
    """`epoch` makes the worker names of this leader unique. `forget_vm_s`: how long a lost VM is remembered. `capture`:
    what is recorded of meetings; nothing without a store.

    Other code may read the properties, and must not change what they give.
    """

    def __init__(
        self,
        settings: PoolSettings,
        *,
        epoch: int = 1,
        forget_vm_s: float = 86400.0,
        capture: CaptureSettings = CaptureSettings(),  # noqa: B008 - it is frozen
    ) -> None:
        self._state = state = PoolState(settings, epoch, forget_vm_s, capture)
        self.settings = settings
        self.bots = state.bots
        self.queue = state.queue
        self.to_reserve = state.to_reserve
        self.fleet = state.fleet
        self.timers = state.timers
        self.calendar = state.calendar

    def handle(self, event: CoreEvent, now: float) -> list[Decision]:
        """The decisions that follow from `event`, in order. Raises: IllegalMoveError, which is a bug."""
        state = self._state
        state.now = max(now, state.now)
        state.events += 1
        _ON_EVENT[type(event)](state, event)
        settle(state)
        decided, state.decided = state.decided, []
        return decided

    @property
    def now(self) -> float:
        """The steady clock at the last event."""
        return self._state.now

    @property
    def is_canarys_turn(self) -> bool:
        """Whether a canary is to have the next job."""
        return canaries.is_their_turn(self._state)

    @property
    def others_joins(self) -> Joins:
        """How the joins of VMs fared that are no canaries, while there are some."""
        return self._state.others_joins

    def is_due(self, now: float, wall: float) -> bool:
        """Whether a deadline has come, so that a Tick would do something."""
        return self.timers.next_at <= now or self.calendar.next_at <= wall

    def restore(self, bots: Iterable[Bot], vms: Iterable[Vm], now: float, wall: float = 0.0) -> list[Decision]:
        """Take over what an earlier leader left in Redis. VMs count as silent from `now` on. `wall`: the calendar's
        time; 0: unknown.
        """
        state = self._state
        state.now, state.wall = now, wall
        restoring.restore(state, bots, vms)
        settle(state)
        decided, state.decided = state.decided, []
        return decided
