"""Reads the process table: which processes bear a mark, and which stem from which; and ends them."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from worker.chromium import processes


def bearing(mark: str) -> list[int]:
    """All processes that name `mark` in their arguments or their environment, but for this one and those that it stems
    from: a shell or a wrapper may have been given the same arguments.
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
    """One line for each process that bears the mark."""
    return [f"process {pid}: {processes.command_line(pid)[:160]}" for pid in bearing(mark)]


def end_bearers(mark: str, within_s: float) -> None:
    """Kill all that bear the mark, with all below them, until there is none: a look finds whom the last one missed."""
    deadline = time.monotonic() + within_s
    while (pids := below(bearing(mark))) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def below(roots: Iterable[int]) -> set[int]:
    """The processes and all below them."""
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
    """The process and those that it stems from."""
    while process := processes.read(pid):
        yield pid
        pid = process.parent
