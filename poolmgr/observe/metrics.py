"""The manager's metrics for Prometheus. Labels come from closed sets and never contain ids."""

from collections.abc import Iterable
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from common.runtime.clock import Clock
from common.runtime.loop.metrics import LoopMetrics
from common.webhooks.courier import BuriedFor
from common.wire.messages import BotRecorded, BotSaw
from common.wire.vocabulary import BotState, GoneCause, Reason, VmState, WorkerState
from poolmgr.core.decisions import (
    Accept,
    Ask,
    Assign,
    Decision,
    End,
    EndByForce,
    Enqueue,
    ForgetWorker,
    Move,
    Note,
    NoteRecorded,
    Retire,
    Warm,
)
from poolmgr.core.load import JobKind, cost, wants_display
from poolmgr.core.pool import Pool
from poolmgr.core.settling import held_bots, unplaceable_bots
from poolmgr.observe.probes import ProbeMetrics
from poolmgr.observe.scaling import ScalingMetrics
from poolmgr.store.leader.ledger import Rejected
from poolmgr.store.mirroring import Standing

disable_created_metrics()  # the *_created series double what is scraped, and nobody reads them

_DISPATCH_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_JOIN_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_WEBHOOK_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120)
_MOST_RULES = 500
"""Labels of screens and rules; further ones count as `other`. Operators may add rules, and agents may be of any
release.
"""
_FAILED_WARMUPS = frozenset({GoneCause.WARMUP_FAILED, GoneCause.LOW_MEMORY})


_LONGEST_EXEMPLAR: Final = 128 - len("bot_id")
"""Characters: all labels of an exemplar together may have 128, by OpenMetrics 1.0."""


