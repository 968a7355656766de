"""A browser on a virtual display of its own: it comes and goes with the browser, and leaves nothing."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import pytest

from common.config.settings import CaptureSettings, WorkerSettings
from common.wire.messages import BotMoved
from common.wire.vocabulary import BotState, GoneCause, Reason
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.conftest import pool_with
from worker import audit
from worker.chromium import display, processes
from worker.chromium.driver import Driver
from worker.chromium.process import BrowserError, Chromium, Launcher, find_chromium, sweep
from worker.chromium.profile import Profile


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    return Launcher(Profile(find_chromium(""), headless=False, display_size="1280x720"), tmp_path)


@pytest.fixture
async def chromium(launcher: Launcher) -> AsyncGenerator[Chromium]:
    async with asyncio.timeout(PATIENCE_S):
        chromium = await launcher.launch("w1")
    yield chromium
    await chromium.kill()


def display_of(chromium: Chromium) -> int:
    [xvfb] = [
        process.pid
        for process in processes.scan()
        if processes.command_line(process.pid).startswith(f"{display.find_xvfb()} ")
        and processes.bears(process.pid, str(chromium.folder / "xauthority"))
    ]
    return xvfb


def socket_of(chromium: Chromium) -> Path:
    held = {os.readlink(descriptor) for descriptor in Path(f"/proc/{display_of(chromium)}/fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    # Inode and path, proc(5); a listening socket of the file system and not of the abstract space.
    [path] = {row[7] for row in rows if len(row) == 8 and f"socket:[{row[6]}]" in held and row[7].startswith("/tmp")}
    return Path(path)


def made_at(socket: Path) -> int:
    """Epoch nanoseconds; 0 if it is not there."""
    with suppress(FileNotFoundError):
        return socket.stat().st_ctime_ns
    return 0


async def test_a_display_is_its_browsers_alone_and_goes_with_it(chromium: Chromium) -> None:
    xvfb = display_of(chromium)
    assert " 1280x720x24 " in f"{processes.command_line(xvfb)} "
    assert os.getpgid(xvfb) == os.getpgid(chromium.leader.pid) == chromium.leader.pid
    assert processes.command_line(chromium.leader.pid).startswith(str(find_chromium("")))
    socket = socket_of(chromium)
    made = made_at(socket)
    assert made
    await assert_nobody_gets_in_without_its_key(chromium)
    await chromium.kill()
    assert processes.read(xvfb) is None
    assert made_at(socket) != made, "nobody's any more, or that of another test's display, which has taken the number"
    assert not chromium.folder.exists()


async def test_a_display_that_outlived_browser_and_folder_is_found_and_ended(
    chromium: Chromium, tmp_path: Path
) -> None:
    xvfb = display_of(chromium)
    for process in processes.scan():
        if process.group == chromium.leader.pid and process.pid != xvfb:
            with suppress(ProcessLookupError):  # it went with the one before it
                os.kill(process.pid, signal.SIGKILL)
    await chromium.exited()
    await wait_until(
        lambda: [process.pid for process in processes.scan() if process.group == chromium.leader.pid] == [xvfb]
    )
    shutil.rmtree(chromium.folder)
    assert processes.read(xvfb)
    assert sweep(tmp_path) == ["w1"]
    await wait_until(lambda: processes.read(xvfb) is None)  # one that exits has lost its arguments already


async def assert_nobody_gets_in_without_its_key(chromium: Chromium) -> None:
    assert (chromium.folder / "xauthority").stat().st_mode & 0o777 == 0o600
    reader, writer = await asyncio.open_unix_connection(socket_of(chromium))
    writer.write(b"l\0" + (11).to_bytes(2, "little") + bytes(8))  # X11 protocol, 8: connection setup without a name
    async with asyncio.timeout(PATIENCE_S):
        assert (await reader.readexactly(1)) == b"\0", "failed"
    writer.close()
    await writer.wait_closed()


async def test_an_interrupted_launch_leaves_no_display(launcher: Launcher, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        launching = tasks.create_task(launcher.launch("w1"), name="launch")
        await wait_until((tmp_path / "workers" / "w1" / "worker.json").exists)
        launching.cancel()
    assert list((tmp_path / "workers").iterdir()) == []
    key = str(tmp_path / "workers" / "w1" / "xauthority")
    assert [process for process in processes.scan() if processes.bears(process.pid, key)] == []


async def test_a_missing_xvfb_is_said_with_what_to_install(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrowserError, match=r"cannot find Xvfb.*apt install xvfb"):
        await launcher.launch("w1")
    assert list((tmp_path / "workers").iterdir()) == []


# One that is recorded

recorded = pytest.mark.skipif(
    not all(map(shutil.which, display.RECORDING_PROGRAMS)), reason="needs Xvfb, PulseAudio and ffmpeg"
)


def group_of(chromium: Chromium) -> list[str]:
    """The command lines of its process group."""
    return [processes.command_line(each.pid) for each in processes.scan() if each.group == chromium.leader.pid]


def beside(tmp_path: Path) -> dict[str, int]:
    """Of the one worker there: its sound server, and the shell that starts what records."""
    script = str(display.sound_script(tmp_path / "workers" / "w1"))
    bearers = [each for each in processes.scan() if processes.bears(each.pid, script)]
    [sound] = [each for each in bearers if not processes.command_line(each.pid).startswith(("/bin/sh", "sh"))]
    [shell] = [each for each in bearers if each.pid not in (sound.pid, sound.parent)]
    return {"sound server": sound.pid, "shell": shell.pid}


@pytest.fixture
def recording_launcher(tmp_path: Path) -> Launcher:
    capture = CaptureSettings(store="/nowhere", video="display")
    return launcher_of(capture, tmp_path)


def launcher_of(capture: CaptureSettings, state_dir: Path) -> Launcher:
    chromium, settings = find_chromium(""), WorkerSettings()
    return Launcher(Profile.of(chromium, settings), state_dir, Profile.recorded(chromium, settings, capture))


@pytest.mark.long
@recorded
async def test_a_sound_server_and_what_is_ordered_belong_to_the_group_which_ends_with_that_server(
    recording_launcher: Launcher, tmp_path: Path
) -> None:
    async with asyncio.timeout(PATIENCE_S):
        chromium = await recording_launcher.launch("w1", display=True)
    script = chromium.folder / "script"
    script.write_text('echo "$DISPLAY" >seen; exec sleep 600\n')
    display.order(chromium.folder, script)
    await wait_until(lambda: any(line.startswith("sleep ") for line in group_of(chromium)))
    assert (chromium.folder / "seen").read_text().startswith(":")
    assert os.getpgid(beside(tmp_path)["sound server"]) == chromium.leader.pid
    async with asyncio.timeout(PATIENCE_S):
        os.kill(beside(tmp_path)["sound server"], signal.SIGKILL)
        await chromium.exited()
    assert "the sound server ended" in chromium.last_words()
    await chromium.kill()
    assert group_of(chromium) == []
    assert not chromium.folder.exists()


@pytest.mark.long
@recorded
async def test_a_browser_ends_with_its_display(recording_launcher: Launcher) -> None:
    async with asyncio.timeout(PATIENCE_S):
        chromium = await recording_launcher.launch("w1", display=True)
        os.kill(display_of(chromium), signal.SIGKILL)
        await chromium.exited()
    await chromium.kill()
    assert group_of(chromium) == []


@pytest.mark.long
@recorded
@pytest.mark.parametrize("left", ["sound server", "shell"])
async def test_what_outlived_browser_and_folder_is_found_and_ended(
    recording_launcher: Launcher, tmp_path: Path, left: str
) -> None:
    async with asyncio.timeout(PATIENCE_S):
        chromium = await recording_launcher.launch("w1", display=True)
    pid = beside(tmp_path)[left]
    for process in processes.scan():
        if process.group == chromium.leader.pid and process.pid != pid:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
    await chromium.exited()
    await wait_until(lambda: [each.pid for each in processes.scan() if each.group == chromium.leader.pid] == [pid])
    shutil.rmtree(chromium.folder)
    assert [finding.kind for finding in audit.findings(audit.look(tmp_path), WorkerSettings())] == [
        "process_without_owner"
    ]
    assert sweep(tmp_path) == ["w1"]
    await wait_until(lambda: processes.read(pid) is None)


async def test_what_recording_needs_and_is_missing_is_said_with_what_to_install(
    recording_launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "Xvfb").touch(mode=0o755)
    with pytest.raises(BrowserError, match=r"cannot find pulseaudio and ffmpeg.*apt install pulseaudio ffmpeg"):
        await recording_launcher.launch("w1", display=True)


@recorded
async def test_a_state_folder_whose_path_is_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    capture = CaptureSettings(store="/nowhere", video="display")
    with pytest.raises(BrowserError, match=r"give worker.state_dir a shorter one"):
        await launcher_of(capture, deep).launch("w1", display=True)


@pytest.mark.asyncio(loop_scope="session")
async def test_a_bot_joins_on_a_virtual_display(tmp_path: Path, driver: Driver, room: str) -> None:
    settings = WorkerSettings(memory_reserve_mb=0, headless=False, display="virtual", display_size="1024x768")
    async with pool_with(tmp_path, settings, driver) as harness:
        harness.meeting = room
        await harness.warm()
        harness.pool.begin(harness.join())
        await wait_until(lambda: any(event.state is BotState.IN_MEETING for event in harness.seen(BotMoved)))
        page = harness.pool._workers["w1"].page  # pyright: ignore[reportPrivateUsage]
        assert page
        assert await page.evaluate("[screen.width, screen.height, innerWidth > 1000]") == [1024, 768, True]
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        assert (await harness.gone()).cause is GoneCause.SPENT
    key = str(tmp_path / "workers" / "w1" / "xauthority")
    assert [process for process in processes.scan() if processes.bears(process.pid, key)] == []
