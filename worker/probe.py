"""Tries whether a bot gets into a meeting from this machine, without Redis and without a manager.

It uses the agent's own pool with one worker, in a temporary folder. The worker is warmed, serves one bot, and ends, by
the same code as on a VM of the fleet.
"""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from common.config.settings import Settings
from common.errors import AgentError
from common.runtime.waiting import first_of
from common.wire.messages import BotEnded, BotMoved, Event, Join, JoinRefused, WorkerGone, WorkerWarm
from common.wire.vocabulary import BotState
from worker.chromium.driver import Driver, DriverError
from worker.chromium.process import BrowserError, Launcher, find_chromium
from worker.chromium.profile import Profile
from worker.link.journal import Entry
from worker.meeting.evidence import keepers_for
from worker.pool.pool import Pool, PoolSettings
from worker.pool.uplink import Uplink

WORKER_ID: Final = "probe"
LEAVE_GRACE_S: Final = 5.0


class CannotProbeError(AgentError):
    """The probe cannot be made; the message says why and what to do."""


class Outcome:
    """The result of a probe. `joined`: the bot was in the meeting. `ended`: the bot's end; None: it did not begin, and
    `why` says why. `stopped`: the caller stopped the probe.
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
    """Join, look, and leave, also when `stop` is set; remove everything afterwards. `tell` gets every event that an
    agent would report, `keep` the name and bytes of the evidence.

    Raises: CannotProbeError.
    """
    outcome = Outcome()
    gone = asyncio.Event()
    idle = asyncio.Event()

    def report(*events: Event, entry: Entry | None = None) -> None:
        del entry  # there is no journal: no later agent takes over
        for event in events:
            _learn(outcome, event)
            if isinstance(event, WorkerWarm):
                idle.set()
            if isinstance(event, WorkerGone):
                gone.set()
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
                uplink = Uplink("probe", claim, report, keepers_for(settings.evidence, "", keep))
                pool = Pool(PoolSettings.of(worker), launcher, driver, uplink, tasks)
                pool.warm(WORKER_ID)
                await first_of(idle, gone, stop)
                if idle.is_set() and not stop.is_set():
                    pool.begin(join)
                    await first_of(gone, stop)
                outcome.stopped = stop.is_set() and not gone.is_set()
                await pool.end(worker.leave_timeout_s + LEAVE_GRACE_S)
    except (BrowserError, DriverError, FileNotFoundError) as error:
        raise CannotProbeError(str(error)) from error
    finally:
        await driver.stop()
    return outcome


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
