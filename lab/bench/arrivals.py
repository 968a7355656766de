"""Arrival times that one process writes and another reads. Imports only the standard library, because the peers have an
environment of their own.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.parts.stage import Stage


class Arrivals:
    """The file into which a part writes what arrived when. `note_arrivals` writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._read_to = 0
        self._at: dict[str, int] = {}

    def take(self, names: list[str]) -> dict[str, int] | None:
        """The arrival time of each of `names` (monotonic, ns), once all have arrived."""
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            whole, end, _ = file.read().rpartition(b"\n")  # the last line may be half written
        self._read_to += len(whole + end)
        for line in whole.decode().splitlines():
            name, at = line.split()
            self._at[name] = int(at)
        if any(name not in self._at for name in names):
            return None
        return {name: self._at.pop(name) for name in names}

    async def wait(self, stage: "Stage", names: list[str], within_s: float = 30.0) -> dict[str, int]:
        """Wait for arrivals. Raises: StageError."""
        found: dict[str, int] | None = None

        async def are_there() -> bool:
            nonlocal found
            found = self.take(names)
            return found is not None

        await stage.until(f"{len(names)} arrivals at {self.path.name}", are_there, within_s, every_s=0.02)
        return found or {}


def note_arrivals(path: str) -> Callable[[list[str]], None]:
    """For the process in which things arrive: a function that writes down that all of these have just arrived."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def note(names: list[str]) -> None:
        at = time.monotonic_ns()
        os.write(file, "".join(f"{name} {at}\n" for name in names).encode())

    return note