class Metrics:
    """One registry for the process. It counts durable decisions, and reads the gauges from the current pool."""

    def __init__(self, clock: Clock) -> None:
        self.registry = CollectorRegistry()
        self._accepted_at: dict[str, float] = {}
        self._assigned_at: dict[str, float] = {}
        registry = self.registry
        self._accepted = Counter("poolmgr_jobs_accepted", "Jobs that became a bot", registry=registry)
        self._rejected = Counter("poolmgr_jobs_rejected", "Jobs sent to the dead stream", ["reason"], registry=registry)
        self._assigned = Counter(
            "poolmgr_assignments",
            "Bots given to a worker: warm_hit (one stood idle), cold_wait (none did), retry (a later attempt)",
            ["kind"],
            registry=registry,
        )
        # series of events that have not happened yet are 0, not missing
        for kind in ("warm_hit", "cold_wait", "retry"):
            self._assigned.labels(kind)
        self._pictures = Counter(
            "poolmgr_pictures_assigned",
            "Bots whose picture is recorded, given to a worker: with a display (1) or without (0), where a tab records",
            ["display"],
            registry=registry,
        )
        for display in ("0", "1"):
            self._pictures.labels(display)
        self._dispatch = Histogram(
            "poolmgr_dispatch_seconds",
            "From a job's acceptance (or its join_at) to the durable order to its agent",
            buckets=_DISPATCH_BUCKETS,
            registry=registry,
        )
        self._join = Histogram(
            "poolmgr_join_seconds",
            "From the assignment to being in the meeting, the lobby included",
            buckets=_JOIN_BUCKETS,
            registry=registry,
        )
        self._requeued = Counter(
            "poolmgr_bots_requeued", "Bots put back in the queue, by why", ["reason"], registry=registry
        )
        self._ended = Counter("poolmgr_bots_ended", "Bots that ended, by reason", ["reason"], registry=registry)
        for reason in Reason:  # the first end is no increase of a series that begins with it
            self._ended.labels(reason)
        self._screens = Counter(
            "poolmgr_screens_seen",
            "Screens that pages showed, by the rule that recognised them",
            ["platform", "screen", "rule"],
            registry=registry,
        )
        self._seen = set[tuple[str, str, str]]()
        self._warmups = Counter("poolmgr_warmups_ordered", "Workers ordered, by why", ["reason"], registry=registry)
        self._failed = Counter(
            "poolmgr_warmups_failed", "Warm-ups that came to nothing, by cause", ["cause"], registry=registry
        )
        for cause in sorted(_FAILED_WARMUPS):
            self._failed.labels(cause)
        self._retired = Counter("poolmgr_workers_retired", "Workers retired, by why", ["reason"], registry=registry)
        self._overdue = Counter(
            "poolmgr_overdue",
            "What a backstop caught, by what was done: bot_asked, bot_forced, bot_ended (by its agent), bot_given_up,"
            " worker_forced",
            ["step"],
            registry=registry,
        )
        for step in ("bot_asked", "bot_forced", "bot_ended", "bot_given_up", "worker_forced"):
            self._overdue.labels(step)  # an alert needs the series at 0 before it happens
        self._recordings = Counter(
            "poolmgr_recordings",
            "Recordings of meetings: begun, processed (there is a file), skipped (nothing to make one of)",
            ["step"],
            registry=registry,
        )
        self._recording_gaps = Counter(
            "poolmgr_recording_gaps", "Gaps in recordings that are finished", registry=registry
        )
        self._recorded = Counter(
            "poolmgr_recording_seconds", "Length of the sound of finished recordings", registry=registry
        )
        self._missing = Counter(
            "poolmgr_recording_missing_seconds",
            "How much of it was not recorded, pauses apart",
            registry=registry,
        )
        self._gone = Counter("poolmgr_workers_gone", "Workers that are no more, by cause", ["cause"], registry=registry)
        self.heartbeats = Counter("poolmgr_heartbeats", "Heartbeats heard from agents", registry=registry)
        self.leader = Gauge("poolmgr_leader", "1 while this process leads", registry=registry)
        self.epoch = Gauge("poolmgr_epoch", "The fencing number of this process's latest leadership", registry=registry)
        self.redis_memory = Gauge("poolmgr_redis_memory_bytes", "What Redis holds, by its own word", registry=registry)
        self.redis_limit = Gauge(
            "poolmgr_redis_memory_limit_bytes", "What it may hold, its maxmemory; 0: no limit", registry=registry
        )
        self.mirror = MirrorMetrics(registry)
        self.backlog = Gauge("poolmgr_intake_backlog", "Jobs on the list that nobody has taken yet", registry=registry)
        self.loop = LoopMetrics(registry, "poolmgr", lambda: clock.steady())
        self.webhooks = WebhookMetrics(registry)
        self.probes = ProbeMetrics(registry)
        self.scaling = ScalingMetrics(registry)
        self.pool_gauges = PoolGauges(clock)
        registry.register(self.pool_gauges)

    def rejected(self, job: Rejected) -> None:
        self._rejected.labels(job.reason).inc()

    def decided(self, decision: Decision, now: float, wall: float) -> None:
        """Count a decision that became durable at `now` (steady clock), which was `wall` by the calendar."""
        match decision:
            case Accept():
                self._accepted.inc()
                if decision.state is BotState.QUEUED:
                    self._accepted_at[decision.bot_id] = now - (wall - decision.at)
            case Enqueue(why=None):
                self._accepted_at[decision.bot_id] = now
            case Enqueue():
                self._requeued.labels(decision.why).inc()
            case Assign():
                self._count_assignment(decision, now)
            case Note(event=BotSaw(did="") as saw, platform=platform):
                self._count_screen(platform, saw)
            case Move(state=BotState.IN_MEETING):
                if assigned_at := self._assigned_at.pop(decision.bot_id, None):
                    self._join.observe(max(0.0, now - assigned_at), _exemplar(decision.bot_id))
            case End():
                self._count_overdue(decision)
                self._ended.labels(decision.reason).inc()
                self._accepted_at.pop(decision.bot_id, None)
                self._assigned_at.pop(decision.bot_id, None)
            case Ask() | EndByForce():
                self._count_overdue(decision)
            case _:
                self._count_worker(decision)

    def _count_overdue(self, decision: Ask | EndByForce | End) -> None:
        match decision:
            case Ask(reason=Reason.OVERDUE):
                self._overdue.labels("bot_asked").inc()
            case EndByForce():
                self._overdue.labels("bot_forced").inc()
            case End(given_up=True):
                self._overdue.labels("bot_given_up").inc()
            case End(by_force=True):
                self._overdue.labels("bot_ended").inc()
            case _:
                pass

    def _count_screen(self, platform: str, saw: BotSaw) -> None:
        labels = (platform, saw.screen, saw.rule)
        if labels not in self._seen and len(self._seen) >= _MOST_RULES:
            labels = (platform, "other", "other")
        self._seen.add(labels)
        self._screens.labels(*labels).inc()

    def _count_worker(self, decision: Decision) -> None:
        match decision:
            case Warm():
                self._warmups.labels(decision.why).inc()
            case Retire():
                self._retired.labels(decision.why).inc()
                if decision.by_force:
                    self._overdue.labels("worker_forced").inc()
            case NoteRecorded(event=BotRecorded() as event) if not event.unmade:
                made = "processed" if event.audio_s or event.video_s else "skipped"
                self._recordings.labels(made if event.finished else "begun").inc()
                self._recording_gaps.inc(event.gaps)
                self._recorded.inc(event.audio_s)
                self._missing.inc(event.missing_s)
            case ForgetWorker():
                self._gone.labels(decision.cause).inc()
                if decision.cause in _FAILED_WARMUPS:
                    self._failed.labels(decision.cause).inc()
            case _:
                pass

    def _count_assignment(self, decision: Assign, now: float) -> None:
        bot_id = decision.join.bot_id
        retry = decision.join.attempt > 1
        self._assigned.labels("retry" if retry else "warm_hit" if decision.warm else "cold_wait").inc()
        if wants_display(decision.kind):
            self._pictures.labels(str(int(decision.display))).inc()
        if accepted_at := self._accepted_at.pop(bot_id, None):
            self._dispatch.observe(max(0.0, now - accepted_at), _exemplar(bot_id))
        self._assigned_at[bot_id] = now


