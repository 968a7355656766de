"""Makes a worker warm: its browser runs, is connected to, and is ready to join.

Ready to join means: the platforms' page code is in its cache (warm_pages.py); its language, devices and audio path are
set (profile.py); it has one page that answers, and that gets its permissions without a question (permissions.py).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from playwright.async_api import Page

from common.runtime import steps
from common.runtime.steps import AgentStep
from common.runtime.waiting import pause
from common.wire.vocabulary import GoneCause
from worker.chromium.driver import one_line
from worker.chromium.process import BrowserError, Chromium, Launcher
from worker.decide.worker import Failure, Warmed
from worker.platforms import prepare
from worker.pool.connections import CONNECT_AGAIN_S, CONNECT_ERRORS, Connections, Start
from worker.pool.joins_first import JoinsFirst
from worker.pool.worker import Worker

WARM_UP_WAITS_S: Final = 2.0  # for bots that are joining, however many there are


class Warmth:
    """`fill_profile`: puts into an empty profile folder what the browser is to find there. `equip`: makes its page
    ready. `limit_s`: for a warm-up."""

    def __init__(
        self,
        launcher: Launcher,
        connections: Connections,
        joins: JoinsFirst,
        start: Start,
        *,
        fill_profile: Callable[[Path], None],
        equip: Callable[[Page], Awaitable[None]],
        limit_s: float,
    ) -> None:
        self._launcher = launcher
        self._connections = connections
        self._joins = joins
        self._start = start
        self._fill_profile = fill_profile
        self._equip = equip
        self._limit_s = limit_s

    async def warm_up(self, worker: Worker) -> None:
        """Warm the worker up. Afterwards it is ready to join, or it ends; then its pool removes its browser."""
        await pause(self._joins.nobody_joins, WARM_UP_WAITS_S)
        began, worker.launched_at = time.monotonic(), time.time()
        try:
            async with asyncio.timeout(self._limit_s):
                chromium = worker.chromium = await self._launcher.launch(
                    worker.worker_id, self._fill_profile, display=worker.display
                )
                self._start(worker.watch(chromium), name=f"watch the browser of {worker.worker_id}")
                page, page_id = await self._ready(worker, chromium)
        except (BrowserError, *CONNECT_ERRORS) as error:
            late = isinstance(error, TimeoutError)
            missing = "an answer from the page" if worker.chromium else "the DevTools port"
            if late and worker.chromium and not await self._connections.have_driver():
                missing = "a Playwright driver"
            why = f"cannot warm up: after {self._limit_s:g} s still without {missing}" if late else one_line(error)
            worker.tell(Failure(GoneCause.WARMUP_FAILED, why))
        else:
            worker.page = page
            worker.tell(Warmed(page_id, time.monotonic() - began))
            steps.done(AgentStep.WORKER_WARMED)

    async def _ready(self, worker: Worker, chromium: Chromium) -> tuple[Page, str]:
        """The browser's page, made ready, and its target's id. If the driver died meanwhile, the next one makes it: the
        browser has no fault. `warm_up` says how long that is tried.

        Raises: CONNECT_ERRORS.
        """
        while True:
            try:
                page, page_id = await self._connections.connect(worker, chromium, prepare)
                await self._equip(page)
                await worker.await_answer(page)
            except CONNECT_ERRORS:
                if await self._connections.have_driver():
                    raise
                await asyncio.sleep(CONNECT_AGAIN_S)
            else:
                return page, page_id
