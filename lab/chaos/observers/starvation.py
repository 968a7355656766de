"""Measures how long the machine did not let the parts run although they were ready. Deadlines of the suite count only
the time that the machine gave.

Linux counts for each thread how long it was ready and waited for a processor. A part that hangs, sleeps or is frozen
waits for none, so this excuses no part that does nothing.
"""

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

_LOOK_S: Final = 0.5
_NANO: Final = 1e-9
REPORTED_FROM_S: Final = 1.0
MOST_TIMES: Final = 3
"""The suite waits at most this many times as long as it would on an idle machine, by the wall clock."""


class Given:
    """`pids`: the parts now. `late_s`: how long the machine did not let the wires' process run so far. `starved_s`: how
    long, in all, at least one part was ready and did not run.
    """

    def __init__(self, pids: Callable[[], Iterable[int]], late_s: Callable[[], float]) -> None:
        self.starved_s = 0.0
        self._pids = pids
        self._late_s = late_s
        self._waited: dict[int, float] = {}
        self._late_before = 0.0
        self._looked_at = time.monotonic()
        self._times: list[float] = []  # epoch seconds of each look, and `starved_s` by then
        self._starved: list[float] = []

    async def watch(self) -> None:
        """Measure while the stage stands."""
        while True:
            self.look(time.monotonic(), time.time())
            await asyncio.sleep(_LOOK_S)

    def look(self, now: float, wall: float) -> None:
        """Look once. `now`: monotonic seconds; `wall`: epoch seconds."""
        passed_s, self._looked_at = now - self._looked_at, now
        waited = {pid: waited_s for pid in self._pids() if (waited_s := waited_for_processor_s(pid)) is not None}
        longest_s = max((waited_s - self._waited.get(pid, waited_s) for pid, waited_s in waited.items()), default=0.0)
        late_s = self._late_s()
        self.starved_s += min(passed_s, max(longest_s, late_s - self._late_before))
        self._waited, self._late_before = waited, late_s
        self._times.append(wall)
        self._starved.append(self.starved_s)

    def starved_between_s(self, begin: float, end: float) -> float:
        """How long parts were starved between these epoch seconds, as exactly as the looks tell."""
        if not self._times:
            return 0.0
        first = max(0, bisect_right(self._times, begin) - 1)
        last = min(len(self._times) - 1, bisect_left(self._times, end))
        return self._starved[last] - self._starved[first]


def patience_s(within_s: float, starved_s: float) -> float:
    """How long to wait, by the wall clock, for something that needs `within_s` of the time that the machine gives."""
    return min(within_s + starved_s, within_s * MOST_TIMES)


def waited_for_processor_s(pid: int) -> float | None:
    """How long the process's main thread was ready and did not run, in all; None if the process is gone, or Linux does
    not count it.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) * _NANO
    except (OSError, IndexError):
        return None
