"""The tab that records: opens it beside a meeting's page, finds it again, fetches its chunks.

Every call has a deadline. It raises one of CAPTURE_ERRORS if the page does not answer.
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
ADDRESS: Final = (HERE / "recorder.html").as_uri()  # a file may capture a tab, and no meeting's page has its origin
SCRIPT: Final = (HERE / "recorder.js").read_text(encoding="utf-8")
OPEN_DEADLINE_S: Final = 10.0
CALL_DEADLINE_S: Final = 5.0
CHECK_EVERY_S: Final = 0.02
FIT_S: Final = 0.1
MOST_FITS: Final = 20
MOST_AT_ONCE: Final = 60  # chunks: a megabyte of sound, five of pictures
PAUSED: Final = "paused"
_VIEW: Final = "[innerWidth, innerHeight]"
_FIND: Final = "typeof globalThis.poolmgrRecorder === 'object'"
_TITLE: Final = "(title) => { const before = document.title; document.title = title; return before; }"

CAPTURE_ERRORS: Final = (TimeoutError, *PAGE_ERRORS, msgspec.ValidationError, binascii.Error)


class Chunk(msgspec.Struct, frozen=True):
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

    def content(self) -> bytes:
        return base64.b64decode(self.data, validate=True)


class Pulled(msgspec.Struct, frozen=True):
    """`waiting`: how many chunks the recorder has, with these. `stopped`: for each kind why it is no longer recorded;
    empty while it is. `level`: of the loudest moment since the last pull, root mean square.
    """

    chunks: list[Chunk]
    waiting: int
    stopped: dict[Kind, str]
    level: float


class CaptureOptions(NamedTuple):
    """What to record, and how: in kilobits a second, pixels, pictures a second."""

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
    """How a recorder begins. `buffer_s`: how much of each kind it keeps for the agent. `chunk_ms`: how long a chunk of
    sound is. `parts`, `seq`: the numbers of the first parts and the first chunk. `cause`: of the gap before it.
    `paused`: it records nothing until `resume`.
    """

    options: CaptureOptions
    buffer_s: int
    chunk_ms: int
    parts: dict[Kind, int]
    seq: int
    cause: GapCause | None
    paused: bool

    def as_json(self) -> dict[str, Any]:
        return {**self._asdict(), "options": self.options._asdict()}


async def find(page: Page) -> Page | None:
    """The recorder beside the meeting's `page`, if there is one; perhaps an earlier agent opened it."""
    async with asyncio.timeout(CALL_DEADLINE_S):
        for other in page.context.pages:
            if other.url == ADDRESS and await other.evaluate(_FIND):
                return other
    return None


async def open_beside(page: Page, start: Start) -> Page:
    """Open a recorder of the meeting's `page`; it records from then on. The page has another title for a moment."""
    tab: Page | None = None
    async with asyncio.timeout(OPEN_DEADLINE_S):
        try:
            if "video" in start.options.kinds:
                await _fit(page, start.options.width, start.options.height)
            tab = await _new_tab(page)
            await tab.evaluate(SCRIPT)
            before = await page.evaluate(_TITLE, CAPTURED_TITLE)
            try:
                await tab.evaluate("(start) => poolmgrRecorder.start(start)", start.as_json())
            finally:
                await page.evaluate(_TITLE, before)
            return tab
        except BaseException:
            if tab:
                with suppress(*PAGE_ERRORS):
                    await tab.close()
            raise


async def pull(tab: Page, confirmed: int, wanted: int, cause: GapCause | None) -> Pulled:
    """The oldest chunks from `confirmed` on, at most `wanted`. The recorder drops earlier ones. `cause`: why nobody
    fetched chunks, if the recorder stopped because its buffer was full.
    """
    async with asyncio.timeout(CALL_DEADLINE_S):
        call = "([confirmed, wanted, cause]) => poolmgrRecorder.pull(confirmed, wanted, cause)"
        return msgspec.convert(await tab.evaluate(call, [confirmed, wanted, cause]), Pulled, strict=False)


async def pause(tab: Page) -> None:
    """Record nothing more until `resume`. The chunks so far can still be pulled. Both calls are idempotent."""
    async with asyncio.timeout(CALL_DEADLINE_S):
        await tab.evaluate("poolmgrRecorder.pause()")


async def resume(tab: Page) -> None:
    """Record again, in a new part of each kind."""
    async with asyncio.timeout(CALL_DEADLINE_S):
        await tab.evaluate("poolmgrRecorder.resume()")


async def stop(tab: Page) -> None:
    """Record nothing more. All chunks so far can be pulled. Idempotent."""
    async with asyncio.timeout(CALL_DEADLINE_S):
        await tab.evaluate("poolmgrRecorder.stop()")


async def _fit(page: Page, width: int, height: int) -> None:
    """Give the page a view of that size by resizing its window. An emulated size would end with the agent."""
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
    """Open a tab in the background, so that the meeting's page stays visible. The new tab is found by its address: the
    meeting's page may open others at the same time.
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
        await asyncio.sleep(CHECK_EVERY_S)
