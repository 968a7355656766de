"""A bot whose meeting is sent live, and who listens: the same somebody with a known voice as of recordings."""

import asyncio
import struct
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pytest_asyncio
from aiohttp import WSMsgType, web
from playwright.async_api import Page

from common.config.settings import CaptureSettings, LiveSettings, WebhookSettings, WorkerSettings
from common.jobs.outgoing import OutgoingRules
from common.wire.messages import BotStreamed, Feeds, Join
from common.wire.packets import Line
from common.wire.vocabulary import FeedStatus
from tests.worker.capture.conftest import somebody as somebody
from tests.worker.capture.conftest import somebodys as somebodys
from tests.worker.conftest import Harness, pool_with
from worker.capture.recordings import Recordings
from worker.chromium.driver import Driver
from worker.decide.state import State
from worker.live.feeds import LiveFeeds
from worker.live.frames import FRAME_S, RATE
from worker.transcript.minutes_outbox import MinutesOutbox

AT_HOME: Final = WebhookSettings(allow_http=True, allowed_networks=["127.0.0.0/8"])
HOME: Final = OutgoingRules.of(AT_HOME)


class Heard(NamedTuple):
    """One frame."""

    speaker_id: str
    name: str
    pcm: bytes


class Reader:
    """A client that listens. `takes`: clear it, and it reads nothing more. `connections`: how often it was called."""

    def __init__(self) -> None:
        self.url = ""
        self.connections = 0
        self.ready: list[dict[str, str]] = []
        self.frames: list[Heard] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self._open: set[web.WebSocketResponse] = set()

    @property
    def samples(self) -> list[float]:
        return samples_of(self.frames)

    @property
    def last_second(self) -> list[float]:
        return samples_of(self.frames[-round(1 / FRAME_S) :])

    @property
    def heard_s(self) -> float:
        return sum(len(frame.pcm) for frame in self.frames) / 2 / RATE

    async def listen(self, request: web.Request) -> web.WebSocketResponse:
        self.connections += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._open.add(socket)
        try:
            async for message in socket:
                await self.takes.wait()
                if message.type is WSMsgType.TEXT:
                    self.ready.append(msgspec.json.decode(message.data))
                else:
                    self.frames.append(heard(message.data))
        finally:
            self._open.discard(socket)
        return socket

    async def hang_up(self) -> None:
        for socket in list(self._open):
            await socket.close()


def samples_of(frames: Sequence[Heard]) -> list[float]:
    pcm = b"".join(frame.pcm for frame in frames)
    return [sample / 32768 for sample in struct.unpack(f"<{len(pcm) // 2}h", pcm)]


def heard(frame: bytes) -> Heard:
    """As the API's clients read it."""
    assert frame[0] == 1
    texts: list[str] = []
    at = 1
    for _ in range(2):
        (length,) = struct.unpack_from("<H", frame, at)
        texts.append(frame[at + 2 : at + 2 + length].decode())
        at += 2 + length
    return Heard(texts[0], texts[1], frame[at:])


@asynccontextmanager
async def reading(reader: Reader, port: int = 0) -> AsyncGenerator[int]:
    app = web.Application()
    app.router.add_get("/sound", reader.listen)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        port = runner.addresses[0][1]
        reader.url = f"ws://127.0.0.1:{port}/sound?key=secret"
        yield port
    finally:
        await reader.hang_up()
        await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def reader() -> AsyncGenerator[Reader]:
    reader = Reader()
    async with reading(reader):
        yield reader


class Live:
    """What is sent live of a VM without a store. `reports`: what the manager hears of it; `chunks`: what came of the
    recorder, by number and part.
    """

    def __init__(self, folder: Path, settings: LiveSettings | None = None) -> None:
        self.reports: list[BotStreamed] = []
        self.chunks: list[tuple[int, int, bytes]] = []
        self.folder = folder
        recordings = Recordings("vm1", folder / "recordings", CaptureSettings(), None, lambda _: None)

        def record(
            join: Join,
            page: Callable[[], Page | None],
            state: Callable[[], State | None],
            add_to_story: Callable[[str], None],
            announce: Callable[[str], None],
            on_sound: Callable[[int, int, bytes], None] | None = None,
            on_packets: Callable[[Line | None], None] | None = None,
        ) -> AbstractAsyncContextManager[Callable[[State], None]]:
            def spy(seq: int, part: int, chunk: bytes) -> None:
                self.chunks.append((seq, part, chunk))
                assert on_sound
                on_sound(seq, part, chunk)

            heard = spy if on_sound else None
            return recordings.record(join, page, state, add_to_story, announce, heard, on_packets)

        self.feeds = LiveFeeds("vm1", settings or LiveSettings(), AT_HOME, record, self.reports.append, no_minutes())

    @property
    def statuses(self) -> list[FeedStatus]:
        return [report.status for report in self.reports]


def no_minutes() -> MinutesOutbox:
    return MinutesOutbox("vm1", Path("nowhere"), None, lambda _: None)


@asynccontextmanager
async def harness_of(live: Live, driver: Driver, room: str) -> AsyncGenerator[Harness]:
    settings = WorkerSettings(memory_reserve_mb=0)
    async with live.feeds, pool_with(live.folder / "state", settings, driver, live.feeds.serve) as harness:
        harness.meeting = room
        yield harness


def sent_to(harness: Harness, feeds: Feeds) -> Join:
    return msgspec.structs.replace(harness.join(), feeds=feeds)
