"""The log of a part. The part writes it itself, so nothing is lost if `up` dies. `up` reads it, and keeps it small."""

import json
import os
import re
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

MOST_BYTES: Final = 5_000_000
"""At this size the log is moved to PART.log.1, so twice as much is kept of a part."""

_FULL_BYTES: Final = 65_536
_READ_AT_ONCE: Final = 1_000_000
_LONGEST_LINE: Final = 65_536
_LAST_WORDS: Final = 3
_LONGEST_WORDS: Final = 300
_LEVELS: Final = frozenset({"warning", "error", "critical"})
_NO_FACTS: Final = frozenset({"event", "level", "program", "timestamp", "exception"})
_REDIS_HEAD: Final = re.compile(r"^\d+:[A-Z] \d{2} \w{3} \d{4} [\d:.]+ [.\-*#] ")


class Remark(NamedTuple):
    """A warning or an error that one of the two programs logged."""

    level: str
    event: str
    facts: dict[str, str]


class LogFile:
    """Reads a log from its present end on."""

    def __init__(self, path: Path) -> None:
        """Open the log. Raises: OSError."""
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._offset = os.fstat(self._descriptor).st_size
        self._rest = b""
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)

    def fileno(self) -> int:
        """The descriptor for a process's output. It appends."""
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)

    def begin_anew(self) -> None:
        """Forget the last lines: a new process starts."""
        self._words.clear()

    def last_words(self) -> tuple[str, ...]:
        """The last lines that are no log events: a program prints them when it cannot start, or dies. On a full disk
        its last ones are lost, and one more says so.
        """
        return (*self._words, *([f"the disk of {self._path.parent} is full"] if self._disk_is_full() else []))

    def _disk_is_full(self) -> bool:
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return False
        free = disk.f_bavail if os.geteuid() else disk.f_bfree  # some is kept for root
        return free * disk.f_frsize < _FULL_BYTES

    def read(self) -> list[Remark]:
        """The warnings and errors that were logged since the last call."""
        remarks: list[Remark] = []
        for line in self._lines():
            event = _event(line)
            if event is None:
                if text := _REDIS_HEAD.sub("", line.decode(errors="replace")).strip():
                    self._words.append(text[:_LONGEST_WORDS])
            elif event.get("level") in _LEVELS:
                facts = {name: str(value) for name, value in event.items() if name not in _NO_FACTS}
                remarks.append(Remark(str(event["level"]), str(event.get("event")), facts))
        return remarks

    def _lines(self) -> Iterator[bytes]:
        if os.fstat(self._descriptor).st_size < self._offset:  # somebody truncated the file
            self._offset, self._rest = 0, b""
        while data := os.pread(self._descriptor, _READ_AT_ONCE, self._offset):
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._rest = self._rest[-_LONGEST_LINE:]
            yield from lines
        self._keep_small()

    def _keep_small(self) -> None:
        """Copy the file and truncate it. The writer goes on with the same file. What it writes between the two steps is
        lost: some microseconds in five megabytes. Where no copy can be made, as on a full disk, all of it is lost: that
        the log has a bound counts more.
        """
        if self._offset < MOST_BYTES:
            return
        before = self._path.with_name(f"{self._path.name}.1")
        try:
            before.touch(mode=0o600)
            shutil.copyfile(self._path, before)
        except OSError:
            with suppress(OSError):
                before.unlink()
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            self._offset = 0


def _event(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        event: Any = json.loads(line)
    except ValueError:
        return None
    return cast(dict[str, Any], event) if isinstance(event, dict) else None
