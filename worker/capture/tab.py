"""The tab that records: opened beside a meeting's page, found again by whoever takes it over, asked for its chunks.

Every call has a deadline, and raises what a page may raise (`CAPTURE_ERRORS`).
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, cast

import msgspec
from playwright.async_api import Page

from common.config.settings import CaptureSettings
from common.wire.manifest import GapCause, Kind
from worker.chromium.driver import PAGE_ERRORS
from worker.chromium.profile import CAPTURED_TITLE

HERE: Final = Path(__file__).parent
ADDRESS: Final = (HERE / "recorder.html").as_uri()  # of a file, which is an origin that may capture, and no page's own
SCRIPT: Final = (HERE / "recorder.js").read_text(encoding="utf-8")
OPEN_DEADLINE_S: Final = 10.0
CALL_DEADLINE_S: Final = 5.0
LOOK_S: Final = 0.02
FIT_S: Final = 0.1
MOST_FITS: Final = 20
MOST_AT_ONCE: Final = 60  # chunks: a megabyte of sound, five of pictures
PAUSED: Final = "paused"
_VIEW: Final = "[innerWidth, innerHeight]"
_FIND: Final = "typeof globalThis.poolmgrRecorder === 'object'"
_TITLE: Final = "(title) => { const before = document.title; document.title = title; return before; }"

CAPTURE_ERRORS: Final = (TimeoutError, *PAGE_ERRORS, msgspec.ValidationError, binascii.Error)


class Chunk(msgspec.Struct, frozen=True):
    """As the recorder has it. `data`: in base64. Times are in ms."""

    seq: int
    kind: Kind
    part: int
    part_at: float
    at: float
    media_ms: float
    size: int
    data: str
    cause: GapCause | None = None

    def content(self) -> bytes:
        return base64.b64decode(self.data, validate=True)


class Pulled(msgspec.Struct, frozen=True):
    """`stopped`: by kind, why nothing is recorded any more; empty: it is. `level`: the loudest since the last, root
    mean square.
    """

    chunks: list[Chunk]
    waiting: int
    stopped: dict[Kind, str]
    level: float


class Wish(NamedTuple):
    """What is to be recorded, and how: kilobits a second, pixels, pictures a second."""

    kinds: tuple[Kind, ...]
    audio_kbps: int
    video_kbps: int
    width: int
    height: int
    fps: int

    @classmethod
    def of(cls, kinds: tuple[Kind, ...], settings: CaptureSettings) -> Self:
        width, _, height = settings.video_size.partition("x")
        return cls(kinds, settings.audio_kbps, settings.video_kbps, int(width), int(height), settings.video_fps)


class Start(NamedTuple):
    """Where numbers go on, parts by kind, and why there is a gap before. `keeps_s`: what waits for an agent at most, of
    each kind. `every_ms`: how long a chunk of sound is. `paused`: nothing is recorded until it is told to.
    """

    wish: Wish
    keeps_s: int
    every_ms: int
    parts: dict[Kind, int]
    seq: int
    cause: GapCause | None
    paused: bool

    def told(self) -> dict[str, Any]:
        return {**self._asdict(), "wish": self.wish._asdict()}


async def find(page: Page) -> Page | None:
    """The recorder beside the meeting's `page`, whoever opened it."""
    async with asyncio.timeout(CALL_DEADLINE_S):
        for other in page.context.pages:
            if other.url == ADDRESS and await other.evaluate(_FIND):
                return other
    return None


async def open_beside(page: Page, start: Start) -> Page:
    """A recorder of what the meeting's `page` sounds like, at work. The page's title is another for a moment."""
    tab: Page | None = None
    async with asyncio.timeout(OPEN_DEADLINE_S):
        try:
            if "video" in start.wish.kinds:
                await _fit(page, start.wish.width, start.wish.height)
            tab = await _new_tab(page)
            await tab.evaluate(SCRIPT)
            before = await page.evaluate(_TITLE, CAPTURED_TITLE)
            try:
                await tab.evaluate("(start) => poolmgrRecorder.start(start)", start.told())
            finally:
                await page.evaluate(_TITLE, before)
            return tab
        except BaseException:
            if tab:
                with suppress(*PAGE_ERRORS):
                    await tab.close()
            raise


async def pull(tab: Page, confirmed: int, wanted: int, cause: GapCause | None) -> Pulled:
    """The oldest chunks from `confirmed` on; those before are dropped. `cause`: why nobody fetched any for so long that
    it stopped, if it did.
    """
    async with asyncio.timeout(CALL_DEADLINE_S):
        call = "([confirmed, wanted, cause]) => poolmgrRecorder.pull(confirmed, wanted, cause)"
        return msgspec.convert(await tab.evaluate(call, [confirmed, wanted, cause]), Pulled, strict=False)


async def pause(tab: Page) -> None:
    """What was recorded so far can be pulled, and nothing more comes. Idempotent, as `resume` is."""
    async with asyncio.timeout(CALL_DEADLINE_S):
        await tab.evaluate("poolmgrRecorder.pause()")


async def resume(tab: Page) -> None:
    """A part begins."""
    async with asyncio.timeout(CALL_DEADLINE_S):
        await tab.evaluate("poolmgrRecorder.resume()")


async def stop(tab: Page) -> None:
    """What was recorded so far can be pulled, all of it. Idempotent."""
    async with asyncio.timeout(CALL_DEADLINE_S):
        await tab.evaluate("poolmgrRecorder.stop()")


async def _fit(page: Page, width: int, height: int) -> None:
    """The page has a view of that size, by its window: what emulates one ends with the agent."""
    session = await page.context.new_cdp_session(page)
    send = cast("Callable[..., Awaitable[dict[str, Any]]]", session.send)  # pyright: ignore[reportUnknownMemberType]
    for _ in range(MOST_FITS):
        seen: list[int] = await page.evaluate(_VIEW)
        if seen == [width, height]:
            break
        window = await send("Browser.getWindowForTarget")
        bounds = window["bounds"]
        size = {"width": bounds["width"] + width - seen[0], "height": bounds["height"] + height - seen[1]}
        await send("Browser.setWindowBounds", {"windowId": window["windowId"], "bounds": size})
        await asyncio.sleep(FIT_S)
    await session.detach()


async def _new_tab(page: Page) -> Page:
    """In the background: the meeting stays what is looked at, on a display too. Known by its address, since a meeting's
    page may open others at the same time.
    """
    context = page.context
    session = await context.new_cdp_session(page)
    send = cast("Callable[..., Awaitable[dict[str, Any]]]", session.send)  # pyright: ignore[reportUnknownMemberType]
    await send("Target.createTarget", {"url": ADDRESS, "background": True})
    await session.detach()
    while True:
        for other in context.pages:
            if other.url == ADDRESS and not await other.evaluate(_FIND):
                return other
        await asyncio.sleep(LOOK_S)
