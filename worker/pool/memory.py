"""The memory of this VM, and what a worker takes of it."""

from collections import deque
from pathlib import Path
from typing import Final, NamedTuple

GROWTH_WINDOW_S: Final = 30.0  # a page that answers nothing is given up within this time
GROWTH_SHARE: Final = 1 / 3  # of worker.memory_limit_mb: no ordinary meeting grows by that much within the window
RESERVE_FOR_CALLS: Final = 0.5  # of the reserve: warm-ups leave all of it free, joins may use the other half


class Memory(NamedTuple):
    """`reserve_mb`: what stays free for the rest of the VM. `worker_mb`: what one worker is expected to take;
    `display_mb`: what its display takes beyond that, if it has one that can be recorded.
    """

    reserve_mb: int
    worker_mb: int
    display_mb: int = 0

    def room(self, warming: int, displays: int = 0, *, display: bool = False) -> int:
        """How many more workers fit beside the reserve, with a display or without. `warming`: workers that warm up,
        whose memory is not yet taken and is kept for them; `displays`: those of them that will have one.
        """
        return self.free_mb(warming, displays) // (self.worker_mb + display * self.display_mb)

    def free_mb(self, warming: int, displays: int = 0) -> int:
        """The memory beside the reserve, and beside what is kept for workers that warm up."""
        return max(0, _available_mb() - self.reserve_mb - warming * self.worker_mb - displays * self.display_mb)

    def bears_a_join(self) -> bool:
        return _available_mb() >= self.reserve_mb * RESERVE_FOR_CALLS


class MemoryHistory:
    """How much memory one worker held in the last GROWTH_WINDOW_S."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()  # time and MB of each look

    def note(self, held_mb: int, now: float) -> None:
        """Note a look at `now` (monotonic seconds)."""
        self._looks.append((now, held_mb))
        while now - self._looks[0][0] > GROWTH_WINDOW_S:
            self._looks.popleft()

    def growth(self, limit_mb: int) -> str:
        """By how much the memory grew, in words, if by more than GROWTH_SHARE of `limit_mb`; else empty. That much
        growth explains a page that hangs or crashes.
        """
        held_mb = [held for _, held in self._looks]
        if not held_mb or held_mb[-1] - min(held_mb) < limit_mb * GROWTH_SHARE:
            return ""
        took_s = self._looks[-1][0] - self._looks[held_mb.index(min(held_mb))][0]
        return f"it grew from {min(held_mb)} to {held_mb[-1]} MB in {took_s:.0f} s"


def _available_mb() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise RuntimeError("cannot read MemAvailable from /proc/meminfo: the kernel is older than 3.14")
