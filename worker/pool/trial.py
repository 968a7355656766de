"""Warms one worker by the code by which an agent warms them, for who asks whether that works here.

Without Redis, and without a bot. Nothing of it is left afterwards.
"""

import asyncio
from typing import Final

from msgspec.structs import replace

from common.config.settings import WorkerSettings
from common.wire.messages import Event, Join, WorkerGone, WorkerWarm
from worker.chromium.driver import Driver
from worker.chromium.process import Launcher, sweep
from worker.link.journal import Entry
from worker.platforms import Adapter
from worker.pool.pool import Pool, PoolSettings
from worker.pool.uplink import Uplink

_NAME: Final = "trial"


async def warm_one(launcher: Launcher, settings: WorkerSettings) -> WorkerWarm | WorkerGone:
    """Warm a worker and end it; with a display, if `launcher` makes such ones: that needs most. Returns what an agent
    would report: it was warm, or why not. May be cancelled. `launcher`: in a folder of its own.

    Raises: DriverError.
    """
    news: asyncio.Queue[WorkerWarm | WorkerGone] = asyncio.Queue()

    def report(*events: Event, entry: Entry | None = None) -> None:
        del entry  # there is no journal: no later agent takes over
        for event in events:
            if isinstance(event, WorkerWarm | WorkerGone):
                news.put_nowait(event)

    async def claim(_: Join) -> bool:
        return False

    def keeper_of(_join: Join, _adapter: Adapter, _resumed: bool) -> None:
        return None

    driver = Driver()
    try:
        await driver.start()
        async with asyncio.TaskGroup() as tasks:
            uplink = Uplink(_NAME, claim, report, keeper_of)
            pool = Pool(PoolSettings.of(replace(settings, memory_reserve_mb=0)), launcher, driver, uplink, tasks)
            pool.warm(_NAME, display=True)
            first = await news.get()
            if isinstance(first, WorkerWarm):
                pool.retire(_NAME)
            await pool.empty.wait()
        return first
    finally:
        await driver.stop()
        await asyncio.to_thread(sweep, launcher.state_dir)  # a pool that is cancelled leaves its browsers
