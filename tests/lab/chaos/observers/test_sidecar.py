"""The process of the wires and of the witness: it does what it is told, tells what it saw, and goes on while the suite
is busy with something else.
"""

import asyncio
import os
import signal
import time
from contextlib import suppress

import aiohttp
import pytest

from lab.chaos.observers.sidecar import Apart, ApartError
from lab.chaos.observers.witness import Seen
from lab.parts.proxy import Wire
from tests.waiting import PATIENCE_S, wait_until


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
    writer.close()


async def ask(url: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].split("/")[0]))
    writer.write(b"1\n")
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.readline()
    writer.close()
    return answer


@pytest.mark.long
async def test_a_wire_is_laid_and_cut_and_mended() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Apart() as apart:
        port = server.sockets[0].getsockname()[1]
        wire, other = await apart.lay(port), await apart.lay(port)
        assert await ask(wire.url) == b"1\n"
        await wire.set(Wire.CUT)
        with pytest.raises(ConnectionRefusedError):
            await ask(wire.url)
        assert await ask(other.url) == b"1\n"
        await wire.set(Wire.OPEN)
        assert await ask(wire.url) == b"1\n"


@pytest.mark.long
async def test_what_the_witness_sees_is_told_with_the_time_that_the_page_says() -> None:
    heard: list[Seen] = []
    async with Apart() as apart, aiohttp.ClientSession() as http:
        apart.witness.on_mark = lambda mark: heard.append(mark.seen)
        async with http.ws_connect(f"http://{apart.witness.address}/r/chaos/ws") as socket:
            await socket.send_json({"tag": "t", "visit": "1", "phase": "inside", "pid": 7, "at": 5.0})
            await wait_until(apart.witness.inside)
        await wait_until(lambda: not apart.witness.present)
    assert heard == [Seen.INSIDE, Seen.GONE]
    assert apart.witness.marks[0].at == 5.0


@pytest.mark.long
async def test_it_sees_while_the_suite_is_busy() -> None:
    async with (
        Apart() as apart,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://{apart.witness.address}/r/chaos/ws") as socket,
    ):
        for visit in range(10):  # the process may have to wait for a processor: then it is tried again
            await socket.send_json({"tag": "t", "visit": str(visit), "phase": "inside"})
            time.sleep(2.0)  # noqa: ASYNC251 - the suite's loop does nothing else meanwhile
            until = time.time()
            await wait_until(lambda visit=visit: len(apart.witness.marks) > visit)
            if visit and apart.witness.marks[visit].at < until - 0.2:
                return
    raise AssertionError("it saw none of them in time")


@pytest.mark.long
async def test_that_the_process_was_not_let_run_is_known() -> None:
    async with Apart() as apart:
        # It may have been stopped before it looked at the clock for the first time: then nobody can know.
        for _ in range(10):
            os.kill(apart.pid, signal.SIGSTOP)
            stopped_at = time.monotonic()
            await wait_until(lambda stopped_at=stopped_at: time.monotonic() > stopped_at + 0.5)
            os.kill(apart.pid, signal.SIGCONT)
            with suppress(AssertionError):
                await wait_until(lambda: apart.late_s >= 0.3, 3.0)
                return
    raise AssertionError(f"known of ten stops: {apart.late_s} s")


async def test_a_suite_whose_wires_are_gone_ends() -> None:
    async def work() -> None:
        async with Apart() as apart:
            os.kill(apart.pid, signal.SIGKILL)
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await work()
    assert caught.group_contains(ApartError)
