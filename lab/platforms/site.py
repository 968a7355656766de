"""The server of the pages: every platform's host names on one port of this machine, with a certificate of ours.

A browser finds it by `Site.chromium_flags()`, and by nothing else: no name is changed on this machine, and the switch
for the certificate trusts one key only. It keeps meetings in memory, and forgets them when it stops.

Paths under `/-/` are its own, on every host:

    /-/                             the control page            /-/page/FILE        scripts of the pages
    /-/control                      POST: {"platform", "code", "do": "admit", "who", "text"}
    /-/scenario/PLATFORM/CODE       what the page is to show    /-/call/PLATFORM/CODE    WebSocket, see room.server
    /-/voices                       the page of voices          /-/heavy.js?mb=N    a script of that size, to be cached
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import WSMsgType, web

from lab.meeting.hub import RefusedError
from lab.meeting.messages import Error, Join, Reply, Say, Signal
from lab.platforms.certificate import make_certificate
from lab.platforms.hosts import HOSTS, PLATFORMS, SIGN_IN_HOSTS, code_in, platform_of
from lab.platforms.meeting import Meeting, Message, Voice
from lab.platforms.scenario import Scenario

PAGE: Final = Path(__file__).parent / "page"
MEETINGS_AT_MOST: Final = 5000
HEAVY_MB_AT_MOST: Final = 64

_CACHED: Final = {"Cache-Control": "public, max-age=86400"}
_FRESH: Final = {"Cache-Control": "no-store"}
_STRICT: Final = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind} 'self'" for kind in ("script-src", "connect-src", "media-src", "frame-src")),
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        *(f"{kind} 'none'" for kind in ("worker-src", "object-src", "base-uri", "form-action")),
    )
)
"""`blob:` is among none of them: no script and no worker of text that somebody made."""


class Note(msgspec.Struct, frozen=True, tag="note"):
    """What was done to a page: `clicked join`, `sends audio`, `left`, …"""

    what: str


class Order(msgspec.Struct, frozen=True):
    """What a person asks of a meeting by the control page."""

    platform: str
    code: str
    do: str
    who: str = ""
    text: str = ""


class _Shown(msgspec.Struct, frozen=True):
    """What a page is told before it shows anything. `load`: how often it was opened, itself included."""

    scenario: Scenario
    load: int
    host_is_here: bool


_requests: Final = msgspec.json.Decoder(Join | Signal | Say | Note)
_messages: Final = msgspec.json.Encoder()


class Site:
    """Made by `serving`."""

    def __init__(self, spki: str) -> None:
        self.port = 0
        self._spki = spki
        self._meetings: dict[tuple[str, str], Meeting] = {}
        self._voices: asyncio.Queue[Voice] = asyncio.Queue()
        self._heavy: dict[int, bytes] = {}

    def arrange(self, platform: str, code: str, scenario: Scenario | None = None) -> Meeting:
        """A new meeting in place of what was there by that code."""
        assert platform in PLATFORMS
        later = asyncio.get_running_loop().call_later
        meeting = Meeting(platform, code, scenario or Scenario(entry="lobby"), later, self._voices.put_nowait)
        self._meetings[platform, code] = meeting
        return meeting

    def meeting(self, platform: str, code: str) -> Meeting:
        """The meeting with that code; a new one with a lobby if none was arranged."""
        found = self._meetings.get((platform, code))
        if not found and len(self._meetings) >= MEETINGS_AT_MOST:
            raise web.HTTPServiceUnavailable
        return found or self.arrange(platform, code)

    def chromium_flags(self) -> list[str]:
        """The switches with which a Chromium finds the pages and trusts their certificate; it also needs a
        --user-data-dir.
        """
        return [
            f"--host-resolver-rules=MAP * 127.0.0.1:{self.port}, EXCLUDE 127.0.0.1, EXCLUDE localhost",
            f"--ignore-certificate-errors-spki-list={self._spki}",
        ]

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/-/", self._control_page)
        app.router.add_post("/-/control", self._control)
        app.router.add_static("/-/page", PAGE)
        app.router.add_get("/-/scenario/{platform}/{code:.+}", self._scenario)
        app.router.add_get("/-/call/{platform}/{code:.+}", self._call)
        app.router.add_get("/-/voices", self._voices_page)
        app.router.add_get("/-/voices/orders", self._order_voices)
        app.router.add_get("/-/heavy.js", self._heavy_script)
        app.router.add_get("/{path:.*}", self._page)
        return app

    # The platforms' own addresses

    async def _page(self, request: web.Request) -> web.StreamResponse:
        host = request.host.partition(":")[0]
        if host == "www.google.com":
            return self._google(request)
        if host in SIGN_IN_HOSTS or request.path.startswith("/signin"):
            return web.Response(text=_SIGN_IN["google" if "google" in host else "other"], content_type="text/html")
        platform = platform_of(host)
        if platform is None:
            return web.Response(text=_ELSEWHERE, content_type="text/html")
        code = code_in(platform, request.path)
        meeting = self._meetings.get((platform, code)) if code else None
        if meeting:
            await self._misbehave(request, meeting.scenario)
        headers = _FRESH | ({"Content-Security-Policy": _STRICT} if meeting and meeting.scenario.strict else {})
        page = web.Response(text=_HTML.replace("PLATFORM", platform), content_type="text/html", headers=headers)
        if meeting and meeting.scenario.server == "half":
            return await _half(request, page)
        return page

    async def _misbehave(self, request: web.Request, scenario: Scenario) -> None:
        if scenario.server_ms:
            await asyncio.sleep(scenario.server_ms / 1000)
        if scenario.server == "silent":
            await asyncio.Event().wait()
        if scenario.redirect:
            raise web.HTTPFound(scenario.redirect)
        if scenario.status != 200:
            raise _failure(scenario.status)

    def _google(self, request: web.Request) -> web.Response:
        if request.path == "/url" and request.query.get("q", "").startswith("https://"):
            raise web.HTTPFound(request.query["q"])
        return web.Response(text="<!doctype html><title>reCAPTCHA</title>", content_type="text/html")

    # What the pages ask for

    async def _scenario(self, request: web.Request) -> web.Response:
        meeting = self._meeting_of(request)
        if "again" not in request.query:
            meeting.loads += 1
        shown = _Shown(meeting.scenario, meeting.loads, meeting.host_is_here)
        return web.Response(body=_messages.encode(shown), content_type="application/json", headers=_FRESH)

    async def _call(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=256 * 1024)
        await socket.prepare(request)
        meeting = self._meeting_of(request)
        mailbox: asyncio.Queue[Message] = asyncio.Queue()
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_send(socket, mailbox), name="send to a page")
            try:
                await _hear(socket, meeting, mailbox, is_voice="voice" in request.query)
            finally:
                sending.cancel()
        return socket

    async def _heavy_script(self, request: web.Request) -> web.Response:
        mb = request.query.get("mb", "1")
        size = min(int(mb), HEAVY_MB_AT_MOST) if mb.isdigit() else 1
        if size not in self._heavy:
            self._heavy[size] = await asyncio.to_thread(_script_of, size)
        return web.Response(body=self._heavy[size], content_type="text/javascript", headers=_CACHED)

    async def _voices_page(self, _request: web.Request) -> web.Response:
        return web.Response(text=_VOICES, content_type="text/html", headers=_FRESH)

    async def _order_voices(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=10)
        await socket.prepare(request)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_send(socket, self._voices), name="send to the page of voices")
            try:
                async for _ in socket:
                    pass
            finally:
                sending.cancel()
        return socket

    # For people: the control page

    async def _control_page(self, _request: web.Request) -> web.Response:
        rows = "".join(
            f"<tr><td>{escape(meeting.platform)}<td><a href='{escape(meeting.link)}'>{escape(meeting.link)}</a>"
            f"<td>{escape(', '.join(meeting.present))}<td>{escape(', '.join(meeting.waiting))}"
            f"<td>{''.join(_button(meeting, verb) for verb in ('admit', 'deny', 'remove', 'end', 'host'))}"
            for meeting in self._meetings.values()
        )
        return web.Response(text=_CONTROL.replace("ROWS", rows), content_type="text/html", headers=_FRESH)

    async def _control(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":  # so that a form on another page cannot do it
            raise web.HTTPUnsupportedMediaType
        try:
            order = msgspec.json.decode(await request.read(), type=Order)
        except msgspec.MsgspecError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        meeting = self._meetings.get((order.platform, order.code))
        if meeting is None:
            raise web.HTTPNotFound(text="no such meeting")
        self._carry_out(order, meeting)
        return web.json_response({"present": meeting.present, "waiting": meeting.waiting, "noted": meeting.noted})

    def _carry_out(self, order: Order, meeting: Meeting) -> None:
        match order.do:
            case "admit":
                meeting.admit(order.who)
            case "deny":
                meeting.deny(order.who)
            case "remove":
                meeting.remove(order.who)
            case "leave":
                meeting.leave(order.who)
            case "come":
                meeting.come(order.who)
            case "say":
                meeting.say(order.text, by=order.who)
            case "tone" | "hush":
                meeting.tone(order.who, loud=order.do == "tone")
            case "end":
                meeting.end()
            case "host":
                meeting.host_comes()
            case "turn":
                meeting.turn(order.text)
            case "look":
                pass
            case _:
                raise web.HTTPBadRequest(text=f"cannot do {order.do[:40]!r}")

    def _meeting_of(self, request: web.Request) -> Meeting:
        platform, code = request.match_info["platform"], request.match_info["code"]
        if platform not in PLATFORMS:
            raise web.HTTPNotFound
        return self.meeting(platform, code)


@asynccontextmanager
async def serving(port: int = 0, listen: str = "127.0.0.1") -> AsyncGenerator[Site]:
    """A site that answers on `port`; 0: on a free one."""
    certificate = await asyncio.to_thread(make_certificate, HOSTS)
    site = Site(certificate.spki)
    runner = web.AppRunner(site.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, listen, port, ssl_context=certificate.context).start()
        site.port = runner.addresses[0][1]
        yield site
    finally:
        await runner.cleanup()


async def _hear(
    socket: web.WebSocketResponse, meeting: Meeting, mailbox: asyncio.Queue[Message], *, is_voice: bool
) -> None:
    person_id = ""
    try:
        async for raw in socket:
            if raw.type is not WSMsgType.TEXT:
                continue
            try:
                match _requests.decode(raw.data):
                    case Note(what=what):
                        meeting.noted.append(what)
                    case Join(name=name, microphone=microphone, camera=camera) if not person_id:
                        person_id = meeting.enter(
                            name,
                            microphone=microphone,
                            camera=camera,
                            mailbox=mailbox.put_nowait,
                            is_guest=not is_voice,
                        )
                        if is_voice:
                            meeting.admit(person_id)
                    case Signal() as signal:
                        meeting.signal(person_id, signal)
                    case Say(text=text):
                        meeting.speak_up(person_id, text)
                    case _:
                        pass
            except (RefusedError, msgspec.MsgspecError) as error:
                mailbox.put_nowait(Error(str(error)))
    finally:
        meeting.gone(person_id)


async def _send(socket: web.WebSocketResponse, mailbox: "asyncio.Queue[Message] | asyncio.Queue[Voice]") -> None:
    while True:
        message: Reply | Message = await mailbox.get()
        await socket.send_str(_messages.encode(message).decode())


async def _half(request: web.Request, page: web.Response) -> web.StreamResponse:
    """The page's beginning, without its end."""
    response = web.StreamResponse(headers={"Content-Type": "text/html"})
    await response.prepare(request)
    assert page.text
    await response.write(page.text.partition("<script")[0].encode())
    await asyncio.Event().wait()
    return response


