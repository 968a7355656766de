"""The agent's metrics for Prometheus, and the vitals of its VM for people. Nothing here decides anything.

The numbers come from the orders that arrive, the events that are sent, the launcher and the driver. Labels come from
closed sets and never contain ids.
"""

import asyncio
import time
from collections import Counter as Counts
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from common.errors import AgentError
from common.runtime.loop.lag import watched
from common.runtime.loop.metrics import LoopMetrics
from common.wire.messages import (
    BotEnded,
    BotSaw,
    Command,
    Event,
    Join,
    JoinRefused,
    VmVitals,
    WorkerGone,
    WorkerReport,
    WorkerVitals,
    WorkerWarm,
)
from common.wire.vocabulary import GoneCause, RefusalCause, WorkerState
from worker.chromium import processes
from worker.chromium.accounts import Health
from worker.chromium.driver import Driver
from worker.chromium.process import Chromium, Launcher
from worker.meeting.counts import counts

disable_created_metrics()

LOOK_S: Final = 5.0
_WARM_BUCKETS: Final = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60)
_MOST_SCREENS: Final = 500
"""Labels of screens; the manager has the same limit. Operators may add rules of their own."""
_MOST_BOTS: Final = 1_000
_REQUEST_S: Final = 10.0


class Taken(NamedTuple):
    """What one worker takes. `processors`: since the last look; 1.0 is one processor in full."""

    memory_mb: int
    processors: float


class Spooled(NamedTuple):
    """Of recordings: bytes that wait on the disk for the store, and how many may. `refused`: how often the store did
    not do what was asked of it.
    """

    size: int = 0
    most: int = 0
    refused: int = 0


