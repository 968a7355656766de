"""Whether the loops of a program turn: each says so itself, and is late once it has not for longer than it may take.

An event loop that runs on says nothing of a coroutine in it that waits for what will never come.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

Turned = Callable[[], None]
"""To be called by a loop each time it comes round."""

_LEAST_S: Final = 15.0
_CALLS: Final = 3


def patience_s(redis_timeout_s: float) -> float:
    """How long one turn may take that speaks with Redis: a few calls that each wait for their deadline, and a rest
    between two attempts.
    """
    return _LEAST_S + _CALLS * redis_timeout_s


def unwatched() -> None:
    """For a loop that nobody watches."""


class Turns:
    """`steady`: seconds."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._due: dict[str, float] = {}
        self._limits: dict[str, float] = {}

    @contextmanager
    def expecting(self, limit_s: float, *names: str) -> Generator[None]:
        """Within, each of these loops is to turn at least every `limit_s`."""
        for name in names:
            self._limits[name] = limit_s
            self.turned(name)
        try:
            yield
        finally:
            for name in names:
                del self._limits[name], self._due[name]

    def turned(self, name: str) -> None:
        """One that is not expected to turn may do so all the same."""
        if name in self._limits:
            self._due[name] = self._steady() + self._limits[name]

    def of(self, name: str) -> Turned:
        return lambda: self.turned(name)

    def late(self) -> list[str]:
        """The names of those that stand still."""
        now = self._steady()
        return sorted(name for name, due in self._due.items() if now > due)
