"""What goes wrong in a recorded call, on purpose. What is killed is killed twice, after a third and after two thirds of
the call; what is taken away is away for a minute, or for a third of a shorter call. A browser is killed at the end.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

import aiohttp

from lab.parts import StageError
from lab.parts.stage import Stage
from worker.chromium import processes

Trouble = Literal["agent", "driver", "recorder", "browser", "store", "disk", "load"]
"""`agent`, `driver`: killed; the agent is started again. `recorder`: its tab's process, or its ffmpeg. `browser`: all
its processes. `store`: nothing can be put there. `disk`: that of the spool is full. `load`: four busy loops.
"""
_MOST_AWAY_S: Final = 60.0
_DISK_MB: Final = 32
_PIECE: Final = 1 << 16
_LOOPS: Final = 4
_CALL_S: Final = 15.0


@contextmanager
def prepared(stage: Stage, store: Path, troubles: Sequence[Trouble]) -> Generator[None]:
    """Before its agent starts, and until its end. Raises: StageError."""
    spool = stage.state_dir / "recordings"
    loops: list[subprocess.Popen[bytes]] = []
    store.mkdir(exist_ok=True)
    if "disk" in troubles:
        spool.mkdir(mode=0o700, parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m,mode=700", "poolmgr-spool", str(spool)]
        if subprocess.run(mount, capture_output=True).returncode:
            raise StageError("cannot mount a small disk for the spool: trouble with the disk needs root")
    try:
        if "load" in troubles:
            loops += [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(_LOOPS)]
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
        if "disk" in troubles:
            subprocess.run(["umount", "--lazy", str(spool)], check=True)


async def make(
    trouble: Trouble, stage: Stage, store: Path, bots: Sequence[str], lasts_s: float, say: Callable[[str], None]
) -> None:
    """In a call that lasts for so long. `bots`: their worker ids."""
    third_s = lasts_s / 3
    await asyncio.sleep(third_s)
    if trouble in ("store", "disk"):
        away_s = min(third_s, _MOST_AWAY_S)
        say(f"trouble: {trouble}, for {away_s:.0f} s")
        with _lost(store) if trouble == "store" else _full(stage.state_dir / "recordings"):
            await asyncio.sleep(away_s)
        return
    for _ in range(2):
        for worker_id in bots:
            say(f"trouble: {trouble} of {worker_id}")
            match trouble:
                case "agent":
                    os.kill(stage.pid("agent"), signal.SIGKILL)
                    stage.start_agent()
                    break
                case "driver":
                    _kill(_drivers_of(stage.pid("agent")))
                    break
                case "recorder":
                    await _kill_recorder(stage, worker_id)
                case _:
                    return
        await asyncio.sleep(third_s)


def kill_browser(stage: Stage, worker_id: str) -> None:
    """Kill all processes of a worker."""
    folder = f"{stage.state_dir}/workers/{worker_id}/"
    for each in list(processes.scan()):
        if each.pid == each.group and folder in processes.command_line(each.pid):
            with suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)


async def pages(stage: Stage, worker_id: str) -> list[dict[str, str]]:
    """The pages of a worker's browser, as its DevTools list them."""
    [port_file] = stage.state_dir.glob(f"workers/{worker_id}/profile/DevToolsActivePort")
    address = f"http://127.0.0.1:{port_file.read_text().split()[0]}/json/list"
    async with asyncio.timeout(_CALL_S), aiohttp.ClientSession() as session, session.get(address) as answer:
        return [page for page in await answer.json() if page["type"] == "page"]


async def _kill_recorder(stage: Stage, worker_id: str) -> None:
    runs = f"{stage.state_dir}/workers/{worker_id}/capture/runs/"
    lines = {each.pid: processes.command_line(each.pid) for each in processes.scan()}
    if ffmpegs := [pid for pid, line in lines.items() if "ffmpeg " in line.partition("-")[0] and runs in line]:
        _kill(ffmpegs)
        return
    recorders = [page for page in await pages(stage, worker_id) if page["url"].endswith("recorder.html")]
    if not recorders:
        raise StageError(f"there is no recorder of {worker_id} to be killed")
    for recorder in recorders:  # with those that crashed before
        address = recorder["webSocketDebuggerUrl"]
        async with asyncio.timeout(_CALL_S), aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
            await socket.send_json({"id": 1, "method": "Page.crash"})
            with suppress(TimeoutError):  # a page that has crashed answers no more
                await socket.receive(timeout=1.0)


@contextmanager
def _lost(store: Path) -> Generator[None]:
    away = store.rename(store.with_name("away"))
    store.write_text("in the way of the folder")
    yield
    store.unlink()
    away.rename(store)


@contextmanager
def _full(spool: Path) -> Generator[None]:
    filler = spool / ".filler"
    with filler.open("wb") as file, suppress(OSError):  # until there is no room on the small disk
        while True:
            file.write(bytes(_PIECE))
            file.flush()
    yield
    filler.unlink()


def _drivers_of(agent: int) -> list[int]:
    return [
        each.pid
        for each in processes.scan()
        if each.parent == agent and "run-driver" in processes.command_line(each.pid)
    ]


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
