"""Runs programs in a folder that holds a whole Debian, by systemd-nspawn: one command, or the booted system.

Everything that is started here dies with this process, however this process ends. It runs in a PID namespace whose
first process is systemd-nspawn. That is killed when its parent dies, which in turn is killed when this process dies.
(systemd-nspawn alone is not enough: the system that it booted outlives it.)
"""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from lab.systemd.report import FleetError
from worker.chromium import processes

_OWN_MOUNTS: Final = "POOLMGR_FLEET_MOUNTS"
_CGROUP: Final = "poolmgr-fleet-"
MEMORY: Final = "memory"
_BOOT_S: Final = 60.0
_POWEROFF_S: Final = 20.0
_END_S: Final = 10.0
_DIE_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "unshare", "--kill-child", "--pid", "--mount-proc")
_machines: Final = itertools.count()
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Several machines in one control group would share what systemd makes below it.
_IN_CGROUPS: Final = 'for folder in $CGROUPS; do echo $$ > "$folder/cgroup.procs" || exit 99; done; exec "$@"'


def run(
    root: Path,
    command: str,
    *,
    binds: Mapping[str, str] | None = None,
    writable: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    folder: str = "/",
    timeout_s: float,
    heard: Callable[[str], None] = lambda _line: None,
) -> str:
    """Run one shell command in the Debian, not booted, on this machine's network. Returns its output; `heard` gets each
    line as it comes. Raises: FleetError.
    """
    variables = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"} | dict(environment or {})
    arguments = [
        *_common(root, binds or {}),
        *(f"--bind={here}:{there}" for here, there in (writable or {}).items()),
        "--pipe",
        "--resolv-conf=replace-host",
        f"--chdir={folder}",
        *(f"--setenv={name}={value}" for name, value in variables.items()),
        *("/bin/sh", "-ec", command),
    ]
    lines: list[str] = []
    with _started(arguments, subprocess.PIPE) as process:
        assert process.stdout
        late = threading.Event()
        deadline = threading.Timer(timeout_s, lambda: (late.set(), process.kill()))
        deadline.start()
        try:
            for line in process.stdout:
                lines.append(line.decode(errors="replace"))
                heard(lines[-1].rstrip())
            process.wait()
        finally:
            deadline.cancel()
        if late.is_set():
            raise FleetError(f"cannot wait longer than {timeout_s:.0f} s for: {command}")
    text = "".join(lines)
    if process.returncode:
        raise FleetError(f"cannot carry out: {command}\n{_end_of(text)}\nexit code {process.returncode}")
    return text


