"""Keeps evidence of a session that failed: an EvidenceKeeper watches the session, and packs a bundle at its end.

During the session it remembers a limited part of what happened. `EvidenceKeeper.keep` has a deadline: if the page does
not answer, its parts are missing in the bundle, and the bundle says so. The bundle contains nothing that lets anybody
into the meeting (redaction.py). Such text is painted over before a picture of the page is taken; if that fails, there
is no picture.
"""

import asyncio
import hashlib
import io
import os
import platform
import time
import zipfile
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from playwright.async_api import ConsoleMessage, Error, Frame, Page, Request

from common.config.settings import EvidenceSettings
from common.links.redaction import redact
from common.wire.messages import Join
from common.wire.vocabulary import Reason
from worker.chromium.driver import PAGE_ERRORS
from worker.meeting.redaction import Secrets
from worker.platforms import SHOW_VIDEOS, Adapter

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PART_S: Final = 1.5  # for one part of the page; an agent that stops waits for two of them and for leaving
PICTURE_S: Final = 1.0  # for the picture of one screen of a probe
PACK_S: Final = 5.0  # for hiding secrets and packing; a quarter of a second for a page full of text
MOST_CHARS: Final = 200_000  # of the page's text, and of its accessibility tree
MOST_LINE_CHARS: Final = 500
_MOST_UNHIDDEN_CHARS: Final = 4 * MOST_LINE_CHARS
"""Of a line, until the bundle is packed. Only then are secrets hidden, because most lines are never packed. One that is
cut in half would not be recognised.
"""
MOST_HISTORY: Final = 400
MOST_CONSOLE: Final = 200
MOST_PICTURES: Final = 40
CHATTER: Final = 300  # console lines between two screens; after them the page is not listened to
QUALITY: Final = 60
SMALL_QUALITY: Final = 25

_HIDE: Final = (Path(__file__).parent / "hide.js").read_text(encoding="utf-8")
_TEXT: Final = (Path(__file__).parent / "text.js").read_text(encoding="utf-8")


class Put(NamedTuple):
    """One file of a bundle. `at`: when its content was read (ISO 8601)."""

    name: str
    data: bytes
    at: str = ""


class _Shown(NamedTuple):
    """What a page showed. Texts still have their secrets. `at`: ISO 8601."""

    name: str
    content: bytes | str
    at: str


class _Noted(NamedTuple):
    """An entry of the history. `at`: epoch seconds. `since_s`: since the session began."""

    at: float
    since_s: float
    said: dict[str, str]


