"""All recordings of this VM: those of bots in their meetings, and unfinished ones, also of earlier agents.

While the meeting runs, the spool's segments go into the store (storing.py). After it, one file a kind is made
(finishing.py). No bot ever waits for anything here.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
from playwright.async_api import Page

from common.config.settings import CaptureSettings
from common.runtime.recordings.store import Store
from common.wire.manifest import Kind
from common.wire.messages import BotRecorded, FinishRecording, Join
from worker.capture.clock import Clock
from worker.capture.finishing import FindTurns, Finishing, move_aside, no_turns
from worker.capture.null_spool import NullSpool
from worker.capture.on_display import DisplayWay
from worker.capture.progress import Opened, Paused
from worker.capture.recording import OnSound, Recording, nothing
from worker.capture.spool import LOG, DamagedRecordingError, Spool, name_of
from worker.capture.storing import Storing
from worker.capture.tab import TabWay
from worker.capture.tracks import OnPackets, TrackRecording, equip
from worker.capture.way import CaptureOptions, Way
from worker.chromium.display import is_recordable
from worker.decide.state import State

log: structlog.stdlib.BoundLogger = structlog.get_logger()

MOST_PUT_OFF: Final = 100
"""Bots of which it is kept that they were paused before they were recorded. Most others have ended."""
_LABELS: Final[dict[tuple[Kind, ...], str]] = {
    ("audio",): "sound",
    ("video",): "picture",
    ("audio", "video"): "sound and picture",
}

OnState = Callable[[State], None]
"""Gets each new state of the bot."""


def ignore(_state: State) -> None:
    pass


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
        self._folder = folder
        self._settings = settings
        self._report = report
        self._active: dict[str, Recording] = {}
        self._put_off: dict[str, bool] = {}  # of bots that are claimed, or gone: whether they were paused last
        self.idle = asyncio.Event()  # no bot is recorded, and nothing is unfinished
        self._storing = Storing(store) if store else None
        self._finishing: Finishing | None = None
        if self._storing:
            self._finishing = Finishing(
                *(vm_id, folder, settings, self._storing, self._active.keys(), self.idle, report),
                *(find_turns, unattended_s),
            )

    async def equip(self, page: Page) -> None:
        """Have a worker's page ready for what is recorded inside it. Raises: what a call to a page may raise."""
        if self._settings.tracks and self._storing:
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
        kept = () if self._storing is None or join.is_probe else kinds_of(join, self._settings)
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
            await self._let_go(name)

    async def _store_along(self, recording: Recording, add_to_story: Callable[[str], None]) -> None:
        if self._storing:
            await self._storing.along(recording, add_to_story)

    async def _let_go(self, name: str) -> None:
        try:
            if spool := self._active[name].spool:
                await asyncio.to_thread(spool.release)
        finally:
            del self._active[name]
            if self._finishing:
                self._finishing.look_again()

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
                move_aside(folder)
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
        unfinished_bytes = self._finishing.unfinished_bytes if self._finishing else 0
        return unfinished_bytes + sum(spool.progress.spooled_bytes for spool in spools if spool)

    @property
    def refused(self) -> int:
        """How often the store did not do what was asked of it."""
        return self._storing.refused if self._storing else 0

    # Unfinished ones

    async def finish(self, live: Callable[[], Collection[tuple[str, int]]]) -> None:
        """Finish recordings for as long as the agent lives. `live`: the bots that have a worker, by id and attempt."""
        if self._finishing:
            await self._finishing.run(live)

    def take_over(self, order: FinishRecording) -> None:
        """Finish a recording of another VM, which is gone."""
        if self._finishing:
            self._finishing.take_over(order)


def kinds_of(join: Join, settings: CaptureSettings) -> tuple[Kind, ...]:
    """What is recorded of the bot's meeting."""
    kinds: tuple[tuple[Kind, bool], ...] = (
        ("audio", not join.no_audio),
        ("video", join.video and settings.video != "off"),
    )
    return tuple(kind for kind, is_wanted in kinds if is_wanted)


async def _contained(work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except Exception:  # a bug: the bot loses its recording, but not its meeting
        log.exception("recording_failed")
