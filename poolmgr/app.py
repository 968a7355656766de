"""Builds the manager and runs it: one term of leadership after another, until it is asked to stop.

A term is a Pool and the loops around it. When Redis goes away, or does not agree with the pool, the term ends, and the
next one rebuilds the pool from Redis. So every fault has the same recovery as a start.
"""

import asyncio
import gc
import socket
import uuid
from collections.abc import Callable, Sequence
from functools import cached_property, partial

import msgspec
import structlog
from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from common.config.settings import BadSettingsError, Settings
from common.jobs.job import JobRules
from common.runtime import steps, workshop
from common.runtime.cli.text import count
from common.runtime.clock import Clock
from common.runtime.loop.lag import watched
from common.runtime.loop.turns import Turns, patience_s
from common.runtime.recordings.store import Store
from common.runtime.redis.client import UNAVAILABLE, address, connect
from common.runtime.service import Service, telling
from common.runtime.spans import Spans
from common.runtime.steps import ManagerStep
from common.runtime.waiting import backoff, pause
from poolmgr.api.gateway import Gateway
from poolmgr.api.health import Readiness, add_health
from poolmgr.api.listen import Limits, serve, tls_context
from poolmgr.api.metrics import add_metrics
from poolmgr.api.observe import ApiMetrics
from poolmgr.api.operation import Service as Api
from poolmgr.api.routes import add_api
from poolmgr.core.decisions import Decision
from poolmgr.core.policy import vm_to_finish
from poolmgr.core.pool import Pool
from poolmgr.loops.control import follow_requests
from poolmgr.loops.dispatcher import Dispatcher
from poolmgr.loops.events import follow_events
from poolmgr.loops.intake import Intake
from poolmgr.loops.job_stream import follow_job_stream
from poolmgr.loops.leadership import keep_leading, wait_to_lead
from poolmgr.loops.probing import Probing
from poolmgr.loops.reaper import reap
from poolmgr.loops.recordings import tend_recordings
from poolmgr.loops.scaling import Scaling, zone_of
from poolmgr.loops.schedule import watch_deadlines
from poolmgr.loops.sqs import Sqs
from poolmgr.loops.transcribing import Transcribing
from poolmgr.loops.webhooks import Webhooks
from poolmgr.observe.chronicle import Chronicle
from poolmgr.observe.log import log_rejected
from poolmgr.observe.metrics import Metrics
from poolmgr.observe.traces import Traces
from poolmgr.page.routes import add_page
from poolmgr.providers.choice import provider_of
from poolmgr.store.keys import Keys
from poolmgr.store.leader.arrivals import Arrivals
from poolmgr.store.leader.deliveries import Deliveries
from poolmgr.store.leader.inbox import Jobs, Stream
from poolmgr.store.leader.lease import Lease
from poolmgr.store.leader.ledger import DisagreementError, Ledger, Rejected
from poolmgr.store.leader.probes import Probes
from poolmgr.store.leader.recordings import DueRecordings
from poolmgr.store.leader.scaling import KeptScaling
from poolmgr.store.leader.snapshot import load_bots, load_vms
from poolmgr.store.leader.transcriptions import DueTranscriptions
from poolmgr.store.leader.upkeep import Upkeep
from poolmgr.store.mirroring import Mirrored
from poolmgr.store.reading.views import Views
from poolmgr.store.scripts import load_scripts

_log = structlog.stdlib.get_logger()
_REBUILD = (*UNAVAILABLE, ResponseError, DisagreementError)
"""Errors that end a term but not the process. A ResponseError comes from a Redis that is full, cannot save, misses its
replicas, or holds a key of another type.
"""
_RETRY_FIRST_S, _RETRY_MOST_S = 0.1, 2.0
_API_REDIS_TIMEOUT_S = 2.0
_LOOK_S = 1.0
_LOOPS = ("dispatcher", "leadership", "events", "control", "job_stream", "schedule", "webhooks", "intake")
"""The loops of a leader that turn every few seconds, also when there is nothing to do."""
_REDIS_MEMORY_EVERY_S = 10.0
_MIRROR_EVERY_S = 5.0
_GOOD_TERM_S = 10.0
"""After a term of this length the next fault counts as a new one, and the delays start from the shortest."""