class AgentMetrics(Collector):
    """One registry for the process. The agent sets `reports`, `room`, `unwritten`, `accounts` and `spooled`,
    which are called at each scrape, and `warmed`, which is called with the steps of each warm-up.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reports: Callable[[], Mapping[str, WorkerReport]] = dict
        self.room: Callable[[], int] = lambda: 0
        self.unwritten: Callable[[], int] = lambda: 0
        self.accounts: Callable[[], Mapping[str, Health]] = dict
        self.spooled: Callable[[], Spooled] = Spooled
        self.warmed: Callable[[WorkerWarm, Mapping[str, float]], None] = lambda _event, _steps: None
        self.loop = LoopMetrics(self.registry, "poolmgr_worker", time.monotonic)
        self.driver_starts = 0
        registry = self.registry
        self._warmups = Histogram(
            "poolmgr_worker_warmup_seconds",
            "From a browser's start to being ready, by step: launch (to its DevTools), connect, page, and all of them",
            ["step"],
            buckets=_WARM_BUCKETS,
            registry=registry,
        )
        for step in ("launch", "connect", "page", "all"):
            self._warmups.labels(step)
        self._gone = Counter("poolmgr_worker_gone", "Browsers that are no more, by cause", ["cause"], registry=registry)
        self._refused = Counter("poolmgr_worker_refused", "Bots not begun, by cause", ["cause"], registry=registry)
        for cause in GoneCause:  # what has not happened yet is 0, and not missing
            self._gone.labels(cause)
        for cause in RefusalCause:
            self._refused.labels(cause)
        self._ended = Counter(
            "poolmgr_worker_bots_ended", "Attempts that ended, by reason", ["reason"], registry=registry
        )
        self._screens = Counter(
            "poolmgr_worker_screens_seen",
            "Screens that pages showed, by the rule that recognised them",
            ["platform", "screen", "rule"],
            registry=registry,
        )
        self._busy = Counter(
            "poolmgr_worker_browser_cpu_seconds",
            "Processor time of browsers, by their state",
            ["state"],
            registry=registry,
        )
        for state in WorkerState:
            self._busy.labels(state)
        self._clock = Gauge(
            "poolmgr_worker_clock_offset_seconds",
            "How far this VM's clock is ahead of Redis'",
            registry=registry,
        )
        self._clock.set(float("nan"))
        self._seen: set[tuple[str, str, str]] = set()
        self._platforms: dict[str, str] = {}  # by bot id, of bots that have not ended
        self._steps: dict[str, dict[str, float]] = {}  # by worker id: seconds of each step of a warm-up
        self._endpoints: dict[str, str] = {}  # worker ids by endpoint
        self._browsers: dict[str, Chromium] = {}
        self._used: dict[str, float] = {}
        self.taken: dict[str, Taken] = {}
        registry.register(self)

    # What is reported to it

    def ordered(self, command: Command) -> None:
        if isinstance(command, Join):
            if len(self._platforms) >= _MOST_BOTS:
                del self._platforms[next(iter(self._platforms))]
            self._platforms[command.bot_id] = command.platform

    def reported(self, *events: Event) -> None:
        for event in events:
            match event:
                case WorkerWarm():
                    self._warmed(event)
                case WorkerGone():
                    self._gone.labels(event.cause).inc()
                    self._forget(event.worker_id)
                case JoinRefused():
                    self._refused.labels(event.cause).inc()
                    self._platforms.pop(event.bot_id, None)
                case BotEnded():
                    self._ended.labels(event.reason).inc()
                    self._platforms.pop(event.bot_id, None)
                case BotSaw(did=""):
                    self._count_screen(self._platforms.get(event.bot_id, "other"), event)
                case _:
                    pass

    def launched(self, worker_id: str, chromium: Chromium, took_s: float) -> None:
        self._steps[worker_id] = {"launch": took_s}
        self._endpoints[chromium.endpoint] = worker_id
        self._browsers[worker_id] = chromium

    def found(self, worker_id: str, chromium: Chromium) -> None:
        """A browser of an earlier agent was found."""
        self._browsers[worker_id] = chromium

    def connected(self, endpoint: str, took_s: float) -> None:
        if worker_id := self._endpoints.pop(endpoint, ""):
            self._steps[worker_id]["connect"] = took_s

    def _warmed(self, event: WorkerWarm) -> None:
        steps = self._steps.pop(event.worker_id, {})
        self._warmups.labels("all").observe(event.took_s)
        if steps:
            steps["page"] = max(0.0, event.took_s - sum(steps.values()))
        for step, took_s in steps.items():
            self._warmups.labels(step).observe(took_s)
        self.warmed(event, steps)

    def _forget(self, worker_id: str) -> None:
        self._steps.pop(worker_id, None)
        if browser := self._browsers.pop(worker_id, None):
            self._endpoints.pop(browser.endpoint, None)
        self._used.pop(worker_id, None)
        self.taken.pop(worker_id, None)

    def _count_screen(self, platform: str, event: BotSaw) -> None:
        labels = (platform, event.screen, event.rule)
        if labels not in self._seen and len(self._seen) >= _MOST_SCREENS:
            labels = (platform, "other", "other")
        self._seen.add(labels)
        self._screens.labels(*labels).inc()

    # What it reads itself

    def clock_is_ahead(self, offset_s: float | None) -> None:
        self._clock.set(float("nan") if offset_s is None else offset_s)

    async def look(self, since_s: float) -> None:
        """Note what each browser takes now. `since_s`: seconds since the last look."""
        of_group = {browser.leader.pid: worker_id for worker_id, browser in self._browsers.items()}
        used = await asyncio.to_thread(processes.use, of_group)
        states = {worker_id: report.state for worker_id, report in self.reports().items()}
        for group, use in used.items():
            worker_id = of_group[group]
            if worker_id not in self._browsers:  # it ended meanwhile
                continue
            before = self._used.get(worker_id, use.busy_s)
            busy_s = max(0.0, use.busy_s - before)  # the time of a process that ended is not counted any more
            self._used[worker_id] = use.busy_s
            self.taken[worker_id] = Taken(use.private_mb, busy_s / since_s)
            if state := states.get(worker_id):
                self._busy.labels(state).inc(busy_s)

    def vitals(self, reserve_mb: int) -> VmVitals:
        total_mb, available_mb = _memory_mb()
        workers = {
            worker_id: WorkerVitals(taken.memory_mb, round(taken.processors, 2))
            for worker_id, taken in self.taken.items()
        }
        return VmVitals(time.time(), total_mb, available_mb, reserve_mb, workers)

    def collect(self) -> Iterable[Metric]:
        workers = GaugeMetricFamily("poolmgr_worker_workers", "Workers by state", labels=["state"])
        memory = GaugeMetricFamily(
            "poolmgr_worker_browser_memory_bytes", "What browsers share with nobody, by their state", labels=["state"]
        )
        largest = GaugeMetricFamily("poolmgr_worker_browser_memory_largest_bytes", "Of one browser, the most")
        room = GaugeMetricFamily("poolmgr_worker_room", "Further workers that the memory bears beside the reserve")
        available = GaugeMetricFamily("poolmgr_worker_memory_available_bytes", "What the kernel would give away")
        waiting = GaugeMetricFamily("poolmgr_worker_events_waiting", "Events on disk that Redis has not taken yet")
        size = GaugeMetricFamily(
            "poolmgr_worker_spool_bytes", "Of recordings, what is on disk and not in the store yet"
        )
        most = GaugeMetricFamily("poolmgr_worker_spool_limit_bytes", "How much of it there may be: capture.spool_mb")
        refused_by_store = CounterMetricFamily(
            "poolmgr_worker_store_refused", "How often the store did not do what was asked of it; it is asked again"
        )
        spooled = self.spooled()
        size.add_metric([], spooled.size)
        most.add_metric([], spooled.most)
        refused_by_store.add_metric([], spooled.refused)
        timeouts = CounterMetricFamily("poolmgr_worker_page_timeouts", "Calls that a page did not answer in time")
        restarts = CounterMetricFamily("poolmgr_worker_driver_restarts", "Starts of the driver after the first")
        expires = GaugeMetricFamily(
            "poolmgr_worker_account_expires_timestamp_seconds", "When the last cookie is over", labels=["account"]
        )
        refused = GaugeMetricFamily(
            "poolmgr_worker_account_refused", "1: its platform did not take the latest bot as it", labels=["account"]
        )
        for name, health in self.accounts().items():
            if health.lasts_until is not None:
                expires.add_metric([name], health.lasts_until)
            refused.add_metric([name], health.refused)
        reports = self.reports()
        number = Counts(report.state for report in reports.values())
        held: Counts[WorkerState] = Counts()
        for worker_id, taken in self.taken.items():
            if worker_id in reports:
                held[reports[worker_id].state] += taken.memory_mb
        for state in WorkerState:
            workers.add_metric([state], number[state])
            memory.add_metric([state], held[state] * 2**20)
        largest.add_metric([], max((taken.memory_mb for taken in self.taken.values()), default=0) * 2**20)
        room.add_metric([], self.room())
        available.add_metric([], _memory_mb()[1] * 2**20)
        waiting.add_metric([], self.unwritten())
        timeouts.add_metric([], counts.page_timeouts)
        restarts.add_metric([], max(0, self.driver_starts - 1))
        spool = [size, most, refused_by_store]
        return [workers, memory, largest, room, available, waiting, *spool, timeouts, restarts, expires, refused]


class ObservedLauncher(Launcher):
    def __init__(self, *given: Any, metrics: AgentMetrics) -> None:
        super().__init__(*given)
        self._metrics = metrics

    async def launch(
        self, worker_id: str, fill_profile: Callable[[Path], None] | None = None, *, display: bool = False
    ) -> Chromium:
        began = time.monotonic()
        chromium = await super().launch(worker_id, fill_profile, display=display)
        self._metrics.launched(worker_id, chromium, time.monotonic() - began)
        return chromium

    def find(self, worker_id: str) -> Chromium | None:
        if chromium := super().find(worker_id):
            self._metrics.found(worker_id, chromium)
        return chromium


class ObservedDriver(Driver):
    def __init__(self, metrics: AgentMetrics) -> None:
        super().__init__()
        self._metrics = metrics

    async def start(self) -> None:
        await super().start()
        self._metrics.driver_starts += 1

    async def connect(self, endpoint: str, folder: Path, deadline_s: float) -> Any:
        began = time.monotonic()
        browser = await super().connect(endpoint, folder, deadline_s)
        self._metrics.connected(endpoint, time.monotonic() - began)
        return browser


class CannotServeError(AgentError):
    """The metrics' address cannot be listened on; the message says why and what to change."""


