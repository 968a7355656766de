"""All recordings of this VM: those of bots in their meetings, and those that an agent left and that are to be finished.

What is spooled goes into the store while the meeting runs. Afterwards one file is made of it, one recording at a time,
and with the final manifest, which only one agent can put there, it is done. Nothing here is ever waited for by a bot.
"""

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
from playwright.async_api import Page

from common.config.settings import CaptureSettings
from common.runtime.store import Store, StoreError, TakenError
from common.runtime.waiting import backoff, pause
from common.wire import manifest
from common.wire.manifest import FINAL, PROGRESS, Kind, Segment
from common.wire.messages import BotRecorded, Join
from worker.capture.ledger import Closed, Opened
from worker.capture.making.maker import Maker, UnmadeError, where_is
from worker.capture.recording import Hear, Recording
from worker.capture.spool import SpoiledError, Spool, name_of, whose_is
from worker.capture.tab import Wish
from worker.capture.unkept import Unkept
from worker.decide.state import State

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LOOK_S: Final = 5.0
RETRY_S: Final = (1.0, 60.0)
SPOILED: Final = ".spoiled"
SPOILED_LIFE_S: Final = 7 * 86_400.0
MOST_SPOILED: Final = 20
MOST_TRIES: Final = 10
"""Of making one file: ten minutes. What could not be made then cannot be made."""
_MOST_COMPLAINT: Final = 300
_MEDIA_TYPES: Final[dict[Kind, str]] = {"audio": "audio/webm", "video": "video/x-ivf"}
_SUFFIXES: Final = (".webm", ".ivf")
_NAMED: Final[dict[tuple[Kind, ...], str]] = {
    ("audio",): "sound",
    ("video",): "picture",
    ("audio", "video"): "sound and picture",
}

Note = Callable[[State], None]
"""Takes where the bot is."""


def ignore(_state: State) -> None:
    pass


def _always() -> bool:
    return True


