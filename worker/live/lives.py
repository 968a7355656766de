"""All that is sent live of the bots of this VM. Nothing here is ever waited for by a bot: what a receiver has not taken
when its bot is out has some seconds more, beside whatever comes next.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import structlog
from playwright.async_api import Page

from common.config.settings import LiveSettings, WebhookSettings
from common.jobs.outgoing import OutgoingRules
from common.wire.messages import BotStreamed, Event, Join, ParticipantsSeen
from common.wire.vocabulary import BotState, Feed, FeedStatus
from worker.decide.state import State
from worker.live.frames import DRAIN_S, FRAME_S, NOBODY, Speaker
from worker.words.keeping import Book, Keeper
from worker.words.utterances import Said

if TYPE_CHECKING:
    from worker.live.outlet import Outlet
    from worker.live.post import Post
    from worker.live.sound import Sound
    from worker.live.speech import Speech

log: structlog.stdlib.BoundLogger = structlog.get_logger()

MOST_NAMES: Final = 1000
WATCH_S: Final = 0.5  # as often as a page is looked at

Note = Callable[[State], None]
Hear = Callable[[int, int, bytes], None]
Page_ = Callable[[], Page | None]
Where = Callable[[], State | None]
Tell = Callable[[str], None]


class Record(Protocol):
    """Whoever has the recorder's tab: `hear` is given each chunk of sound."""

    def __call__(
        self, join: Join, page: Page_, state: Where, tell: Tell, hear: Hear | None = None
    ) -> AbstractAsyncContextManager[Note]: ...


class Lives:
    """`report`: is told how each feed fares. To be entered for as long as bots are served; `of` is a Recorder."""

    def __init__(
        self,
        vm_id: str,
        settings: LiveSettings,
        webhooks: WebhookSettings,
        record: Record,
        report: Callable[[BotStreamed], None],
        keeper: Keeper,
    ) -> None:
        self.keeper = keeper
        self._vm_id = vm_id
        self._settings = settings
        self._webhooks = webhooks
        self._record = record
        self._report = report
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._ids: dict[tuple[str, int], dict[str, str]] = {}  # of people, by name; of bots that have feeds

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running and error is None:
            await asyncio.wait(self._running, timeout=DRAIN_S)
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    def note(self, *events: Event) -> None:
        """What is reported of bots: whose id is behind a name."""
        for event in events:
            if (
                isinstance(event, ParticipantsSeen)
                and (ids := self._ids.get((event.bot_id, event.attempt))) is not None
            ):
                for one in event.joined[: MOST_NAMES - len(ids)]:
                    ids[one.name] = one.id

    @asynccontextmanager
    async def of(self, join: Join, page: Page_, state: Where, tell: Tell) -> AsyncGenerator[Note]:
        """Of one bot, for as long as its session lasts."""
        if join.is_probe:
            async with self._record(join, page, state, tell) as noted:
                yield noted
            return
        bot = _Bot(self, join, page, state)
        self._ids[join.bot_id, join.attempt] = {}
        try:
            async with self._record(join, page, state, tell, hear=bot.sound.hear if bot.sound else None) as noted:

                def note(where: State) -> None:
                    noted(where)
                    bot.note(where)

                yield note
        finally:
            bot.end()
            del self._ids[join.bot_id, join.attempt]

    def sound(self, join: Join, state: Where) -> "Sound":
        # An agent that sends nothing live has no use for an HTTP client and a decoder: 25 MB.
        from worker.live.outlet import Outlet
        from worker.live.sound import Sound

        settings, rules = self._settings, OutgoingRules.of(self._webhooks)
        most = max(1, round(settings.buffer_s / FRAME_S))

        def told(status: FeedStatus, detail: str) -> None:
            self._tell(join, Feed.AUDIO, status, detail, outlet)

        def speaker() -> Speaker:
            return self.speaker(join, state())

        outlet = Outlet(join.bot_id, join.feeds.audio_url, rules, most, settings.timeout_s, told)
        return Sound(outlet, speaker)

    def speech(self, join: Join, page: Page_, state: Where, keep: Callable[[Sequence[Said]], None]) -> "Speech":
        from worker.live.post import Post
        from worker.live.speech import Speech

        def told(status: FeedStatus, detail: str) -> None:
            self._tell(join, Feed.TRANSCRIPTION, status, detail, post, taken=post is not None and post.has_final)

        post = Post(self._settings, self._webhooks, told) if join.feeds.transcription_url else None
        return Speech(join, page, state, post, told, keep)

    def speaker(self, join: Join, state: State | None) -> Speaker:
        if state is None or not state.speaker:
            return NOBODY
        ids = self._ids.get((join.bot_id, join.attempt), {})
        return Speaker(ids.get(state.speaker, state.speaker), state.speaker)

    def _tell(
        self,
        join: Join,
        feed: Feed,
        status: FeedStatus,
        detail: str,
        of: "Outlet | Post | None",
        *,
        taken: bool = False,
    ) -> None:
        facts = {"bot_id": join.bot_id, "attempt": join.attempt, "feed": feed, "status": status, "detail": detail}
        sent, dropped = (of.sent, of.dropped) if of else (0, 0)
        log.info("live_feed_fares", **facts, sent=sent, dropped=dropped)
        who = (self._vm_id, join.bot_id, join.attempt, time.time())
        self._report(BotStreamed(*who, feed, status, detail, sent, dropped, taken))

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._tasks.create_task(_alone(work), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task


class _Bot:
    """What is sent and kept of one bot. It all begins when the bot is in."""

    def __init__(self, lives: Lives, join: Join, page: Page_, state: Where) -> None:
        self._lives = lives
        self._join = join
        self._state = state
        self._is_in = self._is_over = False
        self._book: Book | None = None
        self._watching: asyncio.Task[None] | None = None
        wants_words = bool(join.feeds.transcription_url) or join.feeds.transcript
        self.sound = lives.sound(join, state) if join.feeds.audio_url else None
        self._speech = lives.speech(join, page, state, self._keep) if wants_words else None

    def note(self, where: State) -> None:
        if where.ending or where.phase.rank > BotState.IN_MEETING.rank:
            self._end_words()
        elif where.phase is BotState.IN_MEETING and not self._is_in:
            self._is_in = True
            self._begin()

    def end(self) -> None:
        if self.sound:
            self.sound.end()
        self._end_words()

    def _begin(self) -> None:
        start, bot_id = self._lives.start, self._join.bot_id
        if self.sound:
            start(self.sound.outlet.run(), f"send the sound of {bot_id}")
        if book := self._lives.keeper.begin(self._join):
            self._book = book
            self._watching = start(self._watch(book), f"see who speaks to {bot_id}")
        if self._speech:
            if self._speech.post:
                start(self._speech.post.run(), f"tell what is said to {bot_id}")
            self._speech.reading = start(self._speech.read(), f"read what is said to {bot_id}")

    def _end_words(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._speech:
            self._speech.end()
        if self._watching:
            self._watching.cancel()
        if self._book:
            self._lives.keeper.end(self._book)

    def _keep(self, said: Sequence[Said]) -> None:
        if self._book and self._join.feeds.transcript:
            self._book.say(said)

    async def _watch(self, book: Book) -> None:
        while True:
            who = self._lives.speaker(self._join, self._state())
            book.look(time.time(), who.id, who.name)
            await asyncio.sleep(WATCH_S)


async def _alone(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:  # of ours: it costs this feed, and neither the meeting nor other feeds
        log.exception("live_feed_failed")
