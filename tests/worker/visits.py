"""A bot of a session's own in a real Chromium, the small pages that it visits, and what it reported of them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web
from msgspec.structs import replace
from playwright.async_api import Page

from common.config.settings import WorkerSettings
from common.wire.messages import (
    AutomaticLeave,
    BotEnded,
    BotMoved,
    BotSaw,
    BotVitals,
    ChatHeard,
    ChatLine,
    Join,
    ParticipantsSeen,
)
from common.wire.vocabulary import BotState
from tests.waiting import PATIENCE_S
from worker.decide.state import SessionSettings, State
from worker.meeting.reports import BotNews
from worker.meeting.session import Context, Session
from worker.platforms import Adapter, adapter_for

# The room's page without a room. A test's own script decides what the buttons do.
PAGE: Final = """<!doctype html>
<title>Meeting</title>
<style>[hidden] { display: none !important }</style>
<section id="name-prompt">
  <input id="name"> <input type="checkbox" id="microphone" checked> <input type="checkbox" id="camera" checked>
  <button id="join" disabled>Ask to join</button>
</section>
<section id="waiting-room" hidden><button id="cancel">Cancel</button></section>
<section id="in-meeting" hidden><ul id="participants"></ul><button id="leave">Leave</button></section>
<section id="end-screen" hidden>Over</section>
<script>
  const $ = (id) => document.getElementById(id);
  const say = (what) => navigator.sendBeacon("/said", what);
  const after = (ms, act) => setTimeout(act, ms);
  const show = (id) => { for (const each of document.querySelectorAll("section")) each.hidden = each.id !== id; };
  const end = (how) => { $("end-screen").dataset.end = how; show("end-screen"); };
  const present = (...names) => $("participants").replaceChildren(...names.map((name) => {
    const item = document.createElement("li");
    item.dataset.participantId = name;
    return item;
  }));
  const meet = (...names) => { present("self", ...names); show("in-meeting"); };
  let asked = () => meet("ann");
  $("name").oninput = () => { $("join").disabled = !$("name").value; };
  $("join").onclick = () => asked();
  $("cancel").onclick = () => { say("cancelled"); end("left"); };
  $("leave").onclick = () => { say("left"); end("left"); };
  %s
</script>
"""


# Once it is told to, the page answers nothing any more. It waits, and leaves the processors to others.
WAIT: Final = 'const never = new XMLHttpRequest(); never.open("GET", "/never", false); never.send();'
# It answers between one wait and the next.
BUSY: Final = """
  const work = () => {
    const soon = new XMLHttpRequest();
    soon.open("GET", "/soon", false);
    soon.send();
    after(0, work);
  };
"""
HANGING: Final = f"""
  const hang = () => {{ fetch("/said", {{ method: "POST", body: "hanging" }}).then(() => {{ {WAIT} }}); }};
