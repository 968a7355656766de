"""Builds the agent and runs it: the one place where its parts meet. Decides nothing about workers or bots.

Start and shutdown are numbered steps. In between loops run: heartbeats, commands, events out, and the checks of
workers and browsers.
"""

import asyncio
import fcntl
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from common.config.settings import CaptureSettings, Settings, WorkerSettings
from common.errors import AgentError
from common.runtime.loop.turns import Turned, Turns, patience_s, unwatched
from common.runtime.recordings.store import Store, StoreError
from common.runtime.service import Service, telling
from common.runtime.spans import CannotExportError, Spans
from common.runtime.waiting import first_of, heeded, pause
from common.wire.messages import Command, Event, FinishRecording, Heartbeat, Join, Leave, Pause, Retire, Say, Warm
from common.wire.vocabulary import Reason, WorkerState
from worker.capture.recordings import Recordings
from worker.chromium.accounts import AccountError, Accounts
from worker.chromium.accounts import read as read_account
from worker.chromium.display import find_recording_programs, find_xvfb, sound_socket
from worker.chromium.driver import Driver, DriverError
from worker.chromium.process import BrowserError, Launcher, find_chromium, sweep, workers_folder
from worker.chromium.processors import processors
from worker.chromium.profile import Profile
from worker.decide import overdue
from worker.link.evidence_outbox import EvidenceOutbox, deliver
from worker.link.evidence_sender import sender
from worker.link.journal import Entry, Journal
from worker.link.looks import Looks
from worker.link.redis import ContestedError, Link
from worker.live.feeds import LiveFeeds
from worker.meeting.evidence import keepers_for
from worker.meeting.onlookers import Onlookers
from worker.metrics import (
    AgentMetrics,
    CannotServeError,
    ObservedDriver,
    ObservedLauncher,
    Spooled,
    keep_looking,
    served,
)
from worker.platforms import adapters
from worker.platforms.overrides import Overrides
from worker.platforms.rules import BadRulesError
from worker.platforms.third_party import BadAdapterError
from worker.pool.pool import Pool, PoolSettings
from worker.pool.uplink import Uplink
from worker.pool.watch import MEMORY_CHECK_S, NOISE_CHECK_S
from worker.traces import AgentTraces
from worker.transcript.minutes_outbox import MinutesOutbox

log: structlog.stdlib.BoundLogger = structlog.get_logger()

ABANDON_AFTER_S: Final = 5.0  # on top of worker.leave_timeout_s; then the workers are ended
ABANDONED_S: Final = 30.0  # a killed process may take 10 s to end, and removing its folder another 10 s
FLUSH_DEADLINE_S: Final = 10.0
EVIDENCE_DEADLINE_S: Final = 5.0
RECORDINGS_DEADLINE_S: Final = 30.0
MINUTES_DEADLINE_S: Final = 5.0
SILENCE_CHECK_S: Final = 1.0
RULES_CHECK_S: Final = 1.0
_SILENT_S: Final = 10.0  # without an answer of Redis; then the status line says that it is not reached
SWEEP_S: Final = 60.0
_LONGEST_NUMBERS: Final = "-9999-999999"  # of a worker's id: the manager's term, and which worker of its VM it is
ORPHANS_AT_ONCE: Final = 3  # orphans are rare: if a sweep finds many, a fault in the sweep is more likely


class CannotStartError(AgentError):
    """The agent cannot start; the message says why and what to do."""


class _Parts(NamedTuple):
    """What the agent is built of. `store`: where recordings go; None: nothing is recorded."""

    settings: Settings
    launcher: Launcher
    driver: Driver
    journal: Journal
    overrides: Overrides
    store: Store | None
    metrics: AgentMetrics
    spans: Spans


