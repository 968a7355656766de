"""Ends the parts that an earlier `up` left when it was killed, so that this one can start its own.

The kernel has signalled the parts already (tie.py): Redis and the manager are ending, and the agent waits until its
calls end, perhaps for hours. The agent is ended without its browsers. The next agent takes over the browsers with their
calls.
"""

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from poolmgr.one_machine.folder import CannotRunError, StateFolder
from poolmgr.one_machine.news import PartName, TookOver
from poolmgr.one_machine.tie import identity

_DIES_S: Final = 5.0  # a killed process that still exists then hangs in the kernel


class _Way(NamedTuple):
    """The signal by which a part is asked to end, and how long it may take until it is killed."""

    ask: signal.Signals
    wait_s: float


_WAYS: Final = {
    # In the order in which they end. On SIGUSR1 the agent ends without its browsers; a draining agent ignores it.
    PartName.AGENT: _Way(signal.SIGUSR1, 2.0),
    PartName.MANAGER: _Way(signal.SIGTERM, 20.0),
    PartName.REDIS: _Way(signal.SIGTERM, 30.0),
}


def take_over(folder: StateFolder, tell: Callable[[TookOver], None]) -> None:
    """End all parts of an earlier start. Blocks. Raises: CannotRunError."""
    for part, way in _WAYS.items():
        process = _find(folder.run_file(part))
        if process is None:
            continue
        pid, pidfd = process
        try:
            was_killed = not _ends(pidfd, way.ask, way.wait_s)
            if was_killed and not _ends(pidfd, signal.SIGKILL, _DIES_S):
                raise CannotRunError(f"cannot end the {part} of an earlier start: process {pid} does not die")
            tell(TookOver(part, pid, was_killed))
        finally:
            os.close(pidfd)


def _find(run_file: Path) -> tuple[int, int] | None:
    """The pid and a pidfd of the process that wrote the file, if it lives."""
    try:
        written = run_file.read_text()
        pid = int(written.split()[0])
        pidfd = os.pidfd_open(pid)
    except (OSError, ValueError, IndexError):
        return None
    # After the pidfd was opened, the pid cannot be reused unnoticed.
    with suppress(OSError):
        if identity(pid) == written:
            return pid, pidfd
    os.close(pidfd)
    return None


def _ends(pidfd: int, number: signal.Signals, within_s: float) -> bool:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)
    return bool(select.select([pidfd], [], [], within_s)[0])