"""


class Site:
    """A web server whose pages a test writes, and what those pages said."""

    def __init__(self) -> None:
        self.address = ""
        self.scripts: dict[str, str] = {}
        self.said: list[str] = []
        self.asked_for = asyncio.Event()
        self._heard = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/r/{name}", self.serve)
        app.router.add_get("/file", self.give)
        app.router.add_get("/never", self.wait)
        app.router.add_get("/soon", self.answer_soon)
        app.router.add_post("/said", self.hear)
        return app

    def page(self, script: str) -> str:
        """The link to a new page that runs `script`."""
        name = f"page-{len(self.scripts)}"
        self.scripts[name] = script
        return f"{self.address}/r/{name}"

    async def until_said(self, what: str) -> None:
        await self._until(lambda: what in self.said)

    async def hears(self, count: int) -> list[str]:
        """All that was said, once it is `count` at least: a beacon arrives when it does, also after its page."""
        await self._until(lambda: len(self.said) >= count)
        return self.said

    async def _until(self, heard: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not heard():
                self._heard.clear()
                await self._heard.wait()

    async def serve(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "silent":
            self.asked_for.set()
            await self.wait(request)
        if name not in self.scripts:
            raise web.HTTPNotFound
        return web.Response(text=PAGE % self.scripts[name], content_type="text/html")

    async def wait(self, _request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def answer_soon(self, _request: web.Request) -> web.Response:
        await asyncio.sleep(0.15)
        return web.Response()

    async def give(self, _request: web.Request) -> web.Response:
        return web.Response(body=b"a file", headers={"Content-Disposition": "attachment; filename=file.bin"})

    async def hear(self, request: web.Request) -> web.Response:
        self.said.append(await request.text())
        self._heard.set()
        return web.Response()


@asynccontextmanager
async def serving(app: web.Application) -> AsyncGenerator[str]:
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _, port = runner.addresses[0]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def patient(**settings: float) -> WorkerSettings:
    """With time for all that a test is not about, though its process, the driver or the page stands still for 5 s."""
    return replace(WorkerSettings(page_timeout_s=20.0, leave_timeout_s=40.0), **settings)


class Bot:
    """A session under way, and what it reported."""

    def __init__(
        self,
        page: Page,
        url: str,
        automatic_leave: AutomaticLeave,
        settings: WorkerSettings,
        state: State | None = None,
        *,
        adapter: Adapter | None = None,
        **order: Any,
    ) -> None:
        """`order`: further fields of the order to join."""
        adapter = adapter or adapter_for("room")
        assert adapter
        join = Join("w-1", "b-1", 3, "room", url, "Notetaker", automatic_leave, **order)
        self.reports: list[BotNews] = []
        self.kept: list[State] = []
        self.driver_answers = True
        self.driver_answers_after_s = 0.0
        context = Context(SessionSettings.of(settings), "vm-1", self._keep, self._ask_driver, state)
        self.session = Session(page, join, adapter, context)
        self._noted = asyncio.Event()
        self._ending: asyncio.Task[BotEnded] | None = None

    def _keep(self, state: State, reports: Sequence[BotNews]) -> None:
        self.kept.append(state)
        self.reports += reports
        self._noted.set()

    async def _ask_driver(self) -> bool:
        await asyncio.sleep(self.driver_answers_after_s)
        return self.driver_answers

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._ending = tasks.create_task(self.session.run(), name="session")

    @property
    def moves(self) -> list[BotState]:
        return [report.state for report in self.reports if isinstance(report, BotMoved)]

    @property
    def seen(self) -> list[tuple[str, str, str]]:
        """Each screen, the rule that recognised it, and what was done about it."""
        return [(report.screen, report.rule, report.did) for report in self.reports if isinstance(report, BotSaw)]

    @property
    def vitals(self) -> list[BotVitals]:
        return [report for report in self.reports if isinstance(report, BotVitals)]

    @property
    def chat(self) -> list[ChatLine]:
        return [line for report in self.reports if isinstance(report, ChatHeard) for line in report.chats]

    @property
    def comings(self) -> list[tuple[list[str], int]]:
        """Who came, by name, and how many went, in each report."""
        seen = [report for report in self.reports if isinstance(report, ParticipantsSeen)]
        return [([each.name for each in report.joined], len(report.left)) for report in seen]

    async def until(self, is_so: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                self._noted.clear()
                await self._noted.wait()

    async def until_in(self, state: BotState) -> None:
        await self.until(lambda: state in self.moves)

    async def until_kept(self) -> None:
        await self.until(lambda: self.kept)

    async def until_heard(self) -> BotVitals:
        await self.until(lambda: self.vitals and self.vitals[-1].audio_packets)
        return self.vitals[-1]

    async def end(self) -> BotEnded:
        assert self._ending
        async with asyncio.timeout(PATIENCE_S):
            return await self._ending


@asynccontextmanager
async def bot_at(
    page: Page,
    url: str,
    *,
    automatic_leave: AutomaticLeave | None = None,
    settings: WorkerSettings | None = None,
    **other: Any,
) -> AsyncGenerator[Bot]:
    bot = Bot(page, url, automatic_leave or AutomaticLeave(), settings or patient(), **other)
    async with asyncio.TaskGroup() as tasks:
        bot.start(tasks)
        yield bot


async def go(page: Page, url: str, *, then: Mapping[BotState, str] | None = None, **how: Any) -> tuple[Bot, BotEnded]:
    """A whole session, nothing asked of it on the way. `then`: what the page does once the bot is known to be there."""
    async with bot_at(page, url, **how) as bot:
        for state, script in (then or {}).items():
            await bot.until_in(state)
            await page.evaluate(script)
        return bot, await bot.end()
