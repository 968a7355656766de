"""Reads the process table: finds the browsers and drivers of the stage's agents by names that only they have. Ends
nothing.
"""

import os
import re
import time
from pathlib import Path
from typing import Final, NamedTuple

from worker.chromium import processes

_PROFILE: Final = re.compile(r"--user-data-dir=(\S+)/workers/([^/\s]+)/profile(?=\s|$)")

_YOUNG_S: Final = 10.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")

_WORKER: Final = re.compile(r"/workers/([^/\s]+)/")


class Running(NamedTuple):
    """A browser: the first process of a worker's process tree. `vm_id`: the agent in whose folder it runs."""

    vm_id: str
    worker_id: str
    pid: int


class Table:
    """Reads each process's command line once, so that many looks a second cost little."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._browsers: dict[tuple[int, int], Running | None] = {}

    def browsers(self) -> list[Running]:
        """The browsers below the folder: for each worker that has a living process, its oldest."""
        found: dict[tuple[str, str], Running] = {}
        seen: dict[tuple[int, int], Running | None] = {}
        for process in sorted(processes.scan(), key=lambda process: process.started_ticks):
            who = (process.pid, process.started_ticks)
            # Between fork and exec a process has its parent's name, so a young process that was not recognised is
            # looked at again.
            browser = self._browsers[who] if who in self._browsers else self.browser_of(process.pid)
            if browser or time.clock_gettime(time.CLOCK_BOOTTIME) - process.started_ticks / _TICKS_PER_S > _YOUNG_S:
                seen[who] = browser
            if browser:
                found.setdefault((browser.vm_id, browser.worker_id), browser)
        self._browsers = seen
        return list(found.values())

    def browsers_at_once(self) -> list[Running]:
        """Browsers that were all there at one moment. Reading the process table takes a while, above all on a busy
        machine, and finds a browser that ends meanwhile beside the one that takes its place.
        """
        return [browser for browser in self.browsers() if processes.read(browser.pid)]

    def browser_of(self, pid: int) -> Running | None:
        """The worker of that browser; None if it is not below the folder, or has ended."""
        match = _PROFILE.search(processes.command_line(pid))
        if match is None or Path(match[1]).parent != self._folder:
            return None
        return Running(Path(match[1]).name, match[2], pid)


def driver_of(agent_pid: int) -> int | None:
    """The Playwright driver of an agent."""
    children = (process.pid for process in processes.scan() if process.parent == agent_pid)
    return next((pid for pid in children if processes.bears(pid, "run-driver")), None)


def worker_named_by(pid: int) -> str:
    """The worker in whose folder the process works; empty: none. By the folder, because crash handlers leave the
    process tree.
    """
    match = _WORKER.search(processes.command_line(pid))
    return match[1] if match else ""


def stems_from(pid: int, ancestors: set[int]) -> bool:
    """Whether the process is one of `pids`, or descends from one of them, even if that one has ended meanwhile."""
    while pid not in ancestors:
        process = processes.read(pid)
        if process is None:
            return True
        if process.parent <= 1:
            return False
        pid = process.parent
    return True
