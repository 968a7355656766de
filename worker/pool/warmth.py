"""What a warm worker has: a browser that runs, is connected to, and is ready to join.

Ready to join is: the platforms' page code in its cache (warm_pages.py); English, devices and an open audio path
(profile.py); and one page that answers and asks nobody for permission (permissions.py).
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from playwright.async_api import BrowserContext

from worker.chromium import permissions
from worker.chromium.driver import one_line
from worker.chromium.process import BrowserError, Chromium, Launcher
from worker.platforms import prepare
from worker.pool.takeover import ATTACH_ERRORS, Start
from worker.pool.worker import Worker


class ColdError(Exception):
    """A worker did not become warm; the message says why."""


class Warmth:
    """`furnish`: puts into an empty profile folder what the browser is to find there."""

    def __init__(
        self,
        launcher: Launcher,
        connect: Callable[[Worker, Chromium], Awaitable[BrowserContext]],
        start: Start,
        furnish: Callable[[Path], None],
        limit_s: float,
    ) -> None:
        self._launcher = launcher
        self._connect = connect
        self._start = start
        self._furnish = furnish
        self._limit_s = limit_s

    async def warm_up(self, worker: Worker) -> None:
        """Afterwards it is ready to join, unless it was told to end meanwhile.

        Raises: ColdError; what there is of its browser is left to be ended.
        """
        try:
            async with asyncio.timeout(self._limit_s) as worker.warm_up:
                worker.chromium = await self._launcher.launch(worker.worker_id, self._furnish)
                self._start(worker.watch(worker.chromium), name=f"watch the browser of {worker.worker_id}")
                context = await self._connect(worker, worker.chromium)
                await permissions.settle(context)
                worker.page, worker.page_id = await prepare(context)
                await worker.await_answer(worker.page)
        except (BrowserError, *ATTACH_ERRORS) as error:
            missing = "an answer from the page" if worker.chromium else "the DevTools port"
            late = isinstance(error, TimeoutError)
            why = f"cannot warm up: after {self._limit_s:g} s still without {missing}" if late else one_line(error)
            raise ColdError(why) from error
        finally:
            worker.warm_up = None