async def run(settings: Settings) -> None:
    """Run the agent of this VM until a signal ends it.

    SIGTERM, SIGINT and SIGHUP drain it: bots stay until their meetings end. A second SIGTERM or SIGINT shortens the
    drain. One that is ignored (`nohup`, `&`) stays so. SIGUSR1 hands over: browsers and meetings stay as they are, for
    the agent that is started next.

    Raises: CannotStartError.
    """
    orders = _Orders()
    service = Service.of_environment()
    # 1. Chromium is installed, what its display and its recording need too, and every account can be read.
    try:
        chromium = find_chromium(settings.worker.chromium)
        profile = Profile.of(chromium, settings.worker)
        recorded = Profile.recorded(chromium, settings.worker, settings.capture)
        if recorded:
            find_recording_programs()
            sound_socket(
                workers_folder(Path(settings.worker.state_dir)) / f"{_vm_id(settings.worker)}{_LONGEST_NUMBERS}"
            )
        if profile.display_size:
            find_xvfb()
        for account in settings.worker.accounts:
            read_account(account)
    except (BrowserError, OSError, AccountError) as error:
        raise CannotStartError(str(error)) from error
    overrides = read_rules(settings.worker)
    store = _store(settings.capture)
    state_dir = Path(settings.worker.state_dir)
    # 2. The state folder is locked until the process ends. What an earlier agent left in it is read or ended.
    with _locked(state_dir):
        metrics = AgentMetrics()
        spans = _spans(settings)
        launcher = ObservedLauncher(profile, state_dir, recorded, metrics=metrics)
        try:
            journal = Journal(state_dir / "journal.db")
            swept = await launcher.sweep(journal.workers(), most=1_000_000)
        except OSError as error:
            raise _unusable(state_dir, error) from error
        if swept:
            log.warning("orphans_ended", workers=swept)
        # 3. The driver runs.
        driver = ObservedDriver(metrics)
        try:
            await driver.start()
        except DriverError as error:
            if orders.stop.is_set():  # Ctrl-C also ends a driver that is still starting
                return
            raise CannotStartError(str(error)) from error
        try:
            async with served(settings.worker.metrics_listen, metrics):
                parts = _Parts(settings, launcher, driver, journal, overrides, store, metrics, spans)
                await _serve(parts, orders, service)
        except CannotServeError as error:
            raise CannotStartError(str(error)) from error
        finally:
            await driver.stop()
            journal.close()
            await spans.close()
    if orders.hand_over.is_set():
        log.info("agent_handed_over")
    else:
        log.info("agent_stopped")


def _vm_id(settings: WorkerSettings) -> str:
    return settings.vm_id or socket.gethostname()


def read_rules(settings: WorkerSettings) -> Overrides:
    """Take the rules of every platform into use, with the operator's overrides. Raises: CannotStartError."""
    try:
        overrides = Overrides(settings.adapters_dir, adapters())
        overrides.load()
    except (BadRulesError, BadAdapterError) as error:
        raise CannotStartError(str(error)) from error
    return overrides


def sweep_left(settings: Settings) -> list[str]:
    """End the browsers that an agent left behind; returns the ids of their workers.

    Raises: CannotStartError, also when an agent runs.
    """
    state_dir = Path(settings.worker.state_dir)
    with _locked(state_dir):
        try:
            return sweep(state_dir)
        except OSError as error:
            raise _unusable(state_dir, error) from error


