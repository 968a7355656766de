"""The live feeds of all bots of this VM. No bot ever waits for anything here: when a bot is out, its client has some
seconds for the rest, while the worker does other things.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import structlog
from playwright.async_api import Page

from common.config.settings import LiveSettings, TranscriptionSettings, WebhookSettings
from common.jobs.outgoing import OutgoingRules
from common.wire.messages import BotStreamed, Event, Join, ParticipantsSeen
from common.wire.minutes import CAPTIONS
from common.wire.packets import Line
from common.wire.vocabulary import BotState, Feed, FeedStatus
from worker.decide.state import State
from worker.live.changes import Change, Changes
from worker.live.frames import DRAIN_S, FRAME_S, NOBODY, Speaker
from worker.transcript.minutes_outbox import MinutesFile, MinutesOutbox
from worker.transcript.utterances import UtteranceUpdate

if TYPE_CHECKING:
    from worker.live.audio_feed import AudioFeed
    from worker.live.speech_feed import SpeechFeed
    from worker.live.transcript_feed import TranscriptFeed
    from worker.live.transcript_webhook import TranscriptWebhook

log: structlog.stdlib.BoundLogger = structlog.get_logger()

MOST_NAMES: Final = 1000
NO_SOUND: Final = "headless_shell"
"""Why a VM's browsers give no sound, as a status tells it."""
WATCH_S: Final = 0.5  # as often as a page is looked at

OnState = Callable[[State], None]
OnSound = Callable[[int, int, bytes], None]
OnPackets = Callable[[Line | None], None]
"""None: not all tracks are taken."""
GetPage = Callable[[], Page | None]
GetState = Callable[[], State | None]
AddToStory = Callable[[str], None]
Announce = Callable[[str], None]
"""Gets what the bot is to say in the chat because it is recorded."""


class StartRecording(Protocol):
    """Records a bot while the context is open. `on_sound` gets each chunk of sound, `on_packets` what came of each
    sound track, if that is taken. The context gives a function that takes each new state of the bot.
    """

    def __call__(
        self,
        join: Join,
        page: GetPage,
        state: GetState,
        add_to_story: AddToStory,
        announce: Announce,
        on_sound: OnSound | None = None,
        on_packets: OnPackets | None = None,
    ) -> AbstractAsyncContextManager[OnState]: ...


