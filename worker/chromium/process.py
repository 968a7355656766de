"""Owns one Chromium process tree, from its launch until all its processes are dead and its folder is removed.

Every browser is the leader of its own process group. It has its own folder, which holds all that it writes:

    STATE_DIR/workers/WORKER_ID/worker.json   who it is, for an agent that finds it after a crash
                               /profile       Chromium's --user-data-dir
                               /home, tmp     HOME and TMPDIR, so that nothing is written elsewhere
                               /xauthority    the key to its virtual display, if it has one (display.py)
                               /stderr.log    what it complained about

This file knows nothing of pages and meetings. It kills only processes that are proven to belong to a worker's tree, and
none by its name.
"""

import asyncio
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from common.config.settings import is_headless_shell
from common.errors import AgentError
from common.runtime import steps
from common.runtime.steps import AgentStep
from worker.chromium import display, processes
from worker.chromium.processes import Leader, Process
from worker.chromium.profile import Profile

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PORT_POLL_S: Final = 0.003
END_DEADLINE_S: Final = 10.0  # a killed process that still exists then hangs in the kernel, mostly on a dead disk
END_POLL_S: Final = 0.005
DISPLAY_ENDS_S: Final = 5.0  # for Xvfb after SIGTERM, on which it removes its socket from /tmp; then SIGKILL
STDERR_TAIL_BYTES: Final = 4096

PROFILE: Final = "--user-data-dir"
_VLOG: Final = "--vmodule"
_NOTHING: Final = "=-1"
_WORKER_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

_DISPLAY_VARIABLES: Final = ("DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "PULSE_SERVER", "PULSE_COOKIE")


class BrowserError(AgentError):
    """A browser cannot be found or started; the message says why and what to do."""


class _Marker(msgspec.Struct, frozen=True):
    """The content of worker.json, by which a later agent recognises the browser."""

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
        if is_headless_shell(str(Path(configured).resolve())) and not is_headless_shell(configured):
            raise BrowserError(
                f"cannot run worker.chromium = {configured!r}: it is a link to a headless shell, which is known by its"
                " name; name the program itself"
            )
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
    """Playwright's own builds, newest first. Empty when the home folder is missing or not readable."""
    folder = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or "~/.cache/ms-playwright")
    with suppress(OSError, RuntimeError):
        return sorted(folder.expanduser().glob("chromium-*/chrome-linux*/chrome"), reverse=True)
    return []


