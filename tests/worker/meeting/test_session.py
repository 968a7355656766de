"""A session in a real Chromium, on small pages that keep the room's contract and misbehave."""

import asyncio
import math
import time
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Page

from common.config.settings import WorkerSettings
from common.wire.messages import AutomaticLeave, BotEnded, BotMoved, Join
from common.wire.vocabulary import BotState, Reason
from lab.parts.ports import free_ports
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.visits import BUSY, HANGING, Bot, Site, bot_at, go, patient
from worker.decide.page_actions import REPEAT_S
from worker.decide.state import State
from worker.decide.words import Dismiss, PageAction
from worker.meeting import reports, session
from worker.platforms import BLANK, built_in
from worker.platforms.page import PageAdapter

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATER_S: Final = 8.0
"""A busy machine is not that late."""


# How many sheets of styles say what is drawn.
SHEETS: Final = "document.adoptedStyleSheets.length"


async def test_a_bot_waits_takes_part_draws_no_videos_once_it_is_in_and_ends_with_the_meeting(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ATTEND_S", math.inf)  # it does not wait until the page is next attended to
    url = site.page("""
        asked = () => {
          say(JSON.stringify([$("name").value, $("microphone").checked, $("camera").checked]));
          show("waiting-room");
        };
    """)
    began = time.time()
    async with bot_at(page, url, settings=patient(unattended_s=86_400.0)) as bot:
        await bot.until_in(BotState.WAITING_ROOM)
        assert await page.evaluate(SHEETS) == 0
        await page.evaluate("meet('ann', 'bob')")
        await page.wait_for_function(f"{SHEETS} === 1", timeout=PATIENCE_S * 1000)
        await bot.until(lambda: len(bot.vitals) == 1)
        await page.evaluate("present('self', 'ann')")
        await bot.until(lambda: len(bot.vitals) == 2)
        await page.evaluate("end('ended')")
        ended = await bot.end()
    assert await site.hears(1) == ['["Notetaker",false,false]']
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


@pytest.mark.long
async def test_a_slow_page_is_waited_for(page: Page, site: Site) -> None:
    url = site.page("""
        show(null);
        after(300, () => show("name-prompt"));
        $("name").oninput = () => after(150, () => { $("join").disabled = false; });
        asked = () => { $("join").disabled = true; after(300, () => show("waiting-room")); };
    """)
    bot, ended = await go(page, url, then={BotState.WAITING_ROOM: "end('denied')"})
    assert ended.reason is Reason.REQUEST_DENIED
    assert bot.moves == [BotState.JOINING, BotState.WAITING_ROOM]


@pytest.mark.long
@pytest.mark.parametrize(
    ("screen", "reason"),
    [
        ("removed", Reason.REMOVED_BY_HOST),
        ("left", Reason.NEVER_ADMITTED),
        ("full", Reason.MEETING_FULL),
        ("lost", Reason.CONNECTION_LOST),
    ],
)
async def test_an_end_screen_ends_the_bot(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch, screen: str, reason: Reason
) -> None:
    monkeypatch.setattr("worker.decide.lifecycle.WATCHED_S", PATIENCE_S)  # a busy machine takes seconds for a click
    _, ended = await go(page, site.page(f"asked = () => end('{screen}');"))
    assert ended.reason is reason


async def test_a_click_that_is_swallowed_is_made_again(page: Page, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.decide.page_actions.REPEAT_S", 0.5)
    url = site.page("asked = () => { asked = () => { say('asked again'); end('full'); }; };")
    _, ended = await go(page, url)
    assert ended.reason is Reason.MEETING_FULL
    assert await site.hears(1) == ["asked again"]


@pytest.mark.long
async def test_a_room_that_is_slow_to_answer_is_asked_only_once(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.decide.page_actions.REPEAT_S", 0.3)
    url = site.page("""
        asked = () => { say("asked"); $("join").disabled = true; after(1000, () => end("full")); };
    """)
    await go(page, url)
    assert await site.hears(1) == ["asked"]


@pytest.mark.long
async def test_a_page_that_never_asks_for_a_name_is_not_understood(page: Page, site: Site) -> None:
    url = site.page("show(null); document.body.append('Hello');")
    _, ended = await go(page, url, settings=patient(load_timeout_s=LATER_S))
    assert ended.reason is Reason.UI_ELEMENT_NOT_FOUND


async def test_a_page_that_shows_nothing_did_not_load(page: Page, site: Site) -> None:
    _, ended = await go(page, site.page("show(null);"), settings=patient(load_timeout_s=0.5))
    assert ended.reason is Reason.PAGE_LOAD_FAILED


async def test_a_bot_that_nobody_admits_cancels_its_request(page: Page, site: Site) -> None:
    url = site.page("asked = () => show('waiting-room');")
    bot, ended = await go(page, url, automatic_leave=AutomaticLeave(waiting_room_timeout=1))
    assert ended.reason is Reason.WAITING_ROOM_TIMEOUT
    assert bot.moves[-1] is BotState.LEAVING
    assert await site.hears(1) == ["cancelled"]


@pytest.mark.long
async def test_a_busy_page_is_asked_what_it_shows_when_the_time_is_up(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SHORTEST_CALL_S", 5.0)  # in half a second a busy machine does not answer either
    url = site.page(BUSY + "asked = () => show('waiting-room');")
    then = {BotState.WAITING_ROOM: "after(0, work)"}
    _, ended = await go(page, url, then=then, automatic_leave=AutomaticLeave(waiting_room_timeout=1))
    assert (ended.reason, ended.detail) == (
        Reason.WAITING_ROOM_TIMEOUT,
        "1 s passed, the page showed waiting_room waiting-room-section",
    )


@pytest.mark.long
async def test_a_bot_that_is_left_alone_leaves(page: Page, site: Site) -> None:
    then = {BotState.IN_MEETING: "present('self')"}
    _, ended = await go(page, site.page(""), then=then, automatic_leave=AutomaticLeave(everyone_left_timeout=1))
    assert ended.reason is Reason.EVERYONE_LEFT
    assert await site.hears(1) == ["left"]


async def test_a_server_that_is_not_there_is_told_without_the_link(page: Page) -> None:
    [port] = free_ports(1)
    _, ended = await go(page, f"http://127.0.0.1:{port}/r/secret")
    assert (ended.reason, ended.detail) == (Reason.PAGE_LOAD_FAILED, "net::ERR_CONNECTION_REFUSED")


async def test_a_server_that_has_no_such_page_is_told(page: Page, site: Site) -> None:
    bot, ended = await go(page, f"{site.address}/r/nowhere")
    assert (ended.reason, ended.detail) == (Reason.PAGE_LOAD_FAILED, "HTTP 404")
    assert bot.moves == [BotState.JOINING]


async def test_a_server_that_never_answers_is_given_up(page: Page, site: Site) -> None:
    _, ended = await go(page, f"{site.address}/r/silent", settings=patient(load_timeout_s=0.5))
    assert ended.reason is Reason.PAGE_LOAD_FAILED


async def test_a_page_that_hangs_is_noticed(own_page: Page, site: Site) -> None:
    then = {BotState.IN_MEETING: "hang()"}
    bot, ended = await go(own_page, site.page(HANGING), then=then, settings=patient(page_timeout_s=3.0))
    assert ended.reason is Reason.BROWSER_HUNG
    assert bot.moves[-1] is BotState.IN_MEETING


@pytest.mark.long
async def test_a_page_is_not_left_because_the_driver_is_slow_for_a_while(
    own_page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the excuse, the third second in a row without an answer is the end."""
    monkeypatch.setattr("worker.meeting.session.EXCUSED_S", 0.5)
    async with bot_at(own_page, site.page(HANGING), settings=patient(page_timeout_s=1)) as bot:
        bot.driver_answers_after_s = 0.3
        await bot.until_in(BotState.IN_MEETING)
        await own_page.evaluate("hang()")
        await site.until_said("hanging")
        began = time.monotonic()
        assert (await bot.end()).reason is Reason.BROWSER_HUNG
        assert time.monotonic() - began >= 4.0


async def test_a_driver_that_died_unnoticed_says_nothing_of_the_page(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:  # what uvloop says to whoever writes to a driver that has just died
        raise RuntimeError("unable to perform operation on <WriteUnixTransport closed=True>; the handler is closed")

    async with bot_at(page, site.page("")) as bot:
        await bot.until_in(BotState.IN_MEETING)
        bot.driver_answers = False
        with monkeypatch.context() as patch:
            patch.setattr(Page, "evaluate", refuse)
            await wait_until(lambda: not bot.session.is_attached)
        bot.driver_answers = True
        bot.session.attach(page)
        await page.evaluate("end('ended')")
        assert (await bot.end()).reason is Reason.MEETING_ENDED


async def test_a_page_that_crashes_ends_the_bot(own_page: Page, site: Site) -> None:
    async with bot_at(own_page, site.page("")) as bot:
        await bot.until_in(BotState.IN_MEETING)
        await own_page.context.new_page()  # a context without a living page would go down with it
        with pytest.raises(Exception, match="crash"):
            await own_page.goto("chrome://crash")
        assert (await bot.end()).reason is Reason.BROWSER_CRASHED


async def test_a_browser_that_exits_ends_the_bot_at_once(own_page: Page, site: Site) -> None:
    async with bot_at(own_page, site.page(HANGING), settings=patient(page_timeout_s=60)) as bot:
        await bot.until_in(BotState.IN_MEETING)
        await own_page.evaluate("hang()")
        await site.until_said("hanging")
        told_at = time.monotonic()
        bot.session.browser_gone("it is gone")
        bot.session.browser_gone("it is gone")
        assert (await bot.end()).reason is Reason.BROWSER_CRASHED
        assert time.monotonic() - told_at < 30, "it did not wait for the page"
        assert site.said == ["hanging"]


@pytest.mark.long
async def test_a_page_that_is_closed_under_the_bot_ends_it(own_page: Page, site: Site) -> None:
    async with bot_at(own_page, site.page("")) as bot:
        await bot.until_in(BotState.IN_MEETING)
        await own_page.close()
        assert (await bot.end()).reason is Reason.BROWSER_CRASHED


async def test_a_bot_told_to_leave_before_it_began_asks_for_no_page(page: Page, site: Site) -> None:
    bot = Bot(page, f"{site.address}/r/silent", AutomaticLeave(), patient())
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
    async with bot_at(page, site.page("$('name').oninput = () => say('typed');")) as bot:
        await site.until_said("typed")
        bot.session.leave(Reason.USER_REQUESTED)
        assert (await bot.end()).reason is Reason.USER_REQUESTED
    assert bot.moves == [BotState.JOINING]
    assert page.url == "about:blank"


@pytest.mark.long
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
    assert await site.hears(1) == said
    assert page.url == "about:blank"


@pytest.mark.parametrize(
    "stuck",
    [
        "$('leave').onclick = () => {};",
        *(pytest.param(stuck, marks=pytest.mark.long) for stuck in ("$('leave').disabled = true;", HANGING)),
    ],
    ids=["deaf", "disabled", "hangs"],
)
async def test_a_page_that_does_not_let_go_is_left_in_time(own_page: Page, site: Site, stuck: str) -> None:
    async with bot_at(own_page, site.page(stuck), settings=patient(page_timeout_s=60, leave_timeout_s=2)) as bot:
        await bot.until_in(BotState.IN_MEETING)
        if stuck is HANGING:
            await own_page.evaluate("hang()")
            await site.until_said("hanging")
        told_at = time.monotonic()
        bot.session.leave(Reason.USER_REQUESTED)
        assert (await bot.end()).reason is Reason.USER_REQUESTED
        assert time.monotonic() - told_at < 30, "it did not wait for the page"


@pytest.mark.long
async def test_dialogs_stand_in_nobodys_way(page: Page, site: Site) -> None:
    url = site.page("""
        alert("Welcome");
        onbeforeunload = (event) => event.preventDefault();
        asked = () => { confirm("Really?"); meet("ann"); };
        $("leave").onclick = () => {};
    """)
    async with bot_at(page, url, settings=patient(leave_timeout_s=4)) as bot:
        await bot.until_in(BotState.IN_MEETING)
        bot.session.leave(Reason.USER_REQUESTED)
        assert (await bot.end()).reason is Reason.USER_REQUESTED
    assert page.url == "about:blank"


async def test_a_page_cannot_store_a_file(page: Page, site: Site) -> None:
    await page.goto(site.page(""))
    async with page.expect_download() as downloading:
        await page.evaluate("location.href = '/file'")
    download = await downloading.value
    assert await download.failure() == "canceled"


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
    state = await die_in_meeting(page, url, patient())
    assert "hidden" not in site.said
    later = Bot(page, url, AutomaticLeave(), patient(), state)
    async with asyncio.TaskGroup() as tasks:
        later.start(tasks)
        await later.until_kept()
        later.session.leave(Reason.USER_REQUESTED)
        await later.until_in(BotState.LEAVING)
        later.session.leave(Reason.SHUTDOWN)
        ended = await later.end()
    assert (ended.reason, later.moves) == (Reason.USER_REQUESTED, [BotState.LEAVING])
    await site.until_said("left")
    assert site.said.count("left") == 1
    assert page.url == "about:blank"


# What the page takes for the time is put ahead, so that nobody waits for it, and nothing is late on a busy machine.
CLOCK: Final = """
  const now = performance.now.bind(performance);
  let [ahead, looks] = [0, 0];
  performance.now = () => now() + ahead * 1000;
  setInterval(() => { looks += 1; }, 1000);  // as often as the guard looks, and begun after it
"""
UNATTENDED_S: Final = 3600.0


async def test_a_page_that_nobody_attends_to_leaves_by_itself_and_that_is_said(page: Page, site: Site) -> None:
    url = site.page(CLOCK + 'onbeforeunload = (event) => { event.preventDefault(); event.returnValue = "stay"; };')
    settings = patient(unattended_s=UNATTENDED_S)
    state = await die_in_meeting(page, url, settings)
    await page.evaluate("(seconds) => { ahead = seconds; }", UNATTENDED_S)
    await page.wait_for_url("about:blank", timeout=PATIENCE_S * 1000, wait_until="commit")
    later = Bot(page, url, AutomaticLeave(), settings, state)
    async with asyncio.TaskGroup() as tasks:
        later.start(tasks)
        ended = await later.end()
    assert (ended.reason, later.moves) == (Reason.CUT_OFF, [])
    assert ended.detail == "the page left its meeting, because no agent attended to it"


EMPTIES: Final = "after(0, () => location.replace('about:blank'));"


@pytest.mark.parametrize(
    ("script", "then", "reason"),
    [
        ("", {BotState.IN_MEETING: EMPTIES}, Reason.MEETING_ENDED),
        pytest.param(
            "asked = () => { show('waiting-room'); };",
            {BotState.WAITING_ROOM: EMPTIES},
            Reason.UNEXPECTED_REDIRECT,
            marks=pytest.mark.long,
        ),
        pytest.param(EMPTIES, {}, Reason.UNEXPECTED_REDIRECT, marks=pytest.mark.long),
    ],
    ids=["in the meeting", "in the waiting room", "before"],
)
async def test_a_page_that_empties_itself_was_not_left_alone(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch, script: str, then: dict[BotState, str], reason: Reason
) -> None:
    monkeypatch.setattr("worker.meeting.session.BLANK_HOLDS_S", 0.2)
    _, ended = await go(page, site.page(script), then=then)
    assert (ended.reason, ended.detail) == (reason, "the page showed redirected blank-page")


async def test_a_page_that_is_left_is_not_kept_for_whoever_goes_back(page: Page, site: Site) -> None:
    await page.goto(site.page('addEventListener("pagehide", ({ persisted }) => say(persisted ? "kept" : "gone"));'))
    await page.goto(BLANK)
    assert await site.hears(1) == ["gone"]


@pytest.mark.long
async def test_only_the_first_request_is_heard_of(page: Page, site: Site) -> None:
    async with bot_at(page, site.page("")) as bot:
        await bot.until_in(BotState.IN_MEETING)
        assert not page._impl_obj.listeners("request")  # pyright: ignore
        bot.session.leave(Reason.USER_REQUESTED)
        await bot.end()


async def test_a_page_that_is_attended_to_stays_and_draws_its_videos_where_they_are_recorded(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ATTEND_S", 0.0)  # with every look
    settings = patient(unattended_s=UNATTENDED_S)
    async with bot_at(page, site.page(CLOCK), settings=settings, video=True) as bot:
        await bot.until_in(BotState.IN_MEETING)
        reports = len(bot.reports)
        for _ in range(2):
            steps = bot.session.steps
            await wait_until(lambda: bot.session.steps >= steps + 2)  # noqa: B023
            await page.evaluate("(seconds) => { ahead += seconds; looks = 0; }", UNATTENDED_S * 0.6)
            await page.wait_for_function("looks >= 2", polling=100, timeout=PATIENCE_S * 1000)
        assert bot.reports[reports:] == []
        assert await page.evaluate(SHEETS) == 0
        bot.session.leave(Reason.USER_REQUESTED)
        assert (await bot.end()).reason is Reason.USER_REQUESTED


# The room's rules, and what other platforms have beside them.
RULES: Final = """
[[screen]]
name = "launcher"
rule = "launcher"
visible = ["#launcher"]

[[screen]]
name = "passcode_prompt"
rule = "passcode"
visible = ["#passcode"]

[[screen]]
name = "waiting_for_host"
rule = "no-host"
visible = ["#no-host"]
again_s = 0.2

[[screen]]
name = "ended"
rule = "over"
visible = ["#end-screen"]

[[screen]]
name = "in_meeting"
rule = "inside"
visible = ["#in-meeting"]

[[screen]]
name = "name_prompt"
rule = "prompt"
visible = ["#name-prompt"]

[[popup]]
rule = "cookies"
visible = ["#cookies"]
click = ["#cookies button"]

[actions]
continue = ["#launcher button"]
name = ["#name"]
join = ["#join"]
passcode = ["#passcode input"]
submit_passcode = ["#passcode button"]
leave = ["#leave"]
"""


def ruled(tmp_path: Path, address: str = "") -> PageAdapter:
    """An adapter by RULES that goes to `address`, or else to the link."""
    path = tmp_path / "screens.toml"
    path.write_text(RULES)
    return PageAdapter("test", path, lambda join: address or join.meeting_url)


STAGES: Final = """
  document.body.insertAdjacentHTML("beforeend", `
    <section id=launcher><button>Continue in the browser</button></section>
    <section id=passcode hidden><input><button>Go on</button></section>
    <div id=cookies hidden style="position: fixed; inset: 0; background: white"><button>Accept</button></div>`);
  show("launcher");
  $("launcher").querySelector("button").onclick = () => show("passcode");
  $("passcode").querySelector("button").onclick = () => {
    say($("passcode").querySelector("input").value);
    show("name-prompt");
    $("cookies").hidden = false;
  };
  $("cookies").querySelector("button").onclick = () => { $("cookies").hidden = true; };
  asked = () => { say($("name").value); meet("ann"); };
"""
OVER: Final = {BotState.IN_MEETING: "end('ended')"}


async def test_every_screen_and_every_deed_is_told_in_order(page: Page, site: Site, tmp_path: Path) -> None:
    bot, ended = await go(page, site.page(STAGES), then=OVER, adapter=ruled(tmp_path), passcode="12 34")
    assert ended.reason is Reason.MEETING_ENDED
    assert [seen for seen in bot.seen if seen[0] not in ("loading", "unknown")] == [
        ("launcher", "launcher", ""),
        ("launcher", "launcher", "continue"),
        ("passcode_prompt", "passcode", ""),
        ("passcode_prompt", "passcode", "enter_passcode"),
        ("name_prompt", "prompt", ""),
        ("name_prompt", "prompt", "dismiss cookies"),
        ("name_prompt", "prompt", "fill_name_and_join"),
        ("in_meeting", "inside", ""),
        ("ended", "over", ""),
    ]
    assert await site.hears(2) == ["12 34", "Notetaker"]
    assert "12 34" not in repr(bot.reports)


@pytest.mark.long
async def test_a_page_that_asks_for_a_passcode_that_nobody_gave_is_left(
    page: Page, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.decide.deadlines.FLICKER_S", 0.2)
    _, ended = await go(page, site.page(STAGES), adapter=ruled(tmp_path))
    assert (ended.reason, site.said) == (Reason.PASSCODE_MISSING, [])


@pytest.mark.long
async def test_only_so_much_is_told_of_what_was_seen(
    page: Page, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MOST_SEEN", 4)
    bot, ended = await go(page, site.page(STAGES), then=OVER, adapter=ruled(tmp_path), passcode="1")
    assert len(bot.seen) == 4
    assert ended.reason is Reason.MEETING_ENDED


@pytest.mark.long
@pytest.mark.parametrize("fragment", ["", "#config"])
async def test_a_page_without_its_host_is_loaded_again_until_it_has_one(
    page: Page, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fragment: str
) -> None:
    monkeypatch.setattr("worker.decide.page_actions.AGAIN_AT_LEAST_S", 0.2)
    url = site.page("""
      const times = Number(sessionStorage.times ?? 0) + 1;
      sessionStorage.times = times;
      if (times < 3) document.body.innerHTML = "<p id=no-host>This meeting link is invalid (3,001)";
    """)
    bot, moves = await meet_at(page, url, ruled(tmp_path, url + fragment))
    assert moves == [BotState.JOINING, BotState.WAITING_ROOM, BotState.IN_MEETING]
    assert [seen for seen in bot.seen if seen[2] == "load_again"] == [("waiting_for_host", "no-host", "load_again")] * 2


async def meet_at(page: Page, url: str, adapter: PageAdapter) -> tuple[Bot, list[BotState]]:
    """Into the meeting, and what it took; then out again."""
    async with bot_at(page, url, adapter=adapter) as bot:
        await bot.until_in(BotState.IN_MEETING)
        moves = bot.moves
        bot.session.leave(Reason.USER_REQUESTED)
        await bot.end()
    return bot, moves


@pytest.mark.long
async def test_a_probe_goes_in_looks_and_leaves(page: Page, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.decide.deadlines.PROBE_S", 0.5)
    bot, ended = await go(page, site.page("$('leave').addEventListener('click', () => say('bye'));"), is_probe=True)
    assert (ended.reason, ended.detail) == (Reason.USER_REQUESTED, "probe")
    assert bot.moves[-1] is BotState.LEAVING
    await site.until_said("bye")


@pytest.mark.long
async def test_typing_may_take_longer_than_a_click(page: Page, site: Site) -> None:
    """What was cut short in the middle would be half a passcode."""
    allowed: dict[PageAction | Dismiss, float] = {}

    class Timed(PageAdapter):
        async def act(self, page: Page, action: PageAction | Dismiss, join: Join, timeout_s: float) -> None:
            allowed[action] = timeout_s
            await super().act(page, action, join, timeout_s)

    adapter = Timed("room", built_in()["room"].source, lambda join: join.meeting_url)
    url = site.page('asked = () => { show("waiting-room"); };')
    await go(page, url, adapter=adapter, automatic_leave=AutomaticLeave(waiting_room_timeout=1))
    assert allowed[PageAction.FILL_NAME_AND_JOIN] > REPEAT_S >= allowed[PageAction.CANCEL_REQUEST]
