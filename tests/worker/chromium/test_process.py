"""Real Chromium processes: what is there after a launch, and that nothing is there after the end."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.waiting import PATIENCE_S, wait_until
from worker.chromium import processes
from worker.chromium.process import BrowserError, Chromium, Launcher, find_chromium, sweep
from worker.chromium.processes import Leader
from worker.chromium.profile import Profile

GONE: Final = (FileNotFoundError, ProcessLookupError)
"""What /proc answers of what is not there any more."""


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    return Launcher(Profile(find_chromium("")), tmp_path)


@pytest.fixture
async def chromium(launcher: Launcher) -> AsyncGenerator[Chromium]:
    async with asyncio.timeout(PATIENCE_S):
        chromium = await launcher.launch("w1")
    yield chromium
    await chromium.kill()


def group(leader: int) -> list[int]:
    return [process.pid for process in processes.scan() if process.group == leader]


def nothing_of(_pid: int) -> str:
    return ""


def open_for_writing(pid: int) -> set[str]:
    paths: set[str] = set()
    with suppress(*GONE):  # the process, meanwhile
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(*GONE):  # the file
                flags = int(Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text().split()[3], 8)  # proc(5): octal
                if flags & os.O_ACCMODE != os.O_RDONLY:
                    paths.add(os.readlink(descriptor))
    return paths


async def test_a_launched_browser_leads_its_own_group_answers_writes_only_into_its_folder_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    """Its folder may be deep: Chromium binds a socket in a temporary folder, and dies of a path longer than 108."""
    async with asyncio.timeout(PATIENCE_S):
        chromium = await Launcher(Profile(find_chromium("")), tmp_path / ("x" * 100)).launch("w1")
    try:
        assert os.getpgid(chromium.leader.pid) == chromium.leader.pid
        await wait_until(lambda: len(group(chromium.leader.pid)) > 3)  # zygotes, GPU, network, pages
        port = int(chromium.endpoint.split(":")[2].split("/")[0])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
        assert_writes_only_into_its_folder(chromium)
    finally:
        await asyncio.gather(chromium.kill(), chromium.kill())
    assert group(chromium.leader.pid) == []
    assert not chromium.folder.exists()
    assert await chromium.exited() == -signal.SIGKILL


def assert_writes_only_into_its_folder(chromium: Chromium) -> None:
    inside = str(chromium.folder)
    written = {path for pid in group(chromium.leader.pid) for path in open_for_writing(pid)}
    files = {path for path in written if path.startswith("/") and not path.startswith(("/dev/", "/memfd:", "/proc/"))}
    assert any(path.startswith(inside) for path in files)
    socket = os.readlink(chromium.folder / "profile" / "SingletonSocket")
    assert (chromium.folder / socket).resolve().is_relative_to(chromium.folder / "tmp")
    assert {path for path in files if not path.startswith(inside)} == set()


async def test_a_browser_depends_on_no_bus_of_the_machine(tmp_path: Path) -> None:
    """It would abort with it, in mid-call: the bus is what a reboot ends first."""
    script = tmp_path / "chromium"
    script.write_text(f'#!/bin/sh\nenv >"{tmp_path}/told"\nexit 7\n')
    script.chmod(0o700)
    with pytest.raises(BrowserError, match="exit code 7"):
        await Launcher(Profile(script), tmp_path).launch("w1")
    told = {line for line in (tmp_path / "told").read_text().splitlines() if line.startswith("DBUS_")}
    assert told == {"DBUS_SESSION_BUS_ADDRESS=disabled:", "DBUS_SYSTEM_BUS_ADDRESS=disabled:"}


async def test_whoever_is_cancelled_while_it_kills_a_browser_still_sees_it_die(chromium: Chromium) -> None:
    async with asyncio.TaskGroup() as tasks:
        killing = tasks.create_task(chromium.kill(), name="kill")
        await asyncio.sleep(0)
        killing.cancel()
    assert killing.cancelled()
    assert chromium._process.returncode == -signal.SIGKILL  # pyright: ignore[reportPrivateUsage]


async def test_a_browser_whose_leader_dies_is_noticed_and_what_outlived_it_is_killed(chromium: Chromium) -> None:
    for pid in group(chromium.leader.pid):
        with suppress(ProcessLookupError):  # one that was needed for the start only
            os.kill(pid, signal.SIGSTOP)  # so that they do not leave by themselves
    os.kill(chromium.leader.pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        assert await chromium.exited() == -signal.SIGKILL
    assert group(chromium.leader.pid)
    await chromium.kill()
    assert group(chromium.leader.pid) == []


async def test_an_interrupted_launch_leaves_nothing(launcher: Launcher, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        launching = tasks.create_task(launcher.launch("w1"), name="launch")
        await wait_until((tmp_path / "workers" / "w1" / "worker.json").exists)
        launching.cancel()
    assert launching.cancelled()
    assert list((tmp_path / "workers").iterdir()) == []
    assert processes.tree(None, f"--user-data-dir={tmp_path}/workers/w1/profile") == []


async def test_a_launch_that_is_interrupted_while_its_profile_is_filled_leaves_nothing(
    launcher: Launcher, tmp_path: Path
) -> None:
    began, may_end = threading.Event(), threading.Event()

    def fill_profile(profile: Path) -> None:
        began.set()
        may_end.wait(10)
        (profile / "Default" / "Cache").mkdir(parents=True)

    async with asyncio.TaskGroup() as tasks:
        launching = tasks.create_task(launcher.launch("w1", fill_profile), name="launch")
        await wait_until(began.is_set)
        launching.cancel()
        asyncio.get_running_loop().call_later(0.05, may_end.set)
    assert list((tmp_path / "workers").iterdir()) == []


async def test_a_program_that_exits_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\necho cannot open display >&2\nexit 7\n")
    program.chmod(0o755)
    with pytest.raises(BrowserError, match="exit code 7: cannot open display"):
        await Launcher(Profile(program), tmp_path).launch("w1")
    assert list((tmp_path / "workers").iterdir()) == []


@pytest.mark.parametrize("name", ["", "../w1", "a/b", ".", "w" * 200])
async def test_a_name_that_is_no_folder_name_is_refused(launcher: Launcher, name: str) -> None:
    with pytest.raises(BrowserError, match="a bad name"):
        await launcher.launch(name)


def test_a_configured_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrowserError, match=r"worker\.chromium"):
        find_chromium(str(tmp_path / "chromium"))


def test_a_headless_shell_by_another_name_is_refused(tmp_path: Path) -> None:
    """Settings that it cannot fulfil are refused by its name."""
    (program := tmp_path / "chrome-headless-shell").touch(0o755)
    (link := tmp_path / "chromium").symlink_to(program)
    with pytest.raises(BrowserError, match="name the program itself"):
        find_chromium(str(link))
    assert find_chromium(str(program)) == program


async def test_a_later_agent_ends_what_an_earlier_one_left(chromium: Chromium, tmp_path: Path) -> None:
    assert sweep(tmp_path) == ["w1"]
    assert group(chromium.leader.pid) == []
    assert not chromium.folder.exists()
    assert sweep(tmp_path) == []


@pytest.mark.long
async def test_a_process_that_is_forked_while_the_others_are_killed_is_ended_too(
    chromium: Chromium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has begun with its program it has no arguments that prove anything. The third look is the first one of
    the end."""
    late = next(pid for pid in group(chromium.leader.pid) if pid != chromium.leader.pid)
    scan, bears, looks = processes.scan, processes.bears, 0

    def scan_late() -> Iterator[processes.Process]:
        nonlocal looks
        looks += 1
        return (process for process in scan() if process.pid != late or looks > 3)

    def bears_late(pid: int, *arguments: str) -> bool:
        return pid != late and bears(pid, *arguments)

    monkeypatch.setattr(processes, "scan", scan_late)
    monkeypatch.setattr(processes, "bears", bears_late)
    os.kill(late, signal.SIGSTOP)  # so that it does not leave by itself
    assert sweep(tmp_path) == ["w1"]
    assert group(chromium.leader.pid) == []