async def _serve(parts: _Parts, orders: "_Orders", service: Service) -> None:
    settings, launcher, driver, journal, overrides, store, metrics, spans = parts
    vm_id = _vm_id(settings.worker)
    if store is None:
        log.warning("nothing_recorded", why="capture.store is not set")
    link = Link(settings.redis, vm_id, journal, Path(settings.worker.state_dir))
    turns, limit_s = Turns(), patience_s(settings.redis.timeout_s) + 2 * settings.worker.heartbeat_s
    async with asyncio.TaskGroup() as loops, asyncio.TaskGroup() as workers, AsyncExitStack() as watched:
        outbox = EvidenceOutbox(Path(settings.worker.state_dir) / "evidence", settings.evidence)
        keepers = keepers_for(settings.evidence, vm_id, outbox.put)
        accounts = Accounts(settings.worker.accounts, vm_id, link)
        traces = AgentTraces(spans)
        metrics.warmed = traces.warmed

        def report(*events: Event, entry: Entry | None = None) -> None:
            link.send(*events, entry=entry)
            metrics.reported(*events)
            traces.reported(*events)
            live_feeds.note(*events)

        state_dir = Path(settings.worker.state_dir)
        minutes_outbox = MinutesOutbox(vm_id, state_dir / "minutes", store, report)
        recordings = Recordings(
            *(vm_id, state_dir / "recordings", settings.capture, store, report),
            *(minutes_outbox.find_turns, settings.worker.unattended_s),
        )
        feeds_settings = (settings.live, settings.webhooks)
        live_feeds = LiveFeeds(
            *(vm_id, *feeds_settings, recordings.record, report, minutes_outbox, settings.transcription),
            has_sound=not settings.worker.has_headless_shell,
        )
        await watched.enter_async_context(live_feeds)
        uplink = Uplink(vm_id, link.claim, report, keepers, accounts, live_feeds.serve, recordings.equip)
        pool = Pool(PoolSettings.of(settings.worker), launcher, driver, uplink, workers)
        metrics.reports, metrics.room, metrics.unwritten = pool.reports, pool.room, lambda: link.unwritten
        metrics.accounts = accounts.health
        metrics.spooled = lambda: Spooled(
            recordings.spooled_bytes, settings.capture.spool_mb * 2**20, recordings.refused
        )
        pulse = _Pulse(link, pool, vm_id, journal.session, settings.worker)

        def noted(command: Command) -> None:
            metrics.ordered(command)
            traces.ordered(command)

        running = _start_checks(loops, pool, turns, lambda: link.silent_s)
        running += [
            loops.create_task(driver.tend(pool.reconnect), name="tend the driver"),
            loops.create_task(_every(RULES_CHECK_S, partial(_take_up_rules, overrides)), name="rules"),
            loops.create_task(_finish_recordings(pool, recordings), name="recordings"),
            loops.create_task(_finish_minutes(pool, minutes_outbox), name="minutes"),
        ]
        if watch := _notices(settings.worker, pool, pulse, orders):
            running.append(loops.create_task(watch(), name="spot notices"))
        if settings.worker.look:
            looks = Looks(settings.redis, vm_id)
            watched.push_async_callback(looks.close)
            running.append(loops.create_task(Onlookers(looks, pool.looked_at).run(), name="onlookers"))
        # 4. Meetings that are under way go on, also without Redis.
        pool.adopt(journal.workers())
        watched.enter_context(turns.expecting(limit_s, "memory", "overdue", "silence"))
        await watched.enter_async_context(telling(service, lambda: _status(pool, link, settings), turns))
        service.ready()
        # 5. Redis answers, and no other agent uses this vm_id.
        try:
            is_open = await link.open(orders.any)
        except ContestedError as error:
            raise CannotStartError(str(error)) from error
        if is_open:
            watched.enter_context(turns.expecting(limit_s, "events", "heartbeat"))
            beat_s = settings.worker.heartbeat_s
            running += [
                loops.create_task(link.write_events(turns.of("events")), name="write events"),
                loops.create_task(pulse.beat_every(beat_s, turns.of("heartbeat")), name="heartbeat"),
                loops.create_task(
                    keep_looking(metrics, link.tell_vitals, link.clock_offset_s, settings.worker.memory_reserve_mb),
                    name="vitals",
                ),
                loops.create_task(
                    deliver(outbox, sender(link, settings.evidence), settings.evidence), name="deliver evidence"
                ),
            ]
            log.info("agent_started", vm_id=vm_id, session=journal.session, adopted=len(pool.reports()))
            # 6. When every worker is connected to, the agent takes orders.
            if not await orders.given_before(pool.adopted):
                watched.enter_context(turns.expecting(limit_s, "commands"))
                running.append(
                    loops.create_task(
                        _obey(link, pool, turns.of("commands"), noted, recordings, minutes_outbox), name="commands"
                    )
                )
        await orders.any.wait()
        if orders.stop.is_set():
            service.stopping()
            await _shut_down(pool, link, pulse, settings.worker, orders.hurry, FLUSH_DEADLINE_S if is_open else 0.0)
            # 5. Evidence is sent. What is not sent in time, the next agent sends.
            await pause(outbox.empty, EVIDENCE_DEADLINE_S if is_open else 0.0)
            # 6. Recordings are finished. The store has most of each; the next agent finishes the rest.
            if store:
                await pause(recordings.idle, RECORDINGS_DEADLINE_S)
                await pause(minutes_outbox.idle, MINUTES_DEADLINE_S)
        else:
            pool.let_go()
        for task in running:
            task.cancel()
    await link.close()


def _start_checks(
    loops: asyncio.TaskGroup, pool: Pool, turns: Turns, silent_s: Callable[[], float]
) -> list[asyncio.Task[None]]:
    """The loops that look after the workers. `silent_s`: how long ago Redis last answered."""
    watch = pool.watch
    return [
        loops.create_task(_every(MEMORY_CHECK_S, watch.end_those_too_large, turns.of("memory")), name="memory"),
        loops.create_task(_every(NOISE_CHECK_S, watch.end_those_too_loud), name="noise"),
        loops.create_task(_every(overdue.LOOK_S, watch.end_those_overdue, turns.of("overdue")), name="overdue"),
        loops.create_task(
            _every(SILENCE_CHECK_S, lambda: watch.leave_if_cut_off(silent_s()), turns.of("silence")), name="silence"
        ),
        loops.create_task(_every(SWEEP_S, partial(_sweep_orphans, pool)), name="orphans"),
        loops.create_task(pool.keep_pages_warm(), name="warm pages"),
        loops.create_task(pool.keep_files_warm(), name="warm files"),
    ]


