"""What this VM's spools hold goes into the store, segment by segment, and the store is told how far it has come."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

from common.runtime.recordings.store import Store, StoreError
from common.runtime.waiting import backoff
from common.wire import manifest
from common.wire.manifest import PROGRESS, Kind, Segment, progress_after
from worker.capture.clock import Clock
from worker.capture.making.maker import store_folder
from worker.capture.recording import Recording
from worker.capture.spool import LOST, Spool

log: structlog.stdlib.BoundLogger = structlog.get_logger()

RETRY_S: Final = (1.0, 60.0)
MOST_TRIES: Final = 10
"""To make the files of a recording, over ten minutes or so, or to read a segment. Then it counts as impossible."""
WHOLE_EVERY: Final = 12
"""Segments: a minute or so of one kind."""
MOST_WARNING_CHARS: Final = 300
DISK_FAILS: Final = "the disk of worker.state_dir fails"
_STORE_FAILS: Final = "the store does not take the recording, which waits on the disk"
MEDIA_TYPES: Final = {
    ".webm": "audio/webm",
    ".ivf": "video/x-ivf",
    ".mkv": "video/x-matroska",
    ".jsonl": "application/jsonl",
}


class _ToldStore(NamedTuple):
    """How many segments the store has said to have: in the whole manifest, and of each kind with what was new."""

    whole: int
    stored: dict[Kind, int]


def between_tries() -> Iterator[float]:
    """How long to wait, in seconds, before the store or the disk is tried once more."""
    return backoff(*RETRY_S)


class Storing:
    """Moves segments; what it notes of a recording it keeps until it is to forget it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.refused = 0  # how often the store did not do what was asked of it
        self._last_warning = ""
        self._failed_reads: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._told_store: dict[str, _ToldStore] = {}

    async def along(self, recording: Recording, add_to_story: Callable[[str], None]) -> None:
        """Store what is recorded, while it is: until the task is cancelled."""
        delays = between_tries()
        while True:
            await recording.has_new_chunks.wait()
            recording.has_new_chunks.clear()
            while isinstance(spool := recording.spool, Spool) and (segment := spool.progress.to_store):
                try:
                    await self.put(spool, segment)
                    delays = between_tries()
                    if spool.trouble:
                        await asyncio.to_thread(spool.note_trouble, "")
                        add_to_story("the store takes the recording again")
                except (StoreError, OSError) as error:
                    trouble = _STORE_FAILS if isinstance(error, StoreError) else DISK_FAILS
                    if trouble != spool.trouble:
                        await asyncio.to_thread(spool.note_trouble, trouble)
                        add_to_story(f"{trouble}: {error}"[:MOST_WARNING_CHARS])
                    self.note_refusal(error)
                    await asyncio.sleep(next(delays))

    async def put(self, spool: Spool, segment: Segment) -> None:
        """Move a segment from the disk to the store. One that the disk has lost is given up in the end: it is a damaged
        one of the recording, and the others are not kept waiting. Raises: StoreError, OSError.
        """
        folder_in_store, failed = store_folder(spool), self._failed_reads[spool.folder.name]
        try:
            content = await asyncio.to_thread(spool.read, segment)
        except OSError as error:
            failed[segment.path] += 1
            if error.errno not in LOST or failed[segment.path] < MOST_TRIES:
                raise
            log.error("segment_lost", recording=spool.folder.name, segment=segment.path, error=str(error))
            await asyncio.to_thread(spool.note_stored, segment)
            del failed[segment.path]
            await self._put_progress(spool)
            return
        del failed[segment.path]
        media_type = MEDIA_TYPES[Path(segment.path).suffix]
        await self.store.put(f"{folder_in_store}/{segment.path}", content, content_type=media_type)
        if await self.store.size(f"{folder_in_store}/{segment.path}") != segment.bytes:
            raise StoreError("what it holds is shorter than what it was given")
        await asyncio.to_thread(spool.note_stored, segment)
        await self._put_progress(spool)

    async def _put_progress(self, spool: Spool) -> None:
        """Have the store say what it has of the recording: if this VM is lost, another one goes by that. The whole
        manifest is put when it has grown by a tenth, and by a minute or so, and once the recording is over; with each
        other segment what is new. So this takes as much of the uplink in the fourth hour as in the first.

        Raises: StoreError.
        """
        stored, told = spool.progress.stored, self._told_store.get(spool.folder.name)
        count = sum(stored.values())
        if told is None or spool.progress.is_done or count - told.whole >= max(WHOLE_EVERY, told.whole / 10):
            told, name = _ToldStore(count, {}), PROGRESS
        else:
            name = progress_after(sum(told.stored.values()))
        new = spool.progress.manifest_between(told.stored, stored)
        if new.ended_at is None:  # afterwards the machine may have been started anew, and its clock with it
            wall_ahead_s = float(round(Clock.of(spool.progress.ahead_s).wall_ahead_s()))
            new = msgspec.structs.replace(new, wall_ahead_s=wall_ahead_s)
        content = await asyncio.to_thread(manifest.encode, new)
        await self.store.put(f"{store_folder(spool)}/{name}", content, content_type="application/json")
        self._told_store[spool.folder.name] = told._replace(stored=stored)

    def forget(self, name: str) -> None:
        """Nothing more is stored of that recording."""
        self._failed_reads.pop(name, None)
        self._told_store.pop(name, None)

    def note_refusal(self, error: Exception) -> None:
        if isinstance(error, StoreError):  # and not this VM's own disk
            self.refused += 1
        self.warn_once(error)

    def warn_once(self, error: Exception) -> None:
        """Log the error, unless it is the same as the last one."""
        if (text := str(error)) != self._last_warning:
            self._last_warning = text
            log.warning("recording_unstored", error=text[:MOST_WARNING_CHARS])
