"""The outside witness: the meeting's own view of who came in and who left.

Each meeting page reports to it over a connection that it holds while it lives. So the witness learns the truth
whichever process dies or freezes. It takes nothing from manager and agent. It also serves the page to real browsers.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from aiohttp import WSMessage, WSMsgType, web

PAGE: Final = Path(__file__).parent / "page.html"


class Seen(StrEnum):
    """What the witness saw. LEFT: the page left by itself. GONE: its connection ended before that."""

    LOBBY = "lobby"
    INSIDE = "inside"
    LEFT = "left"
    GONE = "gone"


class Mark(NamedTuple):
    """Something that the witness saw. `tag`: the job's. `visit`: one page's stay. `pid`: the browser's; 0: unknown.
    `at`: epoch seconds by the page; for GONE, when the witness noticed it. `attempt`: the bot's; 0: unknown.
    """

    at: float
    seen: Seen
    tag: str
    visit: str
    pid: int = 0
    attempt: int = 0


class _PageReport(msgspec.Struct, frozen=True):
    tag: str
    visit: str
    phase: str
    pid: int = 0
    at: float = 0.0


class Sightings:
    """What was seen. `marks`: all of it, in the order in which it arrived. `present`: the visits that are there now.
    `on_mark` is called with each mark. `address`: where the meetings are, HOST:PORT.
    """

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self.present: dict[str, Mark] = {}
        self.on_mark: Callable[[Mark], None] = lambda _mark: None
        self.address = ""

    def inside(self) -> list[Mark]:
        return [mark for mark in self.present.values() if mark.seen is Seen.INSIDE]

    def story(self) -> tuple[Mark, ...]:
        """A job's marks in the order in which they happened. Reports of two pages may arrive in another order."""
        return tuple(sorted(self.marks, key=lambda mark: mark.at))

    def take(self, mark: Mark) -> None:
        self.marks.append(mark)
        if mark.seen in (Seen.LOBBY, Seen.INSIDE):
            self.present[mark.visit] = mark
        else:
            self.present.pop(mark.visit, None)
        self.on_mark(mark)


class Witness(Sightings):
    """A context in which the witness listens."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._now = now
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "Witness":
        app = web.Application()
        app.router.add_get("/r/{name}", _show_page)
        app.router.add_get("/r/{name}/ws", self._listen)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner
        await self._runner.cleanup()

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        with suppress(ConnectionResetError):  # a page may be killed while it connects
            await socket.prepare(request)
        if not socket.prepared:
            return web.Response()
        who: _PageReport | None = None
        try:
            async for frame in socket:
                who = self._hear(frame) or who
        finally:
            if who and who.visit in self.present:
                self.take(Mark(self._now(), Seen.GONE, who.tag, who.visit, who.pid))
        return socket

    def _hear(self, frame: WSMessage) -> _PageReport | None:
        if frame.type is not WSMsgType.TEXT:
            return None
        report = msgspec.json.decode(frame.data, type=_PageReport)
        seen = {"lobby": Seen.LOBBY, "inside": Seen.INSIDE, "end": Seen.LEFT}.get(report.phase)
        if seen:
            self.take(Mark(report.at or self._now(), seen, report.tag, report.visit, report.pid))
        return report


async def _show_page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(PAGE)
