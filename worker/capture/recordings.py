"""All recordings of this VM: those of bots in their meetings, and unfinished ones, also of earlier agents.

While the meeting runs, the spool's segments go into the store. After it, one file a kind is made, one recording at a
time. The final manifest finishes a recording: only one agent can write it, but over one that cannot be read. No bot
ever waits for anything here.
"""

import asyncio
import hashlib
import math
import shutil
import stat
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec
import structlog
from playwright.async_api import Page

from common.config.settings import CaptureSettings
from common.runtime.recordings import deletion
from common.runtime.recordings.manifests import so_far
from common.runtime.recordings.store import AbsentError, Store, StoreError, TakenError
from common.runtime.waiting import backoff, pause
from common.wire import manifest
from common.wire.manifest import FINAL, PROGRESS, SET_ASIDE, Kind, Manifest, Segment, named_by_content, progress_after
from common.wire.messages import MOST_GAPS, BotRecorded, FinishRecording, Join
from common.wire.minutes import Turn
from worker.capture.clock import Clock
from worker.capture.making.maker import FilesNotMadeError, Maker, store_folder
from worker.capture.making.work import NO_ROOM
from worker.capture.null_spool import NullSpool
from worker.capture.on_display import DisplayWay
from worker.capture.progress import Closed, Opened, OutOfOrderError, Paused, Progress, entries_of, without_tail
from worker.capture.recording import OnSound, Recording, nothing
from worker.capture.spool import LOG, LOST, DamagedRecordingError, Spool, name_of, parse_name
from worker.capture.tab import TabWay
from worker.capture.tracks import OnPackets, TrackRecording, equip
from worker.capture.way import CaptureOptions, Way
from worker.chromium.display import is_recordable
from worker.decide.state import State

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CHECK_EVERY_S: Final = 5.0
RETRY_S: Final = (1.0, 60.0)
SPOILED: Final = ".spoiled"
SPOILED_LIFE_S: Final = 7 * 86_400.0
MOST_SPOILED: Final = 20
MOST_TRIES: Final = 10
"""To make the files of a recording, over ten minutes or so, or to read a segment. Then it counts as impossible."""
WHOLE_EVERY: Final = 12
"""Segments: a minute or so of one kind."""
MOST_ORDERED: Final = 200
"""Recordings of other VMs that wait to be taken over. Orders above that are dropped: the manager gives those up."""
MOST_PUT_OFF: Final = 100
"""Bots of which it is kept that they were paused before they were recorded. Most others have ended."""
_MOST_WARNING_CHARS: Final = 300
_STORE_FAILS: Final = "the store does not take the recording, which waits on the disk"
_DISK_FAILS: Final = "the disk of worker.state_dir fails"
_MEDIA_TYPES: Final = {
    ".webm": "audio/webm",
    ".ivf": "video/x-ivf",
    ".mkv": "video/x-matroska",
    ".jsonl": "application/jsonl",
}
_LABELS: Final[dict[tuple[Kind, ...], str]] = {
    ("audio",): "sound",
    ("video",): "picture",
    ("audio", "video"): "sound and picture",
}

_T = TypeVar("_T")

OnState = Callable[[State], None]
"""Gets each new state of the bot."""


FindTurns = Callable[[str, int], Awaitable[list[Turn]]]
"""Finds whom the page of a bot and attempt marked as speaking when, once the bot is out. Raises: StoreError."""


def ignore(_state: State) -> None:
    pass


async def no_turns(_bot_id: str, _attempt: int) -> list[Turn]:
    return []


class _ToldStore(NamedTuple):
    """How many segments the store has said to have: in the whole manifest, and of each kind with what was new."""

    whole: int
    stored: dict[Kind, int]


def _always() -> bool:
    return True


