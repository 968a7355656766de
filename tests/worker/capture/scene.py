"""One bot that is recorded, without a browser: a stand-in for the recorder gives a chunk a fetch. The spool is real."""

import asyncio
import errno
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import msgspec
import structlog
from playwright.async_api import Page

from common.config.settings import WorkerSettings
from common.wire.manifest import Gap, GapCause, Manifest
from common.wire.messages import AutomaticLeave
from common.wire.vocabulary import BotState, Reason
from worker.capture.clock import Clock
from worker.capture.null_spool import NullSpool
from worker.capture.progress import Opened
from worker.capture.recording import Recording
from worker.capture.spool import Spool
from worker.capture.way import PAUSED, CaptureOptions, Chunk, Pulled, Start, WayName
from worker.decide.state import Limits, SessionSettings, State
from worker.decide.words import Finish

IN_MEETING = State(Limits.of(AutomaticLeave(), SessionSettings.of(WorkerSettings())), 0.0, BotState.IN_MEETING)
SILENT = "capture_failed: what is recorded is silent, and the meeting is not"
REFUSED = msgspec.structs.replace(IN_MEETING, refused_since=1.0)
OUT = msgspec.structs.replace(IN_MEETING, ending=Finish(Reason.MEETING_ENDED))


class StandIn:
    """A way, and its recorder. `begun`: the cause before each part. `told`: what was called. `level`: how loud it is
    now. `heard_at`: when it last gave something loud.
    """

    def __init__(self, name: WayName = "recorder_tab") -> None:
        self.name: WayName = name
        self.label = f"by a stand-in for the {name}"
        self.opens = 0
        self.trouble: Exception | None = None  # in opening it
        self.is_open = False
        self.stopped = ""
        self.begun: list[GapCause | None] = []
        self.told: list[str] = []
        self.level = self._level_before = 1.0  # `_level_before`: at the last pull
        self.heard_at = 0.0
        self.is_stuck = False
        self._at = 0.0
        self.clock = Clock(0)
        self._chunks: list[Chunk] = []
        self.seq = 0

    async def find(self, page: Page | None) -> "StandIn | None":
        return self if self.is_open else None

    async def open(self, page: Page, start: Start) -> "StandIn":
        self.opens += 1
        if self.trouble:
            raise self.trouble
        self.is_open, self.stopped = True, PAUSED if start.paused else ""
        self.seq, self._chunks, self._level_before = start.seq, [], self.level
        self._part, self.clock = start.parts["audio"] - 1, start.clock
        if not start.paused:
            self._begin(start.cause)
        return self

    def _begin(self, cause: GapCause | None) -> None:
        self.begun.append(cause)
        self._part, self._at = self._part + 1, self.clock.now()

    async def pull(self, confirmed: int, wanted: int, cause: GapCause | None) -> Pulled:
        if not self.is_open:
            raise OSError("there is no recorder")
        self._chunks = [chunk for chunk in self._chunks if chunk.seq >= confirmed]
        if not self.stopped and not self.is_stuck:
            now = self.clock.now()
            chunk = Chunk(self.seq, "audio", self._part, self._at, now, now - self._at, b"sound", self.begun[-1])
            self._chunks.append(chunk)
            self.seq += 1
        loudest, self._level_before = max(self.level, self._level_before), self.level
        self.heard_at = self.clock.now() if loudest else self.heard_at
        return Pulled(self._chunks[:wanted], len(self._chunks), {"audio": self.stopped}, loudest)

    async def pause(self) -> None:
        self.told.append("pause")
        self.stopped = self.stopped or PAUSED

    async def resume(self, cause: GapCause) -> None:
        self.told.append("resume")
        self.stopped = ""
        self._begin(cause)

    async def stop(self) -> None:
        self.stopped = self.stopped or "asked"

    async def close(self) -> None:
        self.told.append("close")
        self.is_open = False


class Scene:
    """One bot that is recorded by a stand-in, and by another one when that fails, if there is one. `heard`: the parts
    of the sound that is sent live. `begun`: how it was recorded at first.
    """

    def __init__(self, folder: Path, *stand_ins: StandIn) -> None:
        self.folder = folder / "b1@1"
        self.spool: Spool | NullSpool | None = None
        self.stand_in, *others = stand_ins or [StandIn()]
        self.page: Page | None = cast("Page", object())
        self.disk: OSError | None = None
        self.has_room = True
        self.is_only_streamed = False
        self.voice_at: float | None = None
        self.story: list[str] = []
        self.heard: list[int] = []
        self.begun: list[str] = []
        self.announced: list[bool] = []  # whether it was paused then
        self.recording = Recording(
            spool=self.open_spool,
            ways=[self.stand_in, *others],
            options=CaptureOptions(("audio",), 96, 0, 0, 0, 0),
            page=lambda: self.page,
            voice_at=lambda: self.voice_at,
            has_room=lambda: self.has_room,
            on_began=self.begun.append,
            add_to_story=self.story.append,
            log=structlog.get_logger(),
            on_sound=lambda _seq, part, _chunk: self.heard.append(part),
            find_left=self.find_left,
            on_recorder=lambda: self.announced.append(self.recording.is_paused),
        )

    def open_spool(self, came_in_at: float, clock: Clock) -> Spool | NullSpool:
        if self.disk:
            raise self.disk
        if self.is_only_streamed:
            return NullSpool()
        opened = Opened("b1", 1, "room", came_in_at, way=self.stand_in.name, ahead_s=clock.ahead_s)
        is_new = not self.folder.exists()
        self.spool = Spool.create(self.folder, opened) if is_new else Spool.find(self.folder)
        return self.spool

    def find_left(self) -> Spool | None:
        if self.disk:
            raise self.disk
        return Spool.find(self.folder) if self.folder.exists() else None

    @property
    def made(self) -> Manifest:
        assert isinstance(self.spool, Spool)
        return self.spool.progress.manifest()

    @property
    def gaps(self) -> list[Gap]:
        """But those of a busy machine: a recorder may begin seconds late there, or be behind at the end."""
        return [gap for gap in self.made.gaps if gap.cause != "late"]

    @asynccontextmanager
    async def recorded(self, state: State = IN_MEETING, *, is_killed: bool = False) -> AsyncGenerator[None]:
        """`is_killed`: the agent, afterwards, with its threads; the bot is still in its meeting then."""
        loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor()
        loop.set_default_executor(threads)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self.recording.run(), name="record")
            self.recording.note(state)
            yield
            if is_killed:
                running.cancel()
            else:
                self.recording.end()
        loop.set_default_executor(ThreadPoolExecutor())
        threads.shutdown()


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
