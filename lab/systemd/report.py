"""The output of a run: what it is doing, each promise with ok or FAILED, and what was seen."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_WIDTH: Final = 68


class FleetError(Exception):
    """The test cannot go on; the message says why and what to do."""


class Report:
    """`failed`: how many promises were not kept so far."""

    def __init__(self) -> None:
        self.kept = 0
        self.failed = 0
        self._began = time.monotonic()

    def heading(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:5.0f} s  == {text}", flush=True)

    def line(self, text: str) -> None:
        print(f"            {text}", flush=True)

    def check(self, promise: str, holds: bool, seen: str) -> None:
        self.kept += holds
        self.failed += not holds
        print(f"  {'ok    ' if holds else 'FAILED'}    {promise:{_WIDTH}}  {seen}", flush=True)

    @contextmanager
    def part(self, title: str) -> Generator[None]:
        """If the part within fails, that is noted, and the next parts are still tried."""
        self.heading(title)
        try:
            yield
        except FleetError as error:
            self.check(title, False, f"given up: {error}")
