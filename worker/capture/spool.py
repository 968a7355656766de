"""Keeps one recording on this VM's disk until the store has it: the segments, and a log of entries.

    STATE_DIR/recordings/BOT_ID@ATTEMPT/log           an entry a line (progress.py)
    STATE_DIR/recordings/BOT_ID@ATTEMPT/segment-...   chunks, one after the other; removed once it is stored
    STATE_DIR/recordings/BOT_ID@ATTEMPT/trouble       what was told to keep it from the store, as long as it does
    STATE_DIR/recordings/BOT_ID@ATTEMPT/told          there once it is told that the recording began; empty
    STATE_DIR/recordings/BOT_ID@ATTEMPT/ended         when the bot was out, before its recorder has given the rest

Only their owner may read the files. A chunk is written to its segment first, then to the log; only then may the
recorder drop it. So agent and kernel may die at any point: the next agent goes on after the last chunk in the log.
Methods block while the disk works: call them in a thread. Several may run at the same time.
"""

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import msgspec

from common.errors import AgentError
from common.runtime import files
from common.wire.manifest import Segment
from worker.capture.progress import (
    AnyEntry,
    Began,
    Chunk,
    Closed,
    Cut,
    Missed,
    Opened,
    OutOfOrderError,
    Paused,
    Progress,
    Resumed,
    Stored,
    Track,
)

LOG: Final = "log"
UNREADABLE: Final = ""
"""In place of the sum of a segment that the disk had lost when it was cut. No content has it."""
LOST: Final = (errno.ENOENT, errno.EIO, errno.EUCLEAN, errno.EBADMSG)
"""What a disk answers that has lost a file, or cannot read it."""
_TROUBLE: Final = "trouble"
_TOLD: Final = "told"
_ENDED: Final = "ended"
_BETWEEN: Final = "@"


class DamagedRecordingError(AgentError):
    """The folder contains no recording that can be read."""


def name_of(bot_id: str, attempt: int) -> str:
    return f"{bot_id}{_BETWEEN}{attempt}"


def parse_name(name: str) -> tuple[str, int] | None:
    """bot_id and attempt in the name of a recording's folder. None for other names."""
    bot_id, _, attempt = name.rpartition(_BETWEEN)
    return (bot_id, int(attempt)) if bot_id and attempt.isdecimal() else None