def left_with(folder: Path, marker: bytes) -> subprocess.Popen[bytes]:
    """What has the arguments of a browser there."""
    folder.mkdir()
    (folder / "worker.json").write_bytes(marker)
    command = [sys.executable, "-SIc", "import time; time.sleep(60)", f"--user-data-dir={folder}/profile"]
    return subprocess.Popen(command, start_new_session=True)


@pytest.mark.long
async def test_browsers_without_a_readable_marker_are_ended_too(chromium: Chromium, tmp_path: Path) -> None:
    """Their agent may have died between the start of the process and the end of the write. Only the one whose marker
    is missing is a real one: the others are known by their arguments alone."""
    (chromium.folder / "worker.json").unlink()
    others = [left_with(tmp_path / "workers" / name, marker) for name, marker in (("empty", b""), ("torn", b"{"))]
    assert sorted(sweep(tmp_path)) == ["empty", "torn", "w1"]
    assert group(chromium.leader.pid) == []
    assert [other.wait(PATIENCE_S) for other in others] == [-signal.SIGKILL] * 2
    assert list((tmp_path / "workers").iterdir()) == []


@pytest.mark.parametrize(
    "change", [{"started_ticks": 1}, {"boot_id": "an earlier boot"}], ids=["started_ticks", "boot"]
)
def test_a_process_that_got_the_same_number_later_is_left_alone(tmp_path: Path, change: dict[str, object]) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as bystander:
        running = processes.read(bystander.pid)
        assert running
        marker = {
            "worker_id": "w1",
            "pgid": bystander.pid,
            "started_ticks": running.started_ticks,
            "boot_id": processes.boot_id(),
            "chromium": "/usr/bin/sleep",
        }
        folder = tmp_path / "workers" / "w1"
        folder.mkdir(parents=True)
        (folder / "worker.json").write_bytes(msgspec.json.encode(marker | change))
        assert sweep(tmp_path) == ["w1"]
        assert not folder.exists()
        assert bystander.poll() is None
        # The same marker without the change is of that very process.
        folder.mkdir(parents=True)
        (folder / "worker.json").write_bytes(msgspec.json.encode(marker))
        sweep(tmp_path)
        assert bystander.wait(PATIENCE_S) == -signal.SIGKILL


