"""The tab that records: opens it beside a meeting's page, finds it again, fetches its chunks.

Every call has a deadline.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from common.wire.manifest import GapCause, Kind
from worker.capture.way import Chunk, Pulled, Start, WayName
from worker.chromium.driver import PAGE_ERRORS
from worker.chromium.profile import CAPTURED_TITLE

HERE: Final = Path(__file__).parent
ADDRESS: Final = (HERE / "recorder.html").as_uri()  # a file may capture a tab, and no meeting's page has its origin
SCRIPT: Final = (HERE / "recorder.js").read_text(encoding="utf-8")
OPEN_DEADLINE_S: Final = 10.0
CALL_DEADLINE_S: Final = 5.0
CHECK_EVERY_S: Final = 0.02
FIT_S: Final = 0.1
MOST_FITS: Final = 20
BAR_LOOKS: Final = 5
"""FIT_S apart. A bar that says that the tab is captured grows above the page for 0.1 s from then on (Chromium 156)."""
MOST_UNANSWERED: Final = 3
"""Questions in a row whether a tab is the recorder, after a call that it did not answer: 20 s in all, beyond what a
busy machine takes. What such a tab still has is lost with it.
"""
_VIEW: Final = "[innerWidth, innerHeight]"
_HAS_FRAME: Final = "outerHeight > innerHeight"
_CRASHED: Final = "Target crashed"  # as Playwright says it
_FIND: Final = "typeof globalThis.poolmgrRecorder === 'object'"
_TITLE: Final = "(title) => { const before = document.title; document.title = title; return before; }"


class _Chunk(msgspec.Struct, frozen=True):
    """A chunk, as the recorder sends it. `data`: in base64. Times are in ms."""

    seq: int
    kind: Kind
    part: int
    part_at: float
    at: float
    media_ms: float
    size: int
    data: str
    cause: GapCause | None = None

    def decoded(self) -> Chunk:
        content = base64.b64decode(self.data, validate=True)
        times = self.part_at / 1000, self.at / 1000, round(self.media_ms / 1000, 3)
        return Chunk(self.seq, self.kind, self.part, *times, content, self.cause)


class _Pulled(msgspec.Struct, frozen=True):
    """As in way.Pulled."""

    chunks: list[_Chunk]
    waiting: int
    stopped: dict[Kind, str]
    level: float


class TabWay:
    """`instead`: why this way, if another was asked for."""

    def __init__(self, instead: str = "") -> None:
        self.name: Final[WayName] = "recorder_tab"
        self.label: Final = f"by a tab that captures the meeting's{instead and f', because {instead}'}"
        self._unanswered = 0

    async def find(self, page: Page | None) -> "TabRecorder | None":
        """One that has crashed, or that hangs, is none, and is closed."""
        for other in page.context.pages if page else ():
            if page and other.url == ADDRESS and await self._is_recorder(other, page):
                return TabRecorder(other)
        return None

    async def _is_recorder(self, tab: Page, page: Page) -> bool:
        try:
            async with asyncio.timeout(CALL_DEADLINE_S):
                is_recorder: bool = await tab.evaluate(_FIND)
        except TimeoutError:
            self._unanswered += 1
            if self._unanswered < MOST_UNANSWERED:
                raise
            async with asyncio.timeout(CALL_DEADLINE_S):
                await page.evaluate(_VIEW)  # else the whole browser hangs, and what the tab has is not lost
        except PlaywrightError as error:
            if _CRASHED not in error.message:
                raise
        else:
            self._unanswered = 0
            return is_recorder
        await TabRecorder(tab).close()
        self._unanswered = 0
        return False

    async def open(self, page: Page, start: Start) -> "TabRecorder":
        """The meeting's page has another title for a moment."""
        tab: Page | None = None
        sees, size = "video" in start.options.kinds, (start.options.width, start.options.height)
        async with asyncio.timeout(OPEN_DEADLINE_S):
            try:
                if sees:
                    await fit(page, *size)
                tab = await _new_tab(page)
                await tab.evaluate(SCRIPT)
                before = await page.evaluate(_TITLE, CAPTURED_TITLE)
                try:
                    await tab.evaluate("(start) => poolmgrRecorder.start(start)", _as_json(start))
                finally:
                    await page.evaluate(_TITLE, before)
            except BaseException:
                if tab:
                    with suppress(*PAGE_ERRORS):
                        await tab.close()
                raise
        if sees:
            with suppress(TimeoutError, *PAGE_ERRORS):  # it records; without this, everything looks taller than it is
                async with asyncio.timeout(CALL_DEADLINE_S):
                    if await page.evaluate(_HAS_FRAME):
                        await fit(page, *size, looks=BAR_LOOKS)
        return TabRecorder(tab)


