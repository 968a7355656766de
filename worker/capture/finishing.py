"""Recordings of bots that are out are finished, also those of earlier agents, and of other VMs that are gone.

One file a kind is made, one recording at a time. The final manifest finishes a recording: only one agent can write it,
but over one that cannot be read.
"""

import asyncio
import hashlib
import shutil
import stat
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Final, TypeVar

import structlog

from common.config.settings import CaptureSettings
from common.runtime.recordings import deletion
from common.runtime.recordings.manifests import so_far
from common.runtime.recordings.store import AbsentError, StoreError, TakenError
from common.runtime.waiting import pause
from common.wire import manifest
from common.wire.manifest import FINAL, SET_ASIDE, Kind, Manifest, named_by_content
from common.wire.messages import MOST_GAPS, BotRecorded, FinishRecording
from common.wire.minutes import Turn
from worker.capture.clock import Clock
from worker.capture.making.maker import FilesNotMadeError, Maker, store_folder
from worker.capture.making.work import NO_ROOM
from worker.capture.progress import Closed, OutOfOrderError, Progress, entries_of, without_tail
from worker.capture.spool import DamagedRecordingError, Spool, name_of, parse_name
from worker.capture.storing import DISK_FAILS, MEDIA_TYPES, MOST_TRIES, MOST_WARNING_CHARS, Storing, between_tries

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CHECK_EVERY_S: Final = 5.0
SPOILED: Final = ".spoiled"
SPOILED_LIFE_S: Final = 7 * 86_400.0
MOST_SPOILED: Final = 20
MOST_ORDERED: Final = 200
"""Recordings of other VMs that wait to be taken over. Orders above that are dropped: the manager gives those up."""

_T = TypeVar("_T")

FindTurns = Callable[[str, int], Awaitable[list[Turn]]]
"""Finds whom the page of a bot and attempt marked as speaking when, once the bot is out. Raises: StoreError."""


async def no_turns(_bot_id: str, _attempt: int) -> list[Turn]:
    return []


