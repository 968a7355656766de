"""Bots of a VM whose browsers give no sound: nobody waits for it, and clients are told."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from common.config.settings import LiveSettings, TranscriptionSettings
from common.wire.messages import BotStreamed, Feeds, Join
from common.wire.vocabulary import BotState, Feed, FeedStatus
from tests.waiting import wait_until
from tests.worker.live.conftest import AT_HOME, no_minutes
from worker.decide.state import Limits, State
from worker.live.feeds import LiveFeeds, OnState

LIMITS: Final = Limits(60.0, 90.0, 600.0, 600.0, 300.0, 14400.0, 6.0, 10.0)
KEY: Final = TranscriptionSettings(deepgram_key_file="/nowhere/key")


def ignore(*_: object) -> None:
    """Takes what nobody asks for."""


def nobody() -> None:
    """There is no page, and no state."""


@asynccontextmanager
async def in_meeting(wants: Feeds, reports: list[BotStreamed], *, has_sound: bool) -> AsyncGenerator[bool]:
    """A bot in its meeting. Gives whether a recorder is to give its sound."""
    asked: list[bool] = []

    @asynccontextmanager
    async def record(*_: object, **given: object) -> AsyncGenerator[OnState]:
        asked.append(given["on_sound"] is not None)
        yield ignore

    settings = (LiveSettings(), AT_HOME, record, reports.append, no_minutes(), KEY)
    live_feeds = LiveFeeds("vm1", *settings, has_sound=has_sound)
    join = Join("w1", "b1", 1, "room", "http://localhost/r/x", "Bot", feeds=wants)
    async with live_feeds, live_feeds.serve(join, nobody, nobody, ignore, ignore) as note:
        note(State(LIMITS, 0.0, BotState.IN_MEETING))
        yield asked[0]


@pytest.mark.parametrize("has_sound", [True, False])
async def test_live_sound_is_refused_where_there_is_none(has_sound: bool) -> None:
    reports: list[BotStreamed] = []
    async with in_meeting(Feeds(audio_url="wss://10.0.0.1/inside"), reports, has_sound=has_sound) as is_recorded:
        await wait_until(lambda: reports)
    assert is_recorded is has_sound
    [told] = reports
    assert (told.feed, told.status) == (Feed.AUDIO, FeedStatus.REFUSED)
    assert told.detail == ("address_not_allowed" if has_sound else "headless_shell")


@pytest.mark.parametrize("has_sound", [True, False])
async def test_a_provider_that_a_job_names_does_not_listen_where_there_is_no_sound(has_sound: bool) -> None:
    reports: list[BotStreamed] = []
    wants = Feeds(transcription_url="https://10.0.0.1/inside", by="deepgram_streaming")
    async with in_meeting(wants, reports, has_sound=has_sound) as is_recorded:
        await wait_until(lambda: reports)
    assert is_recorded is has_sound
    assert (reports[0].feed, reports[0].status) == (Feed.TRANSCRIPTION, FeedStatus.UNTRANSCRIBED)
    assert reports[0].detail == f"deepgram_streaming: {'key_unreadable' if has_sound else 'headless_shell'}"
