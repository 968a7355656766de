"""The clock of a recording: the wall clock as it was when the bot came in, and from then on as far ahead of the
machine's monotonic clock as it was then. So what is recorded keeps its place also when somebody sets the wall clock.
"""

import time
from typing import NamedTuple, Self


class Clock(NamedTuple):
    """`ahead_s`: of the monotonic clock, which all programs of a machine share until it is started anew."""

    ahead_s: float

    @classmethod
    def by_wall(cls) -> Self:
        """One that shows now what the wall clock shows."""
        return cls(time.time() - time.monotonic())

    @classmethod
    def of(cls, ahead_s: float | None) -> Self:
        return cls.by_wall() if ahead_s is None else cls(ahead_s)

    def now(self) -> float:
        """Epoch seconds."""
        return self.at(time.monotonic())

    def at(self, monotonic_s: float) -> float:
        """What it showed, in epoch seconds, when the monotonic clock showed that."""
        return self.ahead_s + monotonic_s

    def wall_ahead_s(self) -> float:
        """How far the wall clock was set forward since it began; less than 0 if it was set back."""
        return time.time() - self.now()
