"""The socket of live sound, with clients that are slow, gone or hostile: each status, and what is sent and dropped."""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from common.jobs.outgoing import OutgoingRules
from common.wire.vocabulary import FeedStatus
from lab.parts.ports import free_ports
from lab.platforms.certificate import make_certificate
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.live.conftest import HOME, Reader, reading
from worker.live.audio_socket import AudioSocket
from worker.live.frames import NOBODY, frame

FRAME = frame(NOBODY, bytes(9600))


class OnStatus:
    def __init__(self) -> None:
        self.all: list[tuple[FeedStatus, str]] = []

    def __call__(self, status: FeedStatus, detail: str) -> None:
        self.all.append((status, detail))


@asynccontextmanager
async def running(
    url: str, *, rules: OutgoingRules = HOME, most: int = 20
) -> AsyncGenerator[tuple[AudioSocket, OnStatus]]:
    reports = OnStatus()
    socket = AudioSocket("b1", url, rules, most, PATIENCE_S, reports)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(socket.run(), name="socket")
        yield socket, reports
        socket.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.wait([task])
        task.cancel()


@asynccontextmanager
async def answering(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], tls: ssl.SSLContext | None = None
) -> AsyncGenerator[int]:
    app = web.Application()
    app.router.add_get("/sound", handler)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_all_that_was_put_before_the_end_is_taken_in_order() -> None:
    reader = Reader()
    async with reading(reader), running(reader.url) as (socket, reports):
        for number in range(10):
            socket.put(frame(NOBODY, bytes([number])))
        socket.end()
        await wait_until(lambda: reports.all[-1:] == [(FeedStatus.ENDED, "")])
        await wait_until(lambda: len(reader.frames) == 10)
    assert [each.pcm for each in reader.frames] == [bytes([number]) for number in range(10)]
    assert (socket.sent, socket.dropped) == (10, 0)


async def test_a_reader_that_takes_nothing_costs_the_oldest_and_is_connected_to_anew() -> None:
    reader = Reader()
    reader.takes.clear()
    async with reading(reader), running(reader.url, most=20) as (socket, reports):
        await wait_until(lambda: reports.all)
        socket._timeout_s = 1.0  # pyright: ignore[reportPrivateUsage]  # which a busy machine may take to connect
        put = 0
        while FeedStatus.WAITING not in [status for status, _ in reports.all]:
            socket.put(FRAME)
            put += 1
            await asyncio.sleep(0.001)
            assert len(socket._frames) <= 21  # pyright: ignore[reportPrivateUsage]
        assert socket.dropped > 0
        assert put > 20
        reader.takes.set()
        await wait_until(lambda: reader.connections > 1)
        socket.put(frame(NOBODY, b"at last"))
        await wait_until(lambda: any(frame.pcm == b"at last" for frame in reader.frames))
    assert reports.all[1] == (FeedStatus.WAITING, "timeout")


async def test_a_reader_that_is_not_there_yet_gets_the_latest_once_it_is() -> None:
    reader, [port] = Reader(), free_ports(1)
    async with running(f"ws://127.0.0.1:{port}/sound", most=3) as (socket, reports):
        await wait_until(lambda: reports.all)
        for number in range(10):
            socket.put(frame(NOBODY, bytes([number])))
        async with reading(reader, port):
            await wait_until(lambda: len(reader.frames) == 3)
    assert reports.all[0] == (FeedStatus.WAITING, "connection_failed")
    assert [each.pcm for each in reader.frames] == [b"\x07", b"\x08", b"\x09"]
    assert socket.dropped == 7


async def test_nothing_is_sent_to_whom_a_reader_redirects() -> None:
    other = Reader()

    async def redirect(_: web.Request) -> web.Response:
        raise web.HTTPFound(other.url)

    async with reading(other), answering(redirect) as port, running(f"ws://127.0.0.1:{port}/sound") as (_, reports):
        await wait_until(lambda: reports.all)
    assert reports.all[0] == (FeedStatus.WAITING, "redirected")
    assert other.connections == 0


async def test_a_refusal_says_its_status() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=403)

    async with answering(refuse) as port, running(f"ws://127.0.0.1:{port}/sound") as (_, reports):
        await wait_until(lambda: reports.all)
    assert reports.all[0] == (FeedStatus.WAITING, "bad_answer (403)")


async def test_a_certificate_that_nobody_knows_is_not_trusted() -> None:
    reader = Reader()
    async with (
        answering(reader.listen, make_certificate(["127.0.0.1"]).context) as port,
        running(f"wss://127.0.0.1:{port}/sound") as (_, reports),
    ):
        await wait_until(lambda: reports.all)
    assert reports.all[0] == (FeedStatus.WAITING, "tls_failed")
    assert reader.connections == 0


@pytest.mark.parametrize(
    "url", ["wss://127.0.0.1/x", "ws://127.0.0.1/x", "wss://localhost/x", "wss://10.1.2.3/x", "wss://169.254.169.254/x"]
)
async def test_the_inside_of_a_network_is_never_called(url: str) -> None:
    async with running(url, rules=OutgoingRules()) as (socket, reports):
        socket.put(FRAME)
        await wait_until(lambda: reports.all)
        socket.put(FRAME)
    assert reports.all == [(FeedStatus.REFUSED, "address_not_allowed")]
    assert not socket._frames  # pyright: ignore[reportPrivateUsage]


async def test_a_client_that_pings_without_end_is_answered_at_a_bounded_rate_and_gets_its_sound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.live.audio_socket.READ_EVERY_S", 0.05)
    answers, heard = 0, list[bytes]()

    async def flood(request: web.Request) -> web.WebSocketResponse:
        nonlocal answers
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        for _ in range(300):
            await socket.ping(b"x")
        async for message in socket:
            answers += message.type is web.WSMsgType.PONG
            if message.type is web.WSMsgType.BINARY:
                heard.append(message.data)
        return socket

    async with answering(flood) as port, running(f"ws://127.0.0.1:{port}/sound") as (socket, _):
        socket.put(FRAME)
        await wait_until(lambda: heard and answers > 10)
        assert answers < 150, "of 300"
    assert heard == [FRAME]


async def test_what_a_client_sends_without_end_waits_with_it() -> None:
    sent, is_over = 0, asyncio.Event()

    async def flood(request: web.Request) -> web.WebSocketResponse:
        nonlocal sent
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        while not is_over.is_set():
            await socket.send_bytes(bytes(60_000))
            sent += 1
        return socket

    async with answering(flood) as port, running(f"ws://127.0.0.1:{port}/sound"):
        await wait_until(lambda: sent)
        begun, began = sent, time.monotonic()
        await asyncio.sleep(2)
        is_over.set()
        most = 370 + 17 * (time.monotonic() - began)
        assert sent - begun < most, "a megabyte a second, and what the kernel keeps between the two"
