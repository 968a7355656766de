"""What the next agent needs after this one was killed: its session, workers, their bots, and the events not yet sent.

One SQLite file in the state folder. When a call returns, its change is in the file as a whole. The change survives
kill -9. It does not survive a power cut, and neither does any browser: the journal never waits for the disk.

When the disk is full, that is logged once. The changes stay in memory and are written with the next change that can be
written. Only a kill before that loses them.

A damaged file is not read. It is renamed, and the agent starts a new session with an empty journal. Its browsers are
then ended as orphans, and the manager sees by the new session that their bots are lost.
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
"""Errors that do not mean a damaged file: another start may be able to read it."""

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
    """How far a worker has come; `WorkerNote.join` says whether it has a bot."""

    ORDERED = "ordered"
    WARM = "warm"
    SPENT = "spent"  # its bot has ended, or the worker is to end for another reason


class WorkerNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the journal holds of a worker. `page`: the DevTools id of its page. `join`: the order of its bot, if it has
    one. `state`: its bot's session; None: the attempt is not claimed yet. `retires`: it is to end once its bot is gone.
    """

    stage: Stage
    page: str = ""
    join: Join | None = None
    state: State | None = None
    retires: bool = False


class Entry(NamedTuple):
    """What the journal is to hold of a worker from now on; `note` None: nothing."""

    worker_id: str
    note: WorkerNote | None


class _Due:
    """What is still to be written: events by number, notes by worker id, and the numbers of events that Redis has."""

    def __init__(self) -> None:
        self.events: dict[int, Event] = {}
        self.notes: dict[str, WorkerNote | None] = {}
        self.forgotten: list[int] = []
        self.heard_at: float | None = None


class Journal:
    """`session` identifies the agent for as long as its state folder exists. `is_new`: the journal was empty."""

    def __init__(self, path: Path) -> None:
        """Raises: OSError when the file cannot be made or read."""
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
        # Numbers have to grow across restarts: write.lua ignores an event whose number is not above the last one. The
        # clock is above all numbers of an earlier run, also of those that were not written. If the clock was set back,
        # the numbers in the file are above it.
        self._last_number = max(waits or 0, _whole(self._fact("number")), int(time.time() * 1_000_000))

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._db.close()

    def write(self, events: Sequence[Event] = (), entry: Entry | None = None) -> list[int]:
        """Write these events and `entry` together. Returns the events' numbers, which grow from call to call."""
        numbers = list(range(self._last_number + 1, self._last_number + 1 + len(events)))
        self._last_number += len(events)
        self._due.events.update(zip(numbers, events, strict=True))
        if entry:
            self._due.notes[entry.worker_id] = entry.note
        self._write_due()
        return numbers

    def forget_events(self, numbers: Iterable[int], *, heard_at: float | None = None) -> None:
        """Remove these events: Redis took them at `heard_at` (monotonic seconds)."""
        for number in numbers:
            if self._due.events.pop(number, None) is None:
                self._due.forgotten.append(number)
        if heard_at is not None:
            self._due.heard_at = heard_at
        self._write_due()

    def _write_due(self) -> None:
        """Write all changes that are not written yet, in one transaction. If that fails they stay due."""
        due = self._due
        try:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT INTO events VALUES (?, ?)",
                ((number, codec.encode(event)) for number, event in due.events.items()),
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
        """When Redis last took something (monotonic seconds); `now` if it never did in this boot of the machine."""
        heard_at = _seconds(self._fact("heard_at"))
        return now if heard_at is None else min(heard_at, now)

    def events(self) -> list[tuple[int, Event]]:
        """The events that Redis has not taken, oldest first, by number. Events that cannot be decoded are removed."""
        rows = self._db.execute("SELECT number, message FROM events ORDER BY number").fetchall()
        events = [(number, _event(raw)) for number, raw in rows]
        if unreadable := [number for number, event in events if event is None]:
            self.forget_events(unreadable)
        return [(number, event) for number, event in events if event]

    def workers(self) -> dict[str, WorkerNote]:
        """The notes of all workers, by id. A note that this release cannot read counts as spent."""
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
    """The notes of all workers in the journal at `path`, by id. Writes nothing, and may run beside the agent.

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
    """Whether the file is damaged, so that another start could not read it either."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # the error of our own check has no code
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF not in _UNUSABLE


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _whole(text: str | None) -> int:
    """The whole number in `text`; 0 if there is none that fits into SQLite."""
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
