"""One machine, one command, on real parts: installed programs, Redis, Chromium, calls in the project's own room."""

import asyncio
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect
from lab.parts.host import Host, hosting
from poolmgr.one_machine.news import PartName
from poolmgr.one_machine.programs import redis_url
from poolmgr.store.keys import Keys
from poolmgr.store.reading.views import Views
from tests.up.conftest import HOST_KEY, Up
from tests.waiting import PATIENCE_S, wait_until
from worker.chromium import processes

pytestmark = pytest.mark.timeout(600)

REDIS, MANAGER, AGENT = PartName


@asynccontextmanager
async def asking(up: Up) -> AsyncGenerator[Views]:
    redis = connect(RedisSettings(url=redis_url(up.state), timeout_s=PATIENCE_S))
    yield Views(redis, Keys("poolmgr"))
    await redis.aclose()


async def paste(line: str) -> str:
    """Carry out a line that was printed, as it stands."""
    process = await asyncio.create_subprocess_shell(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def the_bot_in_its_meeting(up: Up) -> dict[str, str]:
    async with asking(up) as views:

        async def found() -> list[dict[str, str]]:
            return [bot.texts() for bot in await views.bots(most=10) if bot.state == "in_meeting"]

        return (await wait_until(found))[0]


def who(bot: dict[str, str]) -> tuple[str, str, str]:
    return bot["bot_id"], bot["attempt"], bot["worker_id"]


def private(*paths: Path) -> bool:
    return all(path.stat().st_mode & 0o777 == 0o600 for path in paths)


async def send_the_first_in(up: Up, ada: Host) -> dict[str, str]:
    await wait_until(lambda: ada.names == ["Ada"])
    up.start("--min-idle", "1")
    await up.until_said("ready: 1 browser is warm after")
    assert private(up.state.token_file, up.state.header_file, up.state.redis_socket, up.state.log(AGENT))
    first = await paste(await up.until_said("  curl "))
    assert '"bot_id"' in first
    await wait_until(lambda: ada.names == ["Ada", "Notes"])
    return await the_bot_in_its_meeting(up)


async def test_a_call_goes_on_while_each_part_is_killed_and_nothing_is_left_in_the_end(up: Up, room: str) -> None:
    async with hosting(f"{room}/r/standup", HOST_KEY, "Ada") as ada:
        bot = await send_the_first_in(up, ada)
        for part in (AGENT, MANAGER, REDIS):
            pid = up.pid(part)
            up.kill(part)
            await up.until_said(f"{part:<9} works again")
            assert up.pid(part) != pid
        assert who(await the_bot_in_its_meeting(up)) == who(bot)
        assert ada.arrivals == ["Ada", "Notes"], "the call noticed nothing of it"
        await up.press(signal.SIGINT, "draining: 1 bot goes on until its call ends, 4h 00m at most")
        await up.press(signal.SIGINT, "leaving: 1 bot leaves its meeting")
        assert await up.ended() == 0
        await wait_until(lambda: ada.names == ["Ada"])
    assert up.state.token_file.read_text().strip() not in up.ever_said
    assert up.processes() == []
    assert list(up.state.agent.glob("workers/*")) == []


@pytest.mark.long
async def test_a_job_that_waits_is_served_by_the_next_start_and_a_call_goes_on_while_the_whole_is_killed(
    up: Up, room: str
) -> None:
    async with hosting(f"{room}/r/standup", HOST_KEY, "Ada") as ada:
        await send_the_first_in(up, ada)
        token = up.state.token_file.read_text()
        await up.press(signal.SIGINT, "draining: 1 bot goes on until its call ends, 4h 00m at most")
        await paste(await up.until_said("  redis-cli "))
        assert ada.arrivals == ada.names == ["Ada", "Notes"], "the call goes on"
        await up.press(signal.SIGINT, "leaving: 1 bot leaves its meeting")
        assert await up.ended() == 0
        assert up.said.endswith("stopped. The next start goes on where this one was\n")
        await wait_until(lambda: ada.names == ["Ada"])
        assert up.processes() == []

        up.start("--min-idle", "0")
        await wait_until(lambda: ada.arrivals == ["Ada", "Notes", "Notes"])  # the job that waited
        bot = await the_bot_in_its_meeting(up)
        assert up.state.token_file.read_text() == token
        ending, draining = [up.pid(MANAGER), up.pid(REDIS)], up.pid(AGENT)
        up.signal(signal.SIGKILL)
        await up.ended()
        await wait_until(lambda: not any(map(processes.read, ending)))
        assert processes.read(draining), "it lets its call end"

        up.start("--min-idle", "0")
        await up.until_said("ready: no browser is kept warm")
        assert "1 bot goes on" in up.said
        assert who(await the_bot_in_its_meeting(up)) == who(bot)
        assert ada.names == ["Ada", "Notes"]
        assert len(ada.arrivals) == 3, "the call noticed nothing of that either"
        up.stop_the_clock_of(AGENT)
        for words in ("draining: 1 bot", "leaving: 1 bot", "ending: "):
            await up.press(signal.SIGTERM, words)
        assert await up.ended() == 130
        await wait_until(lambda: ada.names == ["Ada"])
    assert token.strip() not in up.ever_said
    assert up.processes() == []
    assert list(up.state.agent.glob("workers/*")) == []


@pytest.mark.long
async def test_a_port_that_is_taken_is_said_and_all_ends(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        listen = f"127.0.0.1:{somebody.getsockname()[1]}"
        up.start(POOLMGR_API__LISTEN=listen)
        assert await up.ended() == 1
    assert f"poolmgr: cannot listen on {listen}" in up.said
    assert "change api.listen" in up.said
    assert up.processes() == []


@pytest.mark.long
async def test_a_browser_that_is_missing_is_said_and_all_ends(up: Up) -> None:
    up.start(POOLMGR_WORKER__CHROMIUM="/no/such/browser")
    assert await up.ended() == 2
    assert "poolmgr-worker: cannot run worker.chromium = '/no/such/browser'" in up.said
    assert up.processes() == []