class _Adopted:
    """A process that is not a child of this one: an earlier agent started it."""

    returncode: int | None = None  # only the parent of a process gets its exit code

    def __init__(self, leader: Leader) -> None:
        """Raises: ProcessLookupError when that process has ended."""
        self._pidfd = os.pidfd_open(leader.pid)
        self._gone = asyncio.Event()
        running = processes.read(leader.pid)  # after the pidfd was opened, the pid cannot be reused unnoticed
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
    """Starts browsers, each in its own folder under `state_dir`, and finds those that an earlier agent started.
    `recorded`: the profile of those that are to have a display that can be recorded; None: there are none.
    """

    def __init__(self, profile: Profile, state_dir: Path, recorded: Profile | None = None) -> None:
        self.profile = profile
        self.recorded = recorded
        self.state_dir = state_dir
        self._workers = workers_folder(state_dir)
        if profile.needs_no_sandbox:
            log.warning("sandbox_disabled", why="Chromium's sandbox does not work for root; run the agent as a user")

    async def launch(
        self, worker_id: str, fill_profile: Callable[[Path], None] | None = None, *, display: bool = False
    ) -> "Chromium":
        """Start a browser. Returns when its DevTools endpoint is known. The caller sets the deadline. After a failure
        or a cancellation no process and no folder of it is left.

        `display`: by the profile `recorded`, if there is one.
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
            process = await self._spawn(folder, worker_id, (display and self.recorded) or self.profile)
            steps.done(AgentStep.BROWSER_SPAWNED)
            running = processes.read(process.pid)
            leader = Leader(process.pid, running.started_ticks if running else -1)
            chromium = Chromium(folder, leader, process)
            self._mark(folder, worker_id, leader)
            steps.done(AgentStep.BROWSER_MARKED)
            await chromium.await_endpoint()
        except BaseException as error:
            if filling:
                # a copy that was cancelled goes on in its thread, and would fill a removed folder
                await asyncio.wait({filling})
            await asyncio.to_thread(_end, folder, leader)
            if process:
                await process.wait()
            if isinstance(error, OSError):
                raise BrowserError(f"cannot start Chromium: {error}") from error
            raise
        return chromium

    def find(self, worker_id: str) -> "Chromium | None":
        """The running browser of that worker; None if it is dead or never had an endpoint."""
        folder = self._workers / worker_id
        leader = _marked_leader(folder)
        try:
            chromium = Chromium(folder, leader, _Adopted(leader)) if leader else None
        except OSError:
            return None
        return chromium if chromium and chromium.read_endpoint() else None

    async def end_leftover(self, worker_id: str) -> None:
        """Kill what is left of that worker's processes and remove its folder."""
        folder = self._workers / worker_id
        await asyncio.to_thread(_end, folder, _marked_leader(folder))

    async def sweep(self, owned: Collection[str], most: int) -> list[str]:
        """End up to `most` browsers in the state folder whose worker ids are not `owned`. Returns these ids. `owned`
        may grow meanwhile: a worker has to be in it before its browser is launched.
        """
        return await asyncio.to_thread(_sweep, self._workers, owned, most)

    async def _spawn(self, folder: Path, worker_id: str, profile: Profile) -> asyncio.subprocess.Process:
        marks = [_profile_argument(folder)]
        if is_headless_shell(str(profile.chromium)):
            marks.append(_mark_of_a_headless_shell(folder))
        command = [str(profile.chromium), *marks, *profile.switches, "about:blank"]
        environment = _environment(folder, worker_id, os.environ, headless=profile.headless)
        if profile.display_size:
            command = display.command(folder, profile.display_size, command, records=profile.records)
            environment |= display.environment(folder, records=profile.records)
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
    """One running browser. `endpoint` is its DevTools address; empty until `await_endpoint` has returned."""

    def __init__(self, folder: Path, leader: Leader, process: asyncio.subprocess.Process | _Adopted) -> None:
        self.folder = folder
        self.endpoint = ""
        self.leader = leader
        self._process = process
        self._ending = asyncio.Lock()
        self._ended = False

    async def await_endpoint(self) -> None:
        """Wait until the endpoint is known. Raises: BrowserError when the browser exits before that."""
        while not self.read_endpoint():
            if self._process.returncode is not None:
                raise BrowserError(f"cannot start Chromium: {self.last_words()}")
            await asyncio.sleep(PORT_POLL_S)

    def read_endpoint(self) -> bool:
        """Read the endpoint from Chromium's file. Returns whether it is known."""
        # Two lines: port and path. Chromium does not write the file atomically, so it may be incomplete.
        with suppress(OSError, ValueError):
            port, path = (self.folder / "profile" / "DevToolsActivePort").read_text().split("\n")
            self.endpoint = f"ws://127.0.0.1:{int(port)}{path}" if path else ""
        return bool(self.endpoint)

    @property
    def port(self) -> int:
        """The port of the endpoint; 0 before the endpoint is known."""
        return int(self.endpoint.split(":")[2].partition("/")[0]) if self.endpoint else 0

    async def exited(self) -> int:
        """Wait until the leader is dead. Returns its exit code, negative for a signal."""
        return await self._process.wait()

    def last_words(self) -> str:
        """One line: the exit code and the last lines of its standard error."""
        try:
            with (self.folder / "stderr.log").open("rb") as log_file:  # it may be large
                log_file.seek(max(0, os.fstat(log_file.fileno()).st_size - STDERR_TAIL_BYTES))
                tail = log_file.read()
        except OSError:
            tail = b""
        lines = tail.decode(errors="replace").strip().splitlines()[-3:]
        code = self._process.returncode
        return f"exit code {'unknown' if code is None else code}: {' | '.join(lines)}"[:500]

    async def kill(self) -> None:
        """Kill all processes and remove the folder. Idempotent; every caller waits until both are done."""
        async with self._ending:
            if not self._ended:
                try:
                    await asyncio.to_thread(_end, self.folder, self.leader)
                finally:  # also after a cancellation: the thread goes on
                    with suppress(TimeoutError):  # a process that hangs in the kernel was logged, and is not waited for
                        async with asyncio.timeout(END_DEADLINE_S):
                            await self._process.wait()
                self._ended = True


