"""Owns one Chromium process tree, from launch to an empty process group and an empty place on the disk.

Every browser is the leader of its own process group and has a folder for itself, which holds all that it writes:

    STATE_DIR/workers/WORKER_ID/worker.json   who it is, for an agent that finds it after a crash
                               /profile       Chromium's --user-data-dir
                               /home, tmp     HOME and TMPDIR, so that nothing is written elsewhere
                               /xauthority    the key to its virtual display, if it has one
                               /stderr.log    what it complained about

Knows nothing of pages and meetings, and ends no process that is not proven to be of a worker's tree: never by name.
"""

import asyncio
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from common.errors import AgentError
from common.runtime import steps
from common.runtime.steps import AgentStep
from worker.chromium import display, processes
from worker.chromium.processes import Leader, Process
from worker.chromium.profile import Profile

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PORT_POLL_S: Final = 0.01
END_DEADLINE_S: Final = 10.0  # a killed process that is still there by then hangs in the kernel, on a dead disk mostly
END_POLL_S: Final = 0.005
DISPLAY_ENDS_S: Final = 5.0  # an Xvfb that is asked to end removes its socket from /tmp, a killed one does not
STDERR_TAIL_BYTES: Final = 4096

PROFILE: Final = "--user-data-dir"
_WORKER_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

_DISPLAY_VARIABLES: Final = ("DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "PULSE_SERVER", "PULSE_COOKIE")


class BrowserError(AgentError):
    """A browser cannot be had; the message says why and what to do."""


class _Marker(msgspec.Struct, frozen=True):
    """The file by which a later agent recognises what this one left behind."""

    worker_id: str
    pgid: int
    started_ticks: int
    boot_id: str
    chromium: str


def find_chromium(configured: str) -> Path:
    """The program to launch: the configured one, else Debian's, else Google's, else Playwright's own build.

    Raises: BrowserError.
    """
    if configured:
        if not os.access(configured, os.X_OK) or not Path(configured).is_file():
            raise BrowserError(f"cannot run worker.chromium = {configured!r}: it is not an executable file")
        return Path(configured)
    candidates = [
        Path("/usr/lib/chromium/chromium"),  # Debian; its /usr/bin/chromium is a wrapper script
        Path("/opt/google/chrome/chrome"),
        *_playwright_builds(),
    ]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return candidate
    raise BrowserError(
        "cannot find a Chromium: install one (Debian: `apt install chromium`; Ubuntu: `playwright install --with-deps"
        " chromium`), or name yours in worker.chromium"
    )


def _playwright_builds() -> list[Path]:
    """The newest first. None for a user whose home is not there or not to be read."""
    folder = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or "~/.cache/ms-playwright")
    with suppress(OSError, RuntimeError):
        return sorted(folder.expanduser().glob("chromium-*/chrome-linux*/chrome"), reverse=True)
    return []


class _Adopted:
    """A process that is not our child: an earlier agent started it."""

    returncode: int | None = None  # nobody can tell: only a parent is told

    def __init__(self, leader: Leader) -> None:
        """Raises: ProcessLookupError when that process is no more."""
        self._pidfd = os.pidfd_open(leader.pid)
        self._gone = asyncio.Event()
        running = processes.read(leader.pid)  # after the descriptor was had: from here on the id is this process's
        if running is None or running.started_ticks != leader.started_ticks:
            os.close(self._pidfd)
            raise ProcessLookupError(leader.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._note_gone)

    async def wait(self) -> int:
        await self._gone.wait()
        return 0

    def _note_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._gone.set()