class Finishing:
    """`folder`: that of all recordings. `in_use`: the names of those that are under way, as they change. `idle`: is set
    while there are none, and nothing is unfinished. `report`: gets an event for each recording that is finished, or is
    not. `find_turns`: tells whose each sound track is. `unattended_s`: how long a page stays in its meeting at which no
    agent looks.
    """

    def __init__(
        self,
        vm_id: str,
        folder: Path,
        settings: CaptureSettings,
        storing: Storing,
        in_use: Collection[str],
        idle: asyncio.Event,
        report: Callable[[BotRecorded], None],
        find_turns: FindTurns,
        unattended_s: float,
    ) -> None:
        self._vm_id = vm_id
        self._folder = folder
        self._settings = settings
        self._store = storing.store
        self._storing = storing
        self._in_use = in_use
        self._idle = idle
        self._report = report
        self._find_turns = find_turns
        self._unattended_s = unattended_s
        self.unfinished_bytes = 0  # of this VM's disk
        self._unread = set[str]()  # those of which it was logged
        self._unreadable: dict[str, OSError] = {}  # at the last look
        self._tries: Counter[str] = Counter()
        self._disk_failures: Counter[str] = Counter()
        self._only_here: set[str] = set()  # of these not everything is in the store
        self._told_finished: set[str] = set()  # of these the end was reported, and the disk has still something
        self._told_unmade: defaultdict[str, set[str]] = defaultdict(set)  # why no files of it are made here
        self._ordered: dict[str, FinishRecording] = {}
        self._wake = asyncio.Event()

    async def run(self, live: Callable[[], Collection[tuple[str, int]]]) -> None:
        """Finish recordings for as long as the agent lives. `live`: the bots that have a worker, by id and attempt."""
        delays = between_tries()
        while True:
            # Both are looked at before the folder is: a recording that ends meanwhile is not in what is found.
            failed, were_in_use = False, bool(self._in_use)
            names = {name_of(bot_id, attempt) for bot_id, attempt in live()}
            unfinished = await asyncio.to_thread(self._find_unfinished, names)
            if unfinished or were_in_use or self._in_use or self._ordered:
                self._idle.clear()
            else:
                self._idle.set()
            taken_over = list(self._ordered)
            for name in taken_over:
                failed |= not await self._try_to_take_over(name, names)
            self._note_unreadable({*names, *self._in_use, *(folder.name for folder in unfinished)})
            for folder in unfinished:
                failed |= not await self._try_to_finish(folder)
                await asyncio.to_thread(self._find_unfinished, names)  # what waits on the disk changes
            delays = delays if failed else between_tries()
            if (unfinished or taken_over) and not failed:
                continue  # others may have ended meanwhile
            await pause(self._wake, next(delays) if failed else CHECK_EVERY_S)
            self._wake.clear()

    def look_again(self) -> None:
        """A recording that was under way is no longer."""
        self._wake.set()

    async def _try_to_finish(self, folder: Path) -> bool:
        """False: it is still unfinished, and is tried again after a pause."""
        try:
            await self._finish(folder)
        except FilesNotMadeError as error:
            self._storing.warn_once(error)
            self._tries[folder.name] += 1
            if self._tries[folder.name] < MOST_TRIES:
                return False
            return self._put_aside(folder, error)
        except (StoreError, OSError) as error:
            self._storing.note_refusal(error)
            if isinstance(error, OSError):
                self._note_disk_failure(folder.name, error)
            return False
        except DamagedRecordingError as error:
            return self._put_aside(folder, error)
        except Exception as error:  # a bug: this recording gets no file, and is not tried again
            log.exception("recording_failed")
            return self._put_aside(folder, error)
        self._forget(folder.name)
        return True

    def _forget(self, name: str) -> None:
        """Nothing more is done for that recording here."""
        for of in (self._tries, self._disk_failures, self._told_unmade):
            of.pop(name, None)
        self._only_here.discard(name)
        self._told_finished.discard(name)
        self._storing.forget(name)

    def _note_unreadable(self, others: Collection[str]) -> None:
        """Count each folder that the disk does not read as a failure to finish its recording. `others`: recordings that
        are under way, or are tried.
        """
        for name, error in self._unreadable.items():
            if name not in others:
                self._note_disk_failure(name, error)

    def _note_disk_failure(self, name: str, error: OSError) -> None:
        """The disk failed once more while a recording was to be finished. It is tried for as long as that lasts; after
        many times it is reported, so that another VM makes the files meanwhile; but not for want of room while
        something of it is on this disk alone.
        """
        if name in self._only_here and error.errno in NO_ROOM:
            return
        self._disk_failures[name] += 1
        if self._disk_failures[name] >= MOST_TRIES and (whose := parse_name(name)):
            self._tell_unmade(*whose, f"{DISK_FAILS}: {error.strerror or error}")

    def _tell_unmade(self, bot_id: str, attempt: int, why: str) -> None:
        """Report that this VM makes no files of a recording, and why: the same cause once, and again if it is ordered
        to make them.
        """
        told = self._told_unmade[name_of(bot_id, attempt)]
        if why not in told:
            told.add(why)
            why = why[:MOST_WARNING_CHARS]
            log.warning("recording_left_to_others", bot_id=bot_id, attempt=attempt, why=why)
            self._report(BotRecorded(self._vm_id, bot_id, attempt, time.time(), unmade=why))

    def _find_unfinished(self, live: Collection[str]) -> list[Path]:
        """Oldest first."""
        self._unreadable.clear()
        try:
            paths = list(self._folder.iterdir())
        except OSError:  # nothing was recorded yet, or the disk is gone
            paths = []
        times = {path: at for path in paths if (at := self._looked_at(path, _changed_at)) is not None}
        folders = sorted(times, key=lambda folder: times[folder])
        _remove_old([folder for folder in folders if folder.suffix == SPOILED])
        in_use = {*live, *self._in_use}
        unfinished = [folder for folder in folders if folder.suffix != SPOILED and folder.name not in in_use]
        self.unfinished_bytes = sum(self._looked_at(folder, _bytes_in) or 0 for folder in unfinished)
        return unfinished

    def _looked_at(self, path: Path, look: Callable[[Path], _T | None]) -> _T | None:
        """What the look says; None if the path, or a file in it, has gone meanwhile, or the disk does not read it,
        which is logged once.
        """
        try:
            return look(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._unreadable[path.name] = error
            if path.name not in self._unread:
                self._unread.add(path.name)
                log.warning("recording_unread", recording=path.name, error=str(error)[:MOST_WARNING_CHARS])
            return None

    async def _finish(self, folder: Path) -> None:
        """Make the recording's files. Raises: DamagedRecordingError, StoreError, OSError, FilesNotMadeError."""
        try:
            spool = await asyncio.to_thread(Spool.find, folder)
        except FileNotFoundError as error:
            raise DamagedRecordingError("there is no log") from error
        progress = spool.progress
        was_never_permitted = "refused" in progress.paused_by and not spool.is_awaited
        if was_never_permitted and not progress.closed:  # its agent died before it could remove it
            await asyncio.to_thread(spool.remove)
            return
        if not progress.closed:
            ended_at = self._latest_end(progress) if spool.ended_at is None else spool.ended_at
            await asyncio.to_thread(spool.close, Closed(max(ended_at, progress.covered_until)))
        store, folder_in_store = self._store, store_folder(spool)
        if await self._drop_deleted(spool):
            return
        if before := await self._find_final(folder_in_store):
            await self._tell_finished_before(spool, before)
            await asyncio.to_thread(spool.remove)
            return
        self._only_here.add(folder.name)
        while segment := progress.to_store:
            await self._storing.put(spool, segment)
            self._disk_failures.pop(folder.name, None)  # it gets on
        self._only_here.discard(folder.name)
        begun = time.monotonic()
        whose = progress.opened.bot_id, progress.opened.attempt
        turns = await self._find_turns(*whose) if "tracks" in progress.opened.kinds else []
        final = await Maker(self._settings, store).make(spool, turns)
        if before := await self._put_final(folder_in_store, final):
            await self._tell_finished_before(spool, before)
        else:
            self._told_finished.add(spool.folder.name)
            self._tell_finished(final, round(time.monotonic() - begun, 1))
        if not await self._drop_deleted(spool):
            await asyncio.to_thread(spool.remove)

    def _latest_end(self, progress: Progress) -> float:
        """When a bot was out at the latest of which no agent noted that: its browser died while there was none. While
        it is paused, no chunk says when an agent last looked.
        """
        now = Clock.of(progress.ahead_s).now()
        if now < progress.covered_until:  # the machine was started anew, and its monotonic clock with it
            now = time.time()
        return now if progress.is_paused else min(now, progress.covered_until + self._unattended_s)

    async def _find_final(self, folder_in_store: str) -> Manifest | None:
        """The manifest of a recording that is finished. None: there is none, or none that can be read, which is logged.
        Raises: StoreError.
        """
        try:
            return manifest.decode(await self._store.get(f"{folder_in_store}/{FINAL}"))
        except AbsentError:
            return None
        except ValueError as error:
            log.warning("manifest_unreadable", recording=folder_in_store, error=str(error)[:MOST_WARNING_CHARS])
            return None

    async def _put_final(self, folder_in_store: str, final: Manifest) -> Manifest | None:
        """Finish the recording. What is there and cannot be read is kept under another name: a later release may have
        put it. Returns: the manifest of whoever has finished it before. Raises: StoreError.
        """
        store, path, content = self._store, f"{folder_in_store}/{FINAL}", manifest.encode(final)
        try:
            await store.put(path, content, once=True, content_type="application/json")
        except TakenError:
            if before := await self._find_final(folder_in_store):
                return before
            there = await store.get(path)
            name = named_by_content(SET_ASIDE, hashlib.sha256(there).hexdigest())
            await store.put(f"{folder_in_store}/{name}", there)
            await store.put(path, content, content_type="application/json")
        return None

    async def _drop_deleted(self, spool: Spool) -> bool:
        """If its bot was deleted, remove the recording, here and in the store: here first, so that nothing is put there
        again if the store lets nothing be deleted; the manager does that. False: it was not deleted. Raises:
        StoreError, OSError.
        """
        opened = spool.progress.opened
        if not await deletion.is_deleted(self._store, opened.bot_id):
            return False
        log.info("recording_deleted", bot_id=opened.bot_id, attempt=opened.attempt)
        await asyncio.to_thread(spool.remove)
        self._forget(spool.folder.name)
        await self._store.delete(opened.bot_id)
        return True

    async def _tell_finished_before(self, spool: Spool, final: Manifest) -> None:
        """Report what the manifest says that is there: whoever put it may not have come to that, and this may have been
        an earlier try. Raises: StoreError.
        """
        opened = spool.progress.opened
        await self._store.sync(f"{store_folder(spool)}/{FINAL}")
        if spool.folder.name not in self._told_finished:  # what the disk does not remove comes here again
            log.info("recording_finished_before", bot_id=opened.bot_id, attempt=opened.attempt)
            self._told_finished.add(spool.folder.name)
            self._report_finished(final)

    def _tell_finished(self, final: Manifest, took_s: float) -> None:
        audio_s = final.audio.duration_s if final.audio else 0.0
        video_s = final.video.duration_s if final.video else 0.0
        log.info(
            "recording_finished",
            bot_id=final.bot_id,
            attempt=final.attempt,
            audio_s=audio_s,
            video_s=video_s,
            gaps=len(final.gaps),
            took_s=took_s,
        )
        self._report_finished(final)

    def _report_finished(self, final: Manifest) -> None:
        """Whoever gets it takes it once, however often it is reported."""
        audio_s = final.audio.duration_s if final.audio else 0.0
        video_s = final.video.duration_s if final.video else 0.0
        size = sum(file.bytes for file in (final.audio, final.video, *final.tracks) if file)
        whose = (self._vm_id, final.bot_id, final.attempt, time.time())
        kinds: tuple[Kind, ...] = tuple(kind for kind in final.kinds if kind != "tracks")
        gaps = tuple(sorted(final.gaps, key=lambda gap: gap.began_at)[:MOST_GAPS])
        facts = (audio_s, len(final.gaps), size, kinds, video_s, missing_s(final), gaps)
        self._report(BotRecorded(*whose, True, *facts))

    # Recordings whose VM is gone

    def take_over(self, order: FinishRecording) -> None:
        """Finish a recording from what the store has of it. If this agent has it, and cannot finish it, that is told
        once more.
        """
        if len(self._ordered) < MOST_ORDERED:
            name = name_of(order.bot_id, order.attempt)
            self._ordered[name] = order
            self._told_unmade.pop(name, None)
            self._idle.clear()
            self._wake.set()

    async def _try_to_take_over(self, name: str, live: Collection[str]) -> bool:
        """False: the store did not answer, and it is tried again after a pause."""
        order = self._ordered[name]
        whose = {"bot_id": order.bot_id, "attempt": order.attempt}
        try:
            if name not in live and name not in self._in_use and not (self._folder / name).exists():
                await self._take_over(order, self._folder / name)
                log.info("recording_taken_over", **whose)
        except AbsentError:
            log.warning("recording_not_in_store", **whose)
        except (StoreError, OSError) as error:
            self._storing.note_refusal(error)
            self._tries[name] += 1
            if self._tries[name] < MOST_TRIES:
                return False
            self._tell_unmade(order.bot_id, order.attempt, str(error))
            self._forget(name)
        except (ValueError, OutOfOrderError) as error:
            log.error("recording_spoiled", recording=name, error=str(error)[:MOST_WARNING_CHARS])
            self._tell_unmade(order.bot_id, order.attempt, str(error))
            self._forget(name)
        self._tries.pop(name, None)
        del self._ordered[name]
        return True

    async def _take_over(self, order: FinishRecording, folder: Path) -> None:
        """Keep here what the store says of it, so that it is finished like those of this VM; whatever was finished or
        deleted before is only told. Raises: StoreError, AbsentError, OSError, ValueError, OutOfOrderError.
        """
        store, folder_in_store = self._store, manifest.folder(order.bot_id, order.attempt)
        if final := await self._find_final(folder_in_store):
            self._tell_finished(final, 0.0)
            return
        found = await so_far(store, folder_in_store)
        for kind in found.kinds:
            # The manifest names what was cut. The last of it may never have reached the store.
            while paths := [segment.path for segment in found.segments if segment.kind == kind]:
                if await store.exists(f"{folder_in_store}/{paths[-1]}"):
                    break
                found = without_tail(found, kind)
        await asyncio.to_thread(Spool.restore, folder, entries_of(found, order.ended_at))

    def _put_aside(self, folder: Path, error: Exception) -> bool:
        """Give up a recording: move its folder aside, and report that this VM makes no file. False: it could not be
        moved.
        """
        log.error("recording_spoiled", recording=folder.name, error=str(error)[:MOST_WARNING_CHARS])
        try:
            move_aside(folder)
        except OSError as fault:
            self._storing.warn_once(fault)
            self._note_disk_failure(folder.name, fault)
            return False
        self._forget(folder.name)
        if whose := parse_name(folder.name):
            why = str(error)[:MOST_WARNING_CHARS] or type(error).__name__
            self._report(BotRecorded(self._vm_id, *whose, time.time(), unmade=why))
        return True


def missing_s(final: Manifest) -> float:
    """How much of the sound was not recorded, but for what somebody paused or the meeting did not permit: silence in
    the file, and what is missing after its end.
    """
    missing = final.audio.filled_s if final.audio else 0.0
    ends_at = final.began_at + (final.audio.duration_s if final.audio else 0.0)
    for gap in (gap for gap in final.gaps if gap.kind == "audio"):
        filled_s = max(0.0, min(gap.ended_at, ends_at) - gap.began_at)
        missing += -filled_s if gap.cause in ("paused", "refused") else gap.ended_at - gap.began_at - filled_s
    return round(max(0.0, missing), 3)


def move_aside(folder: Path) -> None:
    """Raises: OSError."""
    folder.rename(folder.with_name(f"{folder.name}-{time.time_ns()}{SPOILED}"))


def _changed_at(path: Path) -> float | None:
    """When that folder changed; None if it is none. Raises: OSError."""
    found = path.stat()
    return found.st_mtime if stat.S_ISDIR(found.st_mode) else None


def _bytes_in(folder: Path) -> int:
    """What its media take of the disk. Raises: OSError."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix in MEDIA_TYPES)


def _remove_old(spoiled: Sequence[Path]) -> None:
    """Remove spoiled recordings that are older than a week, or not among the latest 20. Until then people can look at
    them; for ever would be too long for the sound of a meeting.
    """
    times = ((folder.stem.rpartition("-")[2], folder) for folder in spoiled)
    dated = sorted(((int(at_ns), folder) for at_ns, folder in times if at_ns.isdecimal()), reverse=True)
    for kept, (at_ns, folder) in enumerate(dated):
        if kept >= MOST_SPOILED or time.time() - at_ns / 1e9 > SPOILED_LIFE_S:
            shutil.rmtree(folder, ignore_errors=True)
