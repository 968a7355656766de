"""A stand-in for Chromium that the real agent launches. It has the same arguments, the same files, as much of the
DevTools protocol as the real Playwright uses, and a page that plays our meeting room (page.py).

It is much lighter than Chromium, so a fleet of them fits on a small machine. Like Chromium it goes on when its driver
ends: the next connection finds the same page as it was. It is started by a script that `write_program` makes, because
the agent gives it no environment and it has to know the witness.
"""

import asyncio
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from lab.chaos.stand_in import websocket
from lab.chaos.stand_in.page import END, INSIDE, LOBBY, Page

_HOLD_S: Final = 0.02  # between two looks whether a button can be clicked
_DETECTOR: Final = "detector"
_PROFILE: Final = "--user-data-dir="
# The first line is for a shell, because a path with a space cannot follow #!. For Python that line is a string.
_PROGRAM: Final = """#!/bin/sh
'''exec' "{python}" -ISB "$0" "$@"
' '''
import sys
sys.path.insert(0, {root!r})
from lab.chaos.stand_in.chromium import main
main({witness!r})
"""

Message = dict[str, Any]


def write_program(path: Path, witness: str) -> Path:
    """Write an executable to `path`, for the setting worker.chromium. `witness`: its address, HOST:PORT."""
    root = str(Path(__file__).resolve().parents[3])
    path.write_text(_PROGRAM.format(python=sys.executable, root=root, witness=witness))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def main(witness: str) -> None:
    folder = next(Path(word.removeprefix(_PROFILE)) for word in sys.argv if word.startswith(_PROFILE))
    asyncio.run(_StandIn(witness).run(folder))


class _StandIn:
    def __init__(self, witness: str) -> None:
        self._witness = witness
        self._visit: asyncio.Queue[tuple[str, float]] | None = None
        self._visits = 0
        self._tasks: asyncio.TaskGroup | None = None
        self.page = Page(
            self._note_phase, lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: self.navigate("about:blank")
        )
        self.target_id = os.urandom(16).hex().upper()
        self.loader_id = os.urandom(16).hex().upper()
        self.navigations = 0
        self.clients: set[_Client] = set()

    async def run(self, profile: Path) -> None:
        """Run until it is killed."""
        path = f"/devtools/browser/{os.urandom(8).hex()}"
        async with asyncio.TaskGroup() as self._tasks:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            (profile / "DevToolsActivePort").write_text(f"{port}\n{path}")
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(self, reader, writer)
        try:
            if await websocket.accept(reader, writer):
                self.clients.add(client)
                await client.run()
        except* (OSError, asyncio.IncompleteReadError):
            pass  # the driver is gone, and the page goes on
        finally:
            self.clients.discard(client)
            writer.close()

    def navigate(self, url: str) -> None:
        self.navigations += 1
        self.loader_id = os.urandom(16).hex().upper()
        self.page.open(url)
        for client in self.clients:
            client.tell_navigation(url)
            asyncio.get_running_loop().call_soon(client.tell_loaded)  # after the answer to the request

    # The meeting's own view of the page: a connection that is open from the lobby until the page ends in any way.

    def _note_phase(self, phase: str, tag: str) -> None:
        if phase in (LOBBY, INSIDE) and self._visit is None:
            self._visits += 1
            self._visit = asyncio.Queue()
            assert self._tasks
            self._tasks.create_task(self._visit_meeting(self._visit, tag), name=f"visit {tag}")
        if self._visit:
            self._visit.put_nowait((phase, time.time()))
        if phase == END:
            self._visit = None

    async def _visit_meeting(self, phases: "asyncio.Queue[tuple[str, float]]", tag: str) -> None:
        host, _, port = self._witness.partition(":")
        who = {"tag": tag, "visit": f"{os.getpid()}.{self._visits}", "pid": os.getpid()}
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            await websocket.ask(reader, writer, self._witness, "/r/chaos/ws")
            while True:
                phase, at = await phases.get()
                writer.write(websocket.frame(json.dumps({**who, "phase": phase, "at": at}).encode(), client=True))
                await writer.drain()
                if phase == END:
                    break
            writer.close()
        except (OSError, asyncio.IncompleteReadError) as error:
            print(f"the witness cannot be told: {error!r}", file=sys.stderr, flush=True)


