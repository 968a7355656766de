"""Watches the loops of a program: each reports every turn, and is late when it has not for longer than its limit.

The event loop may run although one coroutine in it waits for ever. This finds such a coroutine.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

Turned = Callable[[], None]
"""A loop calls it at each turn."""

_LEAST_S: Final = 15.0
_CALLS: Final = 3


def patience_s(redis_timeout_s: float) -> float:
    """How long a turn with calls to Redis may take, in seconds: a few calls up to their deadlines, and a pause between
    two attempts.
    """
    return _LEAST_S + _CALLS * redis_timeout_s


def unwatched() -> None:
    """A `Turned` for a loop that is not watched."""


class Turns:
    """The turns of all loops. `steady`: a clock, seconds."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._due: dict[str, float] = {}
        self._limits: dict[str, float] = {}

    @contextmanager
    def expecting(self, limit_s: float, *names: str) -> Generator[None]:
        """While the context is open, each of these loops has to turn at least every `limit_s`."""
        for name in names:
            self._limits[name] = limit_s
            self.turned(name)
        try:
            yield
        finally:
            for name in names:
                del self._limits[name], self._due[name]

    def turned(self, name: str) -> None:
        """Note a turn of the loop `name`, whether it is expected or not."""
        if name in self._limits:
            self._due[name] = self._steady() + self._limits[name]

    def of(self, name: str) -> Turned:
        return lambda: self.turned(name)

    def late(self) -> list[str]:
        """The names of the loops that are late."""
        now = self._steady()
        return sorted(name for name, due in self._due.items() if now > due)
