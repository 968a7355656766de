"""Counts the last hour by the minute: how many bots found an idle worker, and how long joining took. Pure."""

from collections import deque
from typing import Final

import msgspec

MINUTES: Final = 60
_MOST_JOINS: Final = 200
"""How many joins of a minute are kept, the latest ones: enough for two quantiles."""


class Minute(msgspec.Struct, frozen=True):
    """One minute. `at`: its beginning, epoch seconds. `hits` of `given` bots found an idle worker. Seconds of joining:
    median and 95th percentile of the `joined` bots; 0 where none joined.
    """

    at: int
    given: int
    hits: int
    joined: int
    median_s: float
    slow_s: float


class _Counts:
    def __init__(self) -> None:
        self.given = 0
        self.hits = 0
        self.joined = 0
        self.joins: deque[float] = deque(maxlen=_MOST_JOINS)


class Hour:
    """The minutes of the hour before the latest event. Earlier ones are forgotten."""

    def __init__(self) -> None:
        self._minutes: dict[int, _Counts] = {}
        self._changed: set[int] = set()

    def given(self, at: float, *, warm: bool) -> None:
        """A bot was given its first worker at `at` (epoch seconds)."""
        counts = self._at(at)
        counts.given += 1
        counts.hits += warm

    def joined(self, at: float, took_s: float) -> None:
        """A bot was in its meeting at `at`, this long after it was given a worker."""
        counts = self._at(at)
        counts.joined += 1
        counts.joins.append(took_s)

    def all(self) -> list[Minute]:
        return [self._minute(number) for number in sorted(self._minutes)]

    def take_changed(self) -> list[Minute]:
        """The minutes that changed since the last call."""
        changed, self._changed = self._changed & self._minutes.keys(), set()
        return [self._minute(number) for number in sorted(changed)]

    def _at(self, at: float) -> _Counts:
        number = int(at // 60)
        if number not in self._minutes:
            self._minutes[number] = _Counts()
            latest = max(self._minutes)
            for old in [minute for minute in self._minutes if minute <= latest - MINUTES]:
                del self._minutes[old]
        self._changed.add(number)
        return self._minutes.get(number) or _Counts()  # earlier than the hour: not counted

    def _minute(self, number: int) -> Minute:
        counts = self._minutes[number]
        joins = sorted(counts.joins)
        median, slow = (joins[int(len(joins) * share)] for share in (0.5, 0.95)) if joins else (0.0, 0.0)
        return Minute(number * 60, counts.given, counts.hits, counts.joined, round(median, 2), round(slow, 2))