class LiveFeeds:
    """Enter it for as long as bots are served. `record`: records a bot. `report`: gets each new status of a feed.
    `has_sound`: whether the VM's browsers give theirs.
    """

    def __init__(
        self,
        vm_id: str,
        settings: LiveSettings,
        webhooks: WebhookSettings,
        record: StartRecording,
        report: Callable[[BotStreamed], None],
        minutes_outbox: MinutesOutbox,
        transcription: TranscriptionSettings | None = None,
        *,
        has_sound: bool = True,
    ) -> None:
        self.has_sound = has_sound
        self._transcription = transcription or TranscriptionSettings()
        self.minutes_outbox = minutes_outbox
        self._vm_id = vm_id
        self._settings = settings
        self._webhooks = webhooks
        self._record = record
        self._report = report
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        # for each bot and attempt: name -> id of each participant
        self._ids: dict[tuple[str, int], dict[str, str]] = {}

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
        """Take from the bots' reports which participant has which id."""
        for event in events:
            if (
                isinstance(event, ParticipantsSeen)
                and (ids := self._ids.get((event.bot_id, event.attempt))) is not None
            ):
                for person in event.joined[: MOST_NAMES - len(ids)]:
                    ids[person.name] = person.id

    @asynccontextmanager
    async def serve(
        self, join: Join, page: GetPage, state: GetState, add_to_story: AddToStory, announce: Announce
    ) -> AsyncGenerator[OnState]:
        """Record one bot and send its feeds while the context is open."""
        if join.is_probe:
            async with self._record(join, page, state, add_to_story, announce) as on_state:
                yield on_state
            return
        bot = _BotFeeds(self, join, page, state)
        on_sound = bot.on_sound if bot.listens else None
        on_packets = bot.audio.on_packets if bot.audio else None
        self._ids[join.bot_id, join.attempt] = {}
        try:
            async with self._record(
                join, page, state, add_to_story, announce, on_sound=on_sound, on_packets=on_packets
            ) as on_state:

                def note(where: State) -> None:
                    on_state(where)
                    bot.note(where)

                yield note
        finally:
            bot.end()
            del self._ids[join.bot_id, join.attempt]

    def audio_feed(self, join: Join, state: GetState) -> "AudioFeed":
        # Imported here, because the HTTP client and the decoder take 25 MB: an agent without live feeds saves them.
        from worker.live.audio_feed import AudioFeed
        from worker.live.audio_socket import AudioSocket

        settings, rules = self._settings, OutgoingRules.of(self._webhooks)
        most = max(1, round(settings.buffer_s / FRAME_S))

        changes = Changes(lambda change: self._tell(join, Feed.AUDIO, change, feed))

        def speaker() -> Speaker:
            return self.speaker(join, state())

        socket = AudioSocket(join.bot_id, join.feeds.audio_url, rules, most, settings.timeout_s, changes.note)
        feed = AudioFeed(socket, speaker)
        return feed

    def refuse_sound(self, join: Join) -> None:
        self._tell(join, Feed.AUDIO, Change(FeedStatus.REFUSED, NO_SOUND, taken=False), None)

    def transcript_feed(
        self, join: Join, page: GetPage, state: GetState, keep: Callable[[Sequence[UtteranceUpdate]], None]
    ) -> "TranscriptFeed":
        from worker.live.speech_feed import SpeechFeed
        from worker.live.transcript_feed import TranscriptFeed
        from worker.live.transcript_webhook import TranscriptWebhook

        def on_status() -> Callable[[FeedStatus, str], None]:
            changes = Changes(lambda change: self._tell(join, Feed.TRANSCRIPTION, change, webhook))
            return lambda status, detail: changes.note(status, detail, taken=webhook is not None and webhook.has_final)

        on_sent, on_heard = on_status(), on_status()  # or what is told of one could keep the other's from being told
        webhook = TranscriptWebhook(self._settings, self._webhooks, on_sent) if join.feeds.transcription_url else None
        settings, named = self._transcription, join.feeds.by
        is_offered = self.has_sound and named in settings.offered
        why = "not_configured" if self.has_sound else NO_SOUND
        provider = named if is_offered else settings.live if named != CAPTIONS else ""
        speech = None
        if provider:
            language = join.feeds.language
            speech = SpeechFeed(provider, settings, language, join.bot_id, self.start, on_heard)
        return TranscriptFeed(
            *(join, page, state, webhook, on_heard, keep, speech),
            reads_captions=not is_offered,
            unheard="" if is_offered or named in ("", CAPTIONS) else f"{named}: {why}",
        )

    def speaker(self, join: Join, state: State | None) -> Speaker:
        if state is None or not state.speaker:
            return NOBODY
        ids = self._ids.get((join.bot_id, join.attempt), {})
        return Speaker(ids.get(state.speaker, state.speaker), state.speaker)

    def _tell(
        self,
        join: Join,
        feed: Feed,
        change: Change,
        sender: "AudioFeed | TranscriptWebhook | None",
    ) -> None:
        status, detail, taken = change
        facts = {"bot_id": join.bot_id, "attempt": join.attempt, "feed": feed, "status": status, "detail": detail}
        sent, dropped = (sender.sent, sender.dropped) if sender else (0, 0)
        log.info("live_feed_fares", **facts, sent=sent, dropped=dropped)
        who = (self._vm_id, join.bot_id, join.attempt, time.time())
        self._report(BotStreamed(*who, feed, status, detail, sent, dropped, taken))

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._tasks.create_task(_contained(work), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task


class _BotFeeds:
    """The feeds and the minutes of one bot. They begin when the bot is in its meeting."""

    def __init__(self, feeds: LiveFeeds, join: Join, page: GetPage, state: GetState) -> None:
        self._feeds = feeds
        self._join = join
        self._state = state
        self._is_in_meeting = self._is_over = False
        self._minutes_file: MinutesFile | None = None
        self._watching: asyncio.Task[None] | None = None
        wants_transcript = bool(join.feeds.transcription_url) or join.feeds.transcript
        self.audio = feeds.audio_feed(join, state) if join.feeds.audio_url and feeds.has_sound else None
        self._transcript = feeds.transcript_feed(join, page, state, self._keep) if wants_transcript else None
        self._speech = self._transcript.speech if self._transcript else None
        self._out = asyncio.Event()

    @property
    def listens(self) -> bool:
        """Whether anybody wants the sound."""
        return self.audio is not None or self._speech is not None

    def on_sound(self, seq: int, part: int, chunk: bytes) -> None:
        for feed in (self.audio, self._speech):
            if feed:
                feed.on_sound(seq, part, chunk)

    def note(self, where: State) -> None:
        if where.ending or where.phase.rank > BotState.IN_MEETING.rank:
            self._end_minutes()
        elif where.phase is BotState.IN_MEETING and not self._is_in_meeting:
            self._is_in_meeting = True
            self._begin()

    def end(self) -> None:
        if self.audio:
            self.audio.end()
        self._end_minutes()

    def _begin(self) -> None:
        start, bot_id = self._feeds.start, self._join.bot_id
        if self.audio:
            start(self.audio.socket.run(), f"send the sound of {bot_id}")
        elif self._join.feeds.audio_url:
            self._feeds.refuse_sound(self._join)
        if minutes_file := self._feeds.minutes_outbox.begin(self._join):
            self._minutes_file = minutes_file
        if minutes_file or self.listens:
            self._watching = start(self._watch(), f"note who speaks to {bot_id}")
        if self._speech:
            start(self._close_after_last_words(self._speech), f"end the minutes of {bot_id}")
        if self._transcript:
            if self._transcript.webhook:
                start(self._transcript.webhook.run(), f"send the transcript of {bot_id}")
            self._transcript.task = start(self._transcript.read(), f"read the captions of {bot_id}")

    def _end_minutes(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._transcript:
            self._transcript.end()
        if self._watching:
            self._watching.cancel()
        if self._minutes_file:
            self._minutes_file.end()  # what is still heard adds no turn
        if self._speech and self._is_in_meeting:
            self._out.set()
        else:
            self._close()

    async def _close_after_last_words(self, speech: "SpeechFeed") -> None:
        try:
            await self._out.wait()
            await speech.wait(DRAIN_S)
        finally:
            self._close()

    def _close(self) -> None:
        """Nothing more is said."""
        if self._transcript and self._transcript.webhook:
            self._transcript.webhook.end()
        if self._minutes_file:
            self._feeds.minutes_outbox.end(self._minutes_file)
            self._minutes_file = None

    def _keep(self, updates: Sequence[UtteranceUpdate]) -> None:
        if self._minutes_file and self._join.feeds.transcript:
            self._minutes_file.add_utterances(updates)

    async def _watch(self) -> None:
        while True:
            speaker, now = self._feeds.speaker(self._join, self._state()), time.time()
            if self._minutes_file:
                self._minutes_file.note_speaker(now, speaker.id, speaker.name)
            if self._speech:
                self._speech.note_speaker(now, speaker.name)
            if self.audio:
                self.audio.note_speaker(now, speaker)
            await asyncio.sleep(WATCH_S)


async def _contained(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:  # a bug: it ends this feed, but neither the meeting nor other feeds
        log.exception("live_feed_failed")
