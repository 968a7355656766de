"""A real call with known tones, sent live: what arrives at a real WebSocket reader, whatever becomes of that."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Page

from common.config.settings import WorkerSettings
from common.wire.messages import BotEnded, BotMoved, Feeds
from common.wire.vocabulary import BotState, FeedStatus, Reason
from lab.chaos.observers.witness import Witness
from lab.chaos.stand_in.chromium import write_program
from lab.recorded.received import BLOCK, level, tone
from tests.waiting import wait_until
from tests.worker.capture.conftest import story
from tests.worker.conftest import Harness, pool_with
from tests.worker.live.conftest import Live, Reader, harness_of, reading, sent_to
from worker.chromium.driver import Driver
from worker.live.decoding import Decoder
from worker.live.frames import RATE

pytestmark = pytest.mark.asyncio(loop_scope="session")

SILENT: Final = 0.001


async def go_in(harness: Harness, feeds: Feeds) -> None:
    await harness.warm()
    harness.pool.begin(sent_to(harness, feeds))
    await wait_until(lambda: any(move.state is BotState.IN_MEETING for move in harness.seen(BotMoved)))


async def leave(harness: Harness) -> None:
    harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    await wait_until(lambda: harness.seen(BotEnded))
    await harness.gone()


def clearest(samples: list[float]) -> tuple[float, float]:
    """How loud both tones are in the block that has most of them, dB."""
    blocks = [samples[at : at + BLOCK] for at in range(0, len(samples) - BLOCK, BLOCK)]
    return max(((tone(block, 440), tone(block, 1000)) for block in blocks), key=sum)


async def test_what_is_heard_arrives_while_it_is_said_with_no_store_and_no_gap_though_the_reader_goes_and_comes(
    tmp_path: Path, driver: Driver, room: str, somebody: Page
) -> None:
    live, reader = Live(tmp_path), Reader()
    async with reading(reader) as port:
        async with harness_of(live, driver, room) as harness:
            await go_in(harness, Feeds(audio_url=reader.url))
            await wait_until(lambda: reader.heard_s >= 1)
            assert any("listen to its sound" in did for did in story(harness))
            await reader.hang_up()
            await wait_until(lambda: reader.connections == 2)
            before_s = reader.heard_s
            await wait_until(lambda: reader.heard_s >= before_s + 1)
            await somebody.evaluate("microphone.suspend()")
            await wait_until(lambda: level(reader.last_second) < SILENT)  # nothing of what was said before waits
            await leave(harness)
        await wait_until(lambda: live.statuses[-1:] == [FeedStatus.ENDED])
        assert port
    assert live.statuses == [FeedStatus.CONNECTED, FeedStatus.WAITING, FeedStatus.CONNECTED, FeedStatus.ENDED]
    assert live.reports[-1].dropped == 0
    assert 0 <= live.reports[-1].sent - len(reader.frames) < 10  # what was under way when it hung up
    assert [message["bot_id"] for message in reader.ready] == ["b1", "b1"]
    assert {message["type"] for message in reader.ready} == {"ready"}
    left, right = clearest(reader.samples)
    assert (left, right) == (pytest.approx(-18, abs=3), pytest.approx(-18, abs=3))  # of both sides half each
    assert not list((tmp_path / "recordings").glob("*"))
    await assert_later_agents_can_decode(live)


async def assert_later_agents_can_decode(live: Live) -> None:
    """From any chunk on, without the beginning of the stream."""
    middle = len(live.chunks) // 2
    parts = live.chunks, live.chunks[:middle], live.chunks[middle:]
    whole_s, before_s, rest_s = [await decoded_s(chunks) for chunks in parts]
    assert min(before_s, rest_s) > 1
    assert rest_s == pytest.approx(whole_s - before_s, abs=0.3)


async def decoded_s(chunks: Sequence[tuple[int, int, bytes]]) -> float:
    heard: list[bytes] = []
    decoder = Decoder(heard.append)
    decoder.begin()
    for _, part, chunk in chunks:
        decoder.put(part, chunk)
    decoder.end()
    await wait_until(lambda: b"" in heard)
    return sum(map(len, heard)) / 2 / RATE


async def test_an_address_that_may_not_be_called_is_said_and_the_call_goes_on(tmp_path: Path, driver: Driver) -> None:
    live = Live(tmp_path)
    async with Witness() as witness, live.feeds:
        stand_in = str(write_program(tmp_path / "stand-in", witness.address))  # nothing is heard of it
        settings = WorkerSettings(memory_reserve_mb=0, chromium=stand_in)
        async with pool_with(tmp_path / "state", settings, driver, live.feeds.serve) as harness:
            harness.meeting = f"http://{witness.address}/r/chaos?tag=a&lobby_s=0"
            await go_in(harness, Feeds(audio_url="wss://10.0.0.1/inside"))
            await wait_until(lambda: live.statuses == [FeedStatus.REFUSED])
            await asyncio.sleep(1)
            assert not harness.seen(BotEnded)
            await leave(harness)
    assert live.reports[0].detail == "address_not_allowed"
