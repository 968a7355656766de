"""How many bots became due in each five minutes of the last week, and how many are expected by that."""

from collections.abc import Mapping
from typing import Final, NamedTuple

BUCKET_S: Final = 300
_HOUR: Final = 3600 // BUCKET_S
_WEEK: Final = 7 * 24 * _HOUR
MOST_BUCKETS: Final = _WEEK + 2 * _HOUR
"""Older counts are deleted, because nothing uses them."""


class Expected(NamedTuple):
    """Bots that are expected: in all, and in the busiest five minutes."""

    total: int
    busiest: int


NOBODY: Final = Expected(0, 0)


class History:
    """Counts by bucket: calendar time (epoch seconds) divided by BUCKET_S. Holds at most MOST_BUCKETS of them."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts = dict(counts or {})
        self._forget(max(self._counts, default=0))

    @property
    def counts(self) -> Mapping[int, int]:
        return self._counts

    def note(self, wall: float, bots: int = 1) -> None:
        """`bots` became due at `wall`."""
        bucket = int(wall // BUCKET_S)
        if bucket in self._counts:
            self._counts[bucket] += bots
        else:
            self._counts[bucket] = bots
            self._forget(max(self._counts))

    def expected(self, wall: float, for_s: float) -> Expected:
        """The bots that are expected within `for_s` from `wall` on. For each five minutes these are as many as an hour
        before or a week before, whichever is more, without those that have come already.
        """
        count = self._counts.get
        first, last = int(wall // BUCKET_S), int((wall + for_s) // BUCKET_S)
        each = [
            max(0, max(count(bucket - _HOUR, 0), count(bucket - _WEEK, 0)) - count(bucket, 0))
            for bucket in range(first, last + 1)
        ]
        return Expected(sum(each), max(each))

    def _forget(self, newest: int) -> None:
        for bucket in [bucket for bucket in self._counts if bucket <= newest - MOST_BUCKETS]:
            del self._counts[bucket]
