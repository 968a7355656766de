"""Rate limits by the generic cell rate algorithm (ITU-T I.371), with one number for each caller.

Pure: time is handed in. Memory is bounded: the caller who has been quiet longest is forgotten first.
"""

from typing import NamedTuple


class Rate(NamedTuple):
    """`per_s` on average, `burst` at once."""

    per_s: float
    burst: float


class Rates:
    """Remembers up to `most` keys."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._due: dict[str, float] = {}  # key -> when all it has done would have been done at the average rate

    def wait_s(self, key: str, rate: Rate, now: float) -> float:
        """0 if `key` may act now, which then counts; else how long it has to wait. `now`: any steady clock, seconds."""
        wait = max(self._due.get(key, now), now) - now - (rate.burst - 1) / rate.per_s
        if wait > 1e-9:
            return wait
        self.count(key, rate, now, 1.0)
        return 0.0

    def owes_s(self, key: str, rate: Rate, now: float) -> float:
        """0 while the count is within the rate; else how long until it is. Counts nothing."""
        wait = self._due.get(key, now) - now - rate.burst / rate.per_s
        return wait if wait > 1e-9 else 0.0

    def count(self, key: str, rate: Rate, now: float, much: float) -> None:
        """So much was done, whether it was within the rate or not."""
        due = max(self._due.pop(key, now), now)
        if len(self._due) >= self._most:
            del self._due[next(iter(self._due))]
        self._due[key] = due + much / rate.per_s

    def __len__(self) -> int:
        return len(self._due)
