"""What a bot's feeds ask of a recorder, and what is told of them."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from common.config.settings import LiveSettings, TranscriptionSettings
from common.wire.messages import BotStreamed, Feeds, Join
from common.wire.vocabulary import BotState, Feed, FeedStatus
from tests.waiting import wait_until
from tests.worker.live.conftest import AT_HOME, Reader, no_minutes, reading
from tests.worker.live.test_decoding import chunks
from tests.worker.live.test_track_decoding import Sender, line
from worker.decide.state import Limits, State
from worker.live import decoding, track_decoding
from worker.live.changes import AT_ONCE
from worker.live.feeds import LiveFeeds, OnState
from worker.live.speech_feed import SpeechFeed

LIMITS: Final = Limits(60.0, 90.0, 600.0, 600.0, 300.0, 14400.0, 6.0, 10.0)
KEY: Final = TranscriptionSettings(deepgram_key_file="/nowhere/key")


def ignore(*_: object) -> None:
    """Takes what nobody asks for."""


def nobody() -> None:
    """There is no page, and no state."""


@asynccontextmanager
async def in_meeting(
    wants: Feeds, reports: list[BotStreamed], *, has_sound: bool = True
) -> AsyncGenerator[dict[str, Any]]:
    """A bot in its meeting. Gives what a recorder is to call."""
    calls: list[dict[str, Any]] = []

    @asynccontextmanager
    async def record(*_: object, **given: object) -> AsyncGenerator[OnState]:
        calls.append(given)
        yield ignore

    settings = (LiveSettings(), AT_HOME, record, reports.append, no_minutes(), KEY)
    live_feeds = LiveFeeds("vm1", *settings, has_sound=has_sound)
    join = Join("w1", "b1", 1, "room", "http://localhost/r/x", "Bot", feeds=wants)
    async with live_feeds, live_feeds.serve(join, nobody, nobody, ignore, ignore) as note:
        note(State(LIMITS, 0.0, BotState.IN_MEETING))
        yield calls[0]


@pytest.mark.parametrize("has_sound", [True, False])
async def test_live_sound_is_refused_where_there_is_none(has_sound: bool) -> None:
    reports: list[BotStreamed] = []
    async with in_meeting(Feeds(audio_url="wss://10.0.0.1/inside"), reports, has_sound=has_sound) as calls:
        await wait_until(lambda: reports)
    assert (calls["on_sound"] is not None) is has_sound
    [told] = reports
    assert (told.feed, told.status) == (Feed.AUDIO, FeedStatus.REFUSED)
    assert told.detail == ("address_not_allowed" if has_sound else "headless_shell")


@pytest.mark.parametrize("has_sound", [True, False])
async def test_a_provider_that_a_job_names_does_not_listen_where_there_is_no_sound(has_sound: bool) -> None:
    reports: list[BotStreamed] = []
    wants = Feeds(transcription_url="https://10.0.0.1/inside", by="deepgram_streaming")
    async with in_meeting(wants, reports, has_sound=has_sound) as calls:
        await wait_until(lambda: reports)
    assert (calls["on_sound"] is not None) is has_sound
    assert (reports[0].feed, reports[0].status) == (Feed.TRANSCRIPTION, FeedStatus.UNTRANSCRIBED)
    assert reports[0].detail == f"deepgram_streaming: {'key_unreadable' if has_sound else 'headless_shell'}"


async def test_sound_that_is_not_decoded_in_time_is_told_as_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    reports, reader = list[BotStreamed](), Reader()
    async with reading(reader), in_meeting(Feeds(audio_url=reader.url), reports) as calls:
        await wait_until(lambda: [told.status for told in reports] == [FeedStatus.CONNECTED])
        for module in (decoding, track_decoding):
            monkeypatch.setattr(module, "MOST_WAITING", -1)
        for seq in range(10):
            calls["on_sound"](seq, 0, b"a chunk of a quarter of a second")
        for number in range(3):
            calls["on_packets"](line(number * 0.2, Sender(0).sends(number * 0.2)))
    assert (reports[-1].status, reports[-1].sent, reports[-1].dropped) == (FeedStatus.ENDED, 0, 25 + 6)


async def test_a_webhook_that_fails_all_the_time_keeps_no_word_of_what_hears_from_being_told() -> None:
    reports: list[BotStreamed] = []

    @asynccontextmanager
    async def record(*_: object, **__: object) -> AsyncGenerator[OnState]:
        yield ignore

    wants = Feeds(transcription_url="http://localhost/words")
    join = Join("w1", "b1", 1, "room", "http://localhost/r/x", "Bot", feeds=wants)
    settings = (LiveSettings(), AT_HOME, record, reports.append, no_minutes(), KEY)
    async with LiveFeeds("vm1", *settings) as live_feeds:
        feed = live_feeds.transcript_feed(join, nobody, nobody, ignore)
        assert feed.webhook
        for number in range(AT_ONCE + 2):
            feed.webhook._on_status(FeedStatus.WAITING, str(number))  # pyright: ignore[reportPrivateUsage]
        feed._on_status(FeedStatus.UNTRANSCRIBED, "the provider is gone")  # pyright: ignore[reportPrivateUsage]
        feed.webhook._on_status(FeedStatus.CONNECTED, "")  # pyright: ignore[reportPrivateUsage]
    assert [told.detail for told in reports if told.status is FeedStatus.UNTRANSCRIBED] == ["the provider is gone"]


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_how_much_sound_a_provider_did_not_get_is_told_in_the_end_unless_captions_came(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_replaced: bool
) -> None:
    (tmp_path / "key").write_text("a key")
    away = TranscriptionSettings(
        deepgram_url="http://127.0.0.1:1", deepgram_key_file=str(tmp_path / "key"), allow_http=True,
        allowed_networks=["127.0.0.0/8"],
    )  # fmt: skip
    fares: list[tuple[FeedStatus, str]] = []
    async with asyncio.TaskGroup() as tasks:

        def start(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
            return tasks.create_task(work, name=name)

        def fare(status: FeedStatus, detail: str) -> None:
            fares.append((status, detail))

        feed = SpeechFeed("deepgram_streaming", away, "en", "b1", start, fare)
        feed.begin()
        await wait_until(lambda: fares)
        first, *others = chunks()
        feed.on_sound(0, 0, first)
        feed.on_sound(0, 0, first)  # came again
        for seq, chunk in enumerate(others, start=1):
            feed.on_sound(seq, 0, chunk)
        monkeypatch.setattr(decoding, "MOST_WAITING", -1)
        for seq in range(40, 44):
            feed.on_sound(seq, 0, others[0])
        feed.stop(is_replaced=is_replaced)
    status, why = FeedStatus.UNTRANSCRIBED, "deepgram_streaming: connection_failed"
    in_the_end = [] if is_replaced else [(status, f"{why}, {feed.dropped / 10:.1f} s of sound dropped")]
    assert fares == [(status, why), *in_the_end]
    assert feed.dropped == pytest.approx(80 + 10, abs=2)
