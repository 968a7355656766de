"""What a bot says in the chat of its meeting and hears there: in the real room, and on pages that do not take it."""

import asyncio
from typing import Final

import msgspec
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse
from playwright.async_api import Page
from structlog.testing import capture_logs

from common.wire.vocabulary import BotState, Reason
from lab.meeting.server import create_app
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.visits import WAIT, Site, bot_at, patient, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

SAID: Final = "say in the chat that it records"
END_SCREEN: Final = '<section id="end-screen" data-end="removed">You were removed from the meeting</section>'


async def test_a_bot_takes_part_in_the_chat_of_the_real_room_and_knows_who_is_there(page: Page) -> None:
    async with (
        serving(create_app("key", no_lobby=True)) as address,
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


async def test_that_it_is_recorded_is_said_once_and_told_in_its_story(page: Page) -> None:
    async with (
        serving(create_app("key", no_lobby=True)) as address,
        ClientSession() as session,
        session.ws_connect(f"{address}/r/demo/ws") as ann,
        bot_at(page, f"{address}/r/demo", message="I take notes") as bot,
    ):
        await ann.send_json({"type": "join", "name": "Ann"})
        bot.session.announce("This is recorded")
        bot.session.announce("This is recorded")
        heard = [await next_line(ann), await next_line(ann)]
        await bot.until(lambda: (bot.seen[-1][-1], bot.kept[-1].has_announced) == (SAID, True))
        bot.session.announce("This is recorded")
        bot.session.say("last")
        heard.append(await next_line(ann))
        bot.session.leave(Reason.USER_REQUESTED)
        await bot.end()
        assert heard == [("Notetaker", text) for text in ("I take notes", "This is recorded", "last")]
        assert [did for _, _, did in bot.seen].count(SAID) == 1


async def next_line(guest: ClientWebSocketResponse) -> tuple[str, str]:
    async with asyncio.timeout(PATIENCE_S):
        while (message := await guest.receive_json())["type"] != "said":
            pass
    return message["name"], message["text"]


@pytest.mark.parametrize(
    ("script", "why", "page_timeout_s"),
    [
        ("", "the page has no chat that takes it", 10),
        pytest.param(
            "$('in-meeting').innerHTML += '<textarea id=chat-text>';", "TimeoutError", 6, marks=pytest.mark.long
        ),
        pytest.param(
            "$('in-meeting').innerHTML += '<textarea id=chat-text></textarea><button id=chat-send>';",
            "the page has no chat that takes it",
            10,
            marks=pytest.mark.long,
        ),
        pytest.param(
            f"$('in-meeting').innerHTML += '<textarea id=chat-text>'; $('chat-text').oninput = () => {{ {WAIT} }};",
            "TimeoutError",
            6,
            marks=pytest.mark.long,
        ),
    ],
    ids=["no field", "no button", "not sent", "hangs"],
)
async def test_what_cannot_be_said_is_logged_without_its_text_and_dropped_and_keeps_no_recorded_bot_out(
    own_page: Page, site: Site, monkeypatch: pytest.MonkeyPatch, script: str, why: str, page_timeout_s: float
) -> None:
    monkeypatch.setattr("worker.meeting.session.REPEAT_S", 12.0)  # on a busy machine each look takes its time
    settings = patient(page_timeout_s=page_timeout_s, leave_timeout_s=1)
    with capture_logs() as logs:
        async with bot_at(own_page, site.page(script), settings=settings) as bot:
            await bot.until_in(BotState.IN_MEETING)
            for number in range(102):
                bot.session.say(f"secret {number}")
            await wait_until(lambda: sum(log["event"] == "say_failed" for log in logs) >= 3)
            bot.session.announce("This secret is recorded")
            await bot.until(lambda: "fail to say" in bot.seen[-1][-1])
            assert bot.seen[-1][-1] == f"fail to {SAID}: {why}"
            assert bot.moves[-1] is BotState.IN_MEETING
            bot.session.leave(Reason.USER_REQUESTED)
            assert (await bot.end()).reason is Reason.USER_REQUESTED
    failed = [log["why"] for log in logs if log["event"] == "say_failed"]
    assert failed[:3] == ["too many messages wait"] * 2 + [why]
    assert set(failed[3:-1]) <= {why, "TimeoutError"}, "of the one that leaving interrupts"
    assert failed[-1] == "the bot is out"
    assert "secret" not in repr(logs)
