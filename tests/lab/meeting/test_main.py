"""`python -m lab.meeting` as a person starts and stops it."""

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import ClientSession, WSCloseCode, WSMsgType
from click.testing import CliRunner

from lab.meeting.__main__ import main
from tests.waiting import PATIENCE_S

StartRoom = Callable[..., Awaitable[Process]]


@asynccontextmanager
async def _running(*arguments: str) -> AsyncGenerator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lab.meeting", *arguments, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def start_room() -> AsyncIterator[StartRoom]:
    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE_S):
        yield lambda *arguments: stack.enter_async_context(_running(*arguments))


async def address_after(label: str, process: Process) -> str:
    assert process.stdout
    line = (await process.stdout.readline()).decode()
    assert line.startswith(label)
    return line.split()[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
async def test_a_signal_says_goodbye_to_everybody_and_exits_cleanly(start_room: StartRoom, number: int) -> None:
    process = await start_room("--listen", "127.0.0.1:0", "--host-key", "k")
    guests, host = await address_after("Guests:", process), await address_after("Host:", process)
    assert host == f"{guests}?host=k"

    async with ClientSession() as session, session.ws_connect(f"{guests}/ws?host=k") as socket:
        await socket.send_json({"type": "join", "name": "Ann"})
        assert (await socket.receive_json())["type"] == "meeting"
        process.send_signal(number)
        await socket.receive()
        assert socket.close_code == WSCloseCode.GOING_AWAY
    assert await process.wait() == 0


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first:
        taken = f"127.0.0.1:{first.getsockname()[1]}"
        result = CliRunner().invoke(main, ["--listen", taken])
    assert (result.exit_code, result.stderr) == (1, f"Error: cannot listen on {taken}: Address already in use\n")


@pytest.mark.parametrize("listen", ["8090", ":8090", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:http"])
def test_a_listen_address_that_makes_no_sense_is_refused(listen: str) -> None:
    result = CliRunner().invoke(main, ["--listen", listen])
    assert result.exit_code == 2
    assert "needs HOST:PORT" in result.stderr


@pytest.mark.long
async def test_who_answers_no_ping_is_dropped_after_one_and_a_half_of_the_time_that_is_given(
    start_room: StartRoom,
) -> None:
    process = await start_room("--listen", "127.0.0.1:0", "--host-key", "k", "--open", "--heartbeat-s", "0.4")
    link = await address_after("Guests:", process)
    async with ClientSession() as session, session.ws_connect(f"{link}/ws", autoping=False) as silent:
        while (message := await silent.receive()).type in (WSMsgType.TEXT, WSMsgType.PING):
            pass
        assert message.type is not WSMsgType.ERROR
