"""Whether a bot gets into a meeting from this machine, without Redis and without a manager.

One worker of the agent's own pool, in a folder of its own that is gone afterwards: it is warmed, serves one bot, and
ends, by the same code as on a VM of the fleet.
"""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from common.config.settings import Settings
from common.errors import AgentError
from common.wire.messages import BotEnded, BotMoved, Event, Join, JoinRefused, WorkerGone, WorkerWarm
from common.wire.vocabulary import BotState, Reason
from worker.chromium.driver import Driver, DriverError
from worker.chromium.process import BrowserError, Launcher, find_chromium
from worker.chromium.profile import Profile
from worker.link.journal import Entry
from worker.meeting.evidence import witnesses_for
from worker.pool.pool import Pool, PoolSettings
from worker.pool.uplink import Uplink

WORKER_ID: Final = "probe"
LEAVE_GRACE_S: Final = 5.0


class CannotProbeError(AgentError):
    """There can be no probe; the message says why and what to do."""


class Outcome:
    """What came of it. `ended` None: the browser could not be had, or the page not be reached; `why` says more.
    `stopped`: by whoever began it.
    """

    def __init__(self) -> None:
        self.joined = False
        self.stopped = False
        self.ended: BotEnded | None = None
        self.why = ""


async def probe(
    settings: Settings,
    join: Join,
    stop: asyncio.Event,
    tell: Callable[[Event], None],
    keep: Callable[[str, bytes], bool],
) -> Outcome:
    """Join, look, leave; nothing is left of it. `tell` hears everything that an agent would report, `keep` is given the
    bundle. Leaves when `stop` is set. Raises: CannotProbeError.
    """
    outcome = Outcome()
    heard = asyncio.Event()
    idle = asyncio.Event()

    def report(*events: Event, entry: Entry | None = None) -> None:
        del entry  # nobody comes after this process
        for event in events:
            _learn(outcome, event)
            if isinstance(event, WorkerWarm):
                idle.set()
            if isinstance(event, WorkerGone):
                heard.set()
            tell(event)

    async def claim(_: Join) -> bool:
        return True

    worker = replace(settings.worker, memory_reserve_mb=0)
    driver = Driver()
    try:
        with tempfile.TemporaryDirectory(prefix="poolmgr-probe-") as folder:
            profile = Profile.of(find_chromium(worker.chromium), worker)
            launcher = Launcher(profile, Path(folder))
            await driver.start()
            async with asyncio.TaskGroup() as tasks:
                uplink = Uplink("probe", claim, report, witnesses_for(settings.evidence, "", keep))
                pool = Pool(PoolSettings.of(worker), launcher, driver, uplink, tasks)
                pool.warm(WORKER_ID)
                await _first(tasks, idle, heard, stop)
                if idle.is_set() and not stop.is_set():
                    pool.begin(join)
                    await _first(tasks, heard, stop)
                outcome.stopped = stop.is_set() and not heard.is_set()
                await _end(pool, worker.leave_timeout_s + LEAVE_GRACE_S)
    except (BrowserError, DriverError, FileNotFoundError) as error:
        raise CannotProbeError(str(error)) from error
    finally:
        await driver.stop()
    return outcome


async def _first(tasks: asyncio.TaskGroup, *events: asyncio.Event) -> None:
    """Wait for one of them. How long a bot may take is its session's business."""
    waits = {tasks.create_task(_wait(event), name="wait for an event") for event in events}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _end(pool: Pool, deadline_s: float) -> None:
    """Leave in good order if there is a meeting to be left; then nothing runs any more."""
    pool.refuse_work()
    pool.leave_all(Reason.USER_REQUESTED)
    try:
        async with asyncio.timeout(deadline_s):
            await pool.empty.wait()
    except TimeoutError:
        pool.abandon()
        await pool.empty.wait()


def _learn(outcome: Outcome, event: Event) -> None:
    match event:
        case BotMoved(state=BotState.IN_MEETING):
            outcome.joined = True
        case BotEnded():
            outcome.ended = event
        case JoinRefused(cause=cause):
            outcome.why = f"refused: {cause}"
        case WorkerGone(cause=cause, detail=detail):
            outcome.why = outcome.why or f"{cause}: {detail}"
        case _:
            pass