class _Client:
    """One connection of a driver. A session gets the page's events once it has enabled them."""

    def __init__(self, browser: _StandIn, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._browser = browser
        self._reader = reader
        self._writer = writer
        self._sessions: dict[str, str] = {}  # id -> the type of its target
        self._listening: dict[str, list[str]] = {}  # a page's session -> its worlds
        self._contexts = 0
        self._rules = ""
        self._calls: asyncio.TaskGroup | None = None
        self._handlers: dict[str, Callable[[str, Message], Message | None]] = {
            "Browser.getVersion": self._version,
            "Browser.close": lambda _session, _params: os._exit(0),
            "Target.setAutoAttach": self._auto_attach,
            "Target.getTargets": lambda _session, _params: {"targetInfos": [self._page_info()]},
            "Target.getTargetInfo": self._target_info,
            "Target.attachToBrowserTarget": lambda _session, _params: {"sessionId": self._attach("", "browser")},
            "Target.attachToTarget": lambda session, _params: {"sessionId": self._attach(session, "page")},
            "Page.enable": self._enable,
            "Page.getFrameTree": lambda _session, _params: {"frameTree": {"frame": self._frame()}},
            "Page.setLifecycleEventsEnabled": self._tell_lifecycle,
            "Page.addScriptToEvaluateOnNewDocument": self._add_script,
            "Page.createIsolatedWorld": self._create_world,
            "Page.navigate": self._navigate,
            "Runtime.enable": self._tell_contexts,
            "Runtime.evaluate": self._make_utility,
            "Input.insertText": self._insert,
            "Input.dispatchMouseEvent": self._mouse,
        }

    async def run(self) -> None:
        """Serve until the driver is gone. Raises: OSError or asyncio.IncompleteReadError, in a group."""
        async with asyncio.TaskGroup() as self._calls:
            while (raw := await websocket.read(self._reader, self._writer)) is not None:
                self._take(json.loads(raw))
                await self._writer.drain()
            raise ConnectionResetError

    def _take(self, message: Message) -> None:
        method, session, params = message["method"], message.get("sessionId", ""), message.get("params", {})
        if method == "Runtime.callFunctionOn":
            assert self._calls
            self._calls.create_task(self._call(message["id"], session, params), name="call")
            return
        if method == "Page.navigate" and self._browser.page.lets_go_s:
            assert self._calls
            self._calls.create_task(self._leave_slowly(message["id"], session, params), name="leave slowly")
            return
        handler = self._handlers.get(method)
        result = handler(session, params) if handler else {}
        self._answer(message["id"], session, {"result": result or {}})

    def _answer(self, number: int, session: str, body: Message) -> None:
        self._send({"id": number, **body, **({"sessionId": session} if session else {})})

    def _tell(self, session: str, method: str, params: Message) -> None:
        self._send({"method": method, "params": params, **({"sessionId": session} if session else {})})

    def _send(self, message: Message) -> None:
        self._writer.write(websocket.frame(json.dumps(message).encode()))

    # Targets

    def _version(self, _session: str, _params: Message) -> Message:
        product = {"product": "Chrome/156.0.0.0", "revision": "@0", "jsVersion": "15.6.0.0"}
        return {"protocolVersion": "1.3", "userAgent": "stand-in", **product}

    def _page_info(self) -> Message:
        browser = self._browser
        return {
            "targetId": browser.target_id,
            "type": "page",
            "title": browser.page.url,
            "url": browser.page.url,
            "attached": True,
            "canAccessOpener": False,
            "browserContextId": "STAND-IN",
        }

    def _attach(self, parent: str, kind: str) -> str:
        session = os.urandom(16).hex().upper()
        self._sessions[session] = kind
        info = self._page_info() if kind == "page" else {**self._page_info(), "type": "browser", "url": ""}
        attached = {"sessionId": session, "targetInfo": info, "waitingForDebugger": False}
        self._tell(parent, "Target.attachedToTarget", attached)
        return session

    def _auto_attach(self, session: str, _params: Message) -> Message:
        if not session:
            self._attach("", "page")
        return {}

    def _target_info(self, session: str, _params: Message) -> Message:
        if self._sessions.get(session) == "page":
            return {"targetInfo": self._page_info()}
        return {"targetInfo": {**self._page_info(), "targetId": "STAND-IN-BROWSER", "type": "browser", "url": ""}}

    # The page and its worlds

    def _frame(self) -> Message:
        browser = self._browser
        return {
            "id": browser.target_id,
            "loaderId": browser.loader_id,
            "url": browser.page.url,
            "domainAndRegistry": "",
            "securityOrigin": "://",
            "mimeType": "text/html",
            "secureContextType": "SecureLocalhost",
            "crossOriginIsolatedContextType": "NotIsolated",
            "gatedAPIFeatures": [],
        }

    def _enable(self, session: str, _params: Message) -> Message:
        self._listening.setdefault(session, [])
        return {}

    def _tell_lifecycle(self, session: str, _params: Message) -> Message:
        for name in ("commit", "DOMContentLoaded", "load"):
            self._lifecycle(session, name)
        return {}

    def _lifecycle(self, session: str, name: str) -> None:
        browser = self._browser
        which = {"frameId": browser.target_id, "loaderId": browser.loader_id}
        self._tell(session, "Page.lifecycleEvent", {**which, "name": name, "timestamp": time.monotonic()})

    def _tell_contexts(self, session: str, _params: Message) -> Message:
        self._create_context(session, "")
        return {}

    def _add_script(self, session: str, params: Message) -> Message:
        if world := params.get("worldName"):
            self._listening[session].append(world)
        return {"identifier": str(len(self._listening.get(session, [])))}

    def _create_world(self, session: str, params: Message) -> Message:
        return {"executionContextId": self._create_context(session, params["worldName"])}

    def _create_context(self, session: str, world: str) -> int:
        self._contexts += 1
        kind = {"isDefault": not world, "type": "isolated" if world else "default"}
        context = {
            "id": self._contexts,
            "origin": "://",
            "name": world,
            "uniqueId": f"{id(self)}.{self._contexts}",
            "auxData": {**kind, "frameId": self._browser.target_id},
        }
        self._tell(session, "Runtime.executionContextCreated", {"context": context})
        return self._contexts

    def _navigate(self, _session: str, params: Message) -> Message:
        browser = self._browser
        browser.navigate(params["url"])
        return {"frameId": browser.target_id, "loaderId": browser.loader_id}

    async def _leave_slowly(self, number: int, session: str, params: Message) -> None:
        await asyncio.sleep(self._browser.page.lets_go_s)
        self._answer(number, session, {"result": self._navigate(session, params)})
        await self._writer.drain()

    def tell_navigation(self, url: str) -> None:
        """Tell every session with events of the request and the answer."""
        browser = self._browser
        loader, frame = browser.loader_id, browser.target_id
        at = {"requestId": loader, "loaderId": loader, "timestamp": time.monotonic(), "type": "Document"}
        request: Message = {
            "url": url,
            "method": "GET",
            "headers": {},
            "initialPriority": "VeryHigh",
            "referrerPolicy": "",
        }
        response: Message = {
            "url": url, "status": 200, "statusText": "OK", "headers": {}, "mimeType": "text/html", "charset": "",
            "connectionReused": False, "connectionId": 0, "encodedDataLength": 0, "securityState": "secure",
        }  # fmt: skip
        for session in self._listening:
            self._tell(session, "Page.frameStartedLoading", {"frameId": frame})
            if url == "about:blank":
                continue
            sent: Message = {**at, "documentURL": url, "request": request, "wallTime": time.time(), "frameId": frame}
            sent |= {"initiator": {"type": "other"}, "redirectHasExtraInfo": False}
            self._tell(session, "Network.requestWillBeSent", sent)
            got: Message = {**at, "response": response, "hasExtraInfo": False, "frameId": frame}
            self._tell(session, "Network.responseReceived", got)

    def tell_loaded(self) -> None:
        """Tell every session with events of the new document, and give it its worlds."""
        browser = self._browser
        for session, worlds in self._listening.items():
            self._tell(session, "Runtime.executionContextsCleared", {})
            self._lifecycle(session, "init")
            self._tell(session, "Page.frameNavigated", {"frame": self._frame(), "type": "Navigation"})
            for world in ("", *worlds):
                self._create_context(session, world)
            ended = {"requestId": browser.loader_id, "timestamp": time.monotonic(), "encodedDataLength": 0}
            if browser.page.url != "about:blank":
                self._tell(session, "Network.loadingFinished", ended)
            for event, name in (("domContentEventFired", "DOMContentLoaded"), ("loadEventFired", "load")):
                self._tell(session, f"Page.{event}", {"timestamp": time.monotonic()})
                self._lifecycle(session, name)
            self._tell(session, "Page.frameStoppedLoading", {"frameId": browser.target_id})

    # Scripts. They have no names, so each is recognised by a text that only it contains

    def _make_utility(self, _session: str, _params: Message) -> Message:
        utility = {"type": "object", "className": "UtilityScript", "description": "UtilityScript"}
        return {"result": {**utility, "objectId": f"utility.{self._browser.navigations}"}}

    async def _call(self, number: int, session: str, params: Message) -> None:
        """Ask the page. A hanging page never answers; a page that was left cannot."""
        page = self._browser.page
        if page.hangs:
            return
        if params.get("objectId") != f"utility.{self._browser.navigations}":
            error = {"code": -32000, "message": "Cannot find context with specified id"}
            self._answer(number, session, {"error": error})
            return
        words = [argument.get("value") for argument in params["arguments"]]
        script, argument = str(words[3]), cast("Message", _plain(words[5]))
        if "readings.participants" in script:  # it is kept as a function, and called with each look
            self._rules = str(argument)
            answer = {"type": "function", "className": "Function", "description": "detect", "objectId": _DETECTOR}
        elif script.startswith("(detect, request)"):
            answer = _serialised(page.look(self._rules))
        elif "poolmgrGuard" in script:
            page.attend(cast("float", argument))
            answer = {"type": "undefined"}
        elif "poolmgrVideos" in script:
            answer = {"type": "undefined"}  # it draws nothing
        elif "field.select()" in script:
            answer = _serialised(page.focus_name())
        elif "toggle.contains(other)" in script:
            answer = _serialised({"off": True, "document": 0.0})  # its microphone and camera
        elif "getBoundingClientRect" in script:
            answer = _serialised(await self._place(argument))
        elif script == "1":
            answer = {"type": "number", "value": 1, "description": "1"}
        else:
            print(f"a script that nobody knows: {script[:200]!r}", file=sys.stderr, flush=True)
            answer = {"type": "undefined"}
        self._answer(number, session, {"result": {"result": answer}})
        await self._writer.drain()

    async def _place(self, asked: Message) -> Message | None:
        until = time.monotonic() + asked["patience_ms"] / 1000
        while True:
            for index, target in enumerate(asked["targets"]):
                if place := self._browser.page.place(target["css"]):
                    return {"index": index, "x": place[0], "y": place[1]}
            if time.monotonic() > until:
                return None
            await asyncio.sleep(_HOLD_S)

    def _insert(self, _session: str, params: Message) -> Message:
        self._browser.page.type(params["text"])
        return {}

    def _mouse(self, _session: str, params: Message) -> Message:
        if params["type"] == "mouseReleased":
            self._browser.page.click(params["x"], params["y"])
        return {}


def _plain(value: Any) -> Any:
    """An argument, from Playwright's notation: {"o": [{"k", "v"}]} for an object, {"a": [...]} for an array."""
    if not isinstance(value, dict):
        return value
    fields = cast("Message", value)
    if "o" in fields:
        return {pair["k"]: _plain(pair["v"]) for pair in fields["o"]}
    return [_plain(value) for value in fields["a"]] if "a" in fields else None


def _serialised(value: Any) -> Message:
    """An answer in that notation."""
    if isinstance(value, bool):
        return {"type": "boolean", "value": value}
    if isinstance(value, str):
        return {"type": "string", "value": value}
    if value is None:
        return {"type": "object", "value": {"v": "null"}}
    body: Message = {"a": value}
    if isinstance(value, dict):
        body = {"o": [{"k": name, "v": field} for name, field in cast("Message", value).items()]}
    return {"type": "object", "value": {**body, "id": 1}}
