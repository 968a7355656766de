"""One look at a page: the first rule that matches, who is there, what was said, and how much of it is read."""

from typing import Any, Final

import pytest
from msgspec.structs import replace
from playwright.async_api import JSHandle, Page

from common.wire.messages import Participant
from tests.waiting import PATIENCE_S
from tests.worker.platforms.conftest import rewrite
from worker.decide.participants import LookRequest, SeenLine
from worker.decide.words import Screen, Seen
from worker.platforms.rules import Actions, Chat, Count, People, Readings, Rules, ScreenRule, look

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNREADABLE: Final = Seen(Screen.UNKNOWN)
BLANK: Final = Seen(Screen.BLANK)


async def put(page: Page, body: str) -> None:
    if not page.url.startswith("data:"):
        await page.goto("data:text/html,<!doctype html>")  # on about:blank nothing has been loaded yet
    await rewrite(page, body)


# What a page shows, by the rules of the test below.
SHOWN: Final = {
    "<p class=sign>You can’t join this call</p>": Seen(Screen.DENIED, "refusal"),
    "<p class=sign>You can't join this call</p><main></main>": Seen(Screen.DENIED, "refusal"),
    "<p class=sign hidden>You can't join</p><main>Hello</main>": Seen(Screen.IN_MEETING, "main"),
    "<p class=sign style='visibility: hidden'>You can't join</p>": BLANK,
    "<div><i></i></div><iframe></iframe><script>1</script><p style='font-size: 0'></p>": BLANK,
    "<div><img width=9 height=9></div>": BLANK,
    "<div><canvas></canvas></div>": Seen(Screen.UNKNOWN),
    "<div><b>?</b></div>": Seen(Screen.UNKNOWN),
    "<p class=sign>Ann says: hello</p><main>can't join <i></i><i></i></main>": Seen(Screen.IN_MEETING, "main", 2),
    "<p class=sign>Hello</p><p class=sign>You can't join</p>": Seen(Screen.DENIED, "refusal"),
    "<form>Name</form><main>Hello</main>": Seen(Screen.IN_MEETING, "main"),
    "<form>Name</form>": Seen(Screen.NAME_PROMPT, "form"),
    # The last, because its window stays so until the page goes elsewhere.
    "<script>Array.prototype.find = () => ({ name: 7 })</script>": UNREADABLE,
}


async def test_the_first_rule_that_matches_something_visible_is_what_the_page_shows(page: Page) -> None:
    rules = Rules(
        [
            ScreenRule(Screen.DENIED, "refusal", visible=[".other", ".sign"], text=["removed", "can't join"]),
            ScreenRule(Screen.IN_MEETING, "main", visible=["main"]),
            ScreenRule(Screen.NAME_PROMPT, "form", visible=["form"]),
        ],
        Actions(),
        Readings(participants=[Count(each="main i")]),
    )
    for body, seen in SHOWN.items():
        await put(page, body)
        assert replace(await look(page, rules, PATIENCE_S), document=0.0) == seen, body
    await page.goto("about:blank")


