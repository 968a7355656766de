"""One bot, from its job to its end, without a manager and without Redis: for a machine or a container of its own.

One worker of the agent's own pool is warmed, serves the bot, and ends, by the same code as on a VM of the fleet. What
an agent would report to the manager goes to the bot's receiver.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import structlog
from msgspec.structs import replace

from common.config.settings import CaptureSettings, EvidenceSettings, Settings
from common.errors import AgentError
from common.jobs.naming import name_in_meeting
from common.jobs.record import Job
from common.runtime import files
from common.runtime.recordings.store import Store, StoreError
from common.runtime.waiting import backoff, first_of, pause
from common.wire.messages import BotEnded, BotMoved, Event, Join, JoinRefused, WorkerGone, WorkerWarm
from common.wire.vocabulary import BotState
from worker.capture.recordings import Recordings
from worker.chromium.driver import Driver, DriverError
from worker.chromium.process import BrowserError, Launcher, find_chromium
from worker.chromium.profile import Profile
from worker.decide import overdue
from worker.link.evidence_outbox import RefusedError, UnsentError
from worker.link.journal import Entry
from worker.meeting.evidence import keepers_for
from worker.platforms import adapter_for
from worker.pool.pool import Pool, PoolSettings
from worker.pool.uplink import Uplink
from worker.pool.watch import MEMORY_CHECK_S, NOISE_CHECK_S
from worker.receiver import Receiver

WORKER_ID: Final = "once"
LEAVE_GRACE_S: Final = 5.0
EVIDENCE_S: Final = 60.0
RECORDING_S: Final = 900.0
"""How long the recording's file may take. The process that makes the file has less time."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class CannotJoinError(AgentError):
    """The bot cannot be begun. The message says why and what to do."""


class Outcome(NamedTuple):
    """The result. `ended` None: no browser was started; `why` says more. `stopped`: somebody asked it to leave.
    `untold`: how many webhooks no receiver took.
    """

    joined: bool
    stopped: bool
    ended: BotEnded | None
    why: str
    untold: int = 0


class _Learned:
    """What the bot has reported so far."""

    def __init__(self) -> None:
        self.joined = False
        self.ended: BotEnded | None = None
        self.why = ""
        self.warm = asyncio.Event()
        self.over = asyncio.Event()

    def on_sound(self, event: Event) -> None:
        match event:
            case WorkerWarm():
                self.warm.set()
            case BotMoved(state=BotState.IN_MEETING):
                self.joined = True
            case BotEnded():
                self.ended = event
            case JoinRefused(cause=cause):
                self.why = f"refused: {cause}"
            case WorkerGone(cause=cause, detail=detail):
                self.why = self.why or f"{cause}: {detail}"
                self.over.set()
            case _:
                pass


class _Bundles:
    """Keeps bundles of evidence until they are handed in."""

    def __init__(self, settings: EvidenceSettings, folder: Path | None) -> None:
        self._settings = settings
        self._folder = folder
        self._kept: list[tuple[str, bytes]] = []

    def put(self, name: str, data: bytes) -> bool:
        self._kept.append((name, data))
        return True

    async def hand_in(self) -> None:
        """Write the evidence into the folder, and send it to `evidence.upload_url`; without either it is dropped, and
        the log says so.
        """
        for name, data in self._kept:
            if self._folder:
                await asyncio.to_thread(files.write, self._folder / f"{name}.zip", data)
            if self._settings.upload_url:
                await self._upload(name, data)
            elif not self._folder:
                log.info("evidence_dropped", evidence=name, why="neither --save nor evidence.upload_url is set")

    async def _upload(self, name: str, data: bytes) -> None:
        from worker.link.upload import upload

        fault = ""
        with suppress(TimeoutError):
            async with asyncio.timeout(EVIDENCE_S):
                for delay_s in backoff(1.0, 10.0):
                    try:
                        await upload(self._settings, name, data)
                        return
                    except UnsentError as error:
                        fault = str(error)
                        if isinstance(error, RefusedError):
                            break
                        await asyncio.sleep(delay_s)
        log.warning("evidence_unsent", evidence=name, error=fault or "no answer in time")


def join_of(job: Job, capture: CaptureSettings) -> Join:
    """Raises: CannotJoinError."""
    if adapter_for(job.platform) is None:
        raise CannotJoinError(f"cannot join: there is no adapter for {job.platform}")
    return Join(
        WORKER_ID,
        job.bot_id,
        1,
        job.platform,
        job.meeting_url,
        name_in_meeting(job, capture),
        job.automatic_leave,
        message=job.bot_message,
        passcode=job.passcode,
        is_probe=job.is_probe,
        no_audio=job.no_audio,
        traceparent=job.traceparent,
    )


