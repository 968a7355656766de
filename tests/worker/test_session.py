"""A session in a real Chromium: on small pages that keep the room's contract and misbehave, and in the real room."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientWebSocketResponse, web
from playwright.async_api import Browser, Page, async_playwright
from structlog.testing import capture_logs

from room.server import create_app
from tests.waiting import wait_until
from wire.messages import (
    AutomaticLeave,
    BotEnded,
    BotMoved,
    BotVitals,
    ChatHeard,
    ChatLine,
    Join,
    Participant,
    ParticipantsSeen,
)
from wire.settings import WorkerSettings
from wire.vocabulary import BotState, Reason
from worker.company import Known, SeenLine
from worker.lifecycle import Screen, Seen, State
from worker.platforms import adapter_for, prepare
from worker.platforms.rules import Actions, Chat, People, Readings, Rules, ScreenRule, look
from worker.session import BotNews, Session

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_S: Final = 20.0  # how long a test waits for what has to happen
CHROMIUM: Final = ("/usr/lib/chromium/chromium", "/usr/bin/google-chrome")
FLAGS: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)

UNREADABLE: Final = Seen(Screen.UNKNOWN)

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


# In the meeting, and soon after that the page answers nothing any more.
HANGING: Final = """
  asked = () => {
    meet("ann");
    after(600, () => fetch("/said", { method: "POST", body: "hanging" }).then(() => { while (true) {} }));
  };