def _status(pool: Pool, link: Link, settings: Settings) -> str:
    """The line that `systemctl status` shows."""
    states = [report.state for report in pool.reports().values()]
    counted = [f"{states.count(state)} {state}" for state in (WorkerState.IDLE, WorkerState.BUSY)]
    counted += [f"{warming} warming"] if (warming := states.count(WorkerState.WARMING)) else []
    reached = link.is_open and link.silent_s < max(_SILENT_S, 3 * settings.worker.heartbeat_s)
    words = ["stops" if pool.stopping else "", *counted, "Redis reached" if reached else "Redis not reached"]
    return ", ".join(filter(None, words))


def _store(settings: CaptureSettings) -> Store | None:
    """Where recordings go; None: nothing is recorded. Raises: CannotStartError."""
    try:
        return Store(settings) if settings.store else None
    except StoreError as error:
        raise CannotStartError(str(error)) from error


def _spans(settings: Settings) -> Spans:
    """Where spans go. Raises: CannotStartError."""
    try:
        return Spans(settings.otlp, "poolmgr-worker", settings.worker.vm_id or socket.gethostname())
    except CannotExportError as error:
        raise CannotStartError(str(error)) from error


async def _shut_down(
    pool: Pool, link: Link, pulse: "_Pulse", settings: WorkerSettings, hurry: asyncio.Event, flush_s: float
) -> None:
    log.info("agent_stopping", workers=len(pool.reports()))
    # 1. The agent takes no new work, and the manager knows. 2. Workers without a bot end.
    pool.refuse_work()
    pulse.beat()
    # 3. Meetings go on until they end. At the deadline, or at a second signal, their bots leave.
    if not await _within(settings.drain_timeout_s, pool.empty, hurry):
        log.warning("drain_ended", why="a second signal" if hurry.is_set() else "the deadline")
        pool.leave_all(Reason.SHUTDOWN)
        if not await _within(settings.leave_timeout_s + ABANDON_AFTER_S, pool.empty):
            pool.abandon()
            if not await _within(ABANDONED_S, pool.empty):
                log.error("workers_left", workers=sorted(pool.reports()), why="their processes do not end")
                pool.let_go()
    # 4. All workers are gone, and the manager knows.
    pulse.beat()
    await link.flush(flush_s)


