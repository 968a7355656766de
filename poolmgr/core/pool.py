"""The one door of the core: `Pool.handle(event, now) -> decisions`.

It knows every bot that has not ended and every VM, and changes them by the events; the choices themselves are in
policy.py. Repeated and stale news changes nothing, so an event may be handed in twice.

`now` is the steady clock: epoch seconds that never jump. The calendar's time comes with Tick, for join_at alone.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from poolmgr.core import policy
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
    NoteVitals,
    Retire,
    Revoke,
    Warm,
    Why,
)
from poolmgr.core.events import CoreEvent, DrainRequested, JobAccepted, LeaveRequested, Revoked, Tick, Unheard
from poolmgr.core.fleet import Fleet
from poolmgr.core.model import Bot, Vm, Worker
from poolmgr.core.queue import BotQueue
from poolmgr.core.timers import Timer, Timers
from poolmgr.core.transitions import check_move
from wire.messages import (
    BotEnded,
    BotMoved,
    BotVitals,
    Heartbeat,
    Join,
    JoinRefused,
    WorkerGone,
    WorkerReport,
    WorkerWarm,
)
from wire.settings import PoolSettings
from wire.vocabulary import ENDS, BotState, GoneCause, Reason, RefusalCause, WorkerState

_FAILURES = frozenset(
    {GoneCause.WARMUP_FAILED, GoneCause.LOW_MEMORY, GoneCause.CRASHED, GoneCause.UNRESPONSIVE},
)
_UNCLAIMED = "no agent claimed the assignment in time"
_VM_SILENT = "its VM fell silent"
_UNCOUNTED = frozenset({RefusalCause.STOPPING, RefusalCause.LOW_MEMORY})
"""Refusals that say nothing of the bot, nor of the worker."""
_NOT_YET_USED = frozenset({WorkerState.WARMING, WorkerState.IDLE, WorkerState.RESERVED})


class Pool:
    """`epoch` makes the worker names of this leader its own; `forget_vm_s`: how long a lost VM is remembered."""

    def __init__(self, settings: PoolSettings, *, epoch: int = 1, forget_vm_s: float = 86400.0) -> None:
        self.settings = settings
        self.bots: dict[str, Bot] = {}
        self.queue = BotQueue()
        self.to_reserve: dict[str, Bot] = {}  # scheduled bots whose browser should stand ready, but none is idle
        self.fleet = Fleet(settings)
        self.timers = Timers()
        self.calendar = Timers()
        self._epoch = epoch
        self._forget_vm_s = forget_vm_s
        self._now = 0.0
        self._handled = 0
        self._absence_counts_from = float("-inf")
        self._seq = 0
        self._ordered = 0
        self._lost_at: deque[float] = deque()  # the VMs that were taken for lost, for as long as they count
        self._queued_in: dict[str, int] = {}  # which handled event put the bot in the queue
        self._dirty: dict[str, Vm] = {}
        self._out: list[Decision] = []
        self._handlers: dict[type, Callable[[Any], None]] = {
            JobAccepted: self._on_job_accepted,
            LeaveRequested: self._on_leave_requested,
            DrainRequested: self._on_drain_requested,
            Revoked: self._on_revoked,
            Unheard: self._on_unheard,
            Tick: self._on_tick,
            Heartbeat: self._on_heartbeat,
            WorkerWarm: self._on_worker_warm,
            WorkerGone: self._on_worker_gone,
            JoinRefused: self._on_join_refused,
            BotMoved: self._on_bot_moved,
            BotVitals: self._on_bot_vitals,
            BotEnded: self._on_bot_ended,
        }
        self._on_timer: dict[Timer, Callable[[str], None]] = {
            Timer.VM_SILENT: self._vm_silent,
            Timer.VM_LOST: self._vm_lost,
            Timer.VM_FORGOTTEN: self._vm_forgotten,
            Timer.WARMUP: self._warmup_overdue,
            Timer.BACKOFF: self._backoff_over,
            Timer.IDLE_TTL: self._touch_by_id,
            Timer.MAX_AGE: self._max_age_reached,
            Timer.RETIRE: self._retire_overdue,
            Timer.CLAIM: self._claim_overdue,
            Timer.LEAVE: self._leave_overdue,
            Timer.QUEUE: self._queue_overdue,
            Timer.RESERVE: self._reserve_due,
            Timer.DUE: self._join_due,
        }

    def handle(self, event: CoreEvent, now: float) -> list[Decision]:
        """What is to be done because of `event`. Raises: IllegalMoveError on a fault of ours."""
        self._now = max(now, self._now)
        self._handled += 1
        self._handlers[type(event)](event)
        self._settle()
        out, self._out = self._out, []
        return out

    def is_due(self, now: float, wall: float) -> bool:
        """True if a Tick would find a deadline that has come."""
        return self.timers.next_at <= now or self.calendar.next_at <= wall

    def restore(self, bots: Iterable[Bot], vms: Iterable[Vm], now: float) -> list[Decision]:
        """Take over what an earlier leader left in Redis. Nobody's silence counts before `now`."""
        self._now = now
        self._absence_counts_from = now + self.settings.heartbeat_timeout_s
        for vm in vms:
            self._restore_vm(vm)
        for bot in bots:
            self._restore_bot(bot)
        self._settle()
        out, self._out = self._out, []
        return out

    def _restore_vm(self, record: Vm) -> None:
        vm = Vm(record.vm_id, record.session, self._now, draining=record.draining)
        self.fleet.vms[vm.vm_id] = vm
        self.timers.set(self._now + self.settings.heartbeat_timeout_s, Timer.VM_SILENT, vm.vm_id)
        for worker in sorted(record.workers.values(), key=lambda worker: worker.since):
            if worker.state is WorkerState.RESERVED:  # its bot's calendar timer fires again and reserves anew
                worker.state, worker.bot_id = WorkerState.IDLE, ""
            self._add_worker(vm, worker)
        self._touch(vm)

    def _restore_bot(self, bot: Bot) -> None:
        self.bots[bot.bot_id] = bot
        self._seq = max(self._seq, bot.seq)
        if bot.state is BotState.SCHEDULED:
            self._set_calendar(bot)
        elif bot.state is BotState.QUEUED:
            self._stand_in_line(bot)
        elif not bot.worker_id:  # its assignment was revoked, and the leader died before it said so
            self._attempt_failed(bot, Why.CLAIM_OVERDUE, Reason.WORKER_LOST, _UNCLAIMED)
        else:
            vm = self.fleet.get(bot.vm_id) or self._add_vm(bot.vm_id, session="")
            if bot.worker_id not in vm.workers:
                worker = Worker(bot.worker_id, vm.vm_id, WorkerState.BUSY, self._now, self._now, bot.bot_id)
                self._add_worker(vm, worker)
            if bot.state is BotState.ASSIGNED:
                self._set_claim_timer(bot)
            if bot.leave_requested:
                self._set_leave_timer(bot)
            self._touch(vm)

    # Settling: after every event, whoever waits is served and every VM that changed is brought to its target.

    def _settle(self) -> None:
        while len(self.queue) and (vm := self.fleet.vm_for_next_bot()):
            self._assign(self.queue.take(), vm, policy.pick_worker(vm))
        while self.to_reserve and (vm := self.fleet.vm_for_next_bot()):
            bot = self.to_reserve.pop(next(iter(self.to_reserve)))
            self._reserve(bot, vm, policy.pick_worker(vm))
        while self._dirty:
            _, vm = self._dirty.popitem()
            self._balance(vm)
        while self._unmet_demand() and (vm := self.fleet.vm_to_warm_on()):
            self._warm(vm, Why.JOBS_WAIT)
        self._dirty.clear()

    def _unmet_demand(self) -> bool:
        return len(self.queue) + len(self.to_reserve) > self.fleet.warming_in_service

    def _balance(self, vm: Vm) -> None:
        if vm.draining and not vm.lost:
            for worker in [w for w in vm.workers.values() if w.state in _NOT_YET_USED]:
                self._retire(vm, worker, Why.VM_DRAINS)
            return
        while policy.shortfall(vm, self.settings) > 0 and policy.can_warm(vm, self.settings, self._now):
            self._warm(vm, Why.BELOW_MIN_IDLE)
        if not vm.takes_work:
            return
        for worker in list(policy.to_trim(vm, self.settings, self._now)):
            self._retire(vm, worker, Why.TOO_OLD if worker.aged else Why.IDLE_TTL)
        if worker := policy.recycled_first(vm, self.settings):
            self._retire(vm, worker, Why.TOO_OLD)

    def _touch(self, vm: Vm) -> None:
        self._dirty[vm.vm_id] = vm
        self.fleet.index(vm, self._now)

    def _touch_by_id(self, vm_id: str) -> None:
        if vm := self.fleet.get(vm_id):
            self._touch(vm)

    # Jobs and bots

    def _on_job_accepted(self, event: JobAccepted) -> None:
        if event.bot_id in self.bots:
            return
        self._seq += 1
        scheduled = event.job.join_at is not None and event.job.join_at > event.at
        state = BotState.SCHEDULED if scheduled else BotState.QUEUED
        bot = Bot(event.bot_id, event.job, self._seq, event.at, state)
        self.bots[bot.bot_id] = bot
        self._out.append(Accept(bot.bot_id, bot.job, state, event.at, bot.seq))
        if scheduled:
            self._set_calendar(bot)
        else:
            self._stand_in_line(bot)

    def _set_calendar(self, bot: Bot) -> None:
        due = bot.job.join_at or bot.created_at
        self.calendar.set(due - self.settings.reserve_ahead_s, Timer.RESERVE, bot.bot_id)
        self.calendar.set(due, Timer.DUE, bot.bot_id)

    def _stand_in_line(self, bot: Bot, *, since: float | None = None) -> None:
        bot.queued_since = self._now if since is None else since
        self._queued_in[bot.bot_id] = self._handled
        self.queue.add(bot)
        self.timers.set(bot.queued_since + self.settings.queue_timeout_s, Timer.QUEUE, bot.bot_id)

    def _enqueue(self, bot: Bot, why: Why | None = None) -> None:
        never_began = bot.state is BotState.ASSIGNED and why is not None
        self._move(bot, BotState.QUEUED)
        bot.vm_id = bot.worker_id = ""
        self._out.append(Enqueue(bot.bot_id, bot.attempt, why, bot.failed))
        self._stand_in_line(bot, since=bot.queued_since if never_began else None)

    def _assign(self, bot: Bot, vm: Vm, worker: Worker) -> None:
        self._move(bot, BotState.ASSIGNED)
        bot.attempt += 1
        bot.vm_id, bot.worker_id = vm.vm_id, worker.worker_id
        self.fleet.change_worker(vm, worker, WorkerState.BUSY, self._now, bot.bot_id)
        self._touch(vm)
        self._set_claim_timer(bot)
        job = bot.job
        self._out.append(
            Assign(
                vm.vm_id,
                Join(
                    worker.worker_id,
                    bot.bot_id,
                    bot.attempt,
                    job.platform,
                    job.meeting_url,
                    job.bot_name,
                    job.automatic_leave,
                    policy.leave_when_cut_off_s(bot, self.settings),
                ),
                born=worker.born,
                warm=self._queued_in.pop(bot.bot_id, -1) == self._handled,
                waited_s=self._now - bot.queued_since,
            )
        )

    def _set_claim_timer(self, bot: Bot) -> None:
        at = self._now + self.settings.claim_timeout_s
        self.timers.set(at, Timer.CLAIM, f"{bot.bot_id}#{bot.attempt}")

    def _move(self, bot: Bot, state: BotState) -> None:
        check_move(bot.bot_id, bot.attempt, bot.state, state)
        bot.state = state

    def _end(self, bot: Bot, reason: Reason, detail: str = "", at: float | None = None, audio_packets: int = 0) -> None:
        self._move(bot, BotState.STOPPED)
        self.queue.leave(bot.bot_id)
        self._queued_in.pop(bot.bot_id, None)
        self.to_reserve.pop(bot.bot_id, None)
        del self.bots[bot.bot_id]
        self._out.append(End(bot.bot_id, bot.attempt, reason, detail, at, audio_packets))

    def _attempt_failed(
        self,
        bot: Bot,
        why: Why,
        reason: Reason,
        detail: str = "",
        at: float | None = None,
        audio_packets: int = 0,
        *,
        is_out: bool = True,
        counts: bool = True,
    ) -> None:
        """The attempt came to nothing. `counts`: as one of the pool's max_attempts."""
        bot.failed += counts
        if policy.is_sent_in_again(bot, self.settings, is_out=is_out):
            self._enqueue(bot, why)
        elif bot.leave_requested:
            self._end(bot, Reason.USER_REQUESTED, "", at, audio_packets)
        else:
            self._end(bot, reason, detail, at, audio_packets)

    def _on_leave_requested(self, event: LeaveRequested) -> None:
        bot = self.bots.get(event.bot_id)
        if bot is None:
            return
        if bot.is_on_vm:
            bot.leave_requested = True
            self._out.append(Ask(bot.vm_id, bot.worker_id, bot.bot_id, bot.attempt, event.reason))
            self._set_leave_timer(bot)
            return
        if reserved := self.fleet.worker(bot.vm_id, bot.worker_id):
            self._to_idle(self.fleet.vms[bot.vm_id], reserved)
        self._end(bot, event.reason)

    def _set_leave_timer(self, bot: Bot) -> None:
        self.timers.set(self._now + self.settings.claim_timeout_s, Timer.LEAVE, f"{bot.bot_id}#{bot.attempt}")

    def _leave_overdue(self, whose: str) -> None:
        """Ask again: an order can be lost with the stream that it stood in."""
        bot_id, _, attempt = whose.partition("#")
        bot = self.bots.get(bot_id)
        if bot and bot.is_on_vm and bot.attempt == int(attempt):
            self._out.append(Ask(bot.vm_id, bot.worker_id, bot.bot_id, bot.attempt, Reason.USER_REQUESTED))
            self._set_leave_timer(bot)

    def _current(self, event: BotMoved | BotVitals | BotEnded | JoinRefused) -> Bot | None:
        """The bot, if the event speaks of the attempt that counts."""
        bot = self.bots.get(event.bot_id)
        same = bot and bot.is_on_vm and (bot.attempt, bot.worker_id) == (event.attempt, event.worker_id)
        return bot if same else None

    def _on_bot_moved(self, event: BotMoved) -> None:
        bot = self._current(event)
        if bot is None:
            # A VM that was cut off, or a bot that has ended meanwhile: whoever speaks here has to leave.
            self._supersede(event.vm_id, event.worker_id, event.bot_id, event.attempt)
        elif bot.state.rank < event.state.rank < BotState.STOPPED.rank:
            self._move(bot, event.state)
            self._note_begun(bot)
            self._out.append(
                Move(bot.bot_id, bot.attempt, event.state, event.at, event.screen, event.rule, event.first_request_at)
            )

    def _supersede(self, vm_id: str, worker_id: str, bot_id: str, attempt: int) -> None:
        self._out.append(Ask(vm_id, worker_id, bot_id, attempt, Reason.SUPERSEDED))

    def _on_bot_vitals(self, event: BotVitals) -> None:
        if bot := self._current(event):
            self._out.append(
                NoteVitals(bot.bot_id, bot.attempt, event.at, event.participants, event.audio_packets),
            )

    def _on_bot_ended(self, event: BotEnded) -> None:
        bot = self._current(event)
        if bot is None:
            return
        if ENDS[event.reason].retry:
            self._attempt_failed(bot, Why.RETRY, event.reason, event.detail, event.at, event.audio_packets)
        else:
            self._end(bot, event.reason, event.detail, event.at, event.audio_packets)

    def _on_join_refused(self, event: JoinRefused) -> None:
        bot = self._current(event)
        worker = self.fleet.worker(event.vm_id, event.worker_id)
        vm = self.fleet.get(event.vm_id)
        if bot is None or vm is None:
            return
        if worker and event.cause is RefusalCause.NO_SUCH_WORKER:
            self._drop_worker(vm, worker, GoneCause.MISSING)
        elif worker and event.cause in (RefusalCause.UNKNOWN_PLATFORM, RefusalCause.LOW_MEMORY):
            self._to_idle(vm, worker)
        elif event.cause is RefusalCause.STOPPING:
            vm.stopping = True
            self._touch(vm)
        if event.cause is RefusalCause.UNKNOWN_PLATFORM:
            self._end(bot, Reason.INTERNAL_ERROR, f"the agent of {vm.vm_id} has no adapter for {bot.job.platform}")
        else:
            if event.cause is RefusalCause.LOW_MEMORY:
                self._shun(vm)
            counts = event.cause not in _UNCOUNTED
            self._attempt_failed(bot, Why.REFUSED, Reason.WORKER_LOST, f"refused: {event.cause}", counts=counts)

    def _shun(self, vm: Vm) -> None:
        """It did not begin what it was given: others come first for a while, longer every time."""
        vm.unbegun += 1
        vm.shunned, vm.shunned_until = True, self._now + policy.backoff_s(vm.unbegun, self.settings)
        self.timers.set(vm.shunned_until, Timer.BACKOFF, vm.vm_id)
        self._touch(vm)

    def _note_begun(self, bot: Bot) -> None:
        vm = self.fleet.get(bot.vm_id)
        if vm and vm.unbegun:
            vm.unbegun, vm.shunned = 0, False
            self._touch(vm)

    def _backoff_over(self, vm_id: str) -> None:
        if vm := self.fleet.get(vm_id):
            vm.shunned = vm.shunned and self._now < vm.shunned_until
            self._touch(vm)

    def _claim_overdue(self, whose: str) -> None:
        bot_id, _, attempt = whose.partition("#")
        bot = self.bots.get(bot_id)
        if bot and bot.state is BotState.ASSIGNED and bot.attempt == int(attempt):
            self._out.append(Revoke(bot.bot_id, bot.attempt))

    def _on_revoked(self, event: Revoked) -> None:
        bot = self.bots.get(event.bot_id)
        if bot is None or bot.state is not BotState.ASSIGNED or bot.attempt != event.attempt:
            return
        vm, worker = self.fleet.get(bot.vm_id), self.fleet.worker(bot.vm_id, bot.worker_id)
        if vm and worker and vm.lost:
            self._worker_gone(vm, worker, GoneCause.MISSING, _VM_SILENT, is_out=event.revoked)
        elif not event.revoked:  # claimed just in time: its first screen is on the way
            self._set_claim_timer(bot)
        else:
            self._attempt_failed(bot, Why.CLAIM_OVERDUE, Reason.WORKER_LOST, _UNCLAIMED)
            if vm and worker:
                self._retire(vm, worker, Why.CLAIM_OVERDUE)
                self._shun(vm)

    def _queue_overdue(self, bot_id: str) -> None:
        bot = self.bots.get(bot_id)
        waited = self._now - bot.queued_since if bot else 0.0
        if bot and bot.state is BotState.QUEUED and waited >= self.settings.queue_timeout_s:
            self._end(bot, Reason.NO_CAPACITY, f"waited {waited:.0f} s for a warm worker")

    # Scheduled bots: a worker is put aside ahead of time, so that it is there when the calendar says so.

    def _reserve_due(self, bot_id: str) -> None:
        bot = self.bots.get(bot_id)
        if bot and bot.state is BotState.SCHEDULED and not bot.worker_id:
            self.to_reserve[bot_id] = bot

    def _reserve(self, bot: Bot, vm: Vm, worker: Worker) -> None:
        bot.vm_id, bot.worker_id = vm.vm_id, worker.worker_id
        self.fleet.change_worker(vm, worker, WorkerState.RESERVED, self._now, bot.bot_id)
        self._keep_worker(worker)
        self._touch(vm)

    def _free_reservation(self, worker: Worker) -> None:
        """The worker will not be there for its bot: another one is to be put aside."""
        bot = self.bots.get(worker.bot_id)
        if worker.state is WorkerState.RESERVED and bot:
            bot.vm_id = bot.worker_id = ""
            self.to_reserve[bot.bot_id] = bot

    def _free_reservations(self, vm: Vm) -> None:
        for worker in [worker for worker in vm.workers.values() if worker.state is WorkerState.RESERVED]:
            self._free_reservation(worker)
            self._to_idle(vm, worker)

    def _join_due(self, bot_id: str) -> None:
        bot = self.bots.get(bot_id)
        if bot is None or bot.state is not BotState.SCHEDULED:
            return
        self.to_reserve.pop(bot_id, None)
        vm, worker = self.fleet.get(bot.vm_id), self.fleet.worker(bot.vm_id, bot.worker_id)
        self._enqueue(bot)
        if vm and worker and vm.takes_work:
            self.queue.leave(bot_id)
            self._assign(bot, vm, worker)
        elif vm and worker:
            self._to_idle(vm, worker)

    # Workers

    def _warm(self, vm: Vm, why: Why) -> None:
        self._ordered += 1
        vm.room -= 1
        # Counted over all VMs: one that was forgotten and comes back with its workers must not see a name again.
        worker_id = f"{vm.vm_id}-{self._epoch}-{self._ordered}"
        self._add_worker(vm, Worker(worker_id, vm.vm_id, WorkerState.WARMING, self._now, self._now))
        self.fleet.index(vm, self._now)
        self._out.append(Warm(vm.vm_id, worker_id, self._now, why))

    def _retire(self, vm: Vm, worker: Worker, why: Why) -> None:
        self.fleet.change_worker(vm, worker, WorkerState.RETIRING, self._now)
        self._set_worker_timer(worker)
        self.fleet.index(vm, self._now)
        self._out.append(Retire(vm.vm_id, worker.worker_id, self._now, why))

    def _add_worker(self, vm: Vm, worker: Worker) -> None:
        self.fleet.add_worker(vm, worker)
        self._set_worker_timer(worker)

    def _set_worker_timer(self, worker: Worker) -> None:
        settings = self.settings
        whose = f"{worker.vm_id}#{worker.worker_id}"
        if worker.state is WorkerState.WARMING:
            self.timers.set(self._now + settings.warmup_timeout_s, Timer.WARMUP, whose)
        elif worker.state is WorkerState.RETIRING:
            self.timers.set(self._now + settings.warmup_timeout_s, Timer.RETIRE, whose)
        elif worker.state is WorkerState.IDLE:
            self.timers.set(worker.since + settings.idle_ttl_s, Timer.IDLE_TTL, worker.vm_id)
            self.timers.set(worker.born + settings.max_age_s, Timer.MAX_AGE, whose)

    def _to_idle(self, vm: Vm, worker: Worker) -> None:
        self.fleet.change_worker(vm, worker, WorkerState.IDLE, self._now)
        self._set_worker_timer(worker)
        self._keep_worker(worker)
        self._touch(vm)

    def _keep_worker(self, worker: Worker) -> None:
        self._out.append(
            KeepWorker(worker.vm_id, worker.worker_id, worker.state, worker.since, worker.born, worker.bot_id)
        )

    def _drop_worker(self, vm: Vm, worker: Worker, cause: GoneCause) -> None:
        self.fleet.drop_worker(vm, worker)
        self._touch(vm)
        self._out.append(ForgetWorker(vm.vm_id, worker.worker_id, cause))

    def _worker_of(self, whose: str, state: WorkerState) -> tuple[Vm, Worker] | None:
        vm_id, _, worker_id = whose.partition("#")
        vm, worker = self.fleet.get(vm_id), self.fleet.worker(vm_id, worker_id)
        return (vm, worker) if vm and worker and worker.state is state else None

    def _on_worker_warm(self, event: WorkerWarm) -> None:
        vm = self.fleet.get(event.vm_id)
        worker = self.fleet.worker(event.vm_id, event.worker_id)
        if vm and worker and worker.state is WorkerState.WARMING:
            worker.born = self._now
            self._to_idle(vm, worker)

    def _on_worker_gone(self, event: WorkerGone) -> None:
        vm = self.fleet.get(event.vm_id)
        worker = self.fleet.worker(event.vm_id, event.worker_id)
        if vm and worker:
            self._worker_gone(vm, worker, event.cause, event.detail)

    def _worker_gone(self, vm: Vm, worker: Worker, cause: GoneCause, detail: str = "", *, is_out: bool = True) -> None:
        """`is_out`: its agent says so; else its VM is not heard of, and a bot of it may be in its meeting."""
        if cause in _FAILURES and worker.state in _NOT_YET_USED:
            self._count_failure(vm)
        self._free_reservation(worker)
        bot = self.bots[worker.bot_id] if self._serves(worker) else None
        self._drop_worker(vm, worker, cause)
        if bot:
            why = Why.VM_LOST if vm.lost else Why.WORKER_LOST
            self._attempt_failed(bot, why, Reason.WORKER_LOST, detail or f"worker {cause}", is_out=is_out)

    def _count_failure(self, vm: Vm) -> None:
        """Failures with less than the longest backoff between them are failures in a row."""
        in_a_row = self._now - vm.last_failure <= self.settings.backoff_max_s + self.settings.warmup_timeout_s
        vm.failures = vm.failures + 1 if in_a_row else 1
        vm.last_failure = self._now
        vm.backoff_until = self._now + policy.backoff_s(vm.failures, self.settings)
        self.timers.set(vm.backoff_until, Timer.BACKOFF, vm.vm_id)

    def _warmup_overdue(self, whose: str) -> None:
        if found := self._worker_of(whose, WorkerState.WARMING):
            vm, worker = found
            self._count_failure(vm)
            self._retire(vm, worker, Why.WARMUP_OVERDUE)
            self._touch(vm)

    def _retire_overdue(self, whose: str) -> None:
        if found := self._worker_of(whose, WorkerState.RETIRING):
            vm, worker = found
            if not vm.silent:
                self._retire(vm, worker, Why.RETIRE_OVERDUE)
            else:
                self._set_worker_timer(worker)

    def _max_age_reached(self, whose: str) -> None:
        found = self._worker_of(whose, WorkerState.IDLE)
        if found and self._now >= found[1].born + self.settings.max_age_s:
            vm, worker = found
            worker.aged = True
            self._touch(vm)

    # VMs

    def _add_vm(self, vm_id: str, session: str) -> Vm:
        vm = Vm(vm_id, session, self._now)
        self.fleet.vms[vm_id] = vm
        self.timers.set(self._now + self.settings.heartbeat_timeout_s, Timer.VM_SILENT, vm_id)
        return vm

    def _on_heartbeat(self, beat: Heartbeat) -> None:
        vm = self.fleet.get(beat.vm_id) or self._add_vm(beat.vm_id, session="")
        is_new_session = vm.session != beat.session
        if vm.silent or vm.lost:
            self.timers.set(self._now + self.settings.heartbeat_timeout_s, Timer.VM_SILENT, vm.vm_id)
        if is_new_session or vm.lost:
            self._out.append(KeepVm(vm.vm_id, beat.session, vm.draining, lost=False))
        vm.session, vm.last_seen = beat.session, self._now
        vm.silent = vm.lost = False
        vm.stopping = beat.stopping
        self._match_workers(vm, beat, is_new_session=is_new_session)
        unheard = sum(w.state is WorkerState.WARMING and w.worker_id not in beat.workers for w in vm.workers.values())
        vm.room = beat.room - unheard
        self._touch(vm)

    def _match_workers(self, vm: Vm, beat: Heartbeat, *, is_new_session: bool) -> None:
        """What the agent does not list is gone (it reports in order); what only the agent knows is taken over.

        Events that the last leader had not acknowledged come once more after `restore`. Such a heartbeat can be older
        than the workers that were restored, so for a while absence proves nothing unless the agent started anew.
        """
        may_be_old_news = not is_new_session and self._now < self._absence_counts_from
        for worker in list(vm.workers.values()):
            order_is_under_way = worker.state is WorkerState.WARMING and not is_new_session
            if worker.worker_id not in beat.workers and not (order_is_under_way or may_be_old_news):
                self._worker_gone(vm, worker, GoneCause.MISSING)
        for worker_id, report in beat.workers.items():
            worker = vm.workers.get(worker_id)
            if worker is None:
                self._take_over(vm, worker_id, report)
            elif report.state is WorkerState.IDLE and worker.state is WorkerState.BUSY and not self._serves(worker):
                self._retire(vm, worker, Why.REFUSED)  # its assignment came to nothing before the agent began it

    def _serves(self, worker: Worker) -> bool:
        bot = self.bots.get(worker.bot_id)
        return bot is not None and bot.is_on_vm and bot.worker_id == worker.worker_id

    def _take_over(self, vm: Vm, worker_id: str, report: WorkerReport) -> None:
        worker = Worker(worker_id, vm.vm_id, report.state, self._now, self._now, report.bot_id)
        self._add_worker(vm, worker)
        self._keep_worker(worker)
        if report.state is WorkerState.BUSY:  # the worker of a bot that counts is never unknown
            self._supersede(vm.vm_id, worker_id, report.bot_id, report.attempt)

    def _on_drain_requested(self, event: DrainRequested) -> None:
        vm = self.fleet.get(event.vm_id)
        if vm and vm.draining != event.draining:
            vm.draining = event.draining
            self._out.append(KeepVm(vm.vm_id, vm.session, vm.draining, vm.lost))
            self._free_reservations(vm)
            self._touch(vm)

    def _vm_silent(self, vm_id: str) -> None:
        vm = self.fleet.vms[vm_id]  # every VM has one such timer from its first or next heartbeat until it is silent
        silent_at = vm.last_seen + self.settings.heartbeat_timeout_s
        if self._now < silent_at:
            self.timers.set(silent_at, Timer.VM_SILENT, vm_id)
            return
        vm.silent = True
        self.timers.set(vm.last_seen + self.settings.lost_after_s, Timer.VM_LOST, vm_id)
        self._free_reservations(vm)
        self._touch(vm)

    def _vm_lost(self, vm_id: str) -> None:
        vm = self.fleet.get(vm_id)
        if vm is None or not vm.silent or self._now < vm.last_seen + self.settings.lost_after_s:
            return
        while self._lost_at and self._lost_at[0] <= self._now - self.settings.lost_after_s:
            self._lost_at.popleft()
        if len(self._lost_at) >= policy.most_lost_at_once(len(self.fleet.vms), self.settings):
            self.timers.set(self._lost_at[0] + self.settings.lost_after_s, Timer.VM_LOST, vm_id)
            return
        self._lost_at.append(self._now)
        vm.lost, vm.silent = True, False
        for worker in list(vm.workers.values()):
            bot = self.bots[worker.bot_id] if self._serves(worker) else None
            if bot and bot.state is BotState.ASSIGNED:  # whether it was begun, Redis knows
                self._out.append(Revoke(bot.bot_id, bot.attempt))
            else:
                self._worker_gone(vm, worker, GoneCause.MISSING, _VM_SILENT, is_out=False)
        self._out.append(KeepVm(vm.vm_id, vm.session, vm.draining, lost=True))
        self.timers.set(self._now + self._forget_vm_s, Timer.VM_FORGOTTEN, vm_id)
        self._touch(vm)

    def _on_unheard(self, _: Unheard) -> None:
        """Nobody's silence counts before now."""
        for vm in self.fleet:
            if not vm.lost:
                vm.last_seen = self._now
                if vm.silent:
                    self.timers.set(self._now + self.settings.lost_after_s, Timer.VM_LOST, vm.vm_id)

    def _vm_forgotten(self, vm_id: str) -> None:
        vm = self.fleet.get(vm_id)
        if vm and vm.lost and self._now >= vm.last_seen + self._forget_vm_s:
            self.fleet.drop_vm(vm)
            self._out.append(ForgetVm(vm_id))

    # Time

    def _on_tick(self, tick: Tick) -> None:
        for timer, whose in self.timers.due(self._now):
            self._on_timer[timer](whose)
        for timer, whose in self.calendar.due(tick.wall):
            self._on_timer[timer](whose)