@asynccontextmanager
async def served(listen: str, metrics: AgentMetrics) -> AsyncGenerator[None]:
    """Serve /metrics and watch the event loop while the context is open; does nothing where `listen` is empty.

    Raises: CannotServeError.
    """
    if not listen:
        yield
        return
    from aiohttp import web  # it takes memory that an agent without metrics does not need

    async def answer(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics.registry), headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=_REQUEST_S)
    await runner.setup()
    host, _, port = listen.rpartition(":")
    try:
        try:
            await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
        except (OSError, OverflowError) as error:
            raise CannotServeError(f"cannot listen on {listen} ({error}); change worker.metrics_listen") from error
        async with watched(metrics.loop.beat):
            yield
    finally:
        await runner.cleanup()


async def keep_looking(
    metrics: AgentMetrics,
    tell: Callable[[VmVitals], Any],
    offset_s: Callable[[], Any],
    reserve_mb: int,
) -> None:
    """Look at the browsers every LOOK_S, and tell their vitals, for as long as the agent lives."""
    looked = time.monotonic()
    while True:
        await asyncio.sleep(LOOK_S)
        now = time.monotonic()
        await metrics.look(now - looked)
        looked = now
        await tell(metrics.vitals(reserve_mb))
        metrics.clock_is_ahead(await offset_s())


def _memory_mb() -> tuple[int, int]:
    """The memory of the VM in MB, total and available: /proc/meminfo, proc(5)."""
    found = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(found[name].split()[0]) // 1024 for name in ("MemTotal", "MemAvailable"))
    return total, available
