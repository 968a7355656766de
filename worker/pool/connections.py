"""Connections to browsers: the first one, and a new one whenever one is lost.

A browser outlives its connection. All connections are lost when the driver dies; until the new one is made, a worker
keeps its state, and the session of its bot waits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from playwright.async_api import BrowserContext, Page

from common.wire.vocabulary import GoneCause
from worker.chromium import permissions
from worker.chromium.driver import PAGE_ERRORS, Driver, DriverError, one_line
from worker.chromium.process import Chromium
from worker.decide.worker import Failure, Phase
from worker.platforms import find_again
from worker.pool.worker import Worker

RESTORE_DEADLINE_S: Final = 45.0  # on a very busy machine a driver may take 30 s to start
CONNECT_AGAIN_S: Final = 0.1

CONNECT_ERRORS: Final = (DriverError, *PAGE_ERRORS, OSError)  # TimeoutError is an OSError
"""What connecting, and the first call to the page, may raise."""

Found = TypeVar("Found")


class Start(Protocol):
    """Starts a task. It is cancelled when this agent hands its workers over to the next one."""

    def __call__(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]: ...


class Connections:
    """`limit_s`: how long one connection may take. `equip`: makes a page ready that is connected to again."""

    def __init__(self, driver: Driver, limit_s: float, start: Start, equip: Callable[[Page], Awaitable[None]]) -> None:
        self._driver = driver
        self._equip = equip
        self._limit_s = limit_s
        self._start = start

    async def connect(
        self, worker: Worker, chromium: Chromium, find: Callable[[BrowserContext], Awaitable[Found]]
    ) -> Found:
        """Connect to the worker's browser. Its pages get their permissions without a question. Returns what `find`
        finds in it.

        Raises: CONNECT_ERRORS.
        """
        browser = await self._driver.connect(chromium.endpoint, _artifacts(chromium), self._limit_s)
        browser.on("disconnected", lambda _: self._lose(worker))
        context = browser.contexts[0]
        _, found = await asyncio.gather(permissions.settle(context), find(context))
        return found

    async def have_driver(self) -> bool:
        """Whether there is one that answers. False within six seconds."""
        return await self._driver.answers()

    def lose_all(self, workers: Iterable[Worker]) -> None:
        """The driver is gone: connect to all of these workers again."""
        for worker in workers:
            self._lose(worker)

    def _lose(self, worker: Worker) -> None:
        if worker.chromium and worker.page and not worker.status.is_ending:
            if worker.session:
                worker.session.detach()
            worker.page = None
            self._start(self.restore(worker, worker.chromium), name=f"reattach {worker.worker_id}")

    async def restore(self, worker: Worker, chromium: Chromium) -> None:
        """Connect to the worker's browser again. Afterwards it is connected to, or it ends."""
        error: Exception | None = None
        find = partial(find_again, target_id=worker.status.page_id)
        try:
            async with asyncio.timeout(RESTORE_DEADLINE_S):
                while not worker.status.is_ending:
                    try:
                        page = await self.connect(worker, chromium, find)
                    except CONNECT_ERRORS as fault:  # the driver is starting, or died again
                        error = fault
                        await asyncio.sleep(CONNECT_AGAIN_S)
                        continue
                    if page is None:
                        worker.tell(Failure(GoneCause.UNRESPONSIVE, "its page was closed"))
                        return
                    with suppress(*CONNECT_ERRORS):  # a call goes on without
                        await self._equip(page)
                    if worker.status.phase is Phase.IDLE:
                        await worker.await_answer(page)
                    worker.page = page
                    if worker.session:
                        worker.session.attach(page)
                    return
        except CONNECT_ERRORS as fault:
            why = f"cannot connect to it again: {one_line(error or fault)}"
            worker.tell(Failure(GoneCause.UNRESPONSIVE, why))


def _artifacts(chromium: Chromium) -> Path:
    """Where Playwright puts downloads: in the worker's folder, so that they are removed with it."""
    folder = chromium.folder / "artifacts"
    folder.mkdir(exist_ok=True)
    return folder
