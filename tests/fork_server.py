"""Programs as processes of their own, forked from one that has imported them: `poolmgr serve` begins at once, and not
after half a second of imports. The suite starts a hundred of them.

All else is as it is for their users: a process with its own session, environment, signals, files and exit code. What
Python reads from the environment when it starts comes too late here: such a program is started by `subprocess`.

    python -m tests.fork_server FD      the server; a request is one packet on FD, with its files
"""

import fcntl
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import IO, Final, NoReturn, Self

from common.runtime import steps
from tests.waiting import PATIENCE_S, wait_until

ROOT: Final = Path(__file__).parent.parent
_EAGER: Final = ("uvloop", "redis.asyncio", "aiohttp.web", "rich.console", "rich.table")
"""What the programs may import not before they need it."""
_REQUEST_BYTES: Final = 1 << 20
_TOO_LATE: Final = ("PYTHONHASHSEED", "PYTHONPATH", "PYTHONWARNINGS")


class Forked:
    """A program that runs: as much of a `subprocess.Popen` as the tests need."""

    def __init__(self, report: IO[bytes], stdout: IO[str] | None = None, stderr: IO[str] | None = None) -> None:
        self.stdout, self.stderr = stdout, stderr
        self.returncode: int | None = None
        self.pid = int(report.readline())
        self._report = report

    def poll(self) -> int | None:
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; negative: the signal that ended it. Raises: subprocess.TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("the program", timeout or 0.0)
        return code

    async def ended(self, timeout_s: float = PATIENCE_S) -> int:
        """As `wait`, while the loop goes on."""
        await wait_until(lambda: self.poll() is not None, timeout_s)
        return self.wait()

    def communicate(self, timeout: float) -> tuple[str, str]:
        """What it writes until its end. Raises: subprocess.TimeoutExpired, and the program is killed."""
        deadline = time.monotonic() + timeout
        with ThreadPoolExecutor() as readers:
            reading = [readers.submit(stream.read) for stream in (self.stdout, self.stderr) if stream]
            wait(reading, timeout)
            try:
                self.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            out, err = [reader.result() for reader in reading]
        return out, err

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it may have ended just now
            if self.poll() is None:
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill it if it still runs, and close what led to it."""
        self.kill()
        self.wait(PATIENCE_S)
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()

    def _look(self, timeout_s: float | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._report, select.POLLIN)
            if poll.poll(None if timeout_s is None else timeout_s * 1000):
                self.returncode = int(self._report.readline())
                self._report.close()
        return self.returncode


class ForkServer:
    """A context manager: after it no further program can be started, and what the ended ones used is accounted for.

    Processes that are forked meanwhile may all use it: a request is one packet, and answered on a pipe of its own.
    """

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = _start_server(theirs)
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self._process.wait()

    def start(
        self, program: str, *arguments: str, environment: Mapping[str, str], log: IO[bytes], imports: Sequence[str] = ()
    ) -> Forked:
        """Run a program, by the name of its package, with both its outputs in `log`. `imports`: what it will import
        from elsewhere because of its settings.
        """
        return Forked(self._request(program, arguments, environment, log.fileno(), log.fileno(), imports))

    def start_read(self, program: str, *arguments: str, environment: Mapping[str, str]) -> Forked:
        """Run a program whose outputs are read by the test."""
        (out, theirs_out), (err, theirs_err) = os.pipe(), os.pipe()
        try:
            report = self._request(program, arguments, environment, theirs_out, theirs_err)
        finally:
            os.close(theirs_out)
            os.close(theirs_err)
        return Forked(report, os.fdopen(out), os.fdopen(err))

    def start_on(self, terminal: int, program: str, *arguments: str, environment: Mapping[str, str]) -> Forked:
        """Run a program in a terminal, which becomes its own."""
        return Forked(self._request(program, arguments, environment, terminal, terminal))

    def _request(
        self,
        program: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        out: int,
        err: int,
        imports: Sequence[str] = (),
    ) -> IO[bytes]:
        assert not [name for name in _TOO_LATE if environment.get(name) != os.environ.get(name)]
        report, theirs = os.pipe()
        priority = os.getpriority(os.PRIO_PROCESS, 0)
        request = json.dumps([program, arguments, dict(environment), imports, priority]).encode()
        socket.send_fds(self._ours, [request], [out, err, theirs])
        os.close(theirs)
        return os.fdopen(report, "rb", buffering=0)


def _start_server(theirs: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


# In the server


def _serve(inbox: socket.socket) -> Callable[[], None]:
    """Ends with the tests, or in each process that was forked: with what is to be run there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests
    signal.signal(signal.SIGCHLD, _ring)
    alarm, bell = socket.socketpair()
    for descriptor in (alarm, bell):
        descriptor.setblocking(False)
    signal.set_wakeup_fd(bell.fileno())
    reports: dict[int, int] = {}  # pid -> where its end is told
    programs: dict[str, ModuleType] = {}
    while True:
        ready, _, _ = select.select([inbox, alarm], [], [])
        if alarm in ready:
            alarm.recv(4096)
            _tell_ends(reports)
        if inbox not in ready:
            continue
        request, files, _, _ = socket.recv_fds(inbox, _REQUEST_BYTES, 3)
        if not request:
            sys.exit()
        program, arguments, environment, imports, priority = json.loads(request)
        if program not in programs:
            programs[program] = _import_all(program)
        for name in imports:
            importlib.import_module(name)
        *outputs, report = files
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for descriptor in (inbox, alarm, bell):
                descriptor.close()
            os.setpriority(os.PRIO_PROCESS, 0, priority)
            _become(program, arguments, environment, outputs, [*reports.values(), report])
            return programs[program].main
        reports[pid] = report
        os.write(report, b"%d\n" % pid)
        for file in outputs:
            os.close(file)


def _ring(_number: int, _frame: object) -> None:
    """The handler that SIGCHLD needs for the bell to ring."""


def _import_all(program: str) -> ModuleType:
    """Returns: the module whose `main` is what is installed as the program."""
    package = importlib.import_module(program)
    for name in (*_EAGER, *(module.name for module in pkgutil.walk_packages(package.__path__, f"{program}."))):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    return importlib.import_module(f"{program}.__main__")


def _tell_ends(reports: dict[int, int]) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            report = reports.pop(pid)
            with suppress(BrokenPipeError):
                os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
            os.close(report)


def _become(
    program: str, arguments: list[str], environment: dict[str, str], outputs: list[int], others: list[int]
) -> None:
    for number, file in enumerate(outputs, 1):
        os.dup2(file, number)
    for file in {*outputs, *others} - {1, 2}:
        os.close(file)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    if os.isatty(1):
        os.dup2(1, 0)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.environ.clear()
    os.environ.update(environment)
    importlib.reload(steps)  # it reads the one that is armed while it is imported
    sys.argv = [program, *arguments]


def _main() -> NoReturn:
    run = _serve(socket.socket(fileno=int(sys.argv[1])))
    run()
    sys.exit()


if __name__ == "__main__":
    _main()
