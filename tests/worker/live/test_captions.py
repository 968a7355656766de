"""Bots on local pages of the platforms, whose captions they turn on and read; what a real webhook receiver is told."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page
from structlog.testing import capture_logs

from common.config.settings import CaptureSettings, LiveSettings, WorkerSettings
from common.runtime.recordings.store import Store
from common.wire import minutes
from common.wire.messages import BotStreamed, BotTranscribed, Feeds, Join
from common.wire.vocabulary import FeedStatus, Reason
from lab.platforms.meeting import Meeting
from lab.platforms.scenario import Layout, Scenario
from lab.platforms.site import Site, serving
from lab.platforms.trial import browser_for
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.live.conftest import AT_HOME, no_minutes
from worker.decide.state import SessionSettings, State
from worker.live.feeds import LiveFeeds
from worker.meeting.reports import BotNews
from worker.meeting.session import Context, Session
from worker.platforms import adapter_for, prepare
from worker.platforms.captions import MOST_LINES
from worker.transcript import utterances
from worker.transcript.minutes_outbox import MinutesOutbox
from worker.transcript.utterances import READ_WORDS, Block, UtteranceBuilder, UtteranceUpdate

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WEBHOOKS: Final = msgspec.structs.replace(AT_HOME, secrets=[SECRET])
CODES: Final = {"google_meet": "abc-mnop-xyz", "zoom": "81234567890", "teams": "4000000000017", "jitsi": "Captions"}


class Receiver:
    """`answers`: what it says to each; the last one for ever. `refused`: how often it was anything but 200."""

    def __init__(self) -> None:
        self.url = ""
        self.answers = [200]
        self.refused = 0
        self.reports: list[dict[str, Any]] = []

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert request.headers["X-MeetStream-Signature"] == f"sha256={digest}"
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status == 200:
            self.reports.append(msgspec.json.decode(body))
        else:
            self.refused += 1
        return web.Response(status=status)

    @property
    def finals(self) -> list[tuple[str, str]]:
        return [(report["speakerName"], report["utterance"]) for report in self.reports if report["is_final"]]


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncGenerator[None]:
    app = web.Application()
    app.router.add_post("/said", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/said"
        yield
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncGenerator[Receiver]:
    receiver = Receiver()
    async with receiving(receiver):
        yield receiver


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pages() -> AsyncGenerator[tuple[Site, Browser]]:
    """Nobody on them has a voice: captions come without, and a voice takes a quarter of a processor all the time."""
    async with serving() as site, browser_for(site, has_voices=False) as browser:
        yield site, browser


def ignore(_state: State) -> None:
    pass


@asynccontextmanager
async def recorded_by_nobody(*_: object, **__: object) -> AsyncGenerator[Callable[[State], None]]:
    yield ignore


class Bot:
    """In its meeting, read. `reports`: what the manager hears. `read`: each text that a caption had at a look."""

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting
        self.reports: list[BotStreamed] = []
        self.read: set[str] = set()
        self.session: Session | None = None

    def where(self) -> State | None:
        return self.session.state if self.session else None

    @property
    def statuses(self) -> list[FeedStatus]:
        return [report.status for report in self.reports]


@asynccontextmanager
async def bot_in(
    pages: tuple[Site, Browser],
    platform: str,
    url: str,
    scenario: Scenario,
    minutes_outbox: MinutesOutbox | None = None,
) -> AsyncGenerator[Bot]:
    site, browser = pages
    bot = Bot(site.arrange(platform, CODES[platform], scenario))
    live_feeds = LiveFeeds(
        "vm1", LiveSettings(), WEBHOOKS, recorded_by_nobody, bot.reports.append, minutes_outbox or no_minutes()
    )
    look = UtteranceBuilder.look

    def look_and_note(builder: UtteranceBuilder, now: float, blocks: Sequence[Block]) -> list[UtteranceUpdate]:
        bot.read.update(block.text for block in blocks)
        return look(builder, now, blocks)

    context = await browser.new_context(locale="en-US")
    page, _ = await prepare(context)
    adapter = adapter_for(platform)
    assert adapter
    feeds = Feeds(transcription_url=url, attributes='{"a":1}', transcript=minutes_outbox is not None)
    join = Join("w1", "b1", 1, platform, bot.meeting.link, "Bot", feeds=feeds)

    def shown() -> Page | None:
        return page

    async with (
        live_feeds,
        live_feeds.serve(join, shown, bot.where, lambda _: None, lambda _: None) as note,
        asyncio.TaskGroup() as tasks,
    ):

        def keep(state: State, _news: Sequence[BotNews]) -> None:
            note(state)

        async def answers() -> bool:
            return True

        context_of_it = Context(SessionSettings.of(WorkerSettings()), "vm1", keep, answers)
        bot.session = session = Session(page, join, adapter, context_of_it)
        running = tasks.create_task(session.run(), name="session")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(UtteranceBuilder, "look", look_and_note)
            yield bot
        session.leave(Reason.USER_REQUESTED)
        await running
    bot.meeting.end()  # its people would talk on while other tests run
    await context.close()


async def say(bot: Bot, name: str, text: str, line: str) -> None:
    """Word by word, the last one revised, once the bot knows who speaks, if the page marks that. Between two words a
    busy machine may stand still: that is no pause.
    """
    words = text.split()
    bot.meeting.mark(name)
    if "renamed" not in bot.meeting.scenario.layout:
        await wait_until(lambda: (where := bot.where()) and where.speaker == name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utterances, "STILL_S", PATIENCE_S)
        for count in range(1, len(words)):
            bot.meeting.caption(name, " ".join(words[:count]) + " uh", line)
            await asyncio.sleep(0.15)
        bot.meeting.caption(name, text, line)
        await wait_until(lambda: text in bot.read)
    bot.meeting.mark(name, loud=False)


_HIDDEN: Final[dict[str, list[tuple[Layout, ...]]]] = {
    "google_meet": [(), ("shadow", "renamed", "moved", "curly")],
    "zoom": [(), ("frame",)],
    "teams": [(), ("frame", "curly")],
    "jitsi": [(), ("moved",)],
}
FURTHER: Final = [each for each in product(CODES, (1, 0)) if each != ("google_meet", 1)]


@pytest.mark.parametrize(
    ("platform", "wording"),
    [("google_meet", 1), *(pytest.param(*each, marks=pytest.mark.long) for each in FURTHER)],
)
async def test_what_is_said_is_told_with_who_says_it_as_it_grows_and_once_when_it_is_final_and_written_down(
    pages: tuple[Site, Browser], receiver: Receiver, tmp_path: Path, platform: str, wording: int
) -> None:
    layout = _HIDDEN[platform][wording]
    scenario = Scenario(people=("Ann", "Ben"), wording=wording, layout=layout)
    store, made = tmp_path / "store", list[BotTranscribed]()
    minutes_outbox = MinutesOutbox("vm1", tmp_path / "minutes", Store(CaptureSettings(store=str(store))), made.append)
    async with bot_in(pages, platform, receiver.url, scenario, minutes_outbox) as bot:
        await wait_until(lambda: "turned captions on" in bot.meeting.noted)
        await say(bot, "Ann", "Good morning everyone shall we begin", "1")
        await wait_until(lambda: receiver.finals)
        if platform == "zoom":
            bot.meeting.caption("Ann", "", "1")
        await say(bot, "Ben", "Yes please I have three points", "2")
        await wait_until(lambda: len(receiver.finals) == 2)
    said = [("Ann", "Good morning everyone shall we begin"), ("Ben", "Yes please I have three points")]
    assert receiver.finals == said
    assert [report for report in receiver.reports if not report["is_final"]]
    assert {(report["bot_id"], report["custom_attributes"]["a"]) for report in receiver.reports} == {("b1", 1)}
    assert [note for note in bot.meeting.noted if note.startswith("turned captions")] == ["turned captions on"]
    await wait_until(lambda: bot.statuses[-1:] == [FeedStatus.ENDED])
    assert FeedStatus.CONNECTED in bot.statuses
    assert bot.reports[-1].taken
    assert bot.reports[-1].dropped == 0
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(minutes_outbox.finish(set), name="finish")
        await wait_until(lambda: any(each.finished for each in made))
        finishing.cancel()
    written = minutes.decode((store / "b1" / "1" / minutes.TRANSCRIPT).read_bytes())
    assert [(utterance.speaker, utterance.text) for utterance in written.utterances] == said
    assert written.utterances[0].began_at < written.utterances[1].began_at
    spoken = minutes.decode((store / "b1" / "1" / minutes.SPEAKERS).read_bytes())
    assert {turn.speaker for turn in spoken.turns} <= {"Ann", "Ben"}


async def test_a_page_without_captions_is_said_to_have_none_and_the_call_goes_on(
    pages: tuple[Site, Browser], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.transcript.captions_reader.GIVEN_UP_S", 2.0)
    async with bot_in(pages, "google_meet", receiver.url, Scenario(captions=False)) as bot:
        await wait_until(lambda: bot.statuses == [FeedStatus.CAPTIONS_UNAVAILABLE])
        assert "Bot" in bot.meeting.present
    assert receiver.reports == []


async def test_a_receiver_that_is_away_gets_what_is_final_in_order_once_it_is_back(
    pages: tuple[Site, Browser], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.live.transcript_webhook.RETRY_DELAYS_S", (0.1, 0.5))
    receiver.answers = [503]
    async with bot_in(pages, "teams", receiver.url, Scenario()) as bot:
        await wait_until(lambda: "turned captions on" in bot.meeting.noted)
        for number, text in enumerate(("the first of them", "then a second one", "and now the third")):
            await say(bot, "Ann", text, str(number))
        await wait_until(lambda: FeedStatus.WAITING in bot.statuses)
        assert [report.detail for report in bot.reports if report.status is FeedStatus.WAITING] == ["503"]
        refused = receiver.refused
        await wait_until(lambda: receiver.refused >= refused + 3)
        receiver.answers = [200]
        await wait_until(lambda: len(receiver.finals) == 3)
    assert [text for _, text in receiver.finals] == ["the first of them", "then a second one", "and now the third"]


@pytest.mark.long
async def test_a_page_that_floods_its_captions_is_told_once_in_the_log(
    pages: tuple[Site, Browser], receiver: Receiver
) -> None:
    async with bot_in(pages, "google_meet", receiver.url, Scenario()) as bot:
        await wait_until(lambda: "turned captions on" in bot.meeting.noted)
        with capture_logs() as logs:
            for line in range(MOST_LINES):
                bot.meeting.caption("Ann", " ".join(f"l{line}w{word}" for word in range(READ_WORDS)), str(line))
            await wait_until(lambda: receiver.finals)
        assert [(each["event"], each["log_level"]) for each in logs if each["event"].startswith("captions")] == [
            ("captions_flooded", "warning")
        ]