def sweep(state_dir: Path) -> list[str]:
    """End all browsers that an agent left in `state_dir`, and remove their folders. Returns the ids of their workers.

    The caller has to hold the lock of `state_dir`. Blocks. Raises: OSError when the folder cannot be read.
    """
    return _sweep(workers_folder(state_dir), (), most=1_000_000)


def _sweep(workers: Path, owned: Collection[str], most: int) -> list[str]:
    """A browser or display without a folder is found by its arguments, which name the folder."""
    workers.mkdir(mode=0o700, parents=True, exist_ok=True)
    left = {path.name for path in workers.iterdir() if path.is_dir() and not path.is_symlink()}
    left |= named_in_arguments(workers)
    orphans = sorted(left - set(owned))[:most]
    for worker_id in orphans:
        _end(workers / worker_id, _marked_leader(workers / worker_id))
    return orphans


def named_in_arguments(workers: Path) -> set[str]:
    """The ids of workers that have a living process, whether or not they have a folder in `workers`."""
    return {
        *processes.named_in_arguments(f"{PROFILE}={workers}/", "/profile"),
        *processes.named_in_arguments(f"{_VLOG}={workers}/", f"/profile{_NOTHING}"),
        *processes.named_in_arguments(f"{workers}/", f"/{display.authority(Path()).name}"),
        *processes.named_in_arguments(f"{workers}/", f"/{display.sound_script(Path()).name}"),
    }


def is_marked_alive(folder: Path) -> bool:
    """Whether the browser that was started in that folder still runs."""
    leader = _marked_leader(folder)
    process = processes.read(leader.pid) if leader else None
    return bool(leader and process and process.started_ticks == leader.started_ticks)


def _marked_leader(folder: Path) -> Leader | None:
    """The leader by worker.json. None when the file is missing, or when it is of an earlier boot of the machine."""
    try:
        marker = msgspec.json.decode((folder / "worker.json").read_bytes(), type=_Marker)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return Leader(marker.pgid, marker.started_ticks) if marker.boot_id == processes.boot_id() else None


def _end(folder: Path, leader: Leader | None) -> None:
    """Kill the tree and remove the folder. Nothing in a browser has to be saved, so it gets no SIGTERM."""
    began = time.monotonic()
    deadline = began + END_DEADLINE_S
    proven: dict[int, Process] = {}  # processes once proven to be of the tree; an ending process loses its arguments
    while True:
        found = processes.tree(leader, *_arguments(folder), groups=_groups(leader, proven.values()))
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


def _groups(leader: Leader | None, proven: Iterable[Process]) -> set[int]:
    """The process groups that are the tree's alone: that of its leader, and those that one of its processes leads."""
    leaders = {process.pid for process in proven}
    if leader:
        leaders.add(leader.pid)
    return {process.group for process in proven if process.group in leaders and not process.is_ending}


def workers_folder(state_dir: Path) -> Path:
    return state_dir.absolute() / "workers"


def _arguments(folder: Path) -> tuple[str, ...]:
    """Each of them is an argument of processes of one tree, and of no others."""
    mine = _profile_argument(folder), _mark_of_a_headless_shell(folder)
    return *mine, str(display.authority(folder)), str(display.sound_script(folder))


def _profile_argument(folder: Path) -> str:
    """The argument that all processes of one Chromium have, and no others; of a headless shell only the first."""
    return f"{PROFILE}={folder / 'profile'}"


def _mark_of_a_headless_shell(folder: Path) -> str:
    """An argument that a headless shell passes on to the processes from which its pages' are forked, so that what is
    left of its group is known when the first process is dead. It sets how much a source file logs, and names none.
    """
    return f"{_VLOG}={folder / 'profile'}{_NOTHING}"


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
        # Relative to the working directory: Chromium makes a socket there, and its path may have 108 bytes: unix(7).
        "TMPDIR": "tmp",
        # Chromium aborts when a bus that it is connected to goes: where one is restarted, and first of all at a reboot.
        "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        "DBUS_SYSTEM_BUS_ADDRESS": "disabled:",
        "POOLMGR_WORKER": worker_id,
    }