async def once(
    settings: Settings, job: Job, stop: asyncio.Event, receiver: Receiver, folder: Path | None, webhooks_s: float
) -> Outcome:
    """Wait until `join_at`, join, stay until the end, tell. Leaves when `stop` is set. `folder`: where evidence goes,
    too. `webhooks_s`: how long after its end the receiver is called. Raises: CannotJoinError.
    """
    join, learned = join_of(job, settings.capture), _Learned()
    bundles = _Bundles(settings.evidence, folder)
    give_up = asyncio.Event()
    async with asyncio.TaskGroup() as telling:
        told = telling.create_task(receiver.run(give_up), name="tell the receiver")
        try:
            stopped = await _serve(settings, job, join, stop, learned, receiver, bundles)
        finally:
            receiver.close()
        await bundles.hand_in()
        async with asyncio.TaskGroup() as waiting:
            deadline = waiting.create_task(_after(webhooks_s, give_up), name="call no longer")
            await asyncio.wait({told})
            deadline.cancel()
    return Outcome(learned.joined, stopped, learned.ended, learned.why, receiver.untold)


async def _serve(
    settings: Settings,
    job: Job,
    join: Join,
    stop: asyncio.Event,
    learned: _Learned,
    receiver: Receiver,
    bundles: _Bundles,
) -> bool:
    """Whether it was stopped before its end."""

    def report(*events: Event, entry: Entry | None = None) -> None:
        del entry  # nobody comes after this process
        for event in events:
            receiver.tell(event)
            learned.on_sound(event)

    async def claim(_: Join) -> bool:
        return True

    worker = replace(settings.worker, memory_reserve_mb=0)
    driver = Driver()
    try:
        with tempfile.TemporaryDirectory(prefix="poolmgr-once-") as home:
            chromium = find_chromium(worker.chromium)
            recorded = Profile.recorded(chromium, worker, settings.capture)
            launcher = Launcher(Profile.of(chromium, worker), Path(home), recorded)
            store = Store(settings.capture) if settings.capture.store else None
            recordings = Recordings(WORKER_ID, Path(home) / "recordings", settings.capture, store, report)
            keepers = keepers_for(settings.evidence, WORKER_ID, bundles.put)
            uplink = Uplink(WORKER_ID, claim, report, keepers, recorders=recordings.record, equip=recordings.equip)
            await driver.start()
            async with asyncio.TaskGroup() as tasks:
                pool = Pool(PoolSettings.of(worker), launcher, driver, uplink, tasks)
                beside = _look_after(tasks, pool, driver, recordings)
                await _take_in(tasks, pool, job, join, stop, learned)
                stopped = stop.is_set() and not learned.over.is_set()
                await pool.end(worker.leave_timeout_s + LEAVE_GRACE_S)
                if store and learned.joined:
                    recordings.idle.clear()  # it may have been set before the bot was out
                    await pause(recordings.idle, RECORDING_S)
                for task in beside:
                    task.cancel()
            return stopped
    except (BrowserError, DriverError, StoreError, FileNotFoundError) as error:
        raise CannotJoinError(str(error)) from error
    finally:
        await driver.stop()


def _look_after(
    tasks: asyncio.TaskGroup, pool: Pool, driver: Driver, recordings: Recordings
) -> list[asyncio.Task[None]]:
    """What goes on beside the bot, as with an agent."""

    def live() -> set[tuple[str, int]]:
        return {(report.bot_id, report.attempt) for report in pool.reports().values() if report.bot_id}

    watch = pool.watch
    return [
        tasks.create_task(driver.tend(pool.reconnect), name="tend the driver"),
        tasks.create_task(_every(MEMORY_CHECK_S, watch.end_those_too_large), name="memory"),
        tasks.create_task(_every(NOISE_CHECK_S, watch.end_those_too_loud), name="noise"),
        tasks.create_task(_every(overdue.LOOK_S, watch.end_those_overdue), name="overdue"),
        tasks.create_task(recordings.finish(live), name="recordings"),
    ]


async def _take_in(
    tasks: asyncio.TaskGroup, pool: Pool, job: Job, join: Join, stop: asyncio.Event, learned: _Learned
) -> None:
    """Returns when it is over, or is to be stopped."""
    pool.warm(WORKER_ID, display=join.video)
    await first_of(learned.warm, learned.over, stop)
    if not learned.warm.is_set() or stop.is_set():
        return
    if job.join_at and await pause(stop, max(0.0, job.join_at - time.time())):
        return
    pool.begin(join)
    await first_of(learned.over, stop)


async def _every(seconds: float, look: Callable[[], Awaitable[None] | None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        if waiting := look():
            await waiting


async def _after(seconds: float, event: asyncio.Event) -> None:
    await asyncio.sleep(seconds)
    event.set()
