"""A probe from one machine alone, in a real browser: what it prints, what it saves, and that nothing is left of it."""

import asyncio
import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner

from room.server import create_app
from tests.conftest import START_DEADLINE_S
from worker import processes
from worker.cli.root import cli

PATIENCE_S = 3 * START_DEADLINE_S


@pytest.fixture
async def room() -> AsyncGenerator[str]:
    runner = web.AppRunner(create_app("key", open_door=True), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def probe(room: str, folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    temporary = folder / "tmp"
    temporary.mkdir()
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(Path.home()),
        "TMPDIR": str(temporary),
        "POOLMGR_MEETINGS__ROOM_HOSTS": json.dumps([room]),
    }
    words = (sys.executable, "-m", "worker", "probe", f"http://{room}/r/the-secret-room", *arguments)
    pipe = subprocess.PIPE
    return await asyncio.create_subprocess_exec(*words, env=environment, stdout=pipe, stderr=pipe)


def left(folder: Path) -> list[str]:
    """Files and processes of a probe that was to clean up after itself."""
    running = [str(one.pid) for one in processes.scan() if str(folder) in processes.command_line(one.pid)]
    return [*map(str, (folder / "tmp").iterdir()), *running]


async def test_it_joins_tells_each_screen_saves_it_and_leaves_nothing(room: str, tmp_path: Path) -> None:
    process = await probe(room, tmp_path, "--save", str(tmp_path / "saved"), "--stay", "1")
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    assert process.returncode == 0, err
    text = out.decode()
    assert "the page showed name_prompt" in text
    assert "now in_meeting" in text
    assert "ended: max_duration" in text
    assert "secret" not in text + err.decode().replace(str(tmp_path), "")
    [saved] = (tmp_path / "saved").iterdir()
    with zipfile.ZipFile(saved) as bundle:
        assert any(name.startswith("screens/") and "in_meeting" in name for name in bundle.namelist())
    assert left(tmp_path) == []


async def test_ctrl_c_makes_it_leave_in_good_order(room: str, tmp_path: Path) -> None:
    process = await probe(room, tmp_path, "--json", "--stay", "600")
    assert process.stdout
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE_S):
        async for line in process.stdout:
            events.append(json.loads(line))
            if events[-1].get("state") == "in_meeting":
                process.send_signal(signal.SIGINT)
        await process.wait()
    assert process.returncode == 0
    assert [event["reason"] for event in events if event.get("type") == "bot_ended"] == ["user_requested"]
    assert events[-1]["outcome"] == "joined"
    assert left(tmp_path) == []


async def test_one_that_is_stopped_before_it_is_in_was_not_refused(tmp_path: Path) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server, asyncio.timeout(PATIENCE_S):
        process = await probe(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", tmp_path)
        assert process.stdout
        assert process.stderr
        async for line in process.stdout:
            if b"a browser is warm" in line:
                process.send_signal(signal.SIGINT)
        await process.wait()
        assert (process.returncode, await process.stderr.read()) == (130, b"stopped\n")
    assert left(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_told_before_anything_starts() -> None:
    result = CliRunner().invoke(cli, ["probe", "http://127.0.0.1:8090/r/x", "--save", "/proc/nothing"])
    assert (result.exit_code, result.stderr) == (
        2,
        "poolmgr-worker: cannot write to /proc/nothing: No such file or directory\n",
    )


def test_what_is_no_link_is_refused_before_anything_starts() -> None:
    result = CliRunner().invoke(cli, ["probe", "https://example.com/secret"])
    assert result.exit_code == 2
    assert "secret" not in result.output
