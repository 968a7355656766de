"""All recordings of this VM: those of bots in their meetings, and those that an agent left and that are to be finished.

What is spooled goes into the store while the meeting runs. Afterwards one file is made of it, one recording at a time,
and with the final manifest, which only one agent can put there, it is done. Nothing here is ever waited for by a bot.
"""

import asyncio
import hashlib
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog
from playwright.async_api import Page

from common.config.settings import CaptureSettings
from common.runtime.store import AbsentError, Store, StoreError, TakenError
from common.runtime.waiting import backoff, pause
from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, PROGRESS, Audio, Gap, Manifest, Segment
from common.wire.messages import BotRecorded, Join
from worker.capture.ledger import Closed, Opened
from worker.capture.recording import Hear, Recording
from worker.capture.spool import SpoiledError, Spool, name_of, whose_is
from worker.capture.unkept import Unkept
from worker.capture.work import Made, Stream, Work
from worker.decide.state import State

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LOOK_S: Final = 5.0
RETRY_S: Final = (1.0, 60.0)
REMUX_DEADLINE_S: Final = 900.0
SPOILED: Final = ".spoiled"
SPOILED_LIFE_S: Final = 7 * 86_400.0
MOST_SPOILED: Final = 20
MOST_TRIES: Final = 10
"""Of making one file: ten minutes. What could not be made then cannot be made."""
_MOST_COMPLAINT: Final = 300

Note = Callable[[State], None]
"""Takes where the bot is."""


def ignore(_state: State) -> None:
    pass


def _always() -> bool:
    return True


