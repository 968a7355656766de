"""The Playwright driver of an agent: one Node.js process that all workers share.

This file starts the driver, restarts it when it died or hangs, and makes sure that it does not outlive the agent.
Browsers are not children of the driver: they go on without it, and a new driver connects to them again.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog
from playwright.async_api import Browser, Error, Playwright, async_playwright

from common.errors import AgentError
from common.runtime.waiting import backoff, pause
from worker.chromium import processes

log: structlog.stdlib.BoundLogger = structlog.get_logger()

START_DEADLINE_S: Final = 30.0
STOP_DEADLINE_S: Final = 5.0
CHECK_S: Final = 5.0
ANSWER_DEADLINE_S: Final = 3.0  # the question is asked twice: after a pause of the agent itself one answer is late

NEIGHBOURS_ERRORS: Final = (AttributeError, KeyError)
"""Errors that may belong to another page: Playwright raises them in any call after some browser has ended."""
DRIVER_ERRORS: Final = (Error, RuntimeError)
"""RuntimeError is what uvloop raises when the connection to the driver is closed."""
PAGE_ERRORS: Final = (*DRIVER_ERRORS, *NEIGHBOURS_ERRORS)
"""What a call to a page may raise."""


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


class DriverError(AgentError):
    """The driver cannot be started, or does not answer; the message says why."""


class Driver:
    """The driver's process. Call `start`, then `tend` in a task for as long as the agent lives, and `stop` at
    the end.
    """

    def __init__(self) -> None:
        self._playwright: Playwright | None = None
        self._pidfd = -1
        self._gone = asyncio.Event()
        self._asking = asyncio.Lock()

    async def start(self) -> None:
        """Start the driver. Raises: DriverError."""
        before = _driver_pids()
        playwright = async_playwright()
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                self._playwright = await playwright.start()
        except Exception as error:  # Playwright raises a bare Exception when the process dies while it starts
            for pid in _driver_pids() - before:
                os.kill(pid, signal.SIGKILL)
            raise DriverError(f"cannot start the Playwright driver: {error or type(error).__name__}") from error
        _expect_its_end(playwright)
        [pid] = _driver_pids() - before
        self._pidfd = os.pidfd_open(pid)
        self._gone.clear()
        asyncio.get_running_loop().add_reader(self._pidfd, self._note_gone)
        log.info("driver_started", pid=pid)

    async def tend(self, restarted: Callable[[], None]) -> None:
        """Restart the driver whenever it died or hangs, and then call `restarted`: all connections have to be made
        again.
        """
        while True:
            while not await pause(self._gone, CHECK_S):
                await self.answers()
            log.error("driver_died")
            await self.stop()
            for delay_s in backoff(0.1, 10.0):
                try:
                    await self.start()
                    break
                except DriverError as error:
                    log.error("driver_not_started", error=str(error), again_in_s=delay_s)
                    await asyncio.sleep(delay_s)
            restarted()

    async def answers(self) -> bool:
        """Whether the driver answers a call that needs no browser. A driver that hangs is killed, and `tend` restarts
        it.
        """
        async with self._asking:
            if self._playwright is None or self._gone.is_set():
                return False
            if await self._answers() or await self._answers():
                return True
            if not self._gone.is_set():
                log.error("driver_hangs")
                self._kill()
            return False

    async def connect(self, endpoint: str, folder: Path, deadline_s: float) -> Browser:
        """Connect to the browser at `endpoint`. Its downloads go into `folder`.

        Raises: DriverError; playwright.async_api.Error when the browser does not answer.
        """
        if self._playwright is None:
            raise DriverError("cannot connect: the Playwright driver is being started anew")
        return await self._playwright.chromium.connect_over_cdp(
            endpoint, artifacts_dir=folder, is_local=True, timeout=deadline_s * 1000
        )

    async def stop(self) -> None:
        """End the driver's process. Idempotent."""
        if self._playwright is None:
            return
        driver, self._playwright = self._playwright, None
        with suppress(TimeoutError, *DRIVER_ERRORS):
            async with asyncio.timeout(STOP_DEADLINE_S):
                await driver.stop()
        self._kill()
        if not await pause(self._gone, STOP_DEADLINE_S):
            log.error("driver_left", why="it hangs in the kernel")

    async def _answers(self) -> bool:
        if self._playwright is None:
            return False
        try:
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                await (await self._playwright.request.new_context()).dispose()
        except (TimeoutError, *DRIVER_ERRORS):
            return False
        return True

    def _note_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self._gone.set()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):  # a pidfd never refers to another process, unlike a pid
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


def _expect_its_end(playwright: Any) -> None:
    """Take the error of a dead driver from where Playwright keeps it. Otherwise asyncio logs it as never retrieved."""
    with suppress(AttributeError):
        error: asyncio.Future[None] = playwright._client._transport.on_error_future
        error.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


def _driver_pids() -> set[int]:
    """The pids of this process's children that are drivers. Playwright does not give the pid of its driver."""
    children = (process.pid for process in processes.scan() if process.parent == os.getpid())
    return {pid for pid in children if processes.bears(pid, "run-driver")}