def _exemplar(bot_id: str) -> dict[str, str] | None:
    """The exemplar: the bot that OpenMetrics names beside its bucket. None if its id is too long for the format."""
    return {"bot_id": bot_id} if len(bot_id) <= _LONGEST_EXEMPLAR else None


class WebhookMetrics:
    """Metrics of webhooks. No label names a receiver, because there may be any number of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.delivered = Counter(
            "poolmgr_webhooks_delivered", "Webhooks that a receiver took, by event", ["event"], registry=registry
        )
        self._attempts = Counter(
            "poolmgr_webhook_attempts", "Attempts to deliver one, by what came of them", ["outcome"], registry=registry
        )
        self._seconds = Histogram(
            "poolmgr_webhook_seconds", "How long an attempt took", buckets=_WEBHOOK_BUCKETS, registry=registry
        )
        self.buried = Counter(
            "poolmgr_webhooks_buried", "Webhooks that became dead letters, by why", ["reason"], registry=registry
        )
        for why in get_args(BuriedFor):  # the alert needs the series at 0 before it happens
            self.buried.labels(why)
        self.pending = Gauge(
            "poolmgr_webhooks_pending",
            "Queues of undelivered webhooks: one a bot, or a transcript with a receiver of its own",
            registry=registry,
        )
        self.oldest_due = Gauge(
            "poolmgr_webhook_oldest_due_seconds",
            "How long the webhook is overdue that is overdue longest",
            registry=registry,
        )

    def attempted(self, outcome: str, took_s: float) -> None:
        self._attempts.labels(outcome).inc()
        self._seconds.observe(took_s)

    def forget(self) -> None:
        """Reset the gauges: this process does not lead any more."""
        self.pending.set(0)
        self.oldest_due.set(0)


class MirrorMetrics:
    """How the mirror fares, as its position in Redis says; also while it does not run."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._behind = Gauge(
            "poolmgr_mirror_behind_seconds",
            "How long the oldest status change waits that is not in the mirror's table",
            registry=registry,
        )
        self._filling = Gauge(
            "poolmgr_mirror_filling", "1 while the mirror fills in its table from all records", registry=registry
        )
        self._refused = Gauge(
            "poolmgr_mirror_refused", "Items that the mirror's table refused for good", registry=registry
        )

    def stands(self, standing: Standing | None) -> None:
        """None: there is none, or this process does not lead."""
        self._behind.set(standing.behind_s if standing else 0)
        self._filling.set(standing.filling if standing else 0)
        self._refused.set(standing.refused if standing else 0)


