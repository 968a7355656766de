"""A probe from one machine alone: what it prints, what it saves, and that nothing is left of it."""

import asyncio
import json
import os
import signal
import zipfile
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from yarl import URL

from common.config.settings import WorkerSettings
from lab.meeting.server import create_app
from tests.fork_server import Forked, ForkServer
from tests.waiting import PATIENCE_S
from tests.worker.conftest import stand_ins
from tests.worker.visits import serving
from worker.chromium import processes
from worker.cli.root import cli

Probe = Callable[..., Forked]


@pytest.fixture
def probe(fork_server: ForkServer, tmp_path: Path) -> Generator[Probe]:
    """Starts `poolmgr-worker probe` for a link, with the browser `chromium`; its files go into `tmp_path`."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    started: list[Forked] = []

    def start(link: str, *arguments: str, chromium: str = "") -> Forked:
        environment = {
            **os.environ,
            "TMPDIR": str(temporary),
            "POOLMGR_MEETINGS__ROOM_HOSTS": json.dumps([URL(link).authority]),
            **({"POOLMGR_WORKER__CHROMIUM": chromium} if chromium else {}),
        }
        started.append(fork_server.start_read("worker", "probe", link, *arguments, environment=environment))
        return started[-1]

    yield start
    for browser in started:
        browser.close()


async def lines_of(process: Forked) -> AsyncGenerator[str]:
    assert process.stdout
    while line := await asyncio.to_thread(process.stdout.readline):
        yield line


def left(folder: Path) -> list[str]:
    """Files and processes of a probe that was to clean up after itself."""
    running = [str(process.pid) for process in processes.scan() if str(folder) in processes.command_line(process.pid)]
    return [*map(str, (folder / "tmp").iterdir()), *running]


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_it_joins_tells_each_screen_saves_it_and_leaves_nothing(probe: Probe, tmp_path: Path) -> None:
    async with serving(create_app("key", no_lobby=True)) as address:
        process = probe(f"{address}/r/the-secret-room", "--save", str(tmp_path / "saved"), "--stay", "1")
        text, err = await asyncio.to_thread(process.communicate, PATIENCE_S)
    assert process.returncode == 0, err
    assert "the page showed name_prompt" in text
    assert "now in_meeting" in text
    assert "ended: max_duration" in text
    assert "secret" not in text + err.replace(str(tmp_path), "")
    [saved] = (tmp_path / "saved").iterdir()
    with zipfile.ZipFile(saved) as bundle:
        assert any(name.startswith("screens/") and "in_meeting" in name for name in bundle.namelist())
    assert left(tmp_path) == []


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_ctrl_c_makes_it_leave_in_good_order(probe: Probe, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    async with stand_ins(tmp_path, WorkerSettings()) as (settings, link), asyncio.timeout(PATIENCE_S):
        process = probe(link, "--json", "--stay", "600", chromium=settings.chromium)
        async for line in lines_of(process):
            events.append(json.loads(line))
            if events[-1].get("state") == "in_meeting":
                process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    assert [event["reason"] for event in events if event.get("type") == "bot_ended"] == ["user_requested"]
    assert events[-1]["outcome"] == "joined"
    assert left(tmp_path) == []


@pytest.mark.asyncio(loop_scope="session")
async def test_one_that_is_stopped_before_it_is_in_was_not_refused(probe: Probe, tmp_path: Path) -> None:
    async with stand_ins(tmp_path, WorkerSettings()) as (settings, link), asyncio.timeout(PATIENCE_S):
        process = probe(str(URL(link).update_query(lobby_s=600)), chromium=settings.chromium)
        async for line in lines_of(process):
            if "a browser is warm" in line:
                assert any((tmp_path / "tmp").iterdir()), "what is to be gone at the end"
                process.send_signal(signal.SIGINT)
        assert process.stderr
        assert (process.wait(PATIENCE_S), process.stderr.read()) == (130, "stopped\n")
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
