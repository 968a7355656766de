"""What agents left of recordings, and one that finishes it. No browser here: sound is encoded as a browser does it."""

import asyncio
import io
import math
from array import array
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, cast

import av

from common.config.settings import WorkerSettings
from common.wire import manifest
from common.wire.manifest import FINAL, Manifest
from common.wire.messages import AutomaticLeave, FinishRecording
from common.wire.vocabulary import Reason
from tests.worker.capture.conftest import Recorded
from worker.capture.progress import Began, Chunk, Closed, Opened
from worker.capture.recording import Recording
from worker.capture.recordings import Recordings
from worker.capture.spool import Spool, name_of
from worker.decide.state import Limits, SessionSettings, State
from worker.decide.words import Finish

# Files are made at the lowest priority: beside busy loops that takes minutes.
MAKING_S: Final = 400.0
RATE: Final = 48_000
OUT: Final = State(
    Limits.of(AutomaticLeave(), SessionSettings.of(WorkerSettings())), 0.0, ending=Finish(Reason.MEETING_ENDED)
)
OPENED: Final = Opened("b1", 1, "room", 1000.0)


def sound(seconds: int) -> bytes:
    """A WebM of Opus: 440 Hz on both sides."""
    out = io.BytesIO()
    file: Any = av.open(out, "w", format="webm")
    stream = file.add_stream("libopus", rate=RATE, layout="stereo")
    tone = [round(8000 * math.sin(2 * math.pi * 440 * at / RATE)) for at in range(4800)]  # 44 times up and down
    pieces = [
        array("h", [value for value in tone[at : at + 960] for _ in "lr"]).tobytes() for at in range(0, 4800, 960)
    ]
    for n in range(seconds * 50):
        frame: Any = av.AudioFrame(format="s16", layout="stereo", samples=960)
        frame.rate, frame.pts, frame.time_base = RATE, n * 960, Fraction(1, RATE)
        frame.planes[0].update(pieces[n % len(pieces)])
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))
    file.close()
    return out.getvalue()


TEN_S: Final = sound(10)


def spooled(folder: Path, *begins_at: float) -> Spool:
    """Parts of ten seconds, in chunks of one, as a bot that was killed left them."""
    spool = Spool.create(folder / name_of("b1", 1), OPENED)
    for part, began_at in enumerate(begins_at):
        size = len(TEN_S) // 10 + 1
        pieces = [TEN_S[at : at + size] for at in range(0, len(TEN_S), size)]
        cause = "agent_away" if part else None
        spool.append(
            [
                (Began(part, began_at, cause), Chunk(part * 10 + n, began_at + n + 1, float(n), len(piece)), piece)
                for n, piece in enumerate(pieces)
            ]
        )
    return spool


class UnderWay:
    """A recording of a bot that is in its meeting, as far as the store is concerned."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.has_new_chunks = asyncio.Event()
        self.has_new_chunks.set()


@asynccontextmanager
async def storing(recorded: Recorded, under_way: UnderWay, story: list[str]) -> AsyncGenerator[None]:
    async with asyncio.TaskGroup() as tasks:
        recording = cast("Recording", under_way)
        work = tasks.create_task(recorded.storing.along(recording, story.append), name="store")
        yield
        work.cancel()


async def until_idle(recorded: Recorded) -> None:
    async with asyncio.timeout(MAKING_S):
        await recorded.recordings.idle.wait()


@asynccontextmanager
async def finishing(recorded: Recorded) -> AsyncGenerator[None]:
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(recorded.recordings.finish(lambda: [("live", 1)]), name="finish")
        yield
        work.cancel()


async def finish(recorded: Recorded) -> Manifest:
    async with finishing(recorded):
        await until_idle(recorded)
    return manifest.decode(recorded.file(FINAL).read_bytes())


async def store_next(recorded: Recorded, spool: Spool) -> bool:
    segment = spool.progress.to_store
    if segment:
        await recorded.storing.put(spool, segment)
    return segment is not None


ORDER: Final = FinishRecording("b1", 1, 1040.0)


async def lost(recorded: Recorded) -> Recordings:
    """A recording whose VM was lost with its disk before it made the files, and an agent elsewhere."""
    spool = spooled(recorded.folder, 1000.5, 1015.0)
    spool.close(Closed(1025.0))
    while await store_next(recorded, spool):
        pass
    recorded.file("segment-000003.webm").unlink()  # it was named, and had not arrived
    recorded.folder = recorded.folder.parent.parent / "elsewhere" / "recordings"
    return recorded.anew()


def stored(recorded: Recorded) -> dict[str, bytes]:
    return {name: (Path(recorded.settings.store) / name).read_bytes() for name in files_in(recorded.settings.store)}


def files_in(folder: str) -> list[str]:
    return [str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()]