class Launcher:
    """Starts browsers, each in a folder of its own under `state_dir`, and finds those that an earlier agent started."""

    def __init__(self, profile: Profile, state_dir: Path) -> None:
        self.profile = profile
        self.state_dir = state_dir
        self._workers = _workers_folder(state_dir)
        if profile.needs_no_sandbox:
            log.warning("sandbox_disabled", why="Chromium's sandbox does not work for root; run the agent as a user")

    async def launch(self, worker_id: str, fill_profile: Callable[[Path], None] | None = None) -> "Chromium":
        """A running browser that answers on its endpoint. The deadline is the caller's: after a failure or an
        interruption nothing of it is left.

        `fill_profile`: puts into the empty profile folder what the browser is to find there; called in a thread.
        Raises: BrowserError.
        """
        folder = self._workers / worker_id
        if not _WORKER_ID.fullmatch(worker_id) or folder.exists():
            raise BrowserError(f"cannot make a folder for the worker {worker_id[:40]!r}: a bad name, or it is there")
        process = leader = filling = None
        try:
            for name in ("profile", "home", "tmp"):
                (folder / name).mkdir(mode=0o700, parents=True)
            if fill_profile:
                filling = asyncio.get_running_loop().run_in_executor(None, fill_profile, folder / "profile")
                await asyncio.shield(filling)
            process = await self._spawn(folder, worker_id)
            steps.done(AgentStep.BROWSER_SPAWNED)
            running = processes.read(process.pid)
            leader = Leader(process.pid, running.started_ticks if running else -1)
            chromium = Chromium(folder, leader, process)
            self._mark(folder, worker_id, leader)
            steps.done(AgentStep.BROWSER_MARKED)
            await chromium.await_endpoint()
        except BaseException as error:
            if filling:
                await asyncio.wait({filling})  # a thread is not cancelled, and would fill an ended folder
            await asyncio.to_thread(_end, folder, leader)
            if process:
                await process.wait()
            if isinstance(error, OSError):
                raise BrowserError(f"cannot start Chromium: {error}") from error
            raise
        return chromium

    def find(self, worker_id: str) -> "Chromium | None":
        """The browser of that worker, if it lives and was once reached."""
        folder = self._workers / worker_id
        leader = _marked_leader(folder)
        try:
            chromium = Chromium(folder, leader, _Adopted(leader)) if leader else None
        except OSError:
            return None
        return chromium if chromium and chromium.read_endpoint() else None

    async def end_leftover(self, worker_id: str) -> None:
        """Afterwards nothing is left of that worker, whatever there was."""
        folder = self._workers / worker_id
        await asyncio.to_thread(_end, folder, _marked_leader(folder))

    async def sweep(self, known: Collection[str], most: int) -> list[str]:
        """End up to `most` workers in the state folder that are not among the `known`, which may grow meanwhile: a
        worker has to be known before it is launched. Returns their ids.
        """
        return await asyncio.to_thread(_sweep, self._workers, known, most)

    async def _spawn(self, folder: Path, worker_id: str) -> asyncio.subprocess.Process:
        profile = self.profile
        command = [str(profile.chromium), _profile_argument(folder), *profile.switches, "about:blank"]
        environment = _environment(folder, worker_id, os.environ, headless=profile.headless)
        if profile.display_size:
            command = display.command(folder, profile.display_size, command)
            environment["XAUTHORITY"] = str(display.authority(folder))
        with (folder / "stderr.log").open("wb") as stderr:
            return await asyncio.create_subprocess_exec(
                *command,
                cwd=folder,
                env=environment,
                start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
            )

    def _mark(self, folder: Path, worker_id: str, leader: Leader) -> None:
        marker = _Marker(worker_id, leader.pid, leader.started_ticks, processes.boot_id(), str(self.profile.chromium))
        (folder / "worker.json").write_bytes(msgspec.json.encode(marker))


class Chromium:
    """One running browser. `endpoint` is its DevTools address, once `await_endpoint` has returned."""

    def __init__(self, folder: Path, leader: Leader, process: asyncio.subprocess.Process | _Adopted) -> None:
        self.folder = folder
        self.endpoint = ""
        self.leader = leader
        self._process = process
        self._ending = asyncio.Lock()
        self._ended = False

    async def await_endpoint(self) -> None:
        """Raises: BrowserError when the browser exited instead."""
        while not self.read_endpoint():
            if self._process.returncode is not None:
                raise BrowserError(f"cannot start Chromium: {self.last_words()}")
            await asyncio.sleep(PORT_POLL_S)

    def read_endpoint(self) -> bool:
        """Whether `endpoint` is known."""
        # Two lines, port and path; Chromium writes them without a rename, so half of it may be there.
        with suppress(OSError, ValueError):
            port, path = (self.folder / "profile" / "DevToolsActivePort").read_text().split("\n")
            self.endpoint = f"ws://127.0.0.1:{int(port)}{path}" if path else ""
        return bool(self.endpoint)

    @property
    def port(self) -> int:
        """Of the endpoint; 0 before that is known."""
        return int(self.endpoint.split(":")[2].partition("/")[0]) if self.endpoint else 0

    async def exited(self) -> int:
        """Waits until the leader is dead, by whatever; its exit code, negative for a signal."""
        return await self._process.wait()

    def last_words(self) -> str:
        """One line on how it ended: exit code and what it wrote last."""
        try:
            with (self.folder / "stderr.log").open("rb") as log_file:  # hours of complaints may stand in it
                log_file.seek(max(0, os.fstat(log_file.fileno()).st_size - STDERR_TAIL_BYTES))
                tail = log_file.read()
        except OSError:
            tail = b""
        lines = tail.decode(errors="replace").strip().splitlines()[-3:]
        code = self._process.returncode
        return f"exit code {'unknown' if code is None else code}: {' | '.join(lines)}"[:500]

    async def kill(self) -> None:
        """Afterwards the process group is empty and the folder gone. Idempotent; whoever calls waits until it is so."""
        async with self._ending:
            if not self._ended:
                try:
                    await asyncio.to_thread(_end, self.folder, self.leader)
                finally:  # also when cancelled: the thread is not
                    with suppress(TimeoutError):  # one that hangs in the kernel is said to be left, and holds up nobody
                        async with asyncio.timeout(END_DEADLINE_S):
                            await self._process.wait()
                self._ended = True