class TabRecorder:
    def __init__(self, tab: Page) -> None:
        self.tab = tab

    async def pull(self, confirmed: int, wanted: int, cause: GapCause | None) -> Pulled:
        call = "([confirmed, wanted, cause]) => poolmgrRecorder.pull(confirmed, wanted, cause)"
        async with asyncio.timeout(CALL_DEADLINE_S):
            said = await self.tab.evaluate(call, [confirmed, wanted, cause])
        pulled = msgspec.convert(said, _Pulled, strict=False)
        return Pulled([chunk.decoded() for chunk in pulled.chunks], pulled.waiting, pulled.stopped, pulled.level)

    async def pause(self) -> None:
        await self._call("pause()")

    async def resume(self, cause: GapCause) -> None:
        await self._call(f"resume('{cause}')")

    async def stop(self) -> None:
        await self._call("stop()")

    async def close(self) -> None:
        async with asyncio.timeout(CALL_DEADLINE_S):
            await self.tab.close()

    async def _call(self, what: str) -> None:
        async with asyncio.timeout(CALL_DEADLINE_S):
            await self.tab.evaluate(f"poolmgrRecorder.{what}")


def _as_json(start: Start) -> dict[str, Any]:
    """`wall_ahead_ms`: how far the wall clock is ahead of the recording's."""
    said = start._asdict() | {"options": start.options._asdict(), "wall_ahead_ms": start.clock.wall_ahead_s() * 1000}
    del said["clock"]
    return said


async def fit(page: Page, width: int, height: int, looks: int = 1) -> None:
    """Give the page a view of that size by resizing its window, until it has had it at so many looks in a row. An
    emulated size would end with the agent.
    """
    session = await page.context.new_cdp_session(page)
    send = cast("Callable[..., Awaitable[dict[str, Any]]]", session.send)  # pyright: ignore[reportUnknownMemberType]
    fits = 0
    for _ in range(MOST_FITS):
        seen: list[int] = await page.evaluate(_VIEW)
        fits = fits + 1 if seen == [width, height] else 0
        if fits == looks:
            break
        if not fits:
            window = await send("Browser.getWindowForTarget")
            bounds = window["bounds"]
            size = {"width": bounds["width"] + width - seen[0], "height": bounds["height"] + height - seen[1]}
            await send("Browser.setWindowBounds", {"windowId": window["windowId"], "bounds": size})
        await asyncio.sleep(FIT_S)
    await session.detach()


async def _new_tab(page: Page) -> Page:
    """Open a tab in the background, so that the meeting's page stays visible. The new tab is found by its address: the
    meeting's page may open others at the same time.
    """
    context = page.context
    for left in context.pages:  # one that was not ready in time
        if left.url == ADDRESS:
            await left.close()
    before = context.pages
    session = await context.new_cdp_session(page)
    send = cast("Callable[..., Awaitable[dict[str, Any]]]", session.send)  # pyright: ignore[reportUnknownMemberType]
    await send("Target.createTarget", {"url": ADDRESS, "background": True})
    await session.detach()
    while True:
        for other in context.pages:
            if other.url == ADDRESS and other not in before:
                return other
        await asyncio.sleep(CHECK_EVERY_S)