class Recordings:
    """`report`: is told of each that begins, and that is finished. `store` None: nothing is recorded, and what an agent
    left stays.
    """

    def __init__(
        self,
        vm_id: str,
        folder: Path,
        settings: CaptureSettings,
        store: Store | None,
        report: Callable[[BotRecorded], None],
    ) -> None:
        self._vm_id = vm_id
        self._folder = folder
        self._settings = settings
        self._store = store
        self._report = report
        self._held: dict[str, Recording] = {}
        self._left_bytes = 0  # of those that are not held
        self._complained = ""
        self._tries: Counter[str] = Counter()
        self._news = asyncio.Event()
        self.idle = asyncio.Event()  # nothing is held, and nothing is left

    # Of bots in their meetings

    @asynccontextmanager
    async def of(
        self,
        join: Join,
        page: Callable[[], Page | None],
        state: Callable[[], State | None],
        tell: Callable[[str], None],
        hear: Hear | None = None,
    ) -> AsyncGenerator[Note]:
        """Of one bot, for as long as its session lasts. Whoever is cancelled leaves it as it is, for the next agent.
        `hear`: what comes of the sound while the meeting runs, also where none of it is kept.
        """
        kept = () if self._store is None or join.is_probe else kinds_of(join, self._settings)
        is_only_heard = hear is not None and "audio" not in kept
        kinds: tuple[Kind, ...] = ("audio", *kept) if is_only_heard else kept
        if not kinds:
            yield ignore
            return
        name = name_of(join.bot_id, join.attempt)
        bound = log.bind(bot_id=join.bot_id, attempt=join.attempt, worker_id=join.worker_id)

        def spool() -> Spool | Unkept:
            return self._begin(name, join, kept) if kept else Unkept()

        def began() -> None:
            if kept:
                self._report(BotRecorded(self._vm_id, join.bot_id, join.attempt, time.time(), kinds=kept))
            deeds = [f"record its {_NAMED[kept]}"] if kept else []
            deeds += ["listen to its sound"] if is_only_heard else []
            tell(f"{' and '.join(deeds)}, by a tab that captures the meeting's")

        def voice_at() -> float | None:
            known = state()
            return known.received.voice_at if known else None

        wish = Wish.of(kinds, self._settings)
        self.idle.clear()
        room = self._has_room if kept else _always
        recording = self._held[name] = Recording(spool, wish, page, voice_at, room, began, tell, bound, hear)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(_alone(recording.run()), name=f"record {join.bot_id}")
                storing = tasks.create_task(_alone(self._store_along(recording, tell)), name=f"store {join.bot_id}")
                try:
                    yield recording.note
                    recording.end()
                    await running
                finally:
                    storing.cancel()
                    running.cancel()
        finally:
            del self._held[name]
            self._news.set()

    def pause(self, bot_id: str, attempt: int, *, paused: bool) -> None:
        """Record nothing of that bot's meeting from now on, or again; if it is recorded here."""
        if held := self._held.get(name_of(bot_id, attempt)):
            held.pause(paused=paused)
        else:
            log.info("pause_ignored", bot_id=bot_id, attempt=attempt, why="no such bot is recorded here")

    def _begin(self, name: str, join: Join, kinds: tuple[Kind, ...]) -> Spool:
        folder = self._folder / name
        if (folder / "log").exists():
            try:
                return Spool.find(folder)
            except SpoiledError as error:
                log.error("recording_spoiled", recording=name, error=str(error))
                _move_aside(folder)
        opened = Opened(join.bot_id, join.attempt, join.platform, time.time(), kinds)
        return Spool.create(folder, opened)

    def _has_room(self) -> bool:
        return self.spooled_bytes < self._settings.spool_mb * 1024 * 1024

    @property
    def spooled_bytes(self) -> int:
        """What waits on this VM's disk."""
        held = (one.spool.ledger.spooled_bytes for one in self._held.values() if one.spool)
        return self._left_bytes + sum(held)

    async def _store_along(self, recording: Recording, tell: Callable[[str], None]) -> None:
        delays, is_down = backoff(*RETRY_S), False
        while True:
            await recording.news.wait()
            recording.news.clear()
            while isinstance(spool := recording.spool, Spool) and (segment := spool.ledger.to_store):
                try:
                    await self._put_segment(spool, segment)
                    delays = backoff(*RETRY_S)
                    if is_down:
                        is_down = False
                        tell("the store takes the recording again")
                except (StoreError, OSError) as error:
                    if not is_down:
                        is_down = True
                        tell(
                            f"the store does not take the recording, which waits on the disk: {error}"[:_MOST_COMPLAINT]
                        )
                    self._complain(error)
                    await asyncio.sleep(next(delays))

    async def _put_segment(self, spool: Spool, segment: Segment) -> None:
        """The store has it, and the disk has it no more. Raises: StoreError, OSError."""
        store, where = self._opened(), where_is(spool)
        content = await asyncio.to_thread(spool.read, segment)
        await store.put(f"{where}/{segment.path}", content, content_type=_MEDIA_TYPES[segment.kind])
        if await store.size(f"{where}/{segment.path}") != segment.bytes:
            raise StoreError("what it holds is shorter than what it was given")
        await asyncio.to_thread(spool.note_stored, segment)
        # For whoever finishes it where this VM is gone.
        await store.put(
            f"{where}/{PROGRESS}", manifest.encode(spool.ledger.manifest()), content_type="application/json"
        )

    # Of bots that are out

    async def finish(self, live: Callable[[], Collection[tuple[str, int]]]) -> None:
        """Finish what is left, as long as the agent lives. `live`: bots that are with a worker, by id and attempt."""
        if self._store is None:
            return
        delays = backoff(*RETRY_S)
        while True:
            failed, some_are_held = False, bool(self._held)  # before it is looked: what is let go meanwhile is left
            left = await asyncio.to_thread(self._left, {name_of(*one) for one in live()})
            if left or some_are_held or self._held:
                self.idle.clear()
            else:
                self.idle.set()
            for folder in left:
                failed |= not await self._is_done_with(folder)
            delays = delays if failed else backoff(*RETRY_S)
            if left and not failed:
                continue  # more may have come meanwhile
            await pause(self._news, next(delays) if failed else LOOK_S)
            self._news.clear()

    async def _is_done_with(self, folder: Path) -> bool:
        """False: it is there as it was, and to be tried again after a pause."""
        try:
            await self._finish(folder)
        except UnmadeError as error:
            self._complain(error)
            self._tries[folder.name] += 1
            if self._tries[folder.name] < MOST_TRIES:
                return False
            return self._put_aside(folder, error)
        except (StoreError, OSError) as error:
            self._complain(error)
            return False
        except SpoiledError as error:
            return self._put_aside(folder, error)
        except Exception as error:  # of ours: it costs this recording its file, and is not met again and again
            log.exception("recording_failed")
            return self._put_aside(folder, error)
        self._tries.pop(folder.name, None)
        return True

    def _left(self, live: Collection[str]) -> list[Path]:
        """Oldest first."""
        try:
            folders = [one for one in self._folder.iterdir() if one.is_dir()]
        except OSError:  # none was made yet, or the disk is gone, and with it what is left
            folders = []
        found = [one for one in folders if one.suffix != SPOILED]
        _forget([one for one in folders if one.suffix == SPOILED])
        left = [one for one in found if one.name not in live and one.name not in self._held]
        self._left_bytes = sum(
            file.stat().st_size for one in left for file in one.iterdir() if file.suffix in _SUFFIXES
        )
        return sorted(left, key=lambda one: one.stat().st_mtime)

    async def _finish(self, folder: Path) -> None:
        """Raises: SpoiledError, StoreError, OSError, UnmadeError."""
        try:
            spool = await asyncio.to_thread(Spool.find, folder)
        except FileNotFoundError as error:
            raise SpoiledError("there is no log") from error
        known = spool.ledger
        if not known.closed:
            await asyncio.to_thread(spool.close, Closed(known.known_until))
        store, where = self._opened(), where_is(spool)
        if await store.exists(manifest.deleted(known.opened.bot_id)):
            log.info("recording_deleted", bot_id=known.opened.bot_id, attempt=known.opened.attempt)
            await store.delete(known.opened.bot_id)
            await asyncio.to_thread(spool.remove)
            return
        while segment := known.to_store:
            await self._put_segment(spool, segment)
        begun = time.monotonic()
        final = await Maker(self._settings, store).make(spool)
        try:
            await store.put(f"{where}/{FINAL}", manifest.encode(final), once=True, content_type="application/json")
        except TakenError:
            log.info("recording_finished_before", bot_id=known.opened.bot_id, attempt=known.opened.attempt)
        else:
            took_s = round(time.monotonic() - begun, 1)
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
            size = sum(file.bytes for file in (final.audio, final.video) if file)
            whose = (self._vm_id, final.bot_id, final.attempt, time.time())
            self._report(BotRecorded(*whose, True, audio_s, len(final.gaps), size, final.kinds, video_s))
        await asyncio.to_thread(spool.remove)

    def _opened(self) -> Store:
        assert self._store
        return self._store

    def _complain(self, error: Exception) -> None:
        """Once for the same."""
        if (said := str(error)) != self._complained:
            self._complained = said
            log.warning("recording_unstored", error=said[:_MOST_COMPLAINT])

    def _put_aside(self, folder: Path, error: Exception) -> bool:
        """No file will be made of it, and whoever waits for one hears so. False: it could not even be moved."""
        log.error("recording_spoiled", recording=folder.name, error=str(error)[:_MOST_COMPLAINT])
        try:
            _move_aside(folder)
        except OSError as fault:
            self._complain(fault)
            return False
        self._tries.pop(folder.name, None)
        if whose := whose_is(folder.name):
            self._report(BotRecorded(self._vm_id, *whose, time.time(), finished=True, gaps=1))
        return True


def kinds_of(join: Join, settings: CaptureSettings) -> tuple[Kind, ...]:
    """What of its meeting is to be recorded."""
    kinds: tuple[tuple[Kind, bool], ...] = (
        ("audio", not join.no_audio),
        ("video", join.video and settings.video != "off"),
    )
    return tuple(kind for kind, is_wished in kinds if is_wished)


def _move_aside(folder: Path) -> None:
    """Raises: OSError."""
    folder.rename(folder.with_name(f"{folder.name}-{time.time_ns()}{SPOILED}"))


def _forget(spoiled: Sequence[Path]) -> None:
    """For somebody to look at they stay a week, the latest of them. It is the sound of meetings."""
    times = ((folder.stem.rpartition("-")[2], folder) for folder in spoiled)
    dated = sorted(((int(at_ns), folder) for at_ns, folder in times if at_ns.isdecimal()), reverse=True)
    for kept, (at_ns, folder) in enumerate(dated):
        if kept >= MOST_SPOILED or time.time() - at_ns / 1e9 > SPOILED_LIFE_S:
            shutil.rmtree(folder, ignore_errors=True)


async def _alone(work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except Exception:  # of ours: it costs this bot its recording, and not its meeting
        log.exception("recording_failed")
