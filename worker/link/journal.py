"""What an agent must not forget when it is killed: who it is, its workers, their bots, and the events that nobody has.

One SQLite file in the state folder. A change is there when the call returns, all of it or nothing: also after kill -9,
but not after a power cut, which no browser survives either. It is never asked to wait for the disk.

What cannot be written (the disk is full) is said once, kept in memory, and written with the next change when it can be:
until then only a second fault loses anything.

Of a file that was cut off or spoilt nothing is believed: it is put aside, and the agent begins anew, under a new
session. What ran is ended then as nobody's, and the manager hears by the session that its bots are lost.
"""

import math
import sqlite3
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

from common.wire import codec
from common.wire.messages import Event, Join
from worker.decide.state import State

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_UNUSABLE: Final = frozenset({
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH,
})  # fmt: skip
"""What says nothing of the file's content: another start may well read it."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, message BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS workers (worker_id TEXT PRIMARY KEY, note BLOB NOT NULL);
"""


READ_WITHIN_S: Final = 5.0
MOST_DIGITS: Final = 19
MOST_ASIDE: Final = 3
"""Broken files that are kept for a person to look at."""


class Stage(StrEnum):
    """How far a worker has come. Which of its bots it serves stands beside it."""

    ORDERED = "ordered"
    WARM = "warm"
    SPENT = "spent"  # its bot has ended, or the worker is to end for another reason


class WorkerNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """A worker, its bot if it has one, and where that is in its meeting; None: not in yet, its attempt unclaimed.

    `page`: the DevTools id of its one page, by which a new connection finds it again. `retires`: it was ordered to end
    while it served somebody, and does so when it serves nobody.
    """

    stage: Stage
    page: str = ""
    join: Join | None = None
    state: State | None = None
    retires: bool = False


class Entry(NamedTuple):
    """What is to be remembered of a worker from now on; None: nothing."""

    worker_id: str
    note: WorkerNote | None


class _Due:
    """What is to be written: events by number, notes by worker, the numbers of events that Redis has."""

    def __init__(self) -> None:
        self.events: dict[int, Event] = {}
        self.notes: dict[str, WorkerNote | None] = {}
        self.forgotten: list[int] = []
        self.heard_at: float | None = None