def test_a_member_that_has_nothing_left_but_its_end_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, a process gives back its memory first, in which its arguments are, and its files and ports later."""
    with subprocess.Popen(["sh", "-c", "sleep 60.0518 & exit"], start_new_session=True) as leader:
        leader.wait()
        [ending] = group(leader.pid)
        member = processes.read(ending)
        assert member
        assert not member.is_ending
        monkeypatch.setattr(processes, "command_line", nothing_of)
        assert processes.tree(Leader(leader.pid, 1), "60.0518") == [], "nothing proves that it is ours"
        monkeypatch.setattr(processes, "scan", lambda: [member._replace(is_ending=True)])
        assert [process.pid for process in processes.tree(Leader(leader.pid, 1), "60.0518")] == [ending]
        os.kill(ending, signal.SIGKILL)


def test_what_was_proven_to_be_ours_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, where no marker tells of a group."""
    profile = tmp_path / "workers" / "w1" / "profile"
    profile.mkdir(parents=True)
    kill, told = os.kill, list[int]()

    def hesitate(pid: int, number: int) -> None:
        monkeypatch.setattr(processes, "command_line", nothing_of)
        told.append(pid)
        if len(told) > 3:
            kill(pid, number)

    command = [sys.executable, "-c", "import time; time.sleep(60)", f"--user-data-dir={profile}"]
    with subprocess.Popen(command) as ending:
        monkeypatch.setattr(os, "kill", hesitate)
        assert sweep(tmp_path) == ["w1"]
        assert set(told) == {ending.pid}
        assert len(told) >= 4, "until it was gone, which after the signal takes the kernel a moment"
        assert ending.wait(timeout=PATIENCE_S) == -signal.SIGKILL


def test_a_group_whose_leader_is_gone_is_ours_only_if_a_member_says_so() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60.0517 & exit"], start_new_session=True) as leader:
        leader.wait()
        [orphan] = group(leader.pid)
        assert processes.tree(Leader(leader.pid, 1), "--user-data-dir=/nowhere") == []
        assert [process.pid for process in processes.tree(Leader(leader.pid, 1), "60.0517")] == [orphan]
        os.kill(orphan, signal.SIGKILL)
