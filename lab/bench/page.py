"""A meeting page as small as can be, served from here: it notes when it is asked for and when a bot asks to join.

It keeps to what worker/platforms/room/screens.toml says of the project's own meeting room.
"""

import asyncio
import time
from typing import Final, Self

from aiohttp import web

_HTML: Final = """<!doctype html><meta charset="utf-8"><title>Meeting</title><link rel="icon" href="data:,">
<section id="name-prompt"><input id="name"><input id="microphone" type="checkbox"><input id="camera" type="checkbox">
<button id="join">Ask to join</button></section>
<section id="waiting-room" hidden><button id="cancel">Cancel</button></section>
<section id="in-meeting" hidden></section><section id="end-screen" data-end="left" hidden>The end</section>
<script>
const sections = document.querySelectorAll("section");
const show = (id) => { for (const section of sections) section.hidden = section.id !== id; };
document.getElementById("join").onclick = () => {
  navigator.sendBeacon(location.pathname.replace("/r/", "/joined/"));
  show("waiting-room");
};
document.getElementById("cancel").onclick = () => show("end-screen");
</script>
"""
_OVER: Final = """<!doctype html><title>Meeting</title><link rel="icon" href="data:,">
<section id="end-screen" data-end="ended">The meeting is over</section>
"""


class PageError(Exception):
    """No bot requested the page in time."""


class MeetingPage:
    """An async context manager. Times are monotonic, in ns."""

    def __init__(self) -> None:
        self.host = ""
        self._asked: dict[str, asyncio.Future[int]] = {}
        self._joined: dict[str, asyncio.Future[int]] = {}
        app = web.Application()
        app.router.add_get("/r/{name}", self._serve)
        app.router.add_post("/joined/{name}", self._note_joined)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.host = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def link(self, name: str) -> str:
        """A meeting link for one bot. If `name` begins with `over`, the meeting ended before the bot comes."""
        return f"http://{self.host}/r/{name}"

    async def asked(self, name: str, within_s: float = 30.0) -> int:
        """When the browser requested the meeting page. Raises: PageError."""
        return await self._wait(self._asked, name, within_s)

    async def joined(self, name: str, within_s: float = 30.0) -> int:
        """When "Ask to join" was clicked. Raises: PageError."""
        return await self._wait(self._joined, name, within_s)

    async def _wait(self, where: dict[str, asyncio.Future[int]], name: str, within_s: float) -> int:
        try:
            async with asyncio.timeout(within_s):
                return await self._future(where, name)
        except TimeoutError:
            raise PageError(f"nobody came to the meeting {name} within {within_s:.0f} s") from None

    def _future(self, where: dict[str, asyncio.Future[int]], name: str) -> asyncio.Future[int]:
        return where.setdefault(name, asyncio.get_running_loop().create_future())

    def _note(self, where: dict[str, asyncio.Future[int]], name: str) -> None:
        at = time.monotonic_ns()
        future = self._future(where, name)
        if not future.done():
            future.set_result(at)

    async def _serve(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self._note(self._asked, name)
        return web.Response(text=_OVER if name.startswith("over") else _HTML, content_type="text/html")

    async def _note_joined(self, request: web.Request) -> web.Response:
        self._note(self._joined, request.match_info["name"])
        return web.Response()