class UnmadeError(Exception):
    """The process that makes the file did not."""


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
        kept = not (self._store is None or join.no_audio or join.is_probe)
        if not kept and hear is None:
            yield ignore
            return
        name = name_of(join.bot_id, join.attempt)
        bound = log.bind(bot_id=join.bot_id, attempt=join.attempt, worker_id=join.worker_id)

        def spool() -> Spool | Unkept:
            return self._begin(name, join) if kept else Unkept()

        def began() -> None:
            if kept:
                self._report(BotRecorded(self._vm_id, join.bot_id, join.attempt, time.time()))
            tell(f"{'record' if kept else 'listen to'} its sound, by a tab that captures the meeting's")

        def voice_at() -> float | None:
            known = state()
            return known.received.voice_at if known else None

        kbps = self._settings.audio_kbps
        self.idle.clear()
        room = self._has_room if kept else _always
        recording = self._held[name] = Recording(spool, kbps, page, voice_at, room, began, tell, bound, hear)
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

    def _begin(self, name: str, join: Join) -> Spool:
        folder = self._folder / name
        if (folder / "log").exists():
            try:
                return Spool.find(folder)
            except SpoiledError as error:
                log.error("recording_spoiled", recording=name, error=str(error))
                _move_aside(folder)
        opened = Opened(join.bot_id, join.attempt, join.platform, time.time())
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
        store, where = self._opened(), _where(spool)
        content = await asyncio.to_thread(spool.read, segment)
        await store.put(f"{where}/{segment.path}", content, content_type="audio/webm")
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
        self._left_bytes = sum(file.stat().st_size for one in left for file in one.glob("segment-*"))
        return sorted(left, key=lambda one: one.stat().st_mtime)

    async def _finish(self, folder: Path) -> None:
        """Raises: SpoiledError, StoreError, OSError, UnmadeError."""
        try:
            spool = await asyncio.to_thread(Spool.find, folder)
        except FileNotFoundError as error:
            raise SpoiledError("there is no log") from error
        known = spool.ledger
        if not known.closed:
            last = known.segments[-1].ended_at if known.segments else known.opened.at
            await asyncio.to_thread(spool.close, Closed(known.pending[-1].at if known.pending else last))
        while segment := known.to_store:
            await self._put_segment(spool, segment)
        begun = time.monotonic()
        final = await self._make(spool)
        store, where = self._opened(), _where(spool)
        try:
            await store.put(f"{where}/{FINAL}", manifest.encode(final), once=True, content_type="application/json")
        except TakenError:
            log.info("recording_finished_before", bot_id=known.opened.bot_id, attempt=known.opened.attempt)
        else:
            took_s = round(time.monotonic() - begun, 1)
            audio_s = final.audio.duration_s if final.audio else 0.0
            log.info(
                "recording_finished",
                bot_id=final.bot_id,
                attempt=final.attempt,
                audio_s=audio_s,
                gaps=len(final.gaps),
                took_s=took_s,
            )
            told = (final.bot_id, final.attempt, time.time())
            size = final.audio.bytes if final.audio else 0
            self._report(BotRecorded(self._vm_id, *told, True, audio_s, len(final.gaps), size))
        await asyncio.to_thread(spool.remove)

    async def _make(self, spool: Spool) -> Manifest:
        """The one file is in the store, if there is anything to make it of; the final manifest."""
        known, store, where = spool.ledger, self._opened(), _where(spool)
        workshop = spool.folder / "workshop"
        shutil.rmtree(workshop, ignore_errors=True)
        workshop.mkdir(mode=0o700)
        damaged: list[Gap] = []
        streams: list[Stream] = []
        for part in known.parts:
            path = workshop / f"part-{part.number}.webm"
            if whole := [one for one in known.segments if one.part == part.number]:
                damaged += await self._fetch_part(where, whole, path)
                streams.append(_stream(path, round(part.began_at - known.began_at, 3), part.began_at, whole))
        out = workshop / AUDIO
        made = await self._remux(Work(streams, str(out), self._settings.finish_memory_mb))
        damaged += [Gap(known.parts[n].began_at, known.parts[n].began_at, "damaged") for n in made.unreadable]
        audio = None
        if made.duration_s:
            size, sha256 = await asyncio.to_thread(_measure, out)
            audio = Audio(AUDIO, size, sha256, made.duration_s, made.filled_s, made.loudness_lufs, *made.dbfs)
            await store.put(f"{where}/{AUDIO}", out, content_type="audio/ogg")
            if await store.size(f"{where}/{AUDIO}") != size:
                raise StoreError("what it holds is shorter than what it was given")
        final = known.manifest(audio, finished=True)
        return msgspec.structs.replace(final, gaps=[*final.gaps, *damaged])

    async def _fetch_part(self, where: str, segments: list[Segment], path: Path) -> list[Gap]:
        """It is in the file as far as the store has what it was given; where not, a gap each."""
        damaged: list[Gap] = []
        with path.open("wb") as file:
            for segment in segments:
                try:
                    content = await self._opened().get(f"{where}/{segment.path}")
                except AbsentError:
                    content = b""
                if hashlib.sha256(content).hexdigest() == segment.sha256:
                    file.write(content)
                else:
                    damaged.append(Gap(segment.began_at, segment.ended_at, "damaged"))
        return damaged

    async def _remux(self, work: Work) -> Made:
        """Raises: UnmadeError, OSError."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker.capture.remux"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said = complaint = b""
        try:
            async with asyncio.timeout(REMUX_DEADLINE_S):
                said, complaint = await process.communicate(msgspec.json.encode(work))
            return msgspec.json.decode(said, type=Made)
        except TimeoutError as error:
            raise UnmadeError(f"no file was made within {REMUX_DEADLINE_S:g} s") from error
        except msgspec.DecodeError as error:
            last = complaint.decode(errors="replace").strip().splitlines()[-1:]
            raise UnmadeError(f"no file was made (exit {process.returncode}): {''.join(last)[:200]}") from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

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


def _measure(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _stream(path: Path, media_s: float, began_at: float, segments: Sequence[Segment]) -> Stream:
    anchors = [(one.media_s - media_s, one.began_at - began_at) for one in segments]
    return Stream(str(path), media_s, anchors, segments[-1].ended_at - began_at)


def _where(spool: Spool) -> str:
    return manifest.folder(spool.ledger.opened.bot_id, spool.ledger.opened.attempt)
