"""Keeps the files that browsers run from in the system's memory while workers stand idle.

A join runs code that no idle browser has run yet. The kernel drops such pages of the program first, and then the first
join after a quiet time waits until they are read from the disk. So the agent reads the files of one browser now and
then, for all browsers of the VM: they have the same ones. Nothing is locked: who needs the memory gets it.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from common.runtime.waiting import pause
from worker.chromium import processes

JOINS_FIRST_S: Final = 30.0
READ_DEADLINE_S: Final = 5.0  # for all files; the next time they are read from the first one on
MOST_BYTES: Final = 1024 * 2**20  # of all files; those of Chromium 156 and of its libraries are 366 MB
_AT_ONCE: Final = 2**20


class WarmFiles:
    """`refresh_s`: how often the files are read; 0: never. `browser`: the leader of the browser whose files they
    are; None: there is none. `nobody_joins` is set while no bot is joining. `has_room`: whether the VM has memory to
    spare.
    """

    def __init__(
        self,
        refresh_s: float,
        state_dir: Path,
        browser: Callable[[], int | None],
        nobody_joins: asyncio.Event,
        has_room: Callable[[], bool],
    ) -> None:
        self._refresh_s = refresh_s
        self._state_dir = state_dir.resolve()  # as the kernel names what is in it
        self._browser = browser
        self._nobody_joins = nobody_joins
        self._has_room = has_room

    async def keep(self) -> None:
        """Keep the files in memory, for as long as the agent lives. Returns at once if that is switched off."""
        while self._refresh_s:
            await asyncio.sleep(self._refresh_s)
            await pause(self._nobody_joins, JOINS_FIRST_S)
            group = self._browser()
            if group and self._has_room():
                ended = threading.Event()
                try:
                    await asyncio.to_thread(self._read, group, ended)
                finally:  # a cancelled thread goes on until it is told
                    ended.set()

    def _read(self, group: int, ended: threading.Event) -> None:
        """Read the files that this browser has mapped, but none of its worker's own. Blocks; never raises."""
        try:
            mapped = processes.mapped_files(group)
        except OSError:  # no file may be opened any more, say
            return
        files = sorted(file for file in mapped if not file.is_relative_to(self._state_dir))
        deadline, left = time.monotonic() + READ_DEADLINE_S, MOST_BYTES
        buffer = bytearray(_AT_ONCE)
        for file in files:
            with suppress(OSError), file.open("rb", buffering=0) as opened:
                while got := opened.readinto(buffer):
                    left -= got
                    if ended.is_set() or left < 0 or time.monotonic() > deadline:
                        return