class Manager:
    """The daemon. `run` returns once `stop` is set and every job that was taken is durable."""

    def __init__(self, settings: Settings, read_again: Callable[[], Settings] | None = None) -> None:
        self.settings = settings
        self.clock = Clock()
        self._read_again = read_again or (lambda: settings)
        self._service = Service.of_environment()
        self._turns = Turns(self.clock.steady)
        self._patience_s = patience_s(settings.redis.timeout_s)
        self._gateway: Gateway | None = None
        self._epoch = 0
        self.metrics = Metrics(self.clock)
        self.keys = Keys(settings.redis.prefix)
        self._spans = Spans(settings.otlp, "poolmgr", socket.gethostname())
        self._traces = Traces(self._spans)
        self._chronicle = Chronicle(self._traces, self.metrics, self.clock)
        self._sqs = Sqs(settings.sqs) if settings.sqs.queue_url else None
        zone_of(settings.scaling)  # a wrong one is to be known at the start, not when this process leads
        self._provider = provider_of(settings.scaling)
        self._scaling: Scaling | None = None
        self._readiness = Readiness("starting", "has not reached Redis yet")
        self._has_led = False

    @cached_property
    def _recordings(self) -> Store | None:
        """The store of recordings, if there is one. Raises: StoreError."""
        return Store(self.settings.capture) if self.settings.capture.store else None

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises: LeaseLostError or StaleEpochError (in an ExceptionGroup) when another
        manager took over; CannotListenError.
        """
        async with watched(self.metrics.loop.beat), telling(self._service, self._status, self._turns):
            await self._run(stop)

    async def _run(self, stop: asyncio.Event) -> None:
        await asyncio.to_thread(workshop.sweep)
        redis = connect(self.settings.redis)
        runners = await self._serve_http()
        self._service.ready()
        holder = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        lease = Lease(redis, self.keys, holder, self.settings.lease.ttl_s)
        delays = backoff(_RETRY_FIRST_S, _RETRY_MOST_S)
        try:
            while not stop.is_set():
                began = self.clock.steady()
                try:
                    with self._turns.expecting(self._patience_s, "standby"):
                        turned = self._turns.of("standby")
                        ttl_s = self.settings.lease.ttl_s
                        epoch = await wait_to_lead(lease, ttl_s, stop, self._stand_by, turned)
                    if not epoch:
                        break
                    steps.done(ManagerStep.LEASE_TAKEN)
                    await self._lead(redis, lease, epoch, stop)
                except* _REBUILD as group:
                    if self.clock.steady() - began > _GOOD_TERM_S:
                        delays = backoff(_RETRY_FIRST_S, _RETRY_MOST_S)
                    fault = _first_line(group)
                    self._readiness = Readiness("standby", fault)
                    _log.warning("term_ended", error=fault, redis=address(self.settings.redis))
                    await pause(stop, next(delays))
                    await redis.connection_pool.disconnect()  # these connections are to the Redis that went away
                finally:
                    self._chronicle.write()
                    self.metrics.leader.set(0)
                    self.metrics.backlog.set(0)
                    self.metrics.pool_gauges.pool = None
        finally:
            # Shutdown: 1. not ready; 2. the loops have ended, and what was taken is durable; 3. the lease is given
            # back; 4. addresses and connections are closed. Meetings go on with their agents.
            self._readiness = Readiness("stopping", "is shutting down")
            self._service.stopping()
            await self._resign(lease)
            for runner in runners:
                await runner.cleanup()
            if self._provider:
                await self._provider.close()
            await redis.aclose()
            await self._spans.close()

    async def _serve_http(self) -> list[web.AppRunner]:
        """Serve the API and health on one address, metrics and health on another, or all on one if they are the
        same.
        """
        api, metrics = self.settings.api, self.settings.metrics
        app = web.Application()
        add_health(app, lambda: self._readiness, self._turns.late)
        # The API has its own client: its calls do not end with a term, and do not wait for a Redis that is away.
        redis = connect(msgspec.structs.replace(self.settings.redis, timeout_s=_API_REDIS_TIMEOUT_S))
        app.on_cleanup.append(lambda _: redis.aclose())
        service = Api(redis, self.keys, self.settings, self.clock.wall, self.clock.steady)
        self._gateway = add_api(app, service, api, ApiMetrics(self.metrics.registry))
        if api.page:
            add_page(app, self._gateway, service, self.settings)
        served = [(app, api.listen, "api.listen", tls_context(api.tls_cert, api.tls_key))]
        if metrics.listen != api.listen:
            app = web.Application()
            add_health(app, lambda: self._readiness, self._turns.late)
            served.append((app, metrics.listen, "metrics.listen", None))
        add_metrics(app, self.metrics.registry)
        limits = Limits(api.connections, api.request_timeout_s)
        runners: list[web.AppRunner] = []
        for app, listen, setting, tls in served:
            runners.append(await serve(app, listen, setting, limits=limits, tls=tls))
            _log.info("http_served", listen=listen, setting=setting)
        return runners

    async def _lead(self, redis: Redis, lease: Lease, epoch: int, stop: asyncio.Event) -> None:
        """One term: rebuild the pool from Redis, then let the loops run until `stop` or a fault."""
        settings, keys, clock, turns = self.settings, self.keys, self.clock, self._turns
        await load_scripts(redis)
        names = (keys.events, keys.control, keys.job_stream, keys.outbox)
        streams = [Stream(redis, keys, name, epoch) for name in names]
        for stream in streams:
            await stream.open()
        events, control, job_stream, outbox = streams
        pool = Pool(settings.pool, epoch=epoch, forget_vm_s=settings.retention.vm_s, capture=settings.capture)
        bots, vms = await load_bots(redis, keys), await load_vms(redis, keys)
        ledger = Ledger(redis, keys, settings.retention, epoch, settings.transcription.after)
        dispatcher = Dispatcher(pool, ledger, clock, self._on_durable)
        self._traces.begin(bots)
        dispatcher.begin(pool.restore(bots, vms, clock.steady(), clock.wall()))
        steps.done(ManagerStep.POOL_RESTORED)
        # A large fleet is many objects, and a full collection over them stops the process for a tenth of a second.
        if self._has_led:
            gc.unfreeze()  # the last term's pool has reference cycles and can be collected now
            gc.collect()
        gc.freeze()
        self._has_led = True
        upkeep = Upkeep(redis, keys, settings.retention)
        jobs = Jobs(redis, keys)
        arrivals = Arrivals(redis, keys, epoch)
        intake = Intake(jobs, dispatcher, ledger, clock, JobRules.of(settings), self._on_rejected, turns.of("intake"))
        deliveries = Deliveries(redis, keys, settings, epoch)
        due = DueRecordings(
            redis, keys, epoch, settings.transcription.after, retention_s=settings.retention.recording_s
        )
        transcribing = Transcribing(
            DueTranscriptions(redis, keys, epoch), lambda: self._recordings, settings.transcription, clock
        )
        webhooks = Webhooks(
            *(outbox, deliveries, settings.webhooks, clock, self.metrics.webhooks),
            secrets=lambda: self.settings.webhooks.secrets,
            traces=self._traces,
            turned=turns.of("webhooks"),
        )
        views = Views(redis, keys)
        probing = Probing(settings.probes, Probes(redis, keys, epoch), views, clock, self.metrics.probes)
        self.metrics.leader.set(1)
        self.metrics.epoch.set(epoch)
        self._epoch = epoch
        self.metrics.pool_gauges.pool = pool
        self._readiness = Readiness("leader", "")
        away_s = settings.pool.heartbeat_timeout_s / 2
        _log.info("term_begun", epoch=epoch, bots=len(bots), vms=len(vms))
        of = turns.of
        with turns.expecting(self._patience_s, *_LOOPS):
            async with asyncio.TaskGroup() as group:
                start = group.create_task
                heard = self.metrics.heartbeats.inc
                loops = [
                    start(dispatcher.run(), name="dispatcher"),
                    start(self._chronicle.run(), name="chronicle"),
                    start(keep_leading(lease, settings.lease.ttl_s, of("leadership")), name="leadership"),
                    start(follow_events(events, dispatcher, heard, of("events")), name="events"),
                    start(follow_requests(control, dispatcher, of("control")), name="control"),
                    start(follow_job_stream(job_stream, arrivals, of("job_stream")), name="job_stream"),
                    start(watch_deadlines(dispatcher, clock, away_s, of("schedule")), name="schedule"),
                    start(reap(pool, events, upkeep, clock, settings.retention, self._owners), name="reaper"),
                    start(
                        tend_recordings(due, lambda: self._recordings, clock, partial(vm_to_finish, pool.fleet)),
                        name="recordings",
                    ),
                    start(transcribing.run(), name="transcribing"),
                    start(self._watch_backlog(jobs), name="backlog"),
                    start(self._watch_redis(upkeep), name="redis memory"),
                    start(self._watch_mirror(Mirrored(redis, keys)), name="watch the mirror"),
                    start(self._watch_dispatcher(dispatcher), name="watch the dispatcher"),
                    start(webhooks.run(), name="webhooks"),
                    start(probing.run(), name="probing"),
                ]
                if self._sqs:
                    loops.append(start(self._sqs.follow(arrivals), name="sqs"))
                if self._provider:
                    kept, shown = KeptScaling(redis, keys, epoch), self.metrics.scaling
                    parts = (settings.scaling, settings.pool, self._provider, kept, dispatcher, clock, shown)
                    made = Scaling(*parts, displays=settings.capture.needs_display)
                    self._scaling = made
                    loops.append(start(made.run(), name="scaling"))
                await intake.run(stop)  # its last batch is durable when it returns
                for loop in loops:
                    loop.cancel()

    def read_again(self) -> None:
        """Read the configuration again, and use its API tokens and webhook secrets from now on. A configuration that
        cannot be used changes nothing. Other changes take effect at the next start.
        """
        self._service.reloading()
        try:
            read = self._read_again()
        except BadSettingsError as error:
            _log.error("configuration_refused", faults=error.faults, detail="nothing has changed")
        else:
            api = msgspec.structs.replace(self.settings.api, tokens=read.api.tokens)
            webhooks = msgspec.structs.replace(self.settings.webhooks, secrets=read.webhooks.secrets)
            self.settings = msgspec.structs.replace(self.settings, api=api, webhooks=webhooks)
            if self._gateway:
                self._gateway.take(api.tokens)
            facts = {"tokens": self._owners(), "webhook_secrets": len(webhooks.secrets)}
            _log.info("configuration_read_again", **facts, wait_for_restart=_differing(self.settings, read))
        self._service.ready()

    def _owners(self) -> list[str]:
        return [token.name for token in self.settings.api.tokens]

    def _status(self) -> str:
        """The line that `systemctl status` shows."""
        role, fault = self._readiness
        if (pool := self.metrics.pool_gauges.pool) is not None:
            return f"leads, epoch {self._epoch}, {count(len(pool.bots), 'bot')}"
        words = {"standby": "stands by", "starting": "starts", "stopping": "stops", "leader": "leads"}
        return f"{words[role]}: {fault}" if fault else words[role]

    def _stand_by(self) -> None:
        self._readiness = Readiness("standby", "")

    async def _watch_dispatcher(self, dispatcher: Dispatcher) -> None:
        """Watch the dispatcher. It is idle most of the time, so it counts as late only while it does not finish its
        work.
        """
        while True:
            await dispatcher.durable()
            self._turns.turned("dispatcher")
            await asyncio.sleep(_LOOK_S)

    async def _watch_backlog(self, jobs: Jobs) -> None:
        while True:
            self.metrics.backlog.set(await jobs.backlog())
            await asyncio.sleep(_LOOK_S)

    async def _watch_redis(self, upkeep: Upkeep) -> None:
        while True:
            try:
                used, limit = await upkeep.memory()
            except ResponseError:  # a hosted Redis may refuse INFO
                return
            self.metrics.redis_memory.set(used)
            self.metrics.redis_limit.set(limit)
            await asyncio.sleep(_REDIS_MEMORY_EVERY_S)

    async def _watch_mirror(self, mirrored: Mirrored) -> None:
        try:
            while self.settings.mirror.table:
                self.metrics.mirror.stands(await mirrored.standing())
                await asyncio.sleep(_MIRROR_EVERY_S)
        finally:
            self.metrics.mirror.stands(None)

    async def _resign(self, lease: Lease) -> None:
        try:
            await lease.resign()
        except (*UNAVAILABLE, ResponseError) as error:  # away, or it takes no writes
            _log.warning("lease_kept", error=str(error), detail="it will run out by itself")

    def _on_durable(self, decisions: Sequence[Decision]) -> None:
        self._chronicle.put(decisions)
        if self._scaling:
            for decision in decisions:
                self._scaling.decided(decision)

    def _on_rejected(self, job: Rejected) -> None:
        log_rejected(job)
        self.metrics.rejected(job)


def _differing(old: Settings, new: Settings) -> list[str]:
    """The names of the settings that differ."""
    before, after = msgspec.structs.asdict(old), msgspec.structs.asdict(new)
    return [
        f"{section}.{key}"
        for section in before
        for key, value in msgspec.structs.asdict(before[section]).items()
        if getattr(after[section], key) != value
    ]


def _first_line(group: BaseExceptionGroup[Exception]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