async def test_the_detector_is_sent_once_for_each_document_and_rules(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    evaluate_handle = Page.evaluate_handle

    async def noted(page: Page, expression: str, arg: Any = None) -> JSHandle:
        sent.append(arg)
        return await evaluate_handle(page, expression, arg)

    monkeypatch.setattr(Page, "evaluate_handle", noted)
    first, second = (
        Rules([ScreenRule(screen, screen, visible=["main"])], Actions())
        for screen in (Screen.IN_MEETING, Screen.WAITING_ROOM)
    )

    async def shows(rules: Rules) -> Screen:
        return (await look(page, rules, PATIENCE_S)).screen

    await page.goto("data:text/html,<main>Hello</main>")
    assert [await shows(first) for _ in range(3)] == [Screen.IN_MEETING] * 3
    assert sent == [first.argument]
    await rewrite(page, "<form>Name</form>")
    assert await shows(first) is Screen.UNKNOWN, "the document is another, and the window the same"
    assert sent == [first.argument]
    await page.goto("data:text/html,<main>Again</main>")
    assert [await shows(first) for _ in range(2)] == [Screen.IN_MEETING] * 2
    assert sent == [first.argument] * 2
    assert [await shows(second) for _ in range(2)] == [Screen.WAITING_ROOM] * 2
    assert sent == [first.argument, first.argument, second.argument]


async def test_numbers_that_stand_side_by_side_are_not_read_as_one(page: Page) -> None:
    screens = [ScreenRule(Screen.IN_MEETING, "main", visible=["main"])]
    count = Count(number="main", pattern=r"(\d+)\s*participants")
    await put(page, "<main><button>People<b>1</b></button><span>3 participants</span></main>")
    assert (await look(page, Rules(screens, Actions(), Readings(participants=[count])), PATIENCE_S)).participants == 3


READ: Final = Rules(
    [
        ScreenRule(Screen.REMOVED, "removed", visible=["main", "p"], text=["You were removed"]),
        ScreenRule(Screen.ENDED, "ended", visible=[".over"]),
        ScreenRule(Screen.IN_MEETING, "main", visible=["main"]),
        ScreenRule(Screen.NAME_PROMPT, "form", visible=["form"]),
    ],
    Actions(),
    Readings(
        people=People(each="main li", id="@id", name="b", own="[data-self]"),
        chat=Chat(each="main q", id="@id", text="i", sender_id="@data-by", sender_name="u@title", own=".own"),
    ),
)


async def test_who_is_there_is_read_with_the_screen_and_only_when_it_changed(page: Page) -> None:
    await put(
        page,
        "<main><li id=0 data-self><b>Bot</b></li> <li id=1> <b> Ann </b></li> <li><b>No id</b></li><li id=2></li>",
    )
    first = await look(page, READ, PATIENCE_S)
    assert first.people == (Participant("1", "Ann"), Participant("2"))
    again = await look(page, READ, PATIENCE_S, LookRequest(first.people_key))
    assert (again.people, again.people_key) == (None, first.people_key)
    await page.evaluate("document.querySelector('b').closest('main').querySelectorAll('li')[1].remove()")
    assert (await look(page, READ, PATIENCE_S, LookRequest(first.people_key))).people == (Participant("2"),)
    await page.evaluate("document.querySelector('main').replaceChildren()")
    redrawn = await look(page, READ, PATIENCE_S, LookRequest(first.people_key))
    assert (redrawn.screen, redrawn.people, redrawn.people_key) == (Screen.IN_MEETING, None, "")


async def test_the_chat_is_read_after_the_last_line_that_was_read(page: Page) -> None:
    await put(
        page,
        "<main><q id=a data-by=1><u title=Ann></u><i>Hello<br>there</i></q><q id=b class=own><i>Hi</i></q><q></q>",
    )
    ann, own = SeenLine("a", "1", "Ann", "Hello\nthere"), SeenLine("b", "", "", "Hi", own=True)
    for line, lines in (("", (ann, own)), ("a", (own,)), ("b", ()), ("gone", (ann, own))):
        assert (await look(page, READ, PATIENCE_S, LookRequest(line=line))).lines == lines


async def test_what_is_read_off_a_page_is_cut_and_can_be_passed_on(page: Page) -> None:
    await put(page, "<main></main>")
    await page.evaluate("""() => {
      const add = (tag, id, inner, text) => {
        const outer = document.createElement(tag), element = document.createElement(inner);
        outer.id = id;
        element.textContent = text;
        outer.append(element);
        document.querySelector("main").append(outer);
      };
      for (let n = 0; n < 600; n += 1) add("li", n + "p".repeat(200), "b", "N".repeat(500) + n);
      document.querySelector("li").id = "half \ud83d";
      for (let n = 0; n < 120; n += 1) add("q", "line-" + n, "i", "\ud83d\ude00".repeat(3000));
    }""")
    seen = await look(page, READ, PATIENCE_S)
    assert seen.people
    assert len(seen.people) == 500
    assert (seen.people[0].id, len(seen.people[1].id), len(seen.people[1].name)) == ("half ?", 128, 200)
    assert [line.id for line in seen.lines] == [f"line-{n}" for n in range(20, 120)]
    assert {line.text for line in seen.lines} == {"\U0001f600" * 2048}


QUOTED: Final = {
    "<main><q id=a><i>You were removed</i></q></main>": Screen.IN_MEETING,
    "<main><q id=a><i class=over>You were removed<p>You were removed</p></i></q></main>": Screen.IN_MEETING,
    "<main><q id=a><i>Hello</i></q></main><p>You were removed</p>": Screen.REMOVED,
    "<main>You were removed</main>": Screen.REMOVED,
    "<main><q id=a><i>Hello</i></q></main><p class=over>Bye</p>": Screen.ENDED,
}


async def test_what_people_write_in_the_chat_is_no_screen(page: Page) -> None:
    for body, screen in QUOTED.items():
        await put(page, body)
        assert (await look(page, READ, PATIENCE_S)).screen is screen, body


# How pages write a line, who is told to have said it, and what.
LINES: Final = {
    "<q id=a>Ann<p>Hello</p></q>": ("Ann", "Hello", False),
    "<q id=a><u title=Ann>Ann</u><p>9:41 PM</p><p>Hello</p><p>there</p></q>": ("Ann", "Hello\nthere", False),
    "<q id=a>You<p>Hello</p></q>": ("You", "Hello", True),
    "<q id=a><u title=Bot></u>Hello</q>": ("Bot", "Hello", True),
    "<q id=a>Hello</q>": ("", "Hello", False),
    "<q id=a><u title=Ann>Ann</u></q>": ("Ann", "Ann", False),
    "<q id=a><u title=Ben></u>9:41</q>": ("Ben", "9:41", False),
}


async def test_a_line_is_told_without_the_name_and_the_time_over_it(page: Page) -> None:
    chat = Chat(each="q", id="@id", text=["i", ":scope"], sender_name="u@title")
    screens = [ScreenRule(Screen.IN_MEETING, "main", visible=["main"])]
    rules = Rules(screens, Actions(chat_open=[".open"], chat=["textarea"]), Readings(chat=chat))
    for html, (sender, text, own) in LINES.items():
        await put(page, f"<main><style>p {{ display: block }}</style>{html}</main><a class=open>Chat</a>")
        seen = await look(page, rules, PATIENCE_S, LookRequest(own="Bot"))
        assert seen.lines == (SeenLine("a", "", sender, text, own),), html
        assert not seen.chat_closed
    for html, closed in (
        ("<a class=open>Chat</a>", True),
        ("<textarea></textarea><a class=open>Chat</a>", False),
        ("", False),
    ):
        await put(page, f"<main>Call</main>{html}")
        assert (await look(page, rules, PATIENCE_S)).chat_closed is closed


async def test_a_lobby_that_shows_no_way_out_is_told(page: Page) -> None:
    rules = Rules([ScreenRule(Screen.WAITING_ROOM, "main", visible=["main"])], Actions(cancel=[".out"]))
    for html, no_exit in (
        ("<main>Wait</main>", True),
        ("<main>Wait<a class=out>Cancel</a></main>", False),
        ("<p>?", False),
    ):
        await put(page, html)
        assert (await look(page, rules, PATIENCE_S)).no_exit is no_exit


async def test_who_speaks_is_marked_and_never_the_bot(page: Page) -> None:
    people = People(each="li", id="@id", name="b", speaks=".loud")
    screens = [ScreenRule(Screen.IN_MEETING, "main", visible=["main"])]
    rules = Rules(screens, Actions(), Readings(people=people, speaker=["h4"]))
    for html, speaker in (
        ("<li id=1 class=loud><b>Ann</b>", "Ann"),
        ("<li id=1><b>Ben</b><i class=loud>.</i>", "Ben"),
        ("<li id=1 class=loud><b>Bot (Guest)</b><li id=2><b>Ann</b>", ""),
        ("<h4>Bot</h4><li id=2 class=loud><b>Ann</b>", "Ann"),
        ("<li id=1><b>Ann</b>", ""),
    ):
        await put(page, f"<main>{html}</main>")
        assert (await look(page, rules, PATIENCE_S, LookRequest(own="Bot"))).speaker == speaker, html