class Journal:
    """`session` names this agent for as long as its state folder lives. `is_new`: nothing was remembered."""

    def __init__(self, path: Path) -> None:
        """Raises: OSError when there can be no such file."""
        self._path = path
        self._complained = False
        self._due = _Due()
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self.close()
            if not _is_broken(error):
                raise OSError(None, str(error), str(path)) from error
            aside = path.with_suffix(f".broken-{time.time_ns()}")
            lost = "workers, bots and events of the agent before"
            log.error("journal_broken", error=str(error), kept_as=str(aside), lost=lost)
            path.rename(aside)
            for older in sorted(path.parent.glob(f"{path.stem}.broken-*"))[:-MOST_ASIDE]:
                older.unlink(missing_ok=True)
            for left in (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
                left.unlink(missing_ok=True)
            self._open()

    def _open(self) -> None:
        self._db = sqlite3.connect(self._path, isolation_level=None)
        self._path.chmod(0o600)  # meeting links stand in it
        self._db.text_factory = _text
        [found] = self._db.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(f"its pages do not fit together: {found}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(_SCHEMA)
        named = self._fact("session")
        self.is_new = named is None
        self.session: str = uuid.uuid4().hex if named is None else named
        self._db.execute("INSERT OR IGNORE INTO facts VALUES ('session', ?)", (self.session,))
        [waits] = self._db.execute("SELECT max(number) FROM events").fetchone()
        # From the clock, and so above every number of an earlier run, also of those that could not be written down; and
        # from what was written down, and so also when the clock was set back: write.lua passes over what is not above.
        self._last_number = max(waits or 0, _whole(self._fact("number")), int(time.time() * 1_000_000))

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._db.close()

    def write(self, events: Sequence[Event] = (), entry: Entry | None = None) -> list[int]:
        """Remember all of it together. Returns the numbers of the events, which grow."""
        numbers = list(range(self._last_number + 1, self._last_number + 1 + len(events)))
        self._last_number += len(events)
        self._due.events.update(zip(numbers, events, strict=True))
        if entry:
            self._due.notes[entry.worker_id] = entry.note
        self._write_due()
        return numbers

    def forget_events(self, numbers: Iterable[int], *, heard_at: float | None = None) -> None:
        """These need not be remembered: Redis has them, and took them at `heard_at` (monotonic)."""
        for number in numbers:
            if self._due.events.pop(number, None) is None:
                self._due.forgotten.append(number)
        if heard_at is not None:
            self._due.heard_at = heard_at
        self._write_due()

    def _write_due(self) -> None:
        """All that is not written yet, or nothing: what a disk that was full did not take is written when it does."""
        due = self._due
        try:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT INTO events VALUES (?, ?)", ((number, codec.encode(one)) for number, one in due.events.items())
            )
            if due.events:
                self._db.execute("INSERT OR REPLACE INTO facts VALUES ('number', ?)", (str(self._last_number),))
            for worker_id, note in due.notes.items():
                if note:
                    raw = msgspec.json.encode(note)
                    self._db.execute("INSERT OR REPLACE INTO workers VALUES (?, ?)", (worker_id, raw))
                else:
                    self._db.execute("DELETE FROM workers WHERE worker_id = ?", (worker_id,))
            self._db.executemany("DELETE FROM events WHERE number = ?", ((number,) for number in due.forgotten))
            if due.heard_at is not None:
                self._db.execute("INSERT OR REPLACE INTO facts VALUES ('heard_at', ?)", (repr(due.heard_at),))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._complain(error)
        else:
            self._due = _Due()
            self._complained = False

    def heard_at(self, now: float) -> float:
        """When Redis last took something (monotonic); `now` when it never did, or before the machine was booted."""
        heard_at = _seconds(self._fact("heard_at"))
        return now if heard_at is None else min(heard_at, now)

    def events(self) -> list[tuple[int, Event]]:
        """Those not forgotten, oldest first. What cannot be read is forgotten: nobody else will come who can."""
        rows = self._db.execute("SELECT number, message FROM events ORDER BY number").fetchall()
        events = [(number, _event(raw)) for number, raw in rows]
        if unreadable := [number for number, event in events if event is None]:
            self.forget_events(unreadable)
        return [(number, event) for number, event in events if event]

    def workers(self) -> dict[str, WorkerNote]:
        """All that are remembered. One whose note a newer or older release wrote counts as spent."""
        return {worker_id: _note(raw) for worker_id, raw in self._db.execute("SELECT worker_id, note FROM workers")}

    def _fact(self, name: str) -> str | None:
        found = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found else None

    def _complain(self, error: sqlite3.Error) -> None:
        with suppress(sqlite3.Error):
            self._db.execute("ROLLBACK")
        if not self._complained:
            self._complained = True
            log.error("journal_unwritable", path=str(self._path), error=str(error))


def read_notes(path: Path) -> dict[str, WorkerNote]:
    """What the journal there remembers of workers, beside the agent whose it is. Writes nothing.

    Raises: sqlite3.Error.
    """
    if not path.exists():
        return {}
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=READ_WITHIN_S)
    try:
        db.text_factory = _text
        return {worker_id: _note(raw) for worker_id, raw in db.execute("SELECT worker_id, note FROM workers")}
    finally:
        db.close()


def _is_broken(error: sqlite3.DatabaseError) -> bool:
    """Whether it is the content that cannot be used, which another start would not change."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # what was found by ourselves has none
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF not in _UNUSABLE


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _whole(text: str | None) -> int:
    """0 for what is no number that SQLite could hold."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < MOST_DIGITS else 0


def _seconds(text: str | None) -> float | None:
    with suppress(ValueError):
        seconds = float(text or "")
        return seconds if math.isfinite(seconds) else None
    return None


def _event(raw: bytes) -> Event | None:
    try:
        return codec.decode_event(raw)
    except codec.UndecodableError as error:
        log.error("event_unreadable", error=str(error))
        return None


def _note(raw: bytes) -> WorkerNote:
    try:
        return msgspec.json.decode(raw, type=WorkerNote)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        log.error("note_unreadable", error=str(error))
        return WorkerNote(Stage.SPENT)
