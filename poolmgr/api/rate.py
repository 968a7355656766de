"""Rate limits by the generic cell rate algorithm (ITU-T I.371), which keeps one number a caller.

Pure: time is handed in. Memory is bounded: the caller who has been quiet longest is forgotten first.
"""

from typing import NamedTuple


class Rate(NamedTuple):
    """A limit: `per_s` on average, `burst` at once."""

    per_s: float
    burst: float


class Rates:
    """The callers' numbers. It remembers up to `most` keys."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._due: dict[str, float] = {}  # key -> the time at which its calls would be done at the average rate

    def wait_s(self, key: str, rate: Rate, now: float) -> float:
        """Count one call and return 0 if `key` may act now; else return how many seconds it has to wait. `now`: any
        steady clock, seconds.
        """
        wait = max(self._due.get(key, now), now) - now - (rate.burst - 1) / rate.per_s
        if wait > 1e-9:
            return wait
        self.count(key, rate, now, 1.0)
        return 0.0

    def owes_s(self, key: str, rate: Rate, now: float) -> float:
        """How many seconds until `key` is within the rate; 0: it is. Counts nothing."""
        wait = self._due.get(key, now) - now - rate.burst / rate.per_s
        return wait if wait > 1e-9 else 0.0

    def count(self, key: str, rate: Rate, now: float, much: float) -> None:
        """Count `amount`, whether it is within the rate or not."""
        due = max(self._due.pop(key, now), now)
        if len(self._due) >= self._most:
            del self._due[next(iter(self._due))]
        self._due[key] = due + much / rate.per_s

    def __len__(self) -> int:
        return len(self._due)
