"""Takes pictures of bots' pages while somebody looks at them, one a second, and publishes them; none is stored.

It reads the page beside its session, and changes nothing on it but that the page draws its videos meanwhile. It stops
by itself when nobody asks any more.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import Final, NamedTuple, Protocol

import structlog
from playwright.async_api import Page

from common.wire.looks import EVERY_S, LOOKED_AT_S, MOST_BYTES, Picture
from worker.chromium.driver import PAGE_ERRORS
from worker.platforms import SHOW_VIDEOS

log: structlog.stdlib.BoundLogger = structlog.get_logger()

MOST_LOOKED_AT: Final = 4
"""How many bots of one VM can be looked at, at a time."""
DEADLINE_S: Final = 2.0
_PAUSE_S: Final = 0.2
_SHOWN_MS: Final = 4000
"""The page draws its videos until then, so that the next picture need not wait for them."""
_QUALITIES: Final = (50, 15)
"""JPEG quality of the picture, and of the next try if that is too large."""


class Looks(Protocol):
    """Which bots somebody looks at, and where their pictures go."""

    def asked(self) -> AsyncGenerator[str]: ...
    async def show(self, bot_id: str, picture: Picture) -> None: ...


class Looked(NamedTuple):
    """The worker that serves a bot. `page`: None while there is no connection to it."""

    worker_id: str
    page: Page | None


class Onlookers:
    """`serves`: the worker of a bot; None: none of this VM serves it."""

    def __init__(self, looks: Looks, serves: Callable[[str], Looked | None]) -> None:
        self._looks = looks
        self._serves = serves
        self._until: dict[str, float] = {}

    @property
    def looked_at(self) -> list[str]:
        """The bots of which pictures are taken."""
        return list(self._until)

    async def run(self) -> None:
        """Run for as long as the agent lives."""
        async with asyncio.TaskGroup() as group:
            async for bot_id in self._looks.asked():
                is_new = bot_id not in self._until
                if is_new and len(self._until) >= MOST_LOOKED_AT:
                    why = f"{MOST_LOOKED_AT} bots of this VM are looked at already"
                    await self._looks.show(bot_id, Picture(time.time(), why=why))
                    continue
                self._until[bot_id] = time.monotonic() + LOOKED_AT_S
                if is_new:
                    group.create_task(self._show(bot_id), name=f"look at {bot_id}")

    async def _show(self, bot_id: str) -> None:
        log.info("bot_looked_at", bot_id=bot_id)
        try:
            while (now := time.monotonic()) < self._until[bot_id]:
                await self._looks.show(bot_id, await picture_of(self._serves(bot_id)))
                await asyncio.sleep(max(_PAUSE_S, now + EVERY_S - time.monotonic()))
        finally:
            del self._until[bot_id]


async def picture_of(looked: Looked | None) -> Picture:
    """A picture of what the page shows, within DEADLINE_S and MOST_BYTES. Never raises for what a page does."""
    at = time.time()
    if looked is None:
        return Picture(at, why="no worker of this VM serves the bot")
    worker_id, page = looked
    if page is None:
        return Picture(at, worker_id, why="the agent connects to the browser anew")
    try:
        async with asyncio.timeout(DEADLINE_S):
            await page.evaluate(SHOW_VIDEOS, _SHOWN_MS)
            for quality in _QUALITIES:
                jpeg = await page.screenshot(
                    type="jpeg", quality=quality, scale="css", animations="allow", caret="initial", timeout=0
                )
                if len(jpeg) <= MOST_BYTES:
                    return Picture(at, worker_id, jpeg)
            return Picture(at, worker_id, why=f"the picture is larger than {MOST_BYTES // 1024} KB")
    except TimeoutError:
        return Picture(at, worker_id, why=f"the page gave no picture within {DEADLINE_S:g} s")
    except PAGE_ERRORS as error:  # the error's text may quote the meeting's link
        return Picture(at, worker_id, why=f"the page refused it: {type(error).__name__}")