class Machine:
    """A booted system. `leader`: the id of its first process on this machine."""

    def __init__(self, process: subprocess.Popen[bytes], leader: int) -> None:
        self.leader = leader
        self._process = process

    def ask(self, *command: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command in it as root. Raises: FleetError when it does not end."""
        try:
            return subprocess.run(
                self._entering(command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise FleetError(f"{' '.join(command)} did not end within {timeout_s:.0f} s") from error

    def _entering(self, command: Sequence[str]) -> tuple[str, ...]:
        where = ("--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd")
        clean = ("env", "-i", f"PATH={_PATH}", "HOME=/root", "LC_ALL=C.UTF-8", "SYSTEMD_PAGER=")
        return ("nsenter", f"--target={self.leader}", *where, "--", *clean, *command)

    def do(self, *command: str, timeout_s: float = 30.0) -> str:
        """Run a command that has to succeed. Raises: FleetError."""
        done = self.ask(*command, timeout_s=timeout_s)
        if done.returncode:
            raise FleetError(f"{' '.join(command)}: exit code {done.returncode}: {_end_of(done.stdout + done.stderr)}")
        return done.stdout.strip()

    def begin(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command in it as root, and do not wait for it."""
        return subprocess.Popen(
            self._entering(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    @contextmanager
    def beside(self, log: Path, *command: str, environment: Mapping[str, str]) -> Generator["subprocess.Popen[bytes]"]:
        """Run a program of this machine on that one's network. It has ended afterwards."""
        with log.open("wb") as lines:
            process = subprocess.Popen(
                ("setpriv", "--pdeathsig", "KILL", *self._on_its_network(), *command),
                env=os.environ | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def do_beside(self, *command: str, environment: Mapping[str, str], timeout_s: float) -> str:
        """Run a command of this machine on that one's network, which has to succeed. Raises: FleetError."""
        try:
            done = subprocess.run(
                (*self._on_its_network(), *command),
                env=os.environ | dict(environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise FleetError(f"{' '.join(command)} did not end within {timeout_s:.0f} s") from error
        if done.returncode:
            raise FleetError(f"{' '.join(command)}: exit code {done.returncode}: {_end_of(done.stderr)}")
        return done.stdout.strip()

    def _on_its_network(self) -> tuple[str, ...]:
        return ("nsenter", f"--net=/proc/{self.leader}/ns/net", "--")

    def memory_group(self) -> Path:
        """The folder of the control group that counts what all of it takes. Raises: FleetError."""
        for line in Path(f"/proc/{self.leader}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == MEMORY and _CGROUP in path and (mount := _mounted(MEMORY)):
                return mount / path.lstrip("/")
        raise FleetError("cannot limit a machine's memory: no control groups of version 1 that do so here")

    def processes(self) -> list[processes.Process]:
        """All processes in it."""
        return _below(self.leader)

    def power_off(self) -> float | None:
        """Shut down in good order. Returns how many seconds it took; None: it was not off in time."""
        began = time.monotonic()
        for process in _below(self._process.pid):
            if process.parent == self._process.pid:  # systemd-nspawn, which passes it on
                os.kill(process.pid, signal.SIGTERM)
        try:
            self._process.wait(_POWEROFF_S)
        except subprocess.TimeoutExpired:
            return None
        return time.monotonic() - began


@contextmanager
def booted(
    root: Path,
    name: str,
    log: Path,
    binds: Mapping[str, str],
    *options: str,
    own_network: bool = True,
    beside: Machine | None = None,
) -> Generator[Machine]:
    """The booted system; it is off afterwards, as after a power cut unless it was shut down. `own_network`: its only
    network is its loopback; otherwise it shares this machine's, or that of the one `beside`. `options`: further ones
    of systemd-nspawn. Raises: FleetError.
    """
    network = f"/proc/{beside.leader}/ns/net" if beside else ""
    alone = ("--private-network",) if own_network and not beside else ()
    with booting(root, name, log, binds, *alone, *options, network=network) as up:
        yield up()


@contextmanager
def booting(
    root: Path, name: str, log: Path, binds: Mapping[str, str], *options: str, network: str = ""
) -> Generator[Callable[[], Machine]]:
    """As `booted`, without waiting: what is yielded waits until it is up. So several boot at a time. `network`: the
    path of the namespace that is its own. Raises: FleetError.
    """
    arguments = [
        *_common(root, binds),
        "--boot",
        f"--machine={name}",
        "--link-journal=no",
        "--console=pipe",
        *options,
    ]
    # Version 2 of the control groups inside, as Debian 12 has it, whatever this machine has.
    with (
        log.open("wb") as lines,
        _started(arguments, lines, network, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1") as process,
    ):
        yield lambda: _await_boot(process, log)


@contextmanager
def _started(
    arguments: Sequence[str], output: int | IO[bytes], network: str = "", **environment: str
) -> Generator[subprocess.Popen[bytes]]:
    """Start systemd-nspawn. Afterwards it and everything in it has ended. `network`: the namespace that is its own, if
    it is not this program's. Raises: FleetError.
    """
    there = ("nsenter", f"--net={network}", "--") if network else ()
    with _cgroups() as cgroups:
        process = subprocess.Popen(
            (*there, "sh", "-c", _IN_CGROUPS, "sh", *_DIE_WITH_US, *arguments),
            env=os.environ | {"CGROUPS": " ".join(map(str, cgroups)), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C goes to this program, which then shuts it down
        )
        try:
            yield process
        finally:
            left = _below(process.pid)
            process.kill()
            process.wait()
            _await_end(left)


def _below(pid: int) -> list[processes.Process]:
    """All descendants of a process."""
    everything = list(processes.scan())
    inside, found = {pid}, {pid}
    while found:
        found = {child.pid for child in everything if child.parent in inside} - inside
        inside |= found
    return [child for child in everything if child.pid in inside and child.pid != pid]


def _await_end(left: Sequence[processes.Process]) -> None:
    deadline = time.monotonic() + _END_S
    while living := [
        child.pid for child in left if (now := processes.read(child.pid)) and now.started_ticks == child.started_ticks
    ]:
        if time.monotonic() > deadline:
            raise FleetError(f"cannot end these processes of the machine: {living}")
        time.sleep(0.05)


def _await_boot(process: subprocess.Popen[bytes], log: Path) -> Machine:
    deadline = time.monotonic() + _BOOT_S
    while time.monotonic() < deadline and process.poll() is None:
        leaders = [child.pid for child in _below(process.pid) if _is_first(child.pid)]
        if leaders:
            machine = Machine(process, leaders[0])
            # until D-Bus answers, it says "offline" or nothing at all
            state = machine.ask("systemctl", "is-system-running").stdout.strip()
            if state in ("running", "degraded"):
                return machine
        time.sleep(0.3)
    why = "it did not come up in time" if process.poll() is None else f"systemd-nspawn ended with {process.returncode}"
    raise FleetError(
        f"cannot boot a systemd here: {why}. In a container this needs the rights to mount, to make namespaces and"
        f" control groups; a VM has them. What it said:\n{_end_of(log.read_text(errors='replace'))}"
    )


def _is_first(pid: int) -> bool:
    """Whether it is process 1 of its own namespace, and systemd already."""
    with suppress(OSError):
        numbers = re.search(r"^NSpid:\s+(.+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        is_systemd = Path(f"/proc/{pid}/comm").read_text().strip() == "systemd"
        return bool(numbers) and numbers[1].split()[-1] == "1" and len(numbers[1].split()) > 1 and is_systemd
    return False


def _common(root: Path, binds: Mapping[str, str]) -> list[str]:
    return [
        *("systemd-nspawn", "--quiet", f"--directory={root}", "--register=no"),
        # Without systemd on this machine, nothing can make a scope.
        *([] if Path("/run/systemd/system").is_dir() else ["--keep-unit"]),
        *(f"--bind-ro={here}:{there}" for here, there in binds.items()),
    ]


@contextmanager
def _cgroups() -> Generator[list[Path]]:
    """Control groups for one machine, where no systemd makes them; where there are such of version 1, with one whose
    memory can be limited. They are removed afterwards.
    """
    made: list[Path] = []
    number = next(_machines)
    if not Path("/run/systemd/system").is_dir():
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, ours = line.split(":", 2)
            if controllers in ("", "name=systemd", MEMORY) and (mount := _mounted(controllers)):
                made.append(mount / ours.lstrip("/") / f"{_CGROUP}{os.getpid()}.{number}")
    for folder in made:
        for left in folder.parent.glob(f"{_CGROUP}*"):  # left by a run that was killed
            if not Path("/proc", left.name.removeprefix(_CGROUP).partition(".")[0]).exists():
                _remove_cgroup(left)
    try:
        for folder in made:
            folder.mkdir(exist_ok=True)
        yield made
    finally:
        for folder in made:
            _remove_cgroup(folder)


def _mounted(controllers: str) -> Path | None:
    """Where the hierarchy is mounted: version 2, or that of this controller of version 1."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, path, kind, options, *_ = line.split()
        if kind == ("cgroup" if controllers else "cgroup2") and (not controllers or controllers in options.split(",")):
            return Path(path)
    return None


def _remove_cgroup(folder: Path) -> None:
    deadline = time.monotonic() + 5
    while folder.exists() and time.monotonic() < deadline:
        for path, _, _ in os.walk(folder, topdown=False):
            with suppress(OSError):  # busy: the last process in it is just dying
                os.rmdir(path)
        time.sleep(0.05)


def own_mounts(module: str) -> None:
    """Run `python -m MODULE` instead of this program, in its own mount namespace, so that no mount is left on this
    machine. Raises: FleetError.
    """
    if os.geteuid() != 0:
        raise FleetError("cannot mount, make namespaces and boot a system without being root: run it by sudo")
    if missing := missing_programs():
        raise FleetError(f"cannot find {', '.join(missing)}: ./dev fleet-test and ./dev fresh install what they need")
    if os.environ.get(_OWN_MOUNTS) == str(os.getpid()):
        # What systemd-nspawn stores there is removed, too, even if it is killed.
        Path("/run/systemd/nspawn").mkdir(parents=True, exist_ok=True)
        subprocess.run(("mount", "-t", "tmpfs", "tmpfs", "/run/systemd/nspawn"), check=True)
        return
    tried = subprocess.run(("unshare", "--mount", "true"), capture_output=True, text=True, check=False)
    if tried.returncode:
        raise FleetError(
            f"cannot make a mount namespace ({tried.stderr.strip()}): this looks like a container without the right to"
            " mount; run it on a VM or on the machine itself"
        )
    os.environ[_OWN_MOUNTS] = str(os.getpid())
    os.execvp("unshare", ("unshare", "--mount", sys.executable, "-m", module, *sys.argv[1:]))


def missing_programs() -> list[str]:
    return [
        name for name in ("debootstrap", "systemd-nspawn", "nsenter", "setpriv", "unshare") if not shutil.which(name)
    ]


def _end_of(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-25:])
