"""Reads the process table: finds processes by a mark in their command line or environment, and their descendants; and
kills them.
"""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from worker.chromium import processes


def bearing(mark: str) -> list[int]:
    """All processes with `mark` in their arguments or environment, except this one and its ancestors: a shell or a
    wrapper may have been given the same arguments.
    """
    found: list[int] = []
    above = set(_ancestors(os.getpid()))
    for process in processes.scan():
        try:
            surroundings = Path(f"/proc/{process.pid}/environ").read_bytes()
        except OSError:
            surroundings = b""  # another user's; or it has ended, and then its arguments are gone, too
        named = mark in processes.command_line(process.pid) or mark.encode() in surroundings
        if named and process.pid not in above:
            found.append(process.pid)
    return found


def describe_bearers(mark: str) -> list[str]:
    """One line for each process with the mark."""
    return [f"process {pid}: {processes.command_line(pid)[:160]}" for pid in bearing(mark)]


def end_bearers(mark: str, within_s: float) -> None:
    """Kill all processes with the mark and their descendants. Repeats until there is none: a process may start while
    the table is read.
    """
    deadline = time.monotonic() + within_s
    while (pids := below(bearing(mark))) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def below(roots: Iterable[int]) -> set[int]:
    """The processes and all their descendants."""
    children: dict[int, list[int]] = {}
    for process in processes.scan():
        children.setdefault(process.parent, []).append(process.pid)
    found, left = set[int](), list(roots)
    while left:
        pid = left.pop()
        found.add(pid)
        left += children.get(pid, [])
    return found


def _ancestors(pid: int) -> Iterator[int]:
    """The process and its ancestors."""
    while process := processes.read(pid):
        yield pid
        pid = process.parent
