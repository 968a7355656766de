"""Sends a page to its meeting.

The session of a bot does that, or goes on with what was begun before it: a bot waits for its page, so it is sent there
while the agent still makes sure that all else is in order.
"""

import asyncio
import time
from collections.abc import Callable

from playwright.async_api import Page, Request, Response

from worker.chromium.driver import PAGE_ERRORS


class Opening:
    """Listens to `page` until it asks for its meeting, and no longer: a page may make thousands of requests a second,
    which slows all workers. `is_requested`: it has asked before. To be closed.
    """

    def __init__(self, page: Page, *, is_requested: bool = False) -> None:
        self.page = page
        self.is_requested = is_requested
        self._requested_at = 0.0
        self._on_request: Callable[[float], None] | None = None
        self._navigation: asyncio.Task[Response | Exception | None] | None = None
        self._listens = not is_requested
        if self._listens:
            page.on("request", self._note_request)

    def call(self, on_request: Callable[[float], None]) -> None:
        """Tell `on_request` when the page first asks for its meeting (epoch seconds): at once, if it has."""
        self._on_request = on_request
        if self._requested_at:
            on_request(self._requested_at)

    def begin(self, tasks: asyncio.TaskGroup, address: str) -> None:
        """Send the page to the address, in a task. What goes wrong, `answer` raises."""
        self._navigation = tasks.create_task(self._go(address), name="open a meeting's page")

    @property
    def is_begun(self) -> bool:
        """Whether there is an `answer` to be had, now or later."""
        return self._navigation is not None

    async def comes(self) -> bool:
        """Wait until the page has its meeting's document, or cannot have it. False, too, if it was not sent there."""
        if (navigation := self._navigation) is None:
            return False
        await asyncio.wait({navigation})
        return not navigation.cancelled() and not isinstance(navigation.result(), Exception)

    async def answer(self) -> Response | None:
        """What the page was answered, once it has been sent there. If this is cancelled, so is the navigation.

        Raises: PAGE_ERRORS.
        """
        navigation, self._navigation = self._navigation, None
        assert navigation
        answer = await navigation
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Stop listening, and give up what is begun. Idempotent."""
        self._stop_listening()
        if self._navigation:
            self._navigation.cancel()
            self._navigation = None

    async def _go(self, address: str) -> Response | Exception | None:
        try:
            return await go(self.page, address)
        except PAGE_ERRORS as error:
            return error

    def _note_request(self, request: Request) -> None:
        if request.is_navigation_request() and not self.is_requested:
            self.is_requested, self._requested_at = True, time.time()
            self._stop_listening()
            if self._on_request:
                self._on_request(self._requested_at)

    def _stop_listening(self) -> None:
        if self._listens:
            self._listens = False
            self.page.remove_listener("request", self._note_request)


async def go(page: Page, address: str) -> Response | None:
    """Navigate, for as long as it takes, until the page has the document. Raises: PAGE_ERRORS."""
    return await page.goto(address, wait_until="commit", timeout=0)