class EvidenceKeeper:
    """Watches one session. `put` takes the name and the bytes of the bundle, and returns whether it is kept."""

    def __init__(
        self,
        join: Join,
        settings: EvidenceSettings,
        put: Callable[[str, bytes], bool],
        *,
        vm_id: str = "",
        address: str = "",
        rules: Callable[[], object] = lambda: None,
        resumed: bool = False,
    ) -> None:
        """`address`: where the browser is sent. `rules`: gives the adapter's rules of that moment. `resumed`: the
        session began under an earlier agent.
        """
        self._join = join
        self._settings = settings
        self._put = put
        self._vm_id = vm_id
        self._rules = rules
        self._resumed = resumed
        self._secrets = Secrets(join, [address] if address else [])
        self._began_at, self._began = time.time(), time.monotonic()
        self._history: deque[_Noted] = deque(maxlen=MOST_HISTORY)
        self._console: deque[str] = deque(maxlen=MOST_CONSOLE)
        self._pictures: deque[Put] = deque(maxlen=MOST_PICTURES)
        self._chatter = 0
        self._listens = False
        self._page: Page | None = None
        self._screen = ""

    # During the session

    def watch(self, page: Page) -> None:
        """Listen to the page from now on; again after a new connection."""
        self._page = page
        page.on("framenavigated", self._note_navigation)
        self._listen()

    def unwatch(self) -> None:
        page, self._page = self._page, None
        if page is None:
            return
        page.remove_listener("framenavigated", self._note_navigation)
        self._stop_listening(page)

    def saw(self, screen: str, rule: str = "", did: str = "") -> None:
        """Note that the page shows another screen, or that the bot did something."""
        self._note(screen=screen, rule=rule, did=did)
        self._chatter = 0
        self._listen()

    def note(self, what: str) -> None:
        self._note(what=what)

    async def picture(self, page: Page, screen: str) -> None:
        """Take a picture of a screen, only for a probe. Takes PICTURE_S at most. Never raises for what a page does."""
        if not self._join.is_probe or screen == self._screen:
            return
        self._screen = screen
        with suppress(TimeoutError, msgspec.ValidationError, *PAGE_ERRORS):
            async with asyncio.timeout(PICTURE_S):
                data = await self._screenshot(page, SMALL_QUALITY)
            name = f"screens/{len(self._pictures) + 1:02}-{screen}.jpg"
            self._pictures.append(Put(name, data, _iso(time.time())))

    def _listen(self) -> None:
        if self._page and not self._listens:
            self._listens = True
            self._page.on("console", self._note_console)
            self._page.on("pageerror", self._note_error)
            self._page.on("requestfailed", self._note_failed_request)

    def _stop_listening(self, page: Page) -> None:
        if self._listens:
            self._listens = False
            page.remove_listener("console", self._note_console)
            page.remove_listener("pageerror", self._note_error)
            page.remove_listener("requestfailed", self._note_failed_request)

    def _note(self, **facts: str) -> None:
        said = {name: text[:_MOST_UNHIDDEN_CHARS] for name, text in facts.items() if text}
        self._history.append(_Noted(time.time(), round(time.monotonic() - self._began, 3), said))

    def _note_console(self, message: ConsoleMessage) -> None:
        self._hear(f"{message.type}: {message.text}")

    def _note_error(self, error: Error) -> None:
        self._hear(f"page error: {error.message}")

    def _hear(self, line: str) -> None:
        """Note a line of the page. A page with endless output is not listened to any more: it would slow all
        workers.
        """
        self._say(line)
        self._chatter += 1
        if self._chatter >= CHATTER and self._page and self._listens:
            self._say("the page says too much; it is not listened to until the next screen")
            self._stop_listening(self._page)

    def _say(self, line: str) -> None:
        since_s = time.monotonic() - self._began
        self._console.append(f"{since_s:9.3f}  {line[:_MOST_UNHIDDEN_CHARS]}")

    def _note_navigation(self, frame: Frame) -> None:
        if frame.parent_frame is None:
            self._note(navigated=redact(frame.url))

    def _note_failed_request(self, request: Request) -> None:
        if request.resource_type in ("document", "script", "xhr", "fetch", "websocket"):
            self._hear(f"request failed: {request.resource_type} {redact(request.url)} {request.failure or ''}")

    # At the end

    async def keep(self, page: Page | None, reason: Reason, detail: str = "", error: str = "") -> str:
        """Pack a bundle, if evidence is kept of such an end. Returns the bundle's name, or "". Never raises, and takes
        little more than twice PART_S and PACK_S. `page` None: it cannot be asked. `error`: the traceback of a bug, if
        there was one.
        """
        if not self._settings.enabled or not (reason.end.evidence or self._join.is_probe):
            return ""
        try:
            return await self._keep(page, reason, detail, error)
        except Exception:  # a bug in this file must not keep the bot's end from being reported
            log.exception("evidence_failed", bot_id=self._join.bot_id, attempt=self._join.attempt)
            return ""

    async def _keep(self, page: Page | None, reason: Reason, detail: str, error: str) -> str:
        self._note(ended=reason)
        missing: dict[str, str] = {}
        shown = await self._page_parts(page, missing) if page else []
        if page is None:
            missing["page"] = detail or f"the page could not be asked any more: {reason}"
        name = f"{self._join.bot_id}-{self._join.attempt}"
        about = self._about(page, reason, detail)
        said = [*self._console], [*self._history], error
        # In a thread: hiding and packing take a while, and other bots go on meanwhile.
        async with asyncio.timeout(PACK_S):
            data = await asyncio.to_thread(self._packed, about, missing, shown, *said)
        if not self._put(name, data):
            return ""
        log.info("evidence_kept", evidence=name, reason=reason, kb=len(data) // 1024, missing=sorted(missing))
        return name

    def _packed(
        self,
        about: dict[str, Any],
        missing: dict[str, str],
        shown: list[_Shown],
        console: list[str],
        history: list[_Noted],
        error: str,
    ) -> bytes:
        """The bundle. What does not fit in is added to `missing`."""

        def line(text: str) -> str:
            return self._secrets.hide(text)[:MOST_LINE_CHARS]

        def text(text: str) -> bytes:
            return self._secrets.hide(text).encode()

        entries = [
            {"at": _iso(at), "s": since_s, **{name: line(fact) for name, fact in said.items()}}
            for at, since_s, said in history
        ]
        files = [
            *(Put(name, text(content) if isinstance(content, str) else content, at) for name, content, at in shown),
            Put("console.txt", "\n".join(map(line, console)).encode()),
            Put("history.json", msgspec.json.format(msgspec.json.encode(entries))),
        ]
        if error:
            files.append(Put("traceback.txt", text(error[-MOST_CHARS:])))
        return packed(about, missing, files, [*self._pictures], self._settings.bundle_kb * 1024)

    async def _page_parts(self, page: Page, missing: dict[str, str]) -> list[_Shown]:
        """What the page shows. `missing` gets the reason for each file that could not be had in time."""
        shown: list[_Shown] = []

        async def part(name: str, read: Callable[[], Awaitable[bytes | str]]) -> None:
            try:
                async with asyncio.timeout(PART_S):
                    shown.append(_Shown(name, await read(), _iso(time.time())))
            except TimeoutError:
                missing[name] = late
            except (*PAGE_ERRORS, msgspec.ValidationError) as fault:  # their text may quote a secret
                missing[name] = f"the page refused it: {type(fault).__name__}"

        late = f"the page did not give it within {PART_S:g} s"
        # The picture comes first and alone: preparing it also reads what was typed into password fields, which the
        # other parts then hide.
        await part("screenshot.jpg", lambda: self._screenshot(page, QUALITY))
        if missing.get("screenshot.jpg") == late:  # the page answers nothing
            missing["page.txt"] = missing["accessibility.txt"] = "the page does not answer"
            return shown
        async with asyncio.TaskGroup() as reading:
            reading.create_task(part("page.txt", lambda: self._text(page)), name="read the page's text")
            reading.create_task(part("accessibility.txt", lambda: self._tree(page)), name="read the accessibility tree")
        return shown

    async def _screenshot(self, page: Page, quality: int) -> bytes:
        """A picture of the page without its secrets. Raises: TimeoutError, playwright's Error, ValidationError."""
        await page.evaluate(SHOW_VIDEOS, PART_S * 1000)
        for _ in range(2):  # twice: a secret found in one frame is then hidden in the others
            for frame in page.frames:
                self._secrets.add(msgspec.convert(await frame.evaluate(_HIDE, self._secrets.expressions), list[str]))
        data = await page.screenshot(
            type="jpeg", quality=quality, scale="css", animations="allow", caret="initial", timeout=PART_S * 1000
        )
        for frame in page.frames:
            await frame.evaluate(_HIDE, None)
        return data

    async def _text(self, page: Page) -> str:
        parts: list[str] = []
        left = MOST_CHARS
        for frame in page.frames:
            if left <= 0:
                break
            kind = "frame" if frame.parent_frame else "page"
            parts += f"--- {kind} {redact(frame.url)}", str(await frame.evaluate(_TEXT, left))
            left = MOST_CHARS - sum(map(len, parts))
        return "\n".join(parts)

    async def _tree(self, page: Page) -> str:
        return (await page.locator("body").aria_snapshot(timeout=PART_S * 1000))[:MOST_CHARS]

    def _about(self, page: Page | None, reason: Reason, detail: str) -> dict[str, Any]:
        join, hide = self._join, self._secrets.hide
        return {
            "bot_id": join.bot_id,
            "attempt": join.attempt,
            "vm_id": self._vm_id,
            "worker_id": join.worker_id,
            "platform": join.platform,
            "is_probe": join.is_probe,
            "reason": reason,
            "detail": hide(detail),
            "meeting": redact(join.meeting_url),
            "page": redact(page.url) if page else "",
            "began_at": _iso(self._began_at),
            "ended_at": _iso(time.time()),
            "took_s": round(time.monotonic() - self._began, 3),
            "resumed": self._resumed,
            "versions": {
                "poolmgr": _version_of("poolmgr"),
                "playwright": _version_of("playwright"),
                "chromium": _chromium(page),
                "python": platform.python_version(),
                "kernel": platform.release(),
                "rules": digest(self._rules()),
            },
            "host": host_facts(),
        }


def keepers_for(
    settings: EvidenceSettings, vm_id: str, put: Callable[[str, bytes], bool]
) -> Callable[[Join, Adapter, bool], EvidenceKeeper | None]:
    """A function that makes the keeper of a session; it gives None where evidence is switched off."""

    def keeper_of(join: Join, adapter: Adapter, resumed: bool) -> EvidenceKeeper | None:
        if not settings.enabled:
            return None
        address, rules = adapter.address(join), lambda: adapter.rules
        return EvidenceKeeper(join, settings, put, vm_id=vm_id, address=address, rules=rules, resumed=resumed)

    return keeper_of


def packed(about: dict[str, Any], missing: dict[str, str], files: list[Put], pictures: list[Put], most: int) -> bytes:
    """One zip of at most `most` bytes. What does not fit is left out: first the pictures of single screens, oldest
    first, then the largest files. `about.json` says what is missing.
    """
    while True:
        facts = {**about, "missing": missing}
        listed = [Put("about.json", msgspec.json.format(msgspec.json.encode(facts))), *files, *pictures]
        data = _zip(listed)
        if len(data) <= most or not (files or pictures):
            return data
        images = [file for file in files if file.name.endswith(".jpg")]
        gone = pictures[0] if pictures else max(images or files, key=lambda file: len(file.data))
        missing[gone.name] = f"the bundle would have been larger than {most // 1024} KB"
        files = [file for file in files if file is not gone]
        pictures = [picture for picture in pictures if picture is not gone]


def _zip(files: list[Put]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for each in files:
            member = zipfile.ZipInfo(each.name, max(time.gmtime()[:6], (1980, 1, 1, 0, 0, 0)))
            member.comment = each.at.encode()
            member.external_attr = 0o600 << 16
            kind = zipfile.ZIP_STORED if each.name.endswith(".jpg") else zipfile.ZIP_DEFLATED
            archive.writestr(member, each.data, compress_type=kind)
    return buffer.getvalue()


def digest(rules: object) -> str:
    """A hash of the rules: the same for the same rules, whichever release or override they came from."""
    if rules is None:
        return ""
    return hashlib.sha256(msgspec.json.encode(rules, enc_hook=repr, order="deterministic")).hexdigest()[:12]


def host_facts() -> dict[str, float | int]:
    """How busy the machine is."""
    facts: dict[str, float | int] = {"cores": os.cpu_count() or 0, "load_1m": round(os.getloadavg()[0], 2)}
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                facts["memory_mb" if name == "MemTotal" else "memory_available_mb"] = int(rest.split()[0]) // 1024
    return facts


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "0+source"


def _chromium(page: Page | None) -> str:
    browser = page.context.browser if page else None
    return browser.version if browser else ""


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