def _failure(status: int) -> web.HTTPException:
    kinds = {503: web.HTTPServiceUnavailable, 404: web.HTTPNotFound, 429: web.HTTPTooManyRequests}
    return kinds.get(status, web.HTTPInternalServerError)()


def _script_of(megabytes: int) -> bytes:
    """Code that a browser has to parse, and has to run in part; its last line says that it ran."""
    line = "globalThis.heavy[{n}]=function(a,b){{const c=[];for(let i=0;i<a;i++)c.push(b*i+{n});return c.length}};\n"
    count = megabytes * 1024 * 1024 // len(line.format(n=100000)) + 1
    body = "".join(line.format(n=100000 + number) for number in range(count))
    return f"globalThis.heavy={{}};\n{body}globalThis.heavy_loaded=true;\n".encode()


def _button(meeting: Meeting, verb: str) -> str:
    return (
        f"<button data-platform='{escape(meeting.platform)}' data-code='{escape(meeting.code)}'"
        f" data-do='{verb}'>{verb}</button>"
    )


_HTML: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title></title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/-/page/pages.css">
</head>
<body>
<script type="module" src="/-/page/PLATFORM.js"></script>
</body>
</html>
"""
_ELSEWHERE: Final = "<!doctype html><title>Elsewhere</title><h1>Elsewhere</h1>"
_VOICES: Final = """<!doctype html>
<meta charset="utf-8">
<title>Voices</title>
<link rel="icon" href="data:,">
<p>This page plays the people with a voice, for as long as it is open.</p>
<ul></ul>
<script type="module" src="/-/page/voices.js"></script>
"""
_CONTROL: Final = """<!doctype html>
<meta charset="utf-8">
<title>Meetings</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/-/page/pages.css">
<p>Reload to see what changed. <a href="/-/voices">Open the page of voices</a> to hear people.</p>
<table><tr><th>platform<th>link<th>in<th>waiting<th>ROWS</table>
<script type="module" src="/-/page/control.js"></script>
"""
_SIGN_IN: Final = {
    "google": """<!doctype html><html lang="en"><title>Sign in - Google Accounts</title>
<h1>Sign in</h1><p>Use your Google Account</p>
<form><input type="email" aria-label="Email or phone" name="identifier"> <button type="button">Next</button></form>
""",
    "other": """<!doctype html><html lang="en"><title>Sign in to your account</title>
<h1>Sign in</h1><form><input type="email" name="loginfmt" placeholder="Email, phone, or Skype">
<input type="button" value="Next"></form>
""",
}