class Spool:
    """`progress`: what is on the disk. `trouble`: what was told to keep it from the store, also by an earlier agent;
    empty: nothing. `is_told`: that the recording began was told, likewise: its files are waited for. `ended_at`: when
    the bot was out; whoever closes the recording tells a gap up to then. None: that was never noted, and the gap is up
    to when it may have been out.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder = folder
        self.progress = progress
        self.trouble = ""
        self.is_told = False
        self.ended_at: float | None = None
        self._is_released = False
        self._lock = threading.RLock()

    @property
    def is_awaited(self) -> bool:
        """Whether its files are waited for: that the recording began was told, or there are chunks."""
        return self.is_told or self.progress.has_begun

    @classmethod
    def create(cls, folder: Path, opened: Opened, following: Sequence[AnyEntry] = ()) -> Self:
        """Raises: OSError. Then there is no folder."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        spool = cls(folder, Progress(opened, following))
        try:
            spool._write([opened, *following])
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return spool

    @classmethod
    def restore(cls, folder: Path, entries: Sequence[AnyEntry]) -> None:
        """A recording that has nothing on this disk but its log, which is there whole or not at all.

        Raises: OSError.
        """
        draft = folder.parent.with_name(f"{folder.parent.name}-restored")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        opened, *_ = entries
        assert isinstance(opened, Opened)
        cls(draft, Progress(opened))._write(entries)
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.rename(folder)

    @classmethod
    def find(cls, folder: Path) -> Self:
        """The recording that an earlier agent left there. Raises: DamagedRecordingError, OSError."""
        entries, whole = _read(folder / LOG)
        if not entries or not isinstance(entries[0], Opened):
            raise DamagedRecordingError("the log does not begin as a recording does")
        try:
            progress = Progress(entries[0], entries[1:])
        except OutOfOrderError as error:
            raise DamagedRecordingError(str(error)) from error
        os.truncate(folder / LOG, whole)  # without the line that an agent was writing when it died
        spool = cls(folder, progress)
        spool._check_pending()
        with suppress(OSError, UnicodeDecodeError):
            spool.trouble = (folder / _TROUBLE).read_text()
        spool.is_told = (folder / _TOLD).exists()
        with suppress(OSError, ValueError):
            spool.ended_at = float((folder / _ENDED).read_text())
        return spool

    def append(self, chunks: Sequence[tuple[Began, Chunk, bytes]]) -> None:
        """Write these chunks to the disk, in order. Chunks that it has, and kinds that are not kept, are left out.

        Raises: OSError. Then the chunks that `progress` has are on the disk.
        """
        with self._lock:
            if self._is_released:
                return
            for began, chunk, content in chunks:
                track = self.progress.tracks.get(chunk.kind)
                if track is None or chunk.seq < self.progress.next_of(chunk.kind):
                    continue
                if began.part >= len(track.parts):
                    self._cut(track)
                    self._note([msgspec.structs.replace(began, part=len(track.parts))])
                self._append_to_pending(track, content)
                self._note([chunk])
                if track.is_full:
                    self._cut(track)

    def cut(self) -> None:
        """Make a segment of the pending chunks of each kind, if there are any. Raises: OSError."""
        with self._lock:
            for track in self.progress.tracks.values():
                self._cut(track)

    def miss(self, missed: Missed) -> None:
        """Raises: OSError."""
        if missed.kind in self.progress.tracks:
            self._note([missed])

    def pause(self, change: Paused | Resumed) -> None:
        """Write a pause, or its end, to the log. Raises: OSError."""
        self._note([change])

    def close(self, closed: Closed) -> None:
        """The recording is over: the last segments are cut. Raises: OSError."""
        with self._lock:
            self.cut()
            if not self.progress.closed:
                self._note([closed])

    def read(self, segment: Segment) -> bytes:
        """Without half a chunk that an agent was writing when it died. Raises: OSError, also if the disk has less than
        was written.
        """
        content = (self.folder / segment.path).read_bytes()[: segment.bytes]
        if len(content) < segment.bytes:
            raise OSError(errno.EIO, f"{segment.path} is shorter than the log says")
        return content

    def note_stored(self, segment: Segment) -> None:
        """The store has the segment, or the disk has lost it: remove it here. Raises: OSError."""
        with self._lock:
            if self._is_released:
                return
            self._note([Stored(segment.sequence, segment.kind)])
        (self.folder / segment.path).unlink(missing_ok=True)

    def note_trouble(self, trouble: str) -> None:
        """What was told keeps the recording from the store; empty: nothing any more. A disk that takes no note of it
        only has the next agent not know.
        """
        self.trouble = trouble
        with suppress(OSError):
            files.write(self.folder / _TROUBLE, trouble.encode())

    def note_told(self) -> None:
        """That the recording began was told. A disk that takes no note of it only has the next agent not know."""
        self.is_told = True
        with suppress(OSError):
            files.write(self.folder / _TOLD, b"")

    def note_end(self, at: float) -> float:
        """That the bot was out at that time, unless an earlier agent noted when it was. Returns: when it was. A disk
        that takes no note of it only has the next agent not know.
        """
        if self.ended_at is None:
            self.ended_at = at
            with suppress(OSError):
                files.write(self.folder / _ENDED, repr(at).encode())
        return self.ended_at

    def release(self) -> None:
        """Whoever finishes the recording opens it anew. A thread that comes too late writes nothing any more: that
        would be between what they read and what they write.
        """
        with self._lock:
            self._is_released = True

    def remove(self) -> None:
        """Remove the whole recording from the disk. Raises: OSError."""
        shutil.rmtree(self.folder)

    def _cut(self, track: Track) -> None:
        """Also if the disk has lost the chunks, or they would keep the next ones waiting for ever: whoever stores the
        segment gives it up.
        """
        if not track.pending:
            return
        try:
            content = (self.folder / track.pending_path).read_bytes()[: track.pending_bytes]
            sha256 = hashlib.sha256(content).hexdigest()
        except OSError as error:
            if error.errno not in LOST:
                raise
            sha256 = UNREADABLE
        self._note([Cut(sha256, track.kind)])

    def _append_to_pending(self, track: Track, content: bytes) -> None:
        path, before = self.folder / track.pending_path, track.pending_bytes
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, before)  # removes half a chunk, from before an error or an agent's end
            os.lseek(descriptor, before, os.SEEK_SET)
            _write_all(descriptor, content)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _note(self, entries: Sequence[AnyEntry]) -> None:
        """Write entries to the log, then apply them."""
        with self._lock:
            if self._is_released:
                return
            self._write(entries)
            for entry in entries:
                self.progress.apply(entry)

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

    def _check_pending(self) -> None:
        """Raises: DamagedRecordingError, if the log names chunks that are not in their file. Only a disk that says it
        has written what it has not can cause that.
        """
        for track in self.progress.tracks.values():
            path = self.folder / track.pending_path
            size = path.stat().st_size if path.exists() else 0
            if track.pending_bytes > size:
                raise DamagedRecordingError(f"{path.name} is shorter than the log says")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read(path: Path) -> tuple[list[AnyEntry], int]:
    """The entries, and how many bytes they take. The last line may be incomplete."""
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
