"""Each state of a wire, seen from both of its ends."""

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest

from lab.parts.proxy import Proxy, Wire
from tests.waiting import PATIENCE_S, wait_until

SOON_S = 0.3


@pytest.fixture
async def proxy() -> AsyncGenerator[Proxy]:
    """In front of a server that answers every line with itself, doubled."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line * 2)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, timeout_s: float = PATIENCE_S) -> bytes:
        """Raises: TimeoutError, OSError."""
        self.writer.write(b"12345\n")
        async with asyncio.timeout(timeout_s):
            return await self.reader.readexactly(12)


async def connect(proxy: Proxy) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", proxy.port))


async def test_what_is_open_passes(proxy: Proxy) -> None:
    client = await connect(proxy)
    assert await client.ask() == b"12345\n12345\n"
    client.writer.close()


async def test_a_cut_resets_who_is_there_and_refuses_who_comes(proxy: Proxy) -> None:
    client = await connect(proxy)
    await client.ask()
    await proxy.set(Wire.CUT)
    with pytest.raises(ConnectionResetError):
        await client.reader.readexactly(1)
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    await proxy.set(Wire.OPEN)
    again = await connect(proxy)
    assert await again.ask()
    again.writer.close()


async def test_out_of_a_black_hole_everything_comes_late_and_nothing_is_lost(proxy: Proxy) -> None:
    client = await connect(proxy)
    await client.ask()
    await proxy.set(Wire.HOLE)
    with pytest.raises(TimeoutError):
        await client.ask(SOON_S)
    new = await connect(proxy)  # which nobody refuses
    with pytest.raises(TimeoutError):
        await new.ask(SOON_S)
    await proxy.set(Wire.OPEN)
    assert await client.reader.readexactly(12)
    assert await new.reader.readexactly(12)
    client.writer.close()
    new.writer.close()


async def test_a_slow_wire_delays_both_ways(proxy: Proxy) -> None:
    client = await connect(proxy)
    await proxy.set(Wire.DELAY, 0.1)
    began = time.monotonic()
    await client.ask()
    assert time.monotonic() - began >= 0.2
    client.writer.close()


async def test_half_of_the_next_answer_is_all_there_is(proxy: Proxy) -> None:
    client = await connect(proxy)
    await client.ask()
    await proxy.set(Wire.HALF)
    client.writer.write(b"12345\n")
    with pytest.raises(ConnectionResetError):
        await client.reader.readexactly(12)
    again = await connect(proxy)
    assert await again.ask()
    again.writer.close()


async def test_who_has_no_server_behind_it_is_reset(proxy: Proxy) -> None:
    async with Proxy(upstream_port=1) as nowhere:
        client = await connect(nowhere)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await client.ask()
    await wait_until(lambda: proxy.port)
