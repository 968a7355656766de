"""Takes the undecoded packets of each sound track that a meeting's page receives, beside the recording of the whole.

A Worker of the page copies them (tracks.js, packets.js). So they are whole, however busy the machine is. It is an
extra: where a page does not let its packets be taken, the recording and the meeting go on, and the recording says so.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeGuard, cast

import msgspec
import structlog
from playwright.async_api import Page

from common.wire.manifest import GapCause
from common.wire.packets import Line
from worker.capture import progress
from worker.capture.clock import Clock
from worker.capture.null_spool import NullSpool
from worker.capture.spool import Spool
from worker.chromium.driver import PAGE_ERRORS, one_line

HERE: Final = Path(__file__).parent
IN_PAGE: Final = (HERE / "tracks.js").read_text(encoding="utf-8")
IN_WORKER: Final = (HERE / "packets.js").read_text(encoding="utf-8")
ADDRESS: Final = "poolmgr-packets.js"
FETCH_S: Final = 0.5
CHUNK_S: Final = 1.0
LIVE_S: Final = 0.25
"""Both of these, if the packets are also sent live."""
CALL_DEADLINE_S: Final = 3.0
END_DEADLINE_S: Final = 2.0
TELL_AFTER_S: Final = 5.0
MOST_AT_ONCE: Final = 60
_MOST_WHY: Final = 200
_MOST_TOLD: Final = 10
_BODY: Final = base64.b64encode(IN_WORKER.encode()).decode()
_CALL: Final = "([what, given]) => globalThis.poolmgrTracks ? poolmgrTracks[what](given) : null"
_ERRORS: Final = (OSError, *PAGE_ERRORS, msgspec.DecodeError)
"""TimeoutError is an OSError."""


class _Chunk(msgspec.Struct, frozen=True):
    """`text`: a line (common/wire/packets.py). Times are in ms."""

    seq: int
    part: int
    since: float
    at: float
    text: str
    missed_since: float | None = None


class _Said(msgspec.Struct, frozen=True):
    """`why`: why not all tracks are taken; empty: they are. `part`: the one that is kept now."""

    why: str
    part: int | None
    chunks: list[_Chunk]
    waiting: int


OnPackets = Callable[[Line | None], None]
"""Gets the packets of all sound tracks as they are fetched. None: not all tracks are taken, or no more."""


async def equip(page: Page) -> None:
    """Have documents that this page navigates to from now on ready for it. Raises: PAGE_ERRORS."""
    session = await page.context.new_cdp_session(page)
    send = cast("Callable[..., Awaitable[dict[str, Any]]]", session.send)  # pyright: ignore[reportUnknownMemberType]

    async def answer(event: dict[str, Any]) -> None:
        headers = [{"name": "Content-Type", "value": "text/javascript"}]
        request = {"requestId": event["requestId"], "responseCode": 200, "responseHeaders": headers, "body": _BODY}
        with suppress(*PAGE_ERRORS):  # the page is gone, or went on
            await send("Fetch.fulfillRequest", request)

    session.on("Fetch.requestPaused", answer)
    await send("Fetch.enable", {"patterns": [{"urlPattern": f"*://*/{ADDRESS}"}]})
    await page.add_init_script(IN_PAGE)


class TrackRecording:
    """Call `run` in a task, and `finish` when the bot is out, before the spool is closed. Neither raises anything that
    a page or a disk causes.

    `page`: the meeting's, None while no driver is connected to it. `spool`: None until the recording begins.
    `has_room`: whether more may be spooled. `is_paused`: whether nothing may be taken now. `has_new_chunks` is called
    when there are. With `on_packets` chunks are short.
    """

    def __init__(
        self,
        page: Callable[[], Page | None],
        spool: Callable[[], Spool | NullSpool | None],
        has_room: Callable[[], bool],
        is_paused: Callable[[], bool],
        has_new_chunks: Callable[[], None],
        add_to_story: Callable[[str], None],
        log: structlog.stdlib.BoundLogger,
        on_packets: OnPackets | None = None,
    ) -> None:
        self._on_packets = on_packets
        self._chunk_s, self._fetch_every_s = (LIVE_S, LIVE_S) if on_packets else (CHUNK_S, FETCH_S)
        self._next_seq = 0  # of what is passed on
        self._page = page
        self._spool = spool
        self._has_room = has_room
        self._is_paused = is_paused
        self._has_new_chunks = has_new_chunks
        self._add_to_story = add_to_story
        self._log = log
        self._since: float | None = None
        self._why = "the page was there before capture.tracks was on"
        self._told: set[str] = set()
        self._was_paused = False
        self._is_fetched = True

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._fetch_every_s)
            spool, page = self._spool(), self._page()
            if _keeps_tracks(spool) and page:
                self._since = time.monotonic() if self._since is None else self._since
                try:
                    await self._fetch(page, spool)
                    self._is_fetched = True
                except _ERRORS as error:
                    if self._is_fetched:  # told once, however long it lasts
                        self._log.warning("tracks_unfetched", error=one_line(error))
                    self._is_fetched = False
                if self._why and time.monotonic() - self._since > TELL_AFTER_S:
                    self._tell(f"not the packets of each participant's sound: {self._why}")

    async def finish(self) -> None:
        """Fetch the rest, if the page still answers."""
        spool, page = self._spool(), self._page()
        if not _keeps_tracks(spool):
            return
        try:
            if page:
                async with asyncio.timeout(END_DEADLINE_S):
                    await self._call(page, "stop", {})
                    while await self._fetch(page, spool, go_on=False):
                        pass
            clock = Clock.of(spool.progress.ahead_s)
            if self._why and spool.progress.tracks["tracks"].parts:
                missed = progress.Missed(spool.progress.began_at, clock.now(), "refused", "tracks")
                await asyncio.to_thread(spool.miss, missed)
        except _ERRORS as error:
            self._log.warning("tracks_unfetched", error=one_line(error))

    async def _fetch(self, page: Page, spool: Spool, *, go_on: bool = True) -> bool:
        """Spool what the page has, and have it keep more if it is to. True: it has more by now."""
        now = spool.progress
        given: dict[str, Any] = {
            "confirmed": now.next_of("tracks"),
            "wanted": MOST_AT_ONCE if self._has_room() else 0,
        }
        said = await self._call(page, "pull", given)
        self._pass_on(said)
        if said is None:
            return False
        for chunk in said.chunks:
            await self._append(spool, chunk)
        more = said.waiting > len(said.chunks)
        is_paused = self._is_paused()
        self._was_paused |= is_paused
        if said.part is not None and is_paused:
            await self._call(page, "stop", {})
        elif said.part is None and not (more or is_paused) and go_on:
            given = {"part": len(now.tracks["tracks"].parts), "seq": now.next_of("tracks")}
            given["chunk_ms"] = round(self._chunk_s * 1000)
            given["wall_ahead_ms"] = Clock.of(now.ahead_s).wall_ahead_s() * 1000
            begun = await self._call(page, "start", given)
            if begun and begun.part is not None:
                self._tell("take the packets of each participant's sound, too")
        return more and bool(said.chunks)

    def _pass_on(self, said: _Said | None) -> None:
        """Raises: msgspec.ValidationError."""
        if not self._on_packets:
            return
        if said is None or said.why:
            self._on_packets(None)
            return
        for chunk in said.chunks:
            if chunk.seq >= self._next_seq:
                self._next_seq = chunk.seq + 1
                if not self._is_paused():
                    self._on_packets(msgspec.json.decode(chunk.text, type=Line))

    async def _append(self, spool: Spool, chunk: _Chunk) -> None:
        began_at, ended_at, parts = chunk.since / 1000, chunk.at / 1000, spool.progress.tracks["tracks"].parts
        if chunk.part >= len(parts):
            cause: GapCause | None = "tab_lost" if parts else None
            if self._was_paused:
                self._was_paused, cause = False, spool.progress.pause_cause
            began = progress.Began(chunk.part, began_at, cause, "tracks")
        else:
            began = progress.Began(chunk.part, parts[chunk.part].began_at, None, "tracks")
        content = chunk.text.encode()
        entry = progress.Chunk(chunk.seq, ended_at, round(began_at - began.at, 3), len(content), "tracks")
        await asyncio.to_thread(spool.append, [(began, entry, content)])
        if chunk.missed_since is not None:
            missed = progress.Missed(chunk.missed_since / 1000, began_at, "agent_away", "tracks")
            await asyncio.to_thread(spool.miss, missed)
        self._has_new_chunks()

    async def _call(self, page: Page, what: str, given: dict[str, Any]) -> _Said | None:
        """None: the page has no script for it."""
        async with asyncio.timeout(CALL_DEADLINE_S):
            answer = await page.evaluate(_CALL, [what, given])
        said = msgspec.convert(answer, _Said | None, strict=False)
        if said:
            self._why = said.why[:_MOST_WHY]
        return said

    def _tell(self, what: str) -> None:
        """Add it to the bot's story, once."""
        if what not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(what)
            self._add_to_story(what)


def _keeps_tracks(spool: Spool | NullSpool | None) -> TypeGuard[Spool]:
    """Not one that an agent without capture.tracks began."""
    return isinstance(spool, Spool) and "tracks" in spool.progress.tracks and not spool.progress.closed