class Recordings:
    """`folder`: theirs in the state folder. `report`: gets an event for each recording that begins or is finished.
    `store` None: nothing is recorded, and unfinished recordings stay as they are. `find_turns`: tells whose each sound
    track is. `unattended_s`: how long a page stays in its meeting at which no agent looks.
    """

    def __init__(
        self,
        vm_id: str,
        folder: Path,
        settings: CaptureSettings,
        store: Store | None,
        report: Callable[[BotRecorded], None],
        find_turns: FindTurns = no_turns,
        unattended_s: float = math.inf,
    ) -> None:
        self._vm_id = vm_id
        self._unattended_s = unattended_s
        self._find_turns = find_turns
        self._folder = folder
        self._settings = settings
        self._store = store
        self._report = report
        self._active: dict[str, Recording] = {}
        self._put_off: dict[str, bool] = {}  # of bots that are claimed, or gone: whether they were paused last
        self._unfinished_bytes = 0
        self.refused = 0  # how often the store did not do what was asked of it
        self._last_warning = ""
        self._unread = set[str]()  # those of which it was logged
        self._unreadable: dict[str, OSError] = {}  # at the last look
        self._tries: Counter[str] = Counter()
        self._disk_failures: Counter[str] = Counter()
        self._only_here: set[str] = set()  # of these not everything is in the store
        self._told_finished: set[str] = set()  # of these the end was reported, and the disk has still something
        self._told_unmade: defaultdict[str, set[str]] = defaultdict(set)  # why no files of it are made here
        self._told_store: dict[str, _ToldStore] = {}
        self._ordered: dict[str, FinishRecording] = {}
        self._wake = asyncio.Event()
        self.idle = asyncio.Event()  # no bot is recorded, and nothing is unfinished

    async def equip(self, page: Page) -> None:
        """Have a worker's page ready for what is recorded inside it. Raises: what a call to a page may raise."""
        if self._settings.tracks and self._store:
            await equip(page)

    # Bots in their meetings

    @asynccontextmanager
    async def record(
        self,
        join: Join,
        page: Callable[[], Page | None],
        state: Callable[[], State | None],
        add_to_story: Callable[[str], None],
        announce: Callable[[str], None],
        on_sound: OnSound | None = None,
        on_packets: OnPackets | None = None,
    ) -> AsyncGenerator[OnState]:
        """Record one bot while the context is open. If it is cancelled, the next agent can go on with the recording.

        `announce`: gets what the bot is to say in the chat because it is recorded; it may be told so more than once.
        `on_sound`: gets the sound while the meeting runs, also if no sound is kept. `on_packets`: gets the packets of
        each sound track, if they are taken.
        """
        kept = () if self._store is None or join.is_probe else kinds_of(join, self._settings)
        is_only_streamed = on_sound is not None and "audio" not in kept
        kinds: tuple[Kind, ...] = ("audio", *kept) if is_only_streamed else kept
        if not kinds:
            yield ignore
            return
        name = name_of(join.bot_id, join.attempt)
        bot_log = log.bind(bot_id=join.bot_id, attempt=join.attempt, worker_id=join.worker_id)

        takes_tracks = self._settings.tracks and "audio" in kept
        spooled: tuple[Kind, ...] = (*kept, "tracks") if takes_tracks else kept

        def spool(came_in_at: float, clock: Clock) -> Spool | NullSpool:
            return self._begin(name, join, spooled, ways[0], came_in_at, clock) if kept else NullSpool()

        def find_left() -> Spool | None:
            return self._find_left(name) if kept else None

        def began(how: str) -> None:
            if kept:
                self._report(BotRecorded(self._vm_id, join.bot_id, join.attempt, time.time(), kinds=kept))
            actions = [f"record its {_LABELS[kept]}"] if kept else []
            actions += ["listen to its sound"] if is_only_streamed else []
            add_to_story(f"{' and '.join(actions)}, {how}")

        def on_recorder() -> None:
            if kept and self._settings.announcement:
                announce(self._settings.announcement)

        def voice_at() -> float | None:
            latest = state()
            return latest.received.voice_at if latest else None

        ways, options = self._ways_of(join, kinds), CaptureOptions.of(kinds, self._settings)
        self.idle.clear()
        has_room = self._has_room if kept else _always
        tracks = TrackRecording(
            page,
            lambda: recording.spool,
            has_room,
            lambda: recording.is_paused,
            lambda: recording.has_new_chunks.set(),
            add_to_story,
            bot_log,
            on_packets,
        )
        before_close = tracks.finish if takes_tracks else nothing
        recording = self._active[name] = Recording(
            *(spool, ways, options, page, voice_at, has_room, began, add_to_story, bot_log, on_sound, before_close),
            *(on_recorder, find_left),
        )
        if (is_paused := self._put_off.pop(name, None)) is not None:
            recording.pause(paused=is_paused)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(_contained(recording.run()), name=f"record {join.bot_id}")
                storing = tasks.create_task(
                    _contained(self._store_along(recording, add_to_story)), name=f"store {join.bot_id}"
                )
                if takes_tracks:
                    taking = tasks.create_task(_contained(tracks.run()), name=f"take tracks {join.bot_id}")
                    running.add_done_callback(lambda _: taking.cancel())
                try:
                    yield recording.note
                    recording.end()
                    await running
                finally:
                    storing.cancel()
                    running.cancel()
        finally:
            try:
                if recording.spool:
                    await asyncio.to_thread(recording.spool.release)
            finally:
                del self._active[name]
                self._wake.set()

    def pause(self, bot_id: str, attempt: int, *, paused: bool) -> None:
        """Stop recording that bot for a while, or go on. If it is not recorded here yet, that holds once it is."""
        name = name_of(bot_id, attempt)
        if active := self._active.get(name):
            active.pause(paused=paused)
            return
        log.info("pause_put_off", bot_id=bot_id, attempt=attempt, why="no such bot is recorded here")
        self._put_off[name] = paused
        if len(self._put_off) > MOST_PUT_OFF:
            del self._put_off[next(iter(self._put_off))]

    def _ways_of(self, join: Join, kinds: tuple[Kind, ...]) -> list[Way]:
        """How to record: from the worker's display, if it has one and so is set or an earlier agent did so, and by a
        tab once that fails; else by a tab. A picture that is not recorded from a display says why.
        """
        folder = self._folder.parent / "workers" / join.worker_id
        on_display = DisplayWay(folder)
        wants_display = self._settings.needs_display
        if on_display.has_begun or (wants_display and is_recordable(folder)):
            return [on_display, TabWay()]
        return [TabWay("its worker has no display" if wants_display and "video" in kinds else "")]

    def _begin(
        self, name: str, join: Join, kinds: tuple[Kind, ...], way: Way, came_in_at: float, clock: Clock
    ) -> Spool:
        folder = self._folder / name
        if (folder / LOG).exists():
            try:
                return Spool.find(folder)
            except DamagedRecordingError as error:
                log.error("recording_spoiled", recording=name, error=str(error))
                _move_aside(folder)
        opened = Opened(join.bot_id, join.attempt, join.platform, came_in_at, kinds, way.name, clock.ahead_s)
        return Spool.create(folder, opened, [Paused(came_in_at)] if join.paused else [])

    def _find_left(self, name: str) -> Spool | None:
        """Raises: OSError."""
        try:
            return Spool.find(self._folder / name)
        except (FileNotFoundError, DamagedRecordingError):  # `finish` tells of a damaged one, and leaves it to others
            return None

    def _has_room(self) -> bool:
        return self.spooled_bytes < self._settings.spool_mb * 1024 * 1024

    @property
    def spooled_bytes(self) -> int:
        """How much waits on this VM's disk."""
        spools = (recording.spool for recording in self._active.values())
        return self._unfinished_bytes + sum(spool.progress.spooled_bytes for spool in spools if spool)

    async def _store_along(self, recording: Recording, add_to_story: Callable[[str], None]) -> None:
        delays = backoff(*RETRY_S)
        while True:
            await recording.has_new_chunks.wait()
            recording.has_new_chunks.clear()
            while isinstance(spool := recording.spool, Spool) and (segment := spool.progress.to_store):
                try:
                    await self._put_segment(spool, segment)
                    delays = backoff(*RETRY_S)
                    if spool.trouble:
                        await asyncio.to_thread(spool.note_trouble, "")
                        add_to_story("the store takes the recording again")
                except (StoreError, OSError) as error:
                    trouble = _STORE_FAILS if isinstance(error, StoreError) else _DISK_FAILS
                    if trouble != spool.trouble:
                        await asyncio.to_thread(spool.note_trouble, trouble)
                        add_to_story(f"{trouble}: {error}"[:_MOST_WARNING_CHARS])
                    self._note_refusal(error)
                    await asyncio.sleep(next(delays))

    async def _put_segment(self, spool: Spool, segment: Segment) -> None:
        """Move a segment from the disk to the store. One that the disk has lost is given up in the end: it is a damaged
        one of the recording, and the others are not kept waiting. Raises: StoreError, OSError.
        """
        store, folder_in_store = self._opened(), store_folder(spool)
        name = f"{spool.folder.name}/{segment.path}"
        try:
            content = await asyncio.to_thread(spool.read, segment)
        except OSError as error:
            self._tries[name] += 1
            if error.errno not in LOST or self._tries[name] < MOST_TRIES:
                raise
            log.error("segment_lost", recording=spool.folder.name, segment=segment.path, error=str(error))
            del self._disk_failures[spool.folder.name]  # it gets on
            await asyncio.to_thread(spool.note_stored, segment)
            del self._tries[name]
            await self._put_progress(spool)
            return
        self._tries.pop(name, None)
        media_type = _MEDIA_TYPES[Path(segment.path).suffix]
        await store.put(f"{folder_in_store}/{segment.path}", content, content_type=media_type)
        if await store.size(f"{folder_in_store}/{segment.path}") != segment.bytes:
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
        await self._opened().put(f"{store_folder(spool)}/{name}", content, content_type="application/json")
        self._told_store[spool.folder.name] = told._replace(stored=stored)

    # Bots that are out

    async def finish(self, live: Callable[[], Collection[tuple[str, int]]]) -> None:
        """Finish recordings for as long as the agent lives. `live`: the bots that have a worker, by id and attempt."""
        if self._store is None:
            return
        delays = backoff(*RETRY_S)
        while True:
            # Both are looked at before the folder is: a recording that ends meanwhile is not in what is found.
            failed, were_active = False, bool(self._active)
            names = {name_of(bot_id, attempt) for bot_id, attempt in live()}
            unfinished = await asyncio.to_thread(self._find_unfinished, names)
            if unfinished or were_active or self._active or self._ordered:
                self.idle.clear()
            else:
                self.idle.set()
            taken_over = list(self._ordered)
            for name in taken_over:
                failed |= not await self._try_to_take_over(name, names)
            self._note_unreadable({*names, *self._active, *(folder.name for folder in unfinished)})
            for folder in unfinished:
                failed |= not await self._try_to_finish(folder)
                await asyncio.to_thread(self._find_unfinished, names)  # what waits on the disk changes
            delays = delays if failed else backoff(*RETRY_S)
            if (unfinished or taken_over) and not failed:
                continue  # others may have ended meanwhile
            await pause(self._wake, next(delays) if failed else CHECK_EVERY_S)
            self._wake.clear()

    async def _try_to_finish(self, folder: Path) -> bool:
        """False: it is still unfinished, and is tried again after a pause."""
        try:
            await self._finish(folder)
        except FilesNotMadeError as error:
            self._warn_once(error)
            self._tries[folder.name] += 1
            if self._tries[folder.name] < MOST_TRIES:
                return False
            return self._put_aside(folder, error)
        except (StoreError, OSError) as error:
            self._note_refusal(error)
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
        for of in (self._tries, self._disk_failures, self._told_store, self._told_unmade):
            of.pop(name, None)
        self._only_here.discard(name)
        self._told_finished.discard(name)

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
            self._tell_unmade(*whose, f"{_DISK_FAILS}: {error.strerror or error}")

    def _tell_unmade(self, bot_id: str, attempt: int, why: str) -> None:
        """Report that this VM makes no files of a recording, and why: the same cause once, and again if it is ordered
        to make them.
        """
        told = self._told_unmade[name_of(bot_id, attempt)]
        if why not in told:
            told.add(why)
            why = why[:_MOST_WARNING_CHARS]
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
        in_use = {*live, *self._active}
        unfinished = [folder for folder in folders if folder.suffix != SPOILED and folder.name not in in_use]
        self._unfinished_bytes = sum(self._looked_at(folder, _bytes_in) or 0 for folder in unfinished)
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
                log.warning("recording_unread", recording=path.name, error=str(error)[:_MOST_WARNING_CHARS])
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
        store, folder_in_store = self._opened(), store_folder(spool)
        if await self._drop_deleted(spool):
            return
        if before := await self._find_final(folder_in_store):
            await self._tell_finished_before(spool, before)
            await asyncio.to_thread(spool.remove)
            return
        self._only_here.add(folder.name)
        while segment := progress.to_store:
            await self._put_segment(spool, segment)
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
            return manifest.decode(await self._opened().get(f"{folder_in_store}/{FINAL}"))
        except AbsentError:
            return None
        except ValueError as error:
            log.warning("manifest_unreadable", recording=folder_in_store, error=str(error)[:_MOST_WARNING_CHARS])
            return None

    async def _put_final(self, folder_in_store: str, final: Manifest) -> Manifest | None:
        """Finish the recording. What is there and cannot be read is kept under another name: a later release may have
        put it. Returns: the manifest of whoever has finished it before. Raises: StoreError.
        """
        store, path, content = self._opened(), f"{folder_in_store}/{FINAL}", manifest.encode(final)
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
        store, opened = self._opened(), spool.progress.opened
        if not await deletion.is_deleted(store, opened.bot_id):
            return False
        log.info("recording_deleted", bot_id=opened.bot_id, attempt=opened.attempt)
        await asyncio.to_thread(spool.remove)
        await store.delete(opened.bot_id)
        return True

    async def _tell_finished_before(self, spool: Spool, final: Manifest) -> None:
        """Report what the manifest says that is there: whoever put it may not have come to that, and this may have been
        an earlier try. Raises: StoreError.
        """
        opened = spool.progress.opened
        await self._opened().sync(f"{store_folder(spool)}/{FINAL}")
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
            self.idle.clear()
            self._wake.set()

    async def _try_to_take_over(self, name: str, live: Collection[str]) -> bool:
        """False: the store did not answer, and it is tried again after a pause."""
        order = self._ordered[name]
        whose = {"bot_id": order.bot_id, "attempt": order.attempt}
        try:
            if name not in live and name not in self._active and not (self._folder / name).exists():
                await self._take_over(order, self._folder / name)
                log.info("recording_taken_over", **whose)
        except AbsentError:
            log.warning("recording_not_in_store", **whose)
        except (StoreError, OSError) as error:
            self._note_refusal(error)
            self._tries[name] += 1
            if self._tries[name] < MOST_TRIES:
                return False
            self._tell_unmade(order.bot_id, order.attempt, str(error))
            self._forget(name)
        except (ValueError, OutOfOrderError) as error:
            log.error("recording_spoiled", recording=name, error=str(error)[:_MOST_WARNING_CHARS])
            self._tell_unmade(order.bot_id, order.attempt, str(error))
            self._forget(name)
        self._tries.pop(name, None)
        del self._ordered[name]
        return True

    async def _take_over(self, order: FinishRecording, folder: Path) -> None:
        """Keep here what the store says of it, so that it is finished like those of this VM; whatever was finished or
        deleted before is only told. Raises: StoreError, AbsentError, OSError, ValueError, OutOfOrderError.
        """
        store, folder_in_store = self._opened(), manifest.folder(order.bot_id, order.attempt)
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

    def _opened(self) -> Store:
        assert self._store
        return self._store

    def _note_refusal(self, error: Exception) -> None:
        if isinstance(error, StoreError):  # and not this VM's own disk
            self.refused += 1
        self._warn_once(error)

    def _warn_once(self, error: Exception) -> None:
        """Log the error, unless it is the same as the last one."""
        if (text := str(error)) != self._last_warning:
            self._last_warning = text
            log.warning("recording_unstored", error=text[:_MOST_WARNING_CHARS])

    def _put_aside(self, folder: Path, error: Exception) -> bool:
        """Give up a recording: move its folder aside, and report that this VM makes no file. False: it could not be
        moved.
        """
        log.error("recording_spoiled", recording=folder.name, error=str(error)[:_MOST_WARNING_CHARS])
        try:
            _move_aside(folder)
        except OSError as fault:
            self._warn_once(fault)
            self._note_disk_failure(folder.name, fault)
            return False
        self._forget(folder.name)
        if whose := parse_name(folder.name):
            why = str(error)[:_MOST_WARNING_CHARS] or type(error).__name__
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


