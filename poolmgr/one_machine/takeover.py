"""Ends what an earlier `up` left when it was killed, so that this one goes on from there.

The kernel has told the parts of that death already (tie.py): Redis and the manager are ending, and the agent lets its
calls end, perhaps for hours. The agent is ended without its browsers. The next agent finds them again, with their
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

_DIES_S: Final = 5.0  # what was killed and is there after that hangs in the kernel


class _Way(NamedTuple):
    """How a part is asked, and for how long it is waited for until it is killed."""

    ask: signal.Signals
    wait_s: float


_WAYS: Final = {
    # In the order in which they end. SIGUSR1 lets the agent go without its browsers; one that drains heeds it no more.
    PartName.AGENT: _Way(signal.SIGUSR1, 2.0),
    PartName.MANAGER: _Way(signal.SIGTERM, 20.0),
    PartName.REDIS: _Way(signal.SIGTERM, 30.0),
}


def take_over(folder: StateFolder, tell: Callable[[TookOver], None]) -> None:
    """Afterwards no part of an earlier start runs. Blocks. Raises: CannotRunError."""
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
    """The id and a descriptor of the process that wrote the file, if it lives."""
    try:
        written = run_file.read_text()
        pid = int(written.split()[0])
        pidfd = os.pidfd_open(pid)
    except (OSError, ValueError, IndexError):
        return None
    # After the descriptor was had: from here on the id is this process's, and no other's.
    with suppress(OSError):
        if identity(pid) == written:
            return pid, pidfd
    os.close(pidfd)
    return None


def _ends(pidfd: int, number: signal.Signals, within_s: float) -> bool:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)
    return bool(select.select([pidfd], [], [], within_s)[0])
