"""One part as a process. It has its own session, so that only `up` gets Ctrl-C, and ends when `up` dies (tie.py)."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from poolmgr.one_machine import tie
from poolmgr.one_machine.log_file import LogFile
from poolmgr.one_machine.programs import Program


class Process:
    """A running process. When it ends, `exited` is called with its code (negative for a signal)."""

    def __init__(
        self,
        program: Program,
        run_file: Path,
        log: LogFile,
        exited: Callable[[int], None],
        *,
        when_we_die: signal.Signals,
    ) -> None:
        """Start the process. `when_we_die`: the signal that the kernel sends it when `up` dies. Raises: OSError."""
        self.started_at = time.monotonic()
        tied = [sys.executable, "-I", "-S", tie.__file__, str(int(when_we_die)), str(os.getpid()), str(run_file)]
        self._process = subprocess.Popen(
            [*tied, *program.command],
            env=program.environment,
            stdin=subprocess.DEVNULL,
            stdout=log.fileno(),
            stderr=log.fileno(),
            start_new_session=True,
            umask=0o077,
        )
        self._exited = exited
        self._pidfd = os.pidfd_open(self._process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._note_exit)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask_to_end(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGTERM)

    def kill(self, *, with_children: bool) -> None:
        """Kill the process; `with_children`: its whole group. An agent's browsers have their own groups."""
        with suppress(ProcessLookupError):
            (os.killpg if with_children else os.kill)(self._process.pid, signal.SIGKILL)

    def _note_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._exited(self._process.wait())