def kinds_of(join: Join, settings: CaptureSettings) -> tuple[Kind, ...]:
    """What is recorded of the bot's meeting."""
    kinds: tuple[tuple[Kind, bool], ...] = (
        ("audio", not join.no_audio),
        ("video", join.video and settings.video != "off"),
    )
    return tuple(kind for kind, is_wanted in kinds if is_wanted)


def _move_aside(folder: Path) -> None:
    """Raises: OSError."""
    folder.rename(folder.with_name(f"{folder.name}-{time.time_ns()}{SPOILED}"))


def _changed_at(path: Path) -> float | None:
    """When that folder changed; None if it is none. Raises: OSError."""
    found = path.stat()
    return found.st_mtime if stat.S_ISDIR(found.st_mode) else None


def _bytes_in(folder: Path) -> int:
    """What its media take of the disk. Raises: OSError."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix in _MEDIA_TYPES)


def _remove_old(spoiled: Sequence[Path]) -> None:
    """Remove spoiled recordings that are older than a week, or not among the latest 20. Until then people can look at
    them; for ever would be too long for the sound of a meeting.
    """
    times = ((folder.stem.rpartition("-")[2], folder) for folder in spoiled)
    dated = sorted(((int(at_ns), folder) for at_ns, folder in times if at_ns.isdecimal()), reverse=True)
    for kept, (at_ns, folder) in enumerate(dated):
        if kept >= MOST_SPOILED or time.time() - at_ns / 1e9 > SPOILED_LIFE_S:
            shutil.rmtree(folder, ignore_errors=True)


async def _contained(work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except Exception:  # a bug: the bot loses its recording, but not its meeting
        log.exception("recording_failed")