"""


class Site:
    """A web server whose pages a test writes, and what those pages said."""

    def __init__(self) -> None:
        self.address = ""
        self.scripts: dict[str, str] = {}
        self.said: list[str] = []
        self.asked_for = asyncio.Event()
        self._heard = asyncio.Event()

    def page(self, script: str) -> str:
        """The link to a new page that runs `script`."""
        name = f"page-{len(self.scripts)}"
        self.scripts[name] = script
        return f"{self.address}/r/{name}"

    async def until_said(self, what: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while what not in self.said:
                self._heard.clear()
                await self._heard.wait()

    async def serve(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "silent":
            self.asked_for.set()
            await asyncio.Event().wait()
        if name not in self.scripts:
            raise web.HTTPNotFound
        return web.Response(text=PAGE % self.scripts[name], content_type="text/html")

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


def chromium() -> str | None:
    configured = os.environ.get("POOLMGR_WORKER__CHROMIUM")
    return configured or next((path for path in CHROMIUM if Path(path).exists()), None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncGenerator[Browser]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium(), args=[*FLAGS, *sandbox])
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncGenerator[Page]:
    context = await browser.new_context()
    page, _ = await prepare(context)
    yield page
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def site() -> AsyncGenerator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_get("/r/{name}", site.serve)
    app.router.add_get("/file", site.give)
    app.router.add_post("/said", site.hear)
    async with serving(app) as site.address:
        yield site


class Bot:
    """A session under way, and what it reported."""

    def __init__(
        self,
        page: Page,
        url: str,
        automatic_leave: AutomaticLeave,
        settings: WorkerSettings,
        state: State | None = None,
        message: str = "",
    ) -> None:
        adapter = adapter_for("room")
        assert adapter
        join = Join("w-1", "b-1", 3, "room", url, "Notetaker", automatic_leave, message=message)
        self.reports: list[BotNews] = []
        self.kept: list[State] = []
        self.driver_answers = True
        self.session = Session(page, join, adapter, settings, "vm-1", self._keep, self._ask_driver, state)
        self._noted = asyncio.Event()
        self._ending: asyncio.Task[BotEnded] | None = None

    def _keep(self, state: State, reports: Sequence[BotNews]) -> None:
        self.kept.append(state)
        self.reports += reports
        self._noted.set()

    async def _ask_driver(self) -> bool:
        return self.driver_answers

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._ending = tasks.create_task(self.session.run(), name="session")

    @property
    def moves(self) -> list[BotState]:
        return [report.state for report in self.reports if isinstance(report, BotMoved)]

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
        return [([one.name for one in report.joined], len(report.left)) for report in seen]

    async def until(self, is_so: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                self._noted.clear()
                await self._noted.wait()

    async def until_in(self, state: BotState) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while state not in self.moves:
                self._noted.clear()
                await self._noted.wait()

    async def until_kept(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not self.kept:
                self._noted.clear()
                await self._noted.wait()

    async def until_heard(self) -> BotVitals:
        async with asyncio.timeout(PATIENCE_S):
            while not self.vitals or not self.vitals[-1].audio_packets:
                self._noted.clear()
                await self._noted.wait()
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
    message: str = "",
) -> AsyncGenerator[Bot]:
    bot = Bot(page, url, automatic_leave or AutomaticLeave(), settings or WorkerSettings(), message=message)
    async with asyncio.TaskGroup() as tasks:
        bot.start(tasks)
        yield bot


async def go(
    page: Page, url: str, *, automatic_leave: AutomaticLeave | None = None, settings: WorkerSettings | None = None
) -> tuple[Bot, BotEnded]:
    """A whole session, nothing asked of it on the way."""
    async with bot_at(page, url, automatic_leave=automatic_leave, settings=settings) as bot:
        return bot, await bot.end()


async def test_a_bot_waits_takes_part_and_ends_with_the_meeting(page: Page, site: Site) -> None:
    url = site.page("""
        asked = () => {
          say(JSON.stringify([$("name").value, $("microphone").checked, $("camera").checked]));
          show("waiting-room");
          after(400, () => meet("ann", "bob"));
          after(1100, () => present("self", "ann"));
          after(1800, () => end("ended"));
        };
    """)
    began = time.time()
    bot, ended = await go(page, url)
    assert site.said == ['["Notetaker",false,false]']
    assert bot.moves == [BotState.JOINING, BotState.WAITING_ROOM, BotState.IN_MEETING]
    assert [vitals.participants for vitals in bot.vitals] == [3, 2]
    assert ended == BotEnded(
        "vm-1", "w-1", "b-1", 3, ended.at, Reason.MEETING_ENDED, "the page showed ended end-screen-ended"
    )
    joining, waiting, _ = (report for report in bot.reports if isinstance(report, BotMoved))
    assert began <= joining.first_request_at <= joining.at
    assert waiting.first_request_at == 0
    assert (waiting.screen, waiting.rule) == ("waiting_room", "waiting-room-section")
    assert page.url == "about:blank"


async def test_a_slow_page_is_waited_for(page: Page, site: Site) -> None:
    url = site.page("""
        show(null);
        after(300, () => show("name-prompt"));
        $("name").oninput = () => after(150, () => { $("join").disabled = false; });
        asked = () => after(300, () => { show("waiting-room"); after(300, () => end("denied")); });
    """)
    bot, ended = await go(page, url)
    assert ended.reason is Reason.REQUEST_DENIED
    assert bot.moves == [BotState.JOINING, BotState.WAITING_ROOM]


@pytest.mark.parametrize(
    ("screen", "reason"),
    [
        ("removed", Reason.REMOVED_BY_HOST),
        ("left", Reason.MEETING_ENDED),
        ("full", Reason.MEETING_FULL),
        ("lost", Reason.CONNECTION_LOST),
    ],
)
async def test_an_end_screen_ends_the_bot(page: Page, site: Site, screen: str, reason: Reason) -> None:
    _, ended = await go(page, site.page(f"asked = () => end('{screen}');"))
    assert ended.reason is reason


async def test_a_click_that_is_swallowed_is_made_again(page: Page, site: Site) -> None:
    url = site.page("asked = () => { asked = () => { say('asked again'); end('full'); }; };")
    _, ended = await go(page, url)
    assert ended.reason is Reason.MEETING_FULL
    assert site.said == ["asked again"]


async def test_a_room_that_is_slow_to_answer_is_asked_only_once(page: Page, site: Site) -> None:
    url = site.page("""
        asked = () => { say("asked"); $("join").disabled = true; after(3000, () => end("full")); };
    """)
    await go(page, url)
    assert site.said == ["asked"]


async def test_a_page_that_never_asks_for_a_name_is_not_understood(page: Page, site: Site) -> None:
    _, ended = await go(page, site.page("show(null);"), settings=WorkerSettings(load_timeout_s=0.5))
    assert ended.reason is Reason.UI_ELEMENT_NOT_FOUND


async def test_a_bot_that_nobody_admits_cancels_its_request(page: Page, site: Site) -> None:
    url = site.page("asked = () => show('waiting-room');")
    bot, ended = await go(page, url, automatic_leave=AutomaticLeave(waiting_room_timeout=1))
    assert ended.reason is Reason.WAITING_ROOM_TIMEOUT
    assert bot.moves[-1] is BotState.LEAVING
    assert site.said == ["cancelled"]


async def test_a_bot_that_is_left_alone_leaves(page: Page, site: Site) -> None:
    url = site.page("asked = () => { meet('ann'); after(700, () => present('self')); };")
    _, ended = await go(page, url, automatic_leave=AutomaticLeave(everyone_left_timeout=1))
    assert ended.reason is Reason.EVERYONE_LEFT
    assert site.said == ["left"]


async def test_a_server_that_is_not_there_is_told_without_the_link(page: Page) -> None:
    async with serving(web.Application()) as address:
        pass
    _, ended = await go(page, f"{address}/r/secret")
    assert (ended.reason, ended.detail) == (Reason.PAGE_LOAD_FAILED, "net::ERR_CONNECTION_REFUSED")


async def test_a_server_that_has_no_such_page_is_told(page: Page, site: Site) -> None:
    bot, ended = await go(page, f"{site.address}/r/nowhere")
    assert (ended.reason, ended.detail) == (Reason.PAGE_LOAD_FAILED, "HTTP 404")
    assert bot.moves == [BotState.JOINING]


async def test_a_server_that_never_answers_is_given_up(page: Page, site: Site) -> None:
    _, ended = await go(page, f"{site.address}/r/silent", settings=WorkerSettings(load_timeout_s=0.5))
    assert ended.reason is Reason.PAGE_LOAD_FAILED


async def test_a_page_that_hangs_is_noticed(page: Page, site: Site) -> None:
    bot, ended = await go(page, site.page(HANGING), settings=WorkerSettings(page_timeout_s=0.3))
    assert ended.reason is Reason.BROWSER_HUNG
    assert bot.moves[-1] is BotState.IN_MEETING


async def test_a_page_that_crashes_ends_the_bot(page: Page, site: Site) -> None:
    async with bot_at(page, site.page("")) as bot:
        await bot.until_in(BotState.IN_MEETING)
        await page.context.new_page()  # a context without a living page would go down with it
        with pytest.raises(Exception, match="crash"):
            await page.goto("chrome://crash")
        assert (await bot.end()).reason is Reason.BROWSER_CRASHED


async def test_a_browser_that_exits_ends_the_bot_at_once(page: Page, site: Site) -> None:
    async with bot_at(page, site.page(HANGING)) as bot:
        await bot.until_in(BotState.IN_MEETING)
        await site.until_said("hanging")
        told_at = time.monotonic()
        bot.session.browser_gone("it is gone")
        bot.session.browser_gone("it is gone")
        assert (await bot.end()).reason is Reason.BROWSER_CRASHED
        assert time.monotonic() - told_at < 0.1
        assert site.said == ["hanging"]


async def test_a_page_that_is_closed_under_the_bot_ends_it(page: Page, site: Site) -> None:
    async with bot_at(page, site.page("")) as bot:
        await bot.until_in(BotState.IN_MEETING)
        await page.close()
        assert (await bot.end()).reason is Reason.BROWSER_CRASHED


async def test_a_bot_told_to_leave_before_it_began_asks_for_no_page(page: Page, site: Site) -> None:
    bot = Bot(page, f"{site.address}/r/silent", AutomaticLeave(), WorkerSettings())
    bot.session.leave(Reason.USER_REQUESTED)
    async with asyncio.TaskGroup() as tasks:
        bot.start(tasks)
        assert (await bot.end()).reason is Reason.USER_REQUESTED
    assert bot.reports == []
    assert not site.asked_for.is_set()


async def test_a_bot_leaves_while_the_page_is_on_its_way(page: Page, site: Site) -> None:
    async with bot_at(page, f"{site.address}/r/silent") as bot:
        async with asyncio.timeout(PATIENCE_S):
            await site.asked_for.wait()
        bot.session.leave(Reason.SHUTDOWN)
        assert (await bot.end()).reason is Reason.SHUTDOWN
    assert page.url == "about:blank"


async def test_a_bot_leaves_while_it_tries_to_join(page: Page, site: Site) -> None:
    asked = asyncio.Event()
    page.on("console", lambda _: asked.set())
    async with bot_at(page, site.page("$('name').oninput = () => console.log('typed');")) as bot:
        async with asyncio.timeout(PATIENCE_S):
            await asked.wait()
        bot.session.leave(Reason.USER_REQUESTED)
        assert (await bot.end()).reason is Reason.USER_REQUESTED
    assert bot.moves == [BotState.JOINING]
    assert page.url == "about:blank"


@pytest.mark.parametrize(
    ("script", "inside", "said"),
    [
        ("asked = () => show('waiting-room');", BotState.WAITING_ROOM, ["cancelled"]),
        ("", BotState.IN_MEETING, ["left"]),
    ],
)
async def test_a_bot_leaves_by_the_pages_own_button(
    page: Page, site: Site, script: str, inside: BotState, said: list[str]
) -> None:
    async with bot_at(page, site.page(script)) as bot:
        await bot.until_in(inside)
        bot.session.leave(Reason.USER_REQUESTED)
        await bot.until_in(BotState.LEAVING)
        bot.session.leave(Reason.SHUTDOWN)
        assert (await bot.end()).reason is Reason.USER_REQUESTED
    assert bot.moves[-1] is BotState.LEAVING
    assert site.said == said
    assert page.url == "about:blank"


@pytest.mark.parametrize("stuck", ["$('leave').onclick = () => {};", "$('leave').disabled = true;", HANGING])
async def test_a_page_that_does_not_let_go_is_left_in_time(page: Page, site: Site, stuck: str) -> None:
    async with bot_at(page, site.page(stuck), settings=WorkerSettings(leave_timeout_s=2)) as bot:
        await bot.until_in(BotState.IN_MEETING)
        if stuck is HANGING:
            await site.until_said("hanging")
        told_at = time.monotonic()
        bot.session.leave(Reason.USER_REQUESTED)
        assert (await bot.end()).reason is Reason.USER_REQUESTED
        assert time.monotonic() - told_at < 2.3


async def test_dialogs_stand_in_nobodys_way(page: Page, site: Site) -> None:
    url = site.page("""
        alert("Welcome");
        onbeforeunload = (event) => event.preventDefault();
        asked = () => { confirm("Really?"); meet("ann"); };
        $("leave").onclick = () => {};
    """)
    async with bot_at(page, url, settings=WorkerSettings(leave_timeout_s=2)) as bot:
        await bot.until_in(BotState.IN_MEETING)
        bot.session.leave(Reason.USER_REQUESTED)
        assert (await bot.end()).reason is Reason.USER_REQUESTED
    assert page.url == "about:blank"


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ("<p class=sign>You can’t join this call</p>", Seen(Screen.DENIED, "refusal", 0)),
        ("<p class=sign>You can't join this call</p><main></main>", Seen(Screen.DENIED, "refusal", 0)),
        ("<p class=sign hidden>You can't join</p><main>Hello</main>", Seen(Screen.IN_MEETING, "main", 0)),
        ("<p class=sign style='visibility: hidden'>You can't join</p>", Seen(Screen.UNKNOWN, "", 0)),
        ("<p class=sign>Ann says: hello</p><main>can't join <i></i><i></i></main>", Seen(Screen.IN_MEETING, "main", 2)),
        ("<p class=sign>Hello</p><p class=sign>You can't join</p>", Seen(Screen.DENIED, "refusal", 0)),
        ("<form>Name</form><main>Hello</main>", Seen(Screen.IN_MEETING, "main", 0)),
        ("<form>Name</form>", Seen(Screen.NAME_PROMPT, "form", 0)),
        (
            "<script>document.querySelectorAll = () => ({ length: 'many', *[Symbol.iterator]() {} })</script>",
            UNREADABLE,
        ),
    ],
)
async def test_the_first_rule_that_matches_something_visible_is_what_the_page_shows(
    page: Page, body: str, seen: Seen
) -> None:
    rules = Rules(
        [
            ScreenRule(Screen.DENIED, "refusal", [".other", ".sign"], ["removed", "can't join"]),
            ScreenRule(Screen.IN_MEETING, "main", ["main"]),
            ScreenRule(Screen.NAME_PROMPT, "form", ["form"]),
        ],
        Actions("#name", "#join", "#leave", "#cancel"),
        Readings("main i"),
    )
    await page.goto("data:text/html,<!doctype html>")  # on about:blank nothing has been loaded yet
    await page.set_content(body)
    assert await look(page, rules, PATIENCE_S) == seen


READ: Final = Rules(
    [
        ScreenRule(Screen.REMOVED, "removed", ["main", "p"], ["You were removed"]),
        ScreenRule(Screen.ENDED, "ended", [".over"]),
        ScreenRule(Screen.IN_MEETING, "main", ["main"]),
        ScreenRule(Screen.NAME_PROMPT, "form", ["form"]),
    ],
    Actions("#name", "#join", "#leave", "#cancel"),
    Readings(
        people=People(each="main li", id="@id", name="b", own="[data-self]"),
        chat=Chat(each="main q", id="@id", text="i", sender_id="@data-by", sender_name="u@title", own=".own"),
    ),
)


async def show(page: Page, body: str) -> None:
    await page.goto("data:text/html,<!doctype html>")
    await page.set_content(body)


async def test_who_is_there_is_read_with_the_screen_and_only_when_it_changed(page: Page, site: Site) -> None:
    await show(
        page,
        "<main><li id=0 data-self><b>Bot</b></li> <li id=1> <b> Ann </b></li> <li><b>No id</b></li><li id=2></li>",
    )
    first = await look(page, READ, PATIENCE_S)
    assert first.people == (Participant("1", "Ann"), Participant("2"))
    again = await look(page, READ, PATIENCE_S, Known(first.people_key))
    assert (again.people, again.people_key) == (None, first.people_key)
    await page.evaluate("document.querySelector('b').closest('main').querySelectorAll('li')[1].remove()")
    assert (await look(page, READ, PATIENCE_S, Known(first.people_key))).people == (Participant("2"),)
    await page.evaluate("document.querySelector('main').replaceChildren()")
    redrawn = await look(page, READ, PATIENCE_S, Known(first.people_key))
    assert (redrawn.screen, redrawn.people, redrawn.people_key) == (Screen.IN_MEETING, None, "")


async def test_the_chat_is_read_from_the_known_line_on(page: Page, site: Site) -> None:
    await show(
        page,
        "<main><q id=a data-by=1><u title=Ann></u><i>Hello<br>there</i></q><q id=b class=own><i>Hi</i></q><q></q>",
    )
    ann, own = SeenLine("a", "1", "Ann", "Hello\nthere"), SeenLine("b", "", "", "Hi", own=True)
    for known, lines in (("", (ann, own)), ("a", (own,)), ("b", ()), ("gone", (ann, own))):
        assert (await look(page, READ, PATIENCE_S, Known(line=known))).lines == lines


async def test_what_is_read_off_a_page_is_cut_and_can_be_passed_on(page: Page, site: Site) -> None:
    await show(page, "<main></main>")
    await page.evaluate("""() => {
      const add = (tag, id, inner, text) => {
        const outer = document.createElement(tag), element = document.createElement(inner);
        outer.id = id;
        element.textContent = text;
        outer.append(element);
        document.querySelector("main").append(outer);
      };
      for (let n = 0; n < 600; n += 1) add("li", "p".repeat(200) + n, "b", "N".repeat(500) + n);
      document.querySelector("li").id = "half \ud83d";
      for (let n = 0; n < 120; n += 1) add("q", "line-" + n, "i", "\ud83d\ude00".repeat(3000));
    }""")
    seen = await look(page, READ, PATIENCE_S)
    assert seen.people
    assert len(seen.people) == 500
    assert (seen.people[0].id, len(seen.people[1].id), len(seen.people[1].name)) == ("half ?", 128, 200)
    assert [line.id for line in seen.lines] == [f"line-{n}" for n in range(20, 120)]
    assert {line.text for line in seen.lines} == {"\U0001f600" * 2048}


@pytest.mark.parametrize(
    ("body", "screen"),
    [
        ("<main><q id=a><i>You were removed</i></q></main>", Screen.IN_MEETING),
        ("<main><q id=a><i class=over>You were removed<p>You were removed</p></i></q></main>", Screen.IN_MEETING),
        ("<main><q id=a><i>Hello</i></q></main><p>You were removed</p>", Screen.REMOVED),
        ("<main>You were removed</main>", Screen.REMOVED),
        ("<main><q id=a><i>Hello</i></q></main><p class=over>Bye</p>", Screen.ENDED),
    ],
)
async def test_what_people_write_in_the_chat_is_no_screen(page: Page, site: Site, body: str, screen: Screen) -> None:
    await show(page, body)
    assert (await look(page, READ, PATIENCE_S)).screen is screen


async def test_a_page_cannot_store_a_file(page: Page, site: Site) -> None:
    await page.goto(site.page(""))
    async with page.expect_download() as downloading:
        await page.evaluate("location.href = '/file'")
    download = await downloading.value
    assert await download.failure() == "canceled"


async def test_a_page_cannot_tell_its_connections_from_the_browsers_own(page: Page, site: Site) -> None:
    await page.goto(site.page(""))
    assert await page.evaluate("""() => {
        const connection = new RTCPeerConnection({ iceServers: [] });
        class Own extends RTCPeerConnection {}
        return [
          connection instanceof RTCPeerConnection,
          connection.constructor.name,
          new Own() instanceof Own,
          RTCPeerConnection.prototype === Object.getPrototypeOf(connection),
          typeof RTCPeerConnection.generateCertificate,
          poolmgrMedia.audioPackets(),
        ];
    }""") == [True, "RTCPeerConnection", True, True, "function", 0]


async def test_a_bot_hears_the_others_in_the_real_room(page: Page, browser: Browser) -> None:
    async with serving(create_app("key", open_door=True)) as address:
        speaker = await browser.new_context(permissions=["microphone"])
        try:
            speaking = await speaker.new_page()
            await speaking.goto(f"{address}/r/demo?name=Ann")
            await speaking.locator("#camera").uncheck()
            await speaking.locator("#join").click()
            await speaking.locator("#in-meeting").wait_for()
            async with bot_at(page, f"{address}/r/demo") as bot:
                heard = await bot.until_heard()
                assert heard.participants == 2
                bot.session.leave(Reason.USER_REQUESTED)
                ended = await bot.end()
            assert ended.audio_packets >= heard.audio_packets > 0
            await speaking.locator("#participants li").nth(1).wait_for(state="detached")
        finally:
            await speaker.close()


END_SCREEN: Final = '<section id="end-screen" data-end="removed">You were removed from the meeting</section>'


async def test_a_bot_takes_part_in_the_chat_of_the_real_room_and_knows_who_is_there(page: Page) -> None:
    async with (
        serving(create_app("key", open_door=True)) as address,
        ClientSession() as session,
        session.ws_connect(f"{address}/r/demo/ws") as ann,
        bot_at(page, f"{address}/r/demo", message="I take notes") as bot,
    ):
        await ann.send_json({"type": "join", "name": "Ann"})
        heard = [await next_line(ann)]
        for text in ("You were removed from the meeting", END_SCREEN):
            await ann.send_json({"type": "say", "text": text})
            await next_line(ann)
        await bot.until(lambda: len(bot.chat) == 3)
        for text in ("first", "second\nof two lines"):
            bot.session.say(text)
        heard += [await next_line(ann), await next_line(ann)]
        assert heard == [("Notetaker", text) for text in ("I take notes", "first", "second\nof two lines")]
        await bot.until(lambda: len(bot.chat) == 5)
        said = [(line.sender_name, line.text) for line in bot.chat]
        assert said == [heard[0], ("Ann", "You were removed from the meeting"), ("Ann", END_SCREEN), *heard[1:]]
        assert len({line.id for line in bot.chat}) == 5
        assert [names for names, _ in bot.comings if names] == [["Ann"]]
        assert bot.moves[-1] is BotState.IN_MEETING, "whatever is said, it stays"
        await ann.close()
        await bot.until(lambda: bot.comings[-1] == ([], 1))
        bot.session.leave(Reason.USER_REQUESTED)
        assert (await bot.end()).reason is Reason.USER_REQUESTED
    assert "removed from" not in msgspec.json.encode(bot.kept[-1]).decode()


async def next_line(guest: ClientWebSocketResponse) -> tuple[str, str]:
    async with asyncio.timeout(PATIENCE_S):
        while (message := await guest.receive_json())["type"] != "said":
            pass
    return message["name"], message["text"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("", "the page has no chat that takes it"),
        ("$('in-meeting').innerHTML += '<textarea id=chat-text>';", "TimeoutError"),
        (
            "$('in-meeting').innerHTML += '<textarea id=chat-text></textarea><button id=chat-send>';",
            "the page has no chat that takes it",
        ),
        (
            "$('in-meeting').innerHTML += '<textarea id=chat-text oninput=\"while (true) {}\">';",
            "TimeoutError",
        ),
    ],
    ids=["no field", "no button", "not sent", "hangs"],
)
async def test_what_cannot_be_said_is_logged_without_its_text_and_dropped(
    page: Page, site: Site, script: str, why: str
) -> None:
    settings = WorkerSettings(page_timeout_s=0.5, leave_timeout_s=1)
    with capture_logs() as logs:
        async with bot_at(page, site.page(script), settings=settings) as bot:
            await bot.until_in(BotState.IN_MEETING)
            for number in range(102):
                bot.session.say(f"secret {number}")
            await wait_until(lambda: sum(log["event"] == "say_failed" for log in logs) >= 3)
            bot.session.leave(Reason.USER_REQUESTED)
            await bot.end()
    failed = [log["why"] for log in logs if log["event"] == "say_failed"]
    assert failed == ["too many messages wait"] * 2 + [why] * (len(failed) - 3) + ["the bot is out"]
    assert "secret" not in repr(logs)


class AgentDiesError(Exception):
    """Stands for kill -9: nothing of a session is brought to an end."""


async def die_in_meeting(page: Page, url: str, settings: WorkerSettings) -> State:
    """A session that is cut off in the meeting; what its journal holds."""
    bot: Bot | None = None
    try:
        async with bot_at(page, url, settings=settings) as bot:
            await bot.until_in(BotState.IN_MEETING)
            raise AgentDiesError
    except* AgentDiesError:
        pass
    assert bot
    return bot.kept[-1]


async def test_a_later_session_goes_on_where_the_earlier_one_was(page: Page, site: Site) -> None:
    url = site.page('addEventListener("pagehide", () => say("hidden"));')
    state = await die_in_meeting(page, url, WorkerSettings())
    assert "hidden" not in site.said
    later = Bot(page, url, AutomaticLeave(), WorkerSettings(), state)
    async with asyncio.TaskGroup() as tasks:
        later.start(tasks)
        await later.until_kept()
        later.session.leave(Reason.USER_REQUESTED)
        ended = await later.end()
    assert (ended.reason, later.moves) == (Reason.USER_REQUESTED, [BotState.LEAVING])
    assert len([said for said in site.said if said == "left"]) == 1


async def test_a_page_that_nobody_attends_to_leaves_by_itself_and_that_is_said(page: Page, site: Site) -> None:
    url = site.page('onbeforeunload = (event) => { event.preventDefault(); event.returnValue = "stay"; };')
    settings = WorkerSettings(unattended_s=1.0)
    state = await die_in_meeting(page, url, settings)
    await page.wait_for_url("about:blank", timeout=PATIENCE_S * 1000, wait_until="commit")
    later = Bot(page, url, AutomaticLeave(), settings, state)
    async with asyncio.TaskGroup() as tasks:
        later.start(tasks)
        ended = await later.end()
    assert (ended.reason, later.moves) == (Reason.CUT_OFF, [])
    assert ended.detail == "the page left its meeting, because no agent attended to it"


async def test_a_page_that_is_attended_to_stays(page: Page, site: Site) -> None:
    async with bot_at(page, site.page(""), settings=WorkerSettings(unattended_s=1.0)) as bot:
        await bot.until_in(BotState.IN_MEETING)
        reports = len(bot.reports)
        await page.wait_for_timeout(3000)  # three times what it may be left alone
        assert bot.reports[reports:] == []
        bot.session.leave(Reason.USER_REQUESTED)
        assert (await bot.end()).reason is Reason.USER_REQUESTED