class PoolGauges(Collector):
    """Gauges that are read from the pool at each scrape, so that they are never out of date."""

    def __init__(self, clock: Clock) -> None:
        self.pool: Pool | None = None
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        bots = GaugeMetricFamily("poolmgr_bots", "Bots that have not ended, by state", labels=["state"])
        workers = GaugeMetricFamily("poolmgr_workers", "Workers by state", labels=["state"])
        vms = GaugeMetricFamily("poolmgr_vms", "VMs by state", labels=["state"])
        queue = GaugeMetricFamily("poolmgr_queue_depth", "Bots that wait for a worker")
        longest = GaugeMetricFamily(
            "poolmgr_queue_longest_wait_seconds", "How long the bot has waited that waits longest"
        )
        target = GaugeMetricFamily(
            "poolmgr_idle_target",
            "Idle workers that the fleet is to have: min_idle a usable VM, and min_idle_display where those are made",
        )
        displays = GaugeMetricFamily(
            "poolmgr_display_workers", "Those of the workers that have a display, by state", labels=["state"]
        )
        display_target = GaugeMetricFamily(
            "poolmgr_display_idle_target", "Those of the idle target that are to have a display"
        )
        expected = GaugeMetricFamily(
            "poolmgr_expected_processors",
            "Processors that bots are expected to take, those put aside for included, by kind of job",
            labels=["kind"],
        )
        processors = GaugeMetricFamily("poolmgr_processors", "Processors of the VMs that are up, as far as known")
        held = GaugeMetricFamily(
            "poolmgr_queue_held", "Bots that wait because no VM with an idle worker bears what is recorded of them"
        )
        canaries = GaugeMetricFamily(
            "poolmgr_canaries", "Canaries that are not lost: in service, or taken out by the manager", labels=["state"]
        )
        unmet = GaugeMetricFamily("poolmgr_queue_unmet", "Bots that wait although no VM has what their jobs require")
        if self.pool is not None:
            bots_by_state = dict.fromkeys(BotState, 0)
            for bot in self.pool.bots.values():
                bots_by_state[bot.state] += 1
            vms_by_state = dict.fromkeys(VmState, 0)
            for vm in self.pool.fleet:
                vms_by_state[vm.state] += 1
            fleet, settings = self.pool.fleet, self.pool.settings
            for kind in JobKind:
                expected.add_metric([kind], fleet.carried[kind] * cost(kind, settings).cpu_share)
            processors.add_metric([], sum(vm.processors for vm in fleet if vm.state is VmState.UP))
            held.add_metric([], held_bots(self.pool.queue, fleet))
            out = sum(bool(vm.out) and not vm.lost for vm in fleet)
            canaries.add_metric(["serving"], sum(vm.canary and vm.takes_work for vm in fleet))
            canaries.add_metric(["out"], out)
            unmet.add_metric([], unplaceable_bots(self.pool.queue, fleet))
            usable = sum(count for state, count in vms_by_state.items() if state.has_target)
            # For one release a stopping VM also counts as draining, as before it had its own state.
            vms_by_state[VmState.DRAINING] += vms_by_state[VmState.STOPPING]
            for state, count in bots_by_state.items():
                if state is not BotState.STOPPED:
                    bots.add_metric([state], count)
            for state in WorkerState:
                workers.add_metric([state], fleet.workers[state])
                displays.add_metric([state], fleet.displays[state])
            for state, count in vms_by_state.items():
                vms.add_metric([state], count)
            queue.add_metric([], len(self.pool.queue))
            now = self._clock.steady()
            longest.add_metric([], max((now - bot.queued_since for bot in self.pool.queue), default=0.0))
            with_displays = sum(vm.makes_displays and vm.state.has_target for vm in fleet) * settings.min_idle_display
            target.add_metric([], usable * settings.min_idle + with_displays)
            display_target.add_metric([], with_displays)
        of_workers = [workers, displays, target, display_target]
        return [bots, *of_workers, vms, queue, longest, expected, processors, held, unmet, canaries]