async def _within(seconds: float, *events: asyncio.Event) -> bool:
    """Wait for one of the events, for `seconds` at most. Returns whether the first one is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await first_of(*events)
    return events[0].is_set()


class _Pulse:
    """Sends heartbeats, which say what this agent owns: at intervals, and at once when `beat` is called."""

    def __init__(self, link: Link, pool: Pool, vm_id: str, session: str, settings: WorkerSettings) -> None:
        self._labels, self._canary = settings.labels, settings.canary
        self._link = link
        self._pool = pool
        self._vm_id = vm_id
        self._session = session
        self._processors = processors()

    def beat(self) -> None:
        pool = self._pool
        self._link.send(
            Heartbeat(
                self._vm_id,
                self._session,
                time.time(),
                pool.reports(),
                pool.room(),
                stopping=pool.stopping,
                processors=self._processors,
                free_mb=pool.free_mb(),
                labels=self._labels,
                canary=self._canary,
                display_room=pool.room(display=True) if pool.makes_displays else None,
            )
        )

    async def beat_every(self, seconds: float, turned: Turned) -> None:
        while True:
            turned()
            self.beat()
            await asyncio.sleep(seconds)


async def _obey(
    link: Link,
    pool: Pool,
    turned: Turned,
    noted: Callable[[Command], None],
    recordings: Recordings,
    minutes_outbox: MinutesOutbox,
) -> None:
    async for command in link.commands(turned):
        noted(command)
        _carry_out(command, pool, recordings, minutes_outbox)
        await asyncio.sleep(0)  # what a bot that is to join waits for is on its way before the next order


def _carry_out(command: Command, pool: Pool, recordings: Recordings, minutes_outbox: MinutesOutbox) -> None:
    """Start what is ordered; nothing here waits, so that no order waits for another."""
    match command:
        case Warm():
            pool.warm(command.worker_id, display=command.display)
        case Join():
            pool.begin(command)
        case Leave():
            pool.leave(command.worker_id, command.bot_id, command.attempt, command.reason)
        case Say():
            pool.say(command.worker_id, command.bot_id, command.attempt, command.message)
        case Pause():
            recordings.pause(command.bot_id, command.attempt, paused=command.paused)
        case FinishRecording():
            if command.recording:
                recordings.take_over(command)
            minutes_outbox.take_over(command)
        case Retire():
            pool.retire(command.worker_id, by_force=command.by_force)


def _notices(
    settings: WorkerSettings, pool: Pool, pulse: _Pulse, orders: "_Orders"
) -> Callable[[], Coroutine[Any, Any, None]] | None:
    """Watches whether the cloud takes this VM away; None: nobody is asked."""
    if settings.spot_notices == "off":
        return None
    from worker.link.spot import cloud  # these use HTTP, and its client takes much memory
    from worker.pool.notices import Notices

    asked = cloud(settings.spot_notices, settings.metadata_url)
    return Notices(asked, pool, pulse.beat, orders.stop.is_set, settings.leave_timeout_s).run


async def _every(seconds: float, look: Callable[[], Awaitable[None] | None], turned: Turned = unwatched) -> None:
    """Call `look` at intervals, for as long as the agent lives. Each check has a loop of its own, so that one which
    waits delays no other.
    """
    while True:
        turned()
        await asyncio.sleep(seconds)
        if waits := look():
            await waits


async def _finish_recordings(pool: Pool, recordings: Recordings) -> None:
    """Finish the recordings of bots that no worker serves any more. It waits until the workers of the earlier agent
    are adopted.
    """
    await pool.adopted.wait()
    await recordings.finish(partial(_live, pool))


async def _finish_minutes(pool: Pool, minutes_outbox: MinutesOutbox) -> None:
    """The same of what was said."""
    await pool.adopted.wait()
    await minutes_outbox.finish(partial(_live, pool))


def _live(pool: Pool) -> set[tuple[str, int]]:
    return {(report.bot_id, report.attempt) for report in pool.reports().values() if report.bot_id}


async def _take_up_rules(overrides: Overrides) -> None:
    overrides.take_up(await asyncio.to_thread(overrides.changes))


async def _sweep_orphans(pool: Pool) -> None:
    try:
        if ended := await pool.sweep(ORPHANS_AT_ONCE):
            log.warning("orphans_ended", workers=ended)
    except OSError as error:
        log.warning("sweep_failed", error=str(error))


class _Orders:
    """What signals order. `stop`: drain. `hurry`: shorten the drain. `hand_over`: end at once, browsers stay. `any`:
    the agent is to end in one of these ways.
    """

    def __init__(self) -> None:
        self.stop, self.hurry, self.hand_over, self.any = (asyncio.Event() for _ in range(4))
        loop = asyncio.get_running_loop()
        for signum in heeded(signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._stop)
        for signum in heeded(signal.SIGHUP):
            loop.add_signal_handler(signum, self._drain)
        loop.add_signal_handler(signal.SIGUSR1, self._hand_over)

    async def given_before(self, done: asyncio.Event) -> bool:
        """Wait until `done`, or until the agent is to end. Returns whether it is to end."""
        await first_of(done, self.any)
        return self.any.is_set()

    def _stop(self) -> None:
        if self.stop.is_set():
            self.hurry.set()
        self._drain()

    def _drain(self) -> None:
        """SIGHUP drains and never hurries: a terminal that closes may send it twice."""
        self.stop.set()
        self.any.set()

    def _hand_over(self) -> None:
        if not self.stop.is_set():
            self.hand_over.set()
            self.any.set()


@contextmanager
def _locked(state_dir: Path) -> Generator[None]:
    """Hold the lock of the state folder. The kernel frees it however the process ends. Raises: CannotStartError."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(state_dir, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStartError(
                f"cannot use worker.state_dir = {str(state_dir)!r}: another agent runs on it; stop that one,"
                " or give this one a folder of its own"
            ) from error
        yield
    finally:
        os.close(lock)


def _unusable(state_dir: Path, error: OSError) -> CannotStartError:
    where = f"worker.state_dir = {str(state_dir)!r}"
    why = f"{error.strerror} ({error.filename})"
    return CannotStartError(f"cannot write to {where}: {why}; make it a folder that belongs to the agent's user")
