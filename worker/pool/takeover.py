"""Browsers outlive whoever drives them: connects to them again after the driver died, and after the agent did.

After the driver, a worker goes on as it is, and the session of its bot waits meanwhile. After the agent, the journal
says what the worker was: if its browser lives it goes on, idle or with its bot, and otherwise it ends as it would have.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from playwright.async_api import BrowserContext

from common.config.settings import WorkerSettings
from common.wire.vocabulary import GoneCause, WorkerState
from worker.chromium import permissions
from worker.chromium.driver import PAGE_ERRORS, Driver, DriverError, one_line
from worker.chromium.process import Chromium, Launcher
from worker.link.journal import Stage, WorkerNote
from worker.platforms import BLANK, adapter_for, find_again
from worker.pool.serving import Serving
from worker.pool.worker import Gone, Worker

log: structlog.stdlib.BoundLogger = structlog.get_logger()

REATTACH_DEADLINE_S: Final = 45.0  # a driver may take 30 s to start on a machine that is very busy
REATTACH_AGAIN_S: Final = 0.1

ATTACH_ERRORS: Final = (DriverError, *PAGE_ERRORS, OSError)  # TimeoutError is an OSError
"""What connecting may raise, and asking the page for the first time."""


class Start(Protocol):
    """Starts a task that is cancelled when the workers are left to the next agent."""

    def __call__(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]: ...


class Takeover:
    """`done`: each worker of the earlier agent is connected to, or ends."""

    def __init__(
        self, settings: WorkerSettings, launcher: Launcher, driver: Driver, serving: Serving, start: Start
    ) -> None:
        self._settings = settings
        self._launcher = launcher
        self._driver = driver
        self._serving = serving
        self._start = start
        self._to_connect: set[str] = set()
        self.done = asyncio.Event()

    # Connections

    async def connect(self, worker: Worker, chromium: Chromium) -> BrowserContext:
        """For the first time, or anew. Whenever the connection is lost, another is made."""
        artifacts = _artifacts(chromium)
        browser = await self._driver.connect(chromium.endpoint, artifacts, self._settings.launch_timeout_s)
        browser.on("disconnected", lambda _: self._lose_connection(worker))
        return browser.contexts[0]

    def reconnect(self, workers: Iterable[Worker]) -> None:
        for worker in workers:
            self._lose_connection(worker)

    def _lose_connection(self, worker: Worker) -> None:
        if worker.chromium and worker.page and not worker.reattaching and worker.state is not WorkerState.RETIRING:
            if worker.session:
                worker.session.detach()
            worker.page = None
            reattaching = self._reattach(worker, worker.chromium)
            self._start(reattaching, name=f"reattach {worker.worker_id}")

    async def _reattach(self, worker: Worker, chromium: Chromium) -> None:
        """Afterwards the worker is connected, or ends."""
        worker.reattaching = True
        error: Exception | None = None
        try:
            async with asyncio.timeout(REATTACH_DEADLINE_S):
                while not worker.gone.done():
                    try:
                        context = await self.connect(worker, chromium)
                        await permissions.settle(context)
                        page = await find_again(context, worker.page_id)
                    except ATTACH_ERRORS as fault:  # the driver is starting, or died again
                        error = fault
                        await asyncio.sleep(REATTACH_AGAIN_S)
                        continue
                    if page is None:
                        worker.end_unreachable("its page was closed")
                        return
                    if worker.state is WorkerState.IDLE:
                        await worker.await_answer(page)
                    worker.page = page
                    if worker.session:
                        worker.session.attach(page)
                    return
        except ATTACH_ERRORS as fault:
            worker.end_unreachable(f"cannot connect to it again: {one_line(error or fault)}")
        finally:
            worker.reattaching = False

    # After an agent that was killed or handed over

    def find(self, worker: Worker, note: WorkerNote) -> Chromium | None:
        """The browser, if it lives and is to go on: then it is `take_over` next, otherwise `end_leftover`."""
        worker.page_id, worker.join, worker.is_in = note.page, note.join, note.state is not None
        worker.ends_when_free = GoneCause.RETIRED if note.retires else None
        worker.chromium = self._launcher.find(worker.worker_id) if note.stage is Stage.WARM else None
        if worker.chromium:
            self._to_connect.add(worker.worker_id)
            worker.state = WorkerState.BUSY if note.join else WorkerState.IDLE
        else:
            worker.state = WorkerState.RETIRING
        return worker.chromium

    def done_if_connected(self) -> None:
        """Sets `done`, unless there is a browser left to connect to."""
        if not self._to_connect:
            self.done.set()

    async def take_over(self, worker: Worker, chromium: Chromium, note: WorkerNote) -> Gone | None:
        """None when it is as it was."""
        self._start(worker.watch(chromium), name=f"watch the browser of {worker.worker_id}")
        await self._reattach(worker, chromium)
        self._to_connect.discard(worker.worker_id)
        self.done_if_connected()
        join, adapter = note.join, adapter_for(note.join.platform) if note.join else None
        if not worker.page or worker.gone.done():
            if join:
                self._serving.lose(worker, join, note)
            return worker.gone.result()
        if join and adapter is None:
            self._serving.give_up(worker, join, note)
            return Gone(GoneCause.SPENT, f"there is no adapter for {join.platform} any more")
        log.info("worker_adopted", worker_id=worker.worker_id, bot_id=join.bot_id if join else "")
        if join and adapter and note.state:
            self._start(self._serving.check_claim(worker, join), name=f"claim {join.bot_id}")
            attending = self._serving.attend(worker, join, adapter, worker.page, note.state)
            worker.serving = self._start(attending, name=f"bot {join.bot_id}")
        elif join and adapter:
            worker.serving = self._start(self._serving.serve(worker, join, adapter), name=f"bot {join.bot_id}")
        elif worker.page.url != BLANK:
            return Gone(GoneCause.UNRESPONSIVE, "its page is no longer empty")
        return None

    async def end_leftover(self, worker: Worker, note: WorkerNote) -> Gone:
        """Afterwards nothing is left of it."""
        if note.join:
            self._serving.lose(worker, note.join, note)
        await self._launcher.end_leftover(worker.worker_id)
        cause = GoneCause.SPENT if note.stage is Stage.SPENT else GoneCause.MISSING
        return Gone(cause, "left by an earlier run of the agent")


def _artifacts(chromium: Chromium) -> Path:
    """Where Playwright puts downloads: with the rest of the worker, so that they go with it."""
    folder = chromium.folder / "artifacts"
    folder.mkdir(exist_ok=True)
    return folder
