"""Prints what the benchmark is doing, so that a long run does not look hung."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

_SILENCE_S = 2.0


class Progress:
    """Shows the progress: on a terminal in one line that changes, otherwise in a new line at most every two seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._row = ""
        self._began = self._said = time.monotonic()

    @contextmanager
    def row(self, name: str) -> Generator[None]:
        """Everything that is printed within belongs to this row."""
        self._row = name
        if self._console.is_terminal:
            with self._console.status(name) as self._status:
                yield
            self._status = None
        else:
            yield

    def say(self, what: str) -> None:
        now = time.monotonic()
        line = f"{now - self._began:5.0f} s  {self._row}: {what}"
        if self._status:
            self._status.update(line)
        elif now - self._said >= _SILENCE_S:
            self._said = now
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
