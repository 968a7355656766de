"""What no client of good will sends: heads without end, bodies without end, and nothing at all, slowly."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from prometheus_client import generate_latest

from tests.api.conftest import JOB, TOKEN, Caller, World
from tests.waiting import PATIENCE_S, wait_until

HEAD = b"POST /api/v1/bots/create_bot HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
TOKEN_HEADER = f"Authorization: Token {TOKEN}\r\n".encode()
LET_IN = HEAD + TOKEN_HEADER
MEGABYTE = b"x" * (1 << 20)


class Line:
    """A plain connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, call: Caller, first: bytes = b"", *, small_window: bool = False) -> "Line":
        """`first`: is sent before the server is told of the connection, and so before its deadline begins."""
        host, _, port = call.base.removeprefix("http://").partition(":")
        plain = socket.socket()
        if small_window:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect((host, int(port)))
        plain.sendall(first)
        plain.setblocking(False)
        return cls(*await asyncio.open_connection(sock=plain))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> str:
        return (await self._reader.readuntil(b"\r\n\r\n")).decode()

    async def answer(self) -> tuple[int, Any]:
        head = await self.head()
        length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
        return int(head.split()[1]), json.loads(await self._reader.readexactly(length))

    async def rest(self) -> bytes:
        """Until the other side closes."""
        try:
            return await asyncio.wait_for(self._reader.read(), PATIENCE_S)
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@pytest.fixture
async def call(world: World) -> AsyncIterator[Caller]:
    world.change(request_timeout_s=PATIENCE_S, connections=20)
    async with world.serving() as call:
        yield call


@pytest.fixture
async def hasty(world: World) -> AsyncIterator[Caller]:
    """Of a server that waits for nobody."""
    world.change(request_timeout_s=0.3)
    async with world.serving() as call:
        yield call


@pytest.fixture
async def line(call: Caller) -> AsyncIterator[Line]:
    line = await Line.to(call)
    yield line
    await line.close()


async def test_a_hundred_megabytes_are_refused_by_their_announcement(line: Line) -> None:
    await line.send(LET_IN + b"Content-Length: 104857600\r\n\r\n")
    status, body = await line.answer()
    assert (status, "262144 bytes" in body["message"]) == (413, True)
    assert await line.rest() == b"", "and the connection is closed"


async def test_a_hundred_megabytes_in_chunks_are_refused_when_enough_came(line: Line) -> None:
    await line.send(LET_IN + b"Transfer-Encoding: chunked\r\n\r\n")
    sent = 0
    try:
        while sent < 100:
            await line.send(b"%x\r\n%s\r\n" % (len(MEGABYTE), MEGABYTE))
            sent += 1
    except ConnectionError:
        assert sent < 100
        return
    assert (await line.answer())[0] == 413


async def test_a_body_of_a_stranger_is_not_read_at_all(line: Line) -> None:
    await line.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n")
    assert (await line.answer())[0] == 401


async def test_a_body_that_is_waited_for_is_asked_for(line: Line) -> None:
    body = json.dumps(JOB).encode()
    await line.send(LET_IN + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
    assert await line.head() == "HTTP/1.1 100 Continue\r\n\r\n"
    await line.send(body)
    assert (await line.answer())[0] == 201


async def test_a_compressed_body_is_refused(line: Line) -> None:
    await line.send(LET_IN + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")
    assert (await line.answer())[0] == 415


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
async def test_a_body_of_another_kind_is_refused(call: Caller, kind: str) -> None:
    answer = await call("POST", "/bots/create_bot", json.dumps(JOB).encode(), headers={"Content-Type": kind})
    assert answer.status == 415
    assert "application/json" in answer.message


async def test_a_body_that_does_not_come_is_not_waited_for(hasty: Caller) -> None:
    line = await Line.to(hasty, LET_IN + b'Content-Length: 1000\r\n\r\n{"meeting_link":')
    status, body = await line.answer()
    assert (status, "0.3 s" in body["message"]) == (408, True)
    await line.rest()
    await line.close()


@pytest.mark.parametrize("head", [b"", b"G", b"GET /api/v1/bots HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_a_head_that_does_not_come_is_not_waited_for(hasty: Caller, head: bytes) -> None:
    line = await Line.to(hasty, head)
    assert await line.rest() == b""
    await line.close()


async def test_a_sender_that_goes_away_is_no_fault_of_ours(world: World, line: Line) -> None:
    with structlog.testing.capture_logs() as lines:
        await line.send(LET_IN + b"Content-Length: 1000\r\n\r\n{")
        await line.close()
        await wait_until(lambda: [line for line in lines if line["event"] == "request_answered"])
    assert {line["event"] for line in lines} == {"request_answered"}


async def test_a_head_that_trickles_is_not_waited_for(hasty: Caller) -> None:
    line = await Line.to(hasty, b"GET / HTTP/1.1\r\nHost: x\r\n")
    ended = asyncio.Event()

    async def trickle() -> None:
        while not ended.is_set():
            try:
                await line.send(b"X-A: b\r\n")
            except ConnectionError:
                return
            await asyncio.sleep(0.02)  # a slow sender is what this is about

    async with asyncio.TaskGroup() as group:
        group.create_task(trickle(), name="trickle")
        assert b"HTTP/1.1 2" not in await line.rest()
        ended.set()
    await line.close()


async def test_a_connection_that_was_used_and_is_idle_is_closed(hasty: Caller) -> None:
    line = await Line.to(hasty, b"GET /api/v1/bots HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await line.answer())[0] == 401
    assert await line.rest() == b""
    await line.close()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(1000)) + b"\r\n",
        b"GET / HTTP/1.1\r\nX-A: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_a_head_that_cannot_be_read_is_refused_in_json(line: Line, head: bytes) -> None:
    await line.send(head)
    status, body = await line.answer()
    assert (status, "is not HTTP that can be read" in body["message"]) == (400, True)
    assert await line.rest() == b""


async def test_a_body_that_is_not_as_announced_is_refused(line: Line) -> None:
    await line.send(LET_IN + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n")
    assert (await line.answer())[0] == 400


async def test_who_does_not_take_an_answer_is_cut_off(world: World) -> None:
    hand = await world.ledger()
    for number in range(100):
        await hand.accept(f"b{number}", custom_attributes={"a": "x" * 100_000})
    async with world.serving(answer_s=0.2) as call:
        line = await Line.to(call, small_window=True)
        await line.send(b"GET /api/v1/bots?limit=100 HTTP/1.1\r\nHost: x\r\n" + TOKEN_HEADER + b"\r\n")
        await wait_until(lambda: 'code="200"' in generate_latest(world.registry).decode())
        await wait_until(lambda: not world.connections())
        assert len(await line.rest()) < 10_000_000
        await line.close()


async def test_a_connection_too_many_is_told_so_and_others_go_on(call: Caller) -> None:
    lines = [await Line.to(call) for _ in range(20)]
    await lines[0].send(b"GET /api/v1/bots HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await lines[0].answer())[0] == 401, "all of the others are there by now"
    surplus = await Line.to(call)
    status, body = await surplus.answer()
    assert (status, "api.connections" in body["message"]) == (503, True)
    for line in (*lines, surplus):
        await line.close()
    assert (await call("GET", "/bots")).status == 200
