"""One recording on this VM's disk until the store has it: what came of the recorder, and the log of it.

    STATE_DIR/recordings/BOT_ID@ATTEMPT/log           an entry a line (ledger.py)
    STATE_DIR/recordings/BOT_ID@ATTEMPT/segment-...   its chunks joined; gone once it is stored

Files are their owner's alone. Chunks are on the disk before the log has them, and in the log before the recorder may
drop them: an agent, and a kernel, may die at any point, and the next agent goes on with the chunk after the last.
Methods block for as long as the disk takes: call them in a thread. Several may be called at once.
"""

import hashlib
import os
import shutil
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from common.wire.manifest import Segment
from worker.capture.ledger import (
    AnyEntry,
    Began,
    Chunk,
    Closed,
    Cut,
    DisorderError,
    Ledger,
    Missed,
    Opened,
    Paused,
    Resumed,
    Stored,
    Track,
)

LOG: Final = "log"
_BETWEEN: Final = "@"


class SpoiledError(Exception):
    """What is in the folder is no recording."""


def name_of(bot_id: str, attempt: int) -> str:
    return f"{bot_id}{_BETWEEN}{attempt}"


def whose_is(name: str) -> tuple[str, int] | None:
    """bot_id and attempt of a folder of that name; None of any other."""
    bot_id, _, attempt = name.rpartition(_BETWEEN)
    return (bot_id, int(attempt)) if bot_id and attempt.isdecimal() else None


class Spool:
    """`ledger`: what is on the disk."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.folder = folder
        self.ledger = ledger
        self._lock = threading.RLock()

    @classmethod
    def create(cls, folder: Path, opened: Opened) -> Self:
        """Raises: OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        spool = cls(folder, Ledger(opened))
        spool._write([opened])
        return spool

    @classmethod
    def find(cls, folder: Path) -> Self:
        """What an agent left there. Raises: SpoiledError, OSError."""
        entries, whole = _read(folder / LOG)
        if not entries or not isinstance(entries[0], Opened):
            raise SpoiledError("the log does not begin as a recording does")
        try:
            ledger = Ledger(entries[0], entries[1:])
        except DisorderError as error:
            raise SpoiledError(str(error)) from error
        os.truncate(folder / LOG, whole)  # what an agent was writing when it died
        spool = cls(folder, ledger)
        spool._agree_on_pending()
        return spool

    def append(self, chunks: Sequence[tuple[Began, Chunk, bytes]]) -> None:
        """All of them are on the disk, in order; those that are there already change nothing, nor does what is of a
        kind that is not kept.

        Raises: OSError, and then those that are in the ledger are on the disk.
        """
        with self._lock:
            for began, chunk, content in chunks:
                track = self.ledger.tracks.get(chunk.kind)
                if track is None or chunk.seq < self.ledger.next_seq:
                    continue
                if began.part >= len(track.parts):
                    self._cut(track)
                    self._note([msgspec.structs.replace(began, part=len(track.parts))])
                self._append_to_pending(track, content)
                self._note([chunk])
                if track.is_full:
                    self._cut(track)

    def cut(self) -> None:
        """What is pending is a segment, if there is any; of each kind. Raises: OSError."""
        with self._lock:
            for track in self.ledger.tracks.values():
                self._cut(track)

    def miss(self, missed: Missed) -> None:
        """Raises: OSError."""
        if missed.kind in self.ledger.tracks:
            self._note([missed])

    def pause(self, change: Paused | Resumed) -> None:
        """It is remembered, whoever dies. Raises: OSError."""
        self._note([change])

    def close(self, closed: Closed) -> None:
        """Nothing more comes. Raises: OSError."""
        with self._lock:
            self.cut()
            if not self.ledger.closed:
                self._note([closed])

    def read(self, segment: Segment) -> bytes:
        return (self.folder / segment.path).read_bytes()

    def note_stored(self, segment: Segment) -> None:
        """The store has it: here it is no more. Raises: OSError."""
        self._note([Stored(segment.sequence, segment.kind)])
        (self.folder / segment.path).unlink(missing_ok=True)

    def remove(self) -> None:
        """Nothing is left of it here. Raises: OSError."""
        shutil.rmtree(self.folder)

    def _cut(self, track: Track) -> None:
        if track.pending:
            content = (self.folder / track.pending_path).read_bytes()
            self._note([Cut(hashlib.sha256(content).hexdigest(), track.kind)])

    def _append_to_pending(self, track: Track, content: bytes) -> None:
        path, before = self.folder / track.pending_path, track.pending_bytes
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, before)  # what of a chunk was written before an error, or an agent's end
            os.lseek(descriptor, before, os.SEEK_SET)
            _write_all(descriptor, content)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _note(self, entries: Sequence[AnyEntry]) -> None:
        """On the disk first. An entry that does not follow is none of ours, and a fault of the program."""
        with self._lock:
            self._write(entries)
            for entry in entries:
                self.ledger.apply(entry)

    def _write(self, entries: Iterable[AnyEntry]) -> None:
        lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        descriptor = os.open(self.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            before = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, lines)
                os.fdatasync(descriptor)
            except OSError:
                os.ftruncate(descriptor, before)  # half a line would spoil the next one
                raise
        finally:
            os.close(descriptor)

    def _agree_on_pending(self) -> None:
        """Chunks that the log has and the file has not: only a disk that lies loses them."""
        for track in self.ledger.tracks.values():
            path = self.folder / track.pending_path
            size = path.stat().st_size if path.exists() else 0
            if track.pending_bytes > size:
                raise SpoiledError(f"{path.name} is shorter than the log says")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read(path: Path) -> tuple[list[AnyEntry], int]:
    """The entries, and how many bytes they take: the last line may be torn."""
    entries: list[AnyEntry] = []
    whole = 0
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        try:
            entries.append(msgspec.json.decode(line, type=AnyEntry))
        except msgspec.DecodeError:
            break
        whole += len(line)
    return entries, whole