def sweep(state_dir: Path) -> list[str]:
    """End all that an agent left in `state_dir`: its browsers and their folders. The ids of those workers.

    Only for an agent that holds the lock of `state_dir`. Blocks. Raises: OSError when the folder cannot be read.
    """
    return _sweep(_workers_folder(state_dir), (), most=1_000_000)


def _sweep(workers: Path, known: Collection[str], most: int) -> list[str]:
    """A browser or a display whose folder is gone is found by its argument, which names that folder."""
    workers.mkdir(mode=0o700, parents=True, exist_ok=True)
    left = {path.name for path in workers.iterdir() if path.is_dir() and not path.is_symlink()}
    left |= set(processes.named_in_arguments(f"{PROFILE}={workers}/", "/profile"))
    left |= set(processes.named_in_arguments(f"{workers}/", f"/{display.authority(Path()).name}"))
    orphans = sorted(left - set(known))[:most]
    for worker_id in orphans:
        _end(workers / worker_id, _marked_leader(workers / worker_id))
    return orphans


def is_marked_alive(folder: Path) -> bool:
    """Whether the browser that was started in that folder, in this boot, still runs."""
    leader = _marked_leader(folder)
    process = processes.read(leader.pid) if leader else None
    return bool(leader and process and process.started_ticks == leader.started_ticks)


def _marked_leader(folder: Path) -> Leader | None:
    """None when no leader of this boot is known: the agent died before it could write the file, or the VM did."""
    try:
        marker = msgspec.json.decode((folder / "worker.json").read_bytes(), type=_Marker)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return Leader(marker.pgid, marker.started_ticks) if marker.boot_id == processes.boot_id() else None


def _end(folder: Path, leader: Leader | None) -> None:
    """Kill the tree and remove the folder. A browser is thrown away, so nothing in it is asked to finish first."""
    began = time.monotonic()
    deadline = began + END_DEADLINE_S
    proven: dict[int, Process] = {}  # what ends loses its arguments, which prove whose it is, before all the rest
    while True:
        found = processes.tree(leader, _profile_argument(folder), str(display.authority(folder)))
        proven |= {process.pid: process for process in found}
        living = [process for process in proven.values() if processes.is_there(process)]
        if not living:
            break
        if time.monotonic() > deadline:
            log.error("processes_left", folder=str(folder), pids=[process.pid for process in living])
            break
        may_tidy = time.monotonic() < began + DISPLAY_ENDS_S
        for process in living:
            is_display = may_tidy and processes.bears(process.pid, str(display.authority(folder)))
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM if is_display else signal.SIGKILL)
        time.sleep(END_POLL_S)
    steps.done(AgentStep.BROWSER_KILLED)
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if time.monotonic() > deadline:
                log.error("folder_left", folder=str(folder), error=str(error))
                break
            time.sleep(END_POLL_S)


def _workers_folder(state_dir: Path) -> Path:
    return state_dir.absolute() / "workers"


def _profile_argument(folder: Path) -> str:
    """The argument that every process of a tree bears, and no process of another."""
    return f"{PROFILE}={folder / 'profile'}"


def _environment(folder: Path, worker_id: str, ours: Mapping[str, str], *, headless: bool) -> dict[str, str]:
    passed_on = ("TZ",) if headless else ("TZ", *_DISPLAY_VARIABLES)
    home = folder / "home"
    return {
        **{name: ours[name] for name in passed_on if name in ours},
        "PATH": "/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_RUNTIME_DIR": str(home),
        # From the working directory: Chromium binds a socket in there, and a socket's path ends at 108 bytes: unix(7).
        "TMPDIR": "tmp",
        "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        "POOLMGR_WORKER": worker_id,
    }
