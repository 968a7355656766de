"""What an agent makes of what another one left: one file, once, and the truth about what is missing. No browser here:
sound is encoded as a browser does it.
"""

import asyncio
import errno
import hashlib
import io
import math
import os
import shutil
import time
from array import array
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Final, cast

import av
import msgspec
import pytest
from structlog.testing import capture_logs

from common.config.settings import CaptureSettings, WorkerSettings
from common.runtime.recordings import deletion
from common.runtime.recordings.manifests import so_far
from common.runtime.recordings.store import Store, StoreError
from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, PROGRESS, SET_ASIDE, Gap, GapCause, Kind, Manifest, Peaks, Segment, Way
from common.wire.messages import AutomaticLeave, FinishRecording, Join
from common.wire.vocabulary import BotState, Reason
from lab.recorded.received import listen
from tests.waiting import wait_until
from tests.worker.capture.conftest import Recorded
from tests.worker.capture.test_making_tracks import line, tone
from worker.capture.clock import Clock
from worker.capture.finishing import MOST_ORDERED, MOST_SPOILED, SPOILED, SPOILED_LIFE_S, missing_s
from worker.capture.making.maker import Maker
from worker.capture.making.work import Work, WorkResult
from worker.capture.progress import Began, Chunk, Closed, Opened, Paused, Resumed
from worker.capture.recording import Recording
from worker.capture.recordings import MOST_PUT_OFF, Recordings
from worker.capture.spool import Spool, name_of
from worker.capture.storing import MOST_TRIES, RETRY_S
from worker.capture.tab import TabWay
from worker.decide.state import Limits, SessionSettings, State
from worker.decide.words import Finish

# Files are made at the lowest priority: beside busy loops that takes minutes.
MAKING_S: Final = 400.0
pytestmark = pytest.mark.timeout(3 * MAKING_S)

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


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


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


async def test_parts_are_one_file_that_keeps_to_the_wall_clock_and_gaps_are_silence(recorded: Recorded) -> None:
    spooled(recorded.folder, 1000.5, 1015.0)
    Spool.create(recorded.folder / name_of("live", 1), OPENED)
    async with finishing(recorded):
        await wait_until(lambda: recorded.reports, MAKING_S)
        await wait_until(lambda: not (recorded.folder / name_of("b1", 1)).exists(), MAKING_S)
        assert not recorded.recordings.idle.is_set() or not recorded.recordings.spooled_bytes
    made = manifest.decode(recorded.file(FINAL).read_bytes())
    assert [(gap.began_at, gap.ended_at, gap.cause) for gap in made.gaps] == [(1010.5, 1015.0, "agent_away")]
    assert [segment.part for segment in made.segments] == [0, 0, 1, 1]
    assert (made.finished, made.ended_at) == (True, 1025.0)
    assert made.audio
    assert made.audio.duration_s == pytest.approx(25.0, abs=0.2)
    assert made.audio.filled_s == pytest.approx(5.0, abs=0.2)
    assert recorded.reports[-1].missing_s == made.audio.filled_s
    [gap] = made.gaps
    until = made.began_at + made.audio.duration_s
    cases: list[tuple[float, float, GapCause, float]] = [
        (gap.began_at, gap.ended_at, "paused", made.audio.filled_s - 4.5),
        (until - 1, until + 9, "paused", made.audio.filled_s - 1),
        (gap.began_at, gap.ended_at, "refused", made.audio.filled_s - 4.5),
        (until - 1, until + 9, "vm_lost", made.audio.filled_s + 9),
    ]
    for began_at, ended_at, cause, expected_s in cases:
        told = msgspec.structs.replace(
            made, gaps=[Gap(began_at, ended_at, cause), Gap(until, until + 9, cause, "video")]
        )
        assert missing_s(told) == pytest.approx(expected_s, abs=0.001)
    assert missing_s(msgspec.structs.replace(made, audio=None)) == pytest.approx(4.5)
    assert made.audio.loudness_lufs == pytest.approx(-12.0, abs=1.5)
    assert hashlib.sha256(recorded.made(AUDIO).read_bytes()).hexdigest() == made.audio.sha256
    assert made.waveform
    drawn = recorded.file(made.waveform.path).read_bytes()
    assert hashlib.sha256(drawn).hexdigest() == made.waveform.sha256
    peaks = msgspec.json.decode(drawn, type=Peaks)
    assert [peaks.left[at] > 0.2 for at in (50, 120, 160)] == [True, False, True]
    assert (made.thumbnails, list(recorded.file("x").parent.glob("*.jpg"))) == (None, []), "of sound alone"
    heard = listen(recorded.made(AUDIO))
    assert heard.tones(440, 12 * RATE)[0] < -60 < -20 < heard.tones(440, 16 * RATE)[0]
    assert (await so_far(recorded.store, "b1/1")).segments == made.segments
    assert [(report.finished, report.gaps) for report in recorded.reports] == [(True, 1)]
    assert recorded.reports[0].first_gaps == tuple(made.gaps)


@pytest.mark.long
async def test_each_part_is_placed_as_its_own_way_to_record_tells(recorded: Recorded) -> None:
    """A display's sound has the time of the wall clock; of a tab's only the arrival tells it."""
    late_s = 2.0
    spool = Spool.create(recorded.folder / name_of("b1", 1), msgspec.structs.replace(OPENED, way="display"))
    ways: tuple[Way, ...] = ("display", "recorder_tab")
    for part, (way, began_at) in enumerate(zip(ways, (1000.0, 1020.0), strict=True)):
        began, chunk = Began(part, began_at, None, way=way), Chunk(part, began_at + 10 + late_s, 0.0, len(TEN_S))
        spool.append([(began, chunk, TEN_S)])
    made = await finish(recorded)
    assert [part.way for part in made.parts] == [None, "recorder_tab"]
    heard = listen(recorded.made(AUDIO))
    moments = (0.5, 9.5, 10.5, 20 + late_s - 0.5, 20 + late_s + 0.5, 30 + late_s - 0.5)
    loud = [heard.tones(440, round(at * RATE))[0] > -20 for at in moments]
    assert loud == [True, True, False, False, True, True]


@pytest.mark.long
async def test_of_many_gaps_the_first_are_reported(recorded: Recorded) -> None:
    agent = await lost(recorded)
    many = [Gap(1000.0 + n, 1000.5 + n, "agent_away", "video" if n % 2 else "audio") for n in range(50)]
    made = manifest.decode(recorded.file(PROGRESS).read_bytes())
    recorded.file(FINAL).write_bytes(
        manifest.encode(msgspec.structs.replace(made, finished=True, gaps=[*many[::2], *many[1::2]]))
    )
    agent.take_over(ORDER)
    await finish(recorded)
    [report] = recorded.reports
    assert (report.gaps, list(report.first_gaps)) == (50, many[:20])


def of_seconds(recorded: Recorded, seconds: int) -> Spool:
    """Of all kinds, with packets now and then."""
    opened = Opened("b1", 1, "room", 1000.0, ("audio", "video", "tracks"))
    spool = Spool.create(recorded.folder / name_of("b1", 1), opened)
    every: dict[Kind, int] = {"audio": 1, "video": 1, "tracks": 7}
    for second in range(seconds):
        spool.append(
            [
                (Began(0, 1000.0, None, kind), Chunk(second, 1001.0 + second, float(second), 3, kind), b"%03d" % second)
                for kind, apart in every.items()
                if second % apart == 0
            ]
        )
    return spool


async def store_next(recorded: Recorded, spool: Spool) -> bool:
    segment = spool.progress.to_store
    if segment:
        await recorded.storing.put(spool, segment)
    return segment is not None


async def test_whenever_its_vm_is_lost_the_store_says_every_segment_that_it_has(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.storing.WHOLE_EVERY", 3)
    spool, put, names = of_seconds(recorded, 118), Store.put, list[str]()
    spool.close(Closed(1120.0))
    refuses = {9, 10, 31}

    async def put_or_refuse(store: Store, path: str, *args: Any, **options: Any) -> None:
        name = path.rpartition("/")[2]
        if name.startswith("progress"):
            names.append(name)
            if len(names) in refuses:
                raise StoreError("refused")
        await put(store, path, *args, **options)

    monkeypatch.setattr(Store, "put", put_or_refuse)
    is_told = True
    while spool.progress.to_store:
        try:
            await store_next(recorded, spool)
            is_told = True
        except StoreError:
            is_told = False
        if is_told:
            found, stored = await so_far(recorded.store, "b1/1"), spool.progress.stored
            for kind, track in spool.progress.tracks.items():
                assert [each for each in found.segments if each.kind == kind] == track.segments[: stored[kind]]
            assert (found.parts, found.gaps) == (spool.progress.manifest().parts, spool.progress.gaps)
        if len(names) == 20:
            recorded.anew()  # an agent that is started anew
    assert names.count(PROGRESS) > 5
    whole = manifest.decode(recorded.file(PROGRESS).read_bytes())
    assert (whole.segments, whole.ended_at) == (spool.progress.segments, 1120.0)
    assert len(set(names)) > 20


@pytest.mark.long
async def test_what_says_so_grows_with_the_recording_and_no_faster(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(_: int) -> None:
        """This is not about the disk, and ten thousand times it takes long."""

    monkeypatch.setattr("os.fdatasync", written)
    spool, put, sizes = of_seconds(recorded, 2000), Store.put, list[int]()

    async def count(store: Store, path: str, content: bytes, **options: Any) -> None:
        if "/progress" in path:
            sizes.append(len(content))
        await put(store, path, content, **options)

    monkeypatch.setattr(Store, "put", count)
    while await store_next(recorded, spool):
        pass
    assert len(sizes) > 600
    whole = len(recorded.file(PROGRESS).read_bytes())
    assert sum(sizes[: len(sizes) // 2]) * 2.5 > sum(sizes)
    assert sum(sizes) < 16 * whole


async def test_what_is_missing_between_the_last_chunk_and_the_end_that_an_agent_noted_is_a_gap(
    recorded: Recorded,
) -> None:
    assert spooled(recorded.folder, 1000.5).note_end(1030.0) == 1030.0
    assert Spool.find(recorded.folder / name_of("b1", 1)).note_end(1099.0) == 1030.0, "the first one counts"
    made = await finish(recorded)
    assert (made.ended_at, made.gaps) == (1030.0, [Gap(1010.5, 1030.0, "browser_gone")])


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize(("unattended_s", "lasts_s"), [(math.inf, 60.0), (20.0, 20.0)])
async def test_of_a_browser_that_died_while_there_was_no_agent_the_gap_is_up_to_when_it_may_have_been_out(
    recorded: Recorded, is_restarted: bool, unattended_s: float, lasts_s: float
) -> None:
    """`is_restarted`: so was the machine, whose monotonic clock begins anew."""
    recorded.unattended_s = unattended_s
    recorded.anew()
    clock = Clock(Clock.by_wall().ahead_s - 86_400.0 * is_restarted)
    part_at = time.time() - 70.0
    opened = msgspec.structs.replace(OPENED, at=part_at - 0.5, ahead_s=clock.ahead_s)
    spool = Spool.create(recorded.folder / name_of("b1", 1), opened)
    spool.append([(Began(0, part_at), Chunk(0, part_at + 10.0, 0.0, len(TEN_S)), TEN_S)])
    made = await finish(recorded)
    [gap] = made.gaps
    assert (gap.began_at, gap.cause, made.ended_at) == (part_at + 10.0, "browser_gone", gap.ended_at)
    assert gap.ended_at - gap.began_at == pytest.approx(lasts_s, abs=10.0)


async def test_so_it_is_of_one_that_was_paused_however_long(recorded: Recorded) -> None:
    spool = Spool.create(recorded.folder / name_of("b1", 1), msgspec.structs.replace(OPENED, at=time.time() - 60.0))
    spool.append([(Began(0, time.time() - 60.0), Chunk(0, time.time() - 50.0, 0.0, len(TEN_S)), TEN_S)])
    spool.pause(Paused(time.time() - 50.0))
    [gap] = (await finish(recorded)).gaps
    assert (gap.cause, gap.ended_at - gap.began_at) == ("paused", pytest.approx(50.0, abs=10.0))


async def test_what_another_agent_finished_is_finished_no_second_time(recorded: Recorded, tmp_path: Path) -> None:
    spool = spooled(recorded.folder, 1000.5)
    shutil.copytree(spool.folder, tmp_path / "copy")
    before = await finish(recorded)
    shutil.copytree(tmp_path / "copy", spool.folder)
    recorded.anew()
    assert await finish(recorded) == before
    first, second = recorded.reports
    assert msgspec.structs.replace(second, at=first.at) == first, "it may not have been told"
    assert list(recorded.folder.iterdir()) == []


def stored(recorded: Recorded) -> dict[str, bytes]:
    return {name: (Path(recorded.settings.store) / name).read_bytes() for name in files_in(recorded.settings.store)}


@pytest.mark.long
async def test_a_vm_that_comes_back_with_more_changes_nothing_of_what_another_one_finished(recorded: Recorded) -> None:
    spooled(recorded.folder, 1000.5)
    await finish(recorded)
    before = stored(recorded)
    spooled(recorded.folder, 1000.5, 1015.0)
    recorded.anew()
    with capture_logs() as logs:
        await finish(recorded)
    assert stored(recorded) == before
    assert (list(recorded.folder.iterdir()), len({report.audio_s for report in recorded.reports})) == ([], 1)
    assert [line["event"] for line in logs if "finished" in line["event"]] == ["recording_finished_before"]


class FinishedAtOnce(Store):
    """Two agents have made their files, and put their manifests at the same time."""

    both: asyncio.Barrier

    async def put(self, path: str, what: bytes | Path, *, once: bool = False, content_type: str = "") -> None:
        if path == f"b1/1/{FINAL}":
            await self.both.wait()
        await super().put(path, what, once=once, content_type=content_type)


@pytest.mark.long
async def test_of_two_agents_that_finish_at_once_the_manifest_is_true_of_its_files(recorded: Recorded) -> None:
    recorded.store = store = FinishedAtOnce(recorded.settings)
    store.both = asyncio.Barrier(2)
    there = recorded.anew()
    spooled(recorded.folder, 1000.5)
    recorded.folder = recorded.folder.parent.parent / "elsewhere" / "recordings"
    spooled(recorded.folder, 1000.5, 1015.0)
    here = recorded.anew()
    async with asyncio.timeout(MAKING_S), asyncio.TaskGroup() as tasks:
        works = [tasks.create_task(agent.finish(list), name="finish") for agent in (here, there)]
        await wait_until(lambda: not any(recorded.folder.parent.parent.rglob(name_of("b1", 1))), MAKING_S)
        for work in works:
            work.cancel()
    made = manifest.decode(recorded.file(FINAL).read_bytes())
    for file in (made.audio, made.waveform):
        assert file
        content = recorded.file(file.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256)
    assert len(list(recorded.file(FINAL).parent.glob("audio-*.ogg"))) == 2, "neither replaced the other's"
    assert [report.audio_s for report in recorded.reports] == [made.audio and made.audio.duration_s] * 2


class AnsweredTooLate(Store):
    """The manifest is put, and the answer comes after the deadline. `synced`: what was synced afterwards."""

    synced: list[str]

    async def put(self, path: str, what: bytes | Path, *, once: bool = False, content_type: str = "") -> None:
        await super().put(path, what, once=once, content_type=content_type)
        if path == f"b1/1/{FINAL}":
            raise StoreError("no answer within 60 s")

    async def sync(self, path: str) -> None:
        self.synced.append(path)
        await super().sync(path)


async def test_a_manifest_that_was_put_and_not_told_is_told_by_the_next_try(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    recorded.store = store = AnsweredTooLate(recorded.settings)
    store.synced = []
    recorded.anew()
    spooled(recorded.folder, 1000.5)
    made = await finish(recorded)
    assert made.audio
    assert [(report.finished, report.audio_s) for report in recorded.reports] == [(True, made.audio.duration_s)]
    assert (list(recorded.folder.iterdir()), store.synced) == ([], [f"b1/1/{FINAL}"])


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


async def test_what_is_left_of_a_recording_whose_vm_is_gone_is_finished_elsewhere_once(recorded: Recorded) -> None:
    agent = await lost(recorded)
    agent.take_over(ORDER)
    agent.take_over(ORDER)
    made = await finish(recorded)
    assert [(gap.began_at, gap.ended_at, gap.cause) for gap in made.gaps] == [
        (1010.5, 1015.0, "agent_away"), (1020.0, 1025.0, "vm_lost"),
    ]  # fmt: skip
    assert made.audio
    assert made.audio.duration_s == pytest.approx(20.0, abs=0.2)
    heard = listen(recorded.made(AUDIO))
    assert heard.tones(440, 12 * RATE)[0] < -60 < -20 < heard.tones(440, 17 * RATE)[0]
    assert (list(recorded.folder.iterdir()), len(recorded.reports)) == ([], 1)
    agent.take_over(ORDER)
    assert await finish(recorded) == made
    assert [(report.finished, report.gaps) for report in recorded.reports] == [(True, 2)] * 2, "told again, not made"


@pytest.mark.parametrize("set_by_s", [-3600.0, 3600.0])
async def test_of_a_vm_whose_clock_was_set_before_it_was_lost_as_much_is_missing_as_was_lost(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, set_by_s: float
) -> None:
    clock, wall = Clock.by_wall(), time.time
    began_at = clock.now()
    part_at = began_at + 0.5
    spool = Spool.create(
        recorded.folder / name_of("b1", 1), msgspec.structs.replace(OPENED, at=began_at, ahead_s=clock.ahead_s)
    )
    spool.append([(Began(0, part_at), Chunk(0, part_at + 10, 0.0, len(TEN_S)), TEN_S)])
    spool.cut()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: wall() + set_by_s)
        assert await store_next(recorded, spool)
    recorded.folder = recorded.folder.parent.parent / "elsewhere" / "recordings"
    recorded.anew().take_over(FinishRecording("b1", 1, began_at + set_by_s + 40.5))
    made = await finish(recorded)
    [gap] = made.gaps
    assert (gap.cause, gap.began_at - began_at) == ("vm_lost", pytest.approx(10.5))
    assert gap.ended_at - began_at == pytest.approx(40.5, abs=1.0)
    assert made.wall_ahead_s == 0


DAMAGED: Final = (b"", b'{"version": 1, "bot_id": "b1"', b"\xff\x00", b"[]")
TRIED_AT_ONCE: Final = ((b"", False), (b"[]", False), (b"\xff\x00", True))


@pytest.mark.parametrize(
    ("damaged", "is_taken_over"),
    [
        pytest.param(*each, marks=[] if each in TRIED_AT_ONCE else pytest.mark.long)
        for each in product(DAMAGED, (False, True))
    ],
)
async def test_a_manifest_that_cannot_be_read_is_set_aside_for_a_true_one(
    recorded: Recorded, damaged: bytes, is_taken_over: bool
) -> None:
    if is_taken_over:
        (await lost(recorded)).take_over(ORDER)
    else:
        spooled(recorded.folder, 1000.5)
    recorded.file(FINAL).parent.mkdir(parents=True, exist_ok=True)
    recorded.file(FINAL).write_bytes(damaged)
    with capture_logs() as logs:
        made = await finish(recorded)
    assert made.audio
    assert recorded.file(made.audio.path).is_file()
    assert [(report.finished, report.audio_s) for report in recorded.reports] == [(True, made.audio.duration_s)]
    assert recorded.made(SET_ASIDE).read_bytes() == damaged
    assert "manifest_unreadable" in [line["event"] for line in logs]
    assert list(recorded.folder.iterdir()) == []


@pytest.mark.long
async def test_it_is_taken_over_as_soon_as_the_store_answers_also_by_the_next_agent(recorded: Recorded) -> None:
    agent = await lost(recorded)
    bring_back = recorded.take_store_away()
    with capture_logs() as logs:
        async with finishing(recorded):
            agent.take_over(ORDER)
            await wait_until(lambda: any(log["event"] == "recording_unstored" for log in logs), MAKING_S)
            assert not agent.idle.is_set()
            bring_back()
            await wait_until(lambda: any(log["event"] == "recording_taken_over" for log in logs), MAKING_S)
    recorded.anew()  # whatever the first one had come to
    assert (await finish(recorded)).audio


async def test_what_waits_for_a_store_that_takes_nothing_is_counted_until_it_is_there(recorded: Recorded) -> None:
    spooled(recorded.folder, 1000.5)
    recorded.block_store()
    async with finishing(recorded):
        await wait_until(lambda: recorded.recordings.refused, MAKING_S)
        waiting, refused = recorded.recordings.spooled_bytes, recorded.recordings.refused
        recorded.unblock_store()
        await until_idle(recorded)
    assert waiting > 10_000
    assert recorded.recordings.refused <= refused + 1, "it was asked again, and took all"
    assert recorded.recordings.spooled_bytes == 0


async def test_a_disk_that_fails_is_told_as_that_and_counts_as_no_refusal_of_the_store(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    spool, story = spooled(recorded.folder, 1000.5), list[str]()
    under_way = UnderWay(spool)
    read, faults = Spool.read, [OSError(errno.EIO, "Input/output error")] * 3

    def read_or_fail(of: Spool, segment: Segment) -> bytes:
        if faults:
            raise faults.pop()
        return read(of, segment)

    monkeypatch.setattr(Spool, "read", read_or_fail)
    async with storing(recorded, under_way, story):
        await wait_until(lambda: spool.progress.to_store is None)
        assert recorded.recordings.refused == 0
        assert story == [
            "the disk of worker.state_dir fails: [Errno 5] Input/output error",
            "the store takes the recording again",
        ]
        recorded.take_store_away()
        spool.append([(Began(0, 1000.5), Chunk(10, 1011.5, 10.0, 9), b"the tenth")])
        spool.cut()
        under_way.has_new_chunks.set()
        await wait_until(lambda: len(story) == 3)
    assert story[2].startswith("the store does not take the recording, which waits on the disk: ")
    assert recorded.recordings.refused > 0


async def test_that_the_store_takes_it_again_is_told_also_by_the_agent_after_the_one_that_told_the_trouble(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    spool, told, story = spooled(recorded.folder, 1000.5), list[str](), list[str]()
    recorded.block_store()
    async with storing(recorded, UnderWay(spool), told):
        await wait_until(lambda: told)
    recorded.anew()
    found = Spool.find(spool.folder)
    async with storing(recorded, UnderWay(found), story):
        await wait_until(lambda: recorded.recordings.refused)
        recorded.unblock_store()
        await wait_until(lambda: found.progress.to_store is None and story)
    assert (len(told), story) == (1, ["the store takes the recording again"])
    assert Spool.find(spool.folder).trouble == ""


async def test_of_a_meeting_that_never_permitted_it_nothing_is_left_also_where_its_agent_died(
    recorded: Recorded,
) -> None:
    spool = Spool.create(recorded.folder / name_of("b1", 1), OPENED)
    spool.pause(Paused(1001.0, "refused"))
    async with finishing(recorded):
        await until_idle(recorded)
    assert (list(recorded.folder.iterdir()), recorded.reports) == ([], [])
    assert not recorded.file(FINAL).exists()


def test_what_was_paused_in_an_earlier_attempt_is_paused_until_somebody_resumes_it(recorded: Recorded) -> None:
    join = Join("w1", "b1", 2, "room", "http://h/r/x", "Bot", paused=True)

    def begin() -> Spool:
        begins = recorded.recordings._begin  # pyright: ignore[reportPrivateUsage]
        return begins("b1@2", join, ("audio",), TabWay(), 1000.0, Clock.by_wall())

    assert begin().progress.is_paused
    begin().pause(Resumed(1010.0))
    assert not begin().progress.is_paused, "whichever agent comes then"


async def test_a_pause_that_is_ordered_before_its_bot_is_recorded_holds_from_the_beginning(recorded: Recorded) -> None:
    recordings = recorded.recordings

    async def is_paused(bot_id: str, attempt: int = 1, *, paused: bool = False) -> bool:
        join = Join("w1", bot_id, attempt, "room", "http://h/r/x", "Bot", paused=paused)
        async with recordings.record(join, lambda: None, lambda: None, lambda _: None, lambda _: None) as note:
            note(msgspec.structs.replace(OUT, phase=BotState.IN_MEETING, ending=None))
            await wait_until(lambda: recorded.active.spool)
            return recorded.active.is_paused

    for n in range(MOST_PUT_OFF):
        recordings.pause(f"b{n}", 1, paused=True)
    recordings.pause("resumed", 2, paused=False)
    assert await is_paused("b1")
    assert not await is_paused("b1", 2), "it is of one attempt"
    assert not await is_paused("resumed", 2, paused=True)
    assert not await is_paused("b0"), "the oldest are forgotten"


@pytest.mark.parametrize("ended_at", [1009.0, None])
async def test_what_was_refused_before_anything_came_is_told_if_its_agent_closed_it_or_had_told_that_it_began(
    recorded: Recorded, ended_at: float | None
) -> None:
    spool = Spool.create(recorded.folder / name_of("b1", 1), OPENED)
    if ended_at is None:
        spool.note_told()
    spool.pause(Paused(1001.0, "refused"))
    if ended_at is not None:
        spool.close(Closed(ended_at))
    made = await finish(recorded)
    assert (made.audio, [gap.cause for gap in made.gaps]) == (None, ["refused"])
    assert [(report.finished, report.audio_s) for report in recorded.reports] == [(True, 0.0)]


@pytest.mark.long
async def test_what_the_disk_had_lost_before_it_was_cut_is_a_gap_and_the_rest_is_stored(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    spool = spooled(recorded.folder, 1000.5)
    spool.append([(Began(0, 1000.5), Chunk(10, 1011.5, 10.0, 9), b"the tenth")])
    path = spool.folder / spool.progress.tracks["audio"].pending_path
    read_bytes = Path.read_bytes

    def fail(of: Path) -> bytes:
        if of == path:
            raise OSError(errno.EIO, "Input/output error")
        return read_bytes(of)

    monkeypatch.setattr(Path, "read_bytes", fail)
    made = await finish(recorded)
    assert [gap.cause for gap in made.gaps] == ["damaged"]
    assert made.audio
    assert list(recorded.folder.iterdir()) == []


@pytest.mark.parametrize(
    "fault", ["gone", *(pytest.param(fault, marks=pytest.mark.long) for fault in ("unreadable", "short"))]
)
@pytest.mark.parametrize("in_mid_call", [True, pytest.param(False, marks=pytest.mark.long)])
async def test_a_segment_that_the_disk_does_not_give_is_a_gap_and_the_rest_is_stored(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, fault: str, in_mid_call: bool
) -> None:
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    spool = spooled(recorded.folder, 1000.5, 1010.5)
    [_, path, *rest] = [spool.folder / segment.path for segment in spool.progress.segments]
    reads: list[Path] = []
    if fault == "gone":
        path.unlink()
    elif fault == "short":
        os.truncate(path, 100)
    else:
        read_bytes = Path.read_bytes

        def fail(of: Path) -> bytes:
            if of == path:
                reads.append(of)
                raise OSError(errno.EIO, "Input/output error")
            return read_bytes(of)

        monkeypatch.setattr(Path, "read_bytes", fail)
    with capture_logs() as logs:
        if in_mid_call:
            async with storing(recorded, UnderWay(spool), []):
                await wait_until(lambda: len(recorded.segments) == 1 + len(rest))
        made = await finish(recorded)
    assert [gap.cause for gap in made.gaps] == ["damaged"]
    assert made.audio
    assert made.audio.duration_s == pytest.approx(20.5, abs=0.3)
    assert 4.0 < made.audio.filled_s < 8.0
    assert list(recorded.folder.iterdir()) == []
    assert [log["segment"] for log in logs if log["event"] == "segment_lost"] == [path.name]
    assert len(reads) == (MOST_TRIES if fault == "unreadable" else 0)
    assert recorded.recordings.refused == 0


@pytest.mark.long
async def test_what_another_error_keeps_from_being_read_is_waited_for(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    spool, tries = spooled(recorded.folder, 1000.5), 0
    read = Spool.read

    def fail_for_long(of: Spool, segment: Segment) -> bytes:
        nonlocal tries
        tries += 1
        if tries <= 2 * MOST_TRIES:
            raise OSError(errno.EMFILE, "Too many open files")
        return read(of, segment)

    monkeypatch.setattr(Spool, "read", fail_for_long)
    made = await finish(recorded)
    assert (made.gaps, len(recorded.segments)) == ([], len(spool.progress.segments))


@pytest.mark.long
async def test_of_what_is_not_there_or_here_already_nothing_is_taken_over(recorded: Recorded) -> None:
    agent = await lost(recorded)
    await recorded.store.put("spoiled/1/progress.json", b"{")
    spooled(recorded.folder, 1000.5)  # this agent has all of it
    Spool.create(recorded.folder / name_of("live", 1), OPENED)
    with capture_logs() as logs:
        for bot_id in ("nobody", "spoiled", "b1", "live"):
            agent.take_over(FinishRecording(bot_id, 1, 1040.0))
        for number in range(MOST_ORDERED):
            agent.take_over(FinishRecording(f"more-{number}", 1, 1040.0))
        made = await finish(recorded)
    assert made.gaps == []
    absent = [log["bot_id"] for log in logs if log["event"] == "recording_not_in_store"]
    assert absent == ["nobody", *(f"more-{number}" for number in range(MOST_ORDERED - 4))]
    assert [log["recording"] for log in logs if log["event"] == "recording_spoiled"] == [name_of("spoiled", 1)]


async def test_what_was_deleted_meanwhile_does_not_come_back(recorded: Recorded) -> None:
    spooled(recorded.folder, 1000.5)
    await recorded.store.put(manifest.deleted("b1"), b"")
    async with finishing(recorded):
        await until_idle(recorded)
    assert (list(recorded.folder.iterdir()), recorded.reports, recorded.segments) == ([], [], [])
    assert not recorded.file(FINAL).exists()
    assert await deletion.is_deleted(recorded.store, "b1"), "others may still have something of it"


async def test_a_store_that_lets_nothing_be_deleted_is_not_asked_for_ever(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_store: Store, _bot_id: str) -> int:
        raise StoreError("AccessDenied")

    spooled(recorded.folder, 1000.5)
    await deletion.delete(recorded.store, "b1", 1.0)
    monkeypatch.setattr(Store, "delete", refuse)
    async with finishing(recorded):
        await until_idle(recorded)
    assert (list(recorded.folder.iterdir()), files_in(recorded.settings.store)) == ([], [manifest.deleted("b1")])


class DeletedMeanwhile(Store):
    """Its bot is deleted just before the final manifest is put."""

    async def put(self, path: str, what: bytes | Path, *, once: bool = False, content_type: str = "") -> None:
        if path == f"b1/1/{FINAL}":
            await deletion.delete(self, "b1", 1.0)
        await super().put(path, what, once=once, content_type=content_type)


async def test_what_is_deleted_while_its_files_are_made_does_not_come_back(recorded: Recorded) -> None:
    recorded.store = DeletedMeanwhile(recorded.settings)
    recorded.anew()
    spooled(recorded.folder, 1000.5)
    async with finishing(recorded):
        await until_idle(recorded)
    assert list(recorded.folder.iterdir()) == []
    assert files_in(recorded.settings.store) == [manifest.deleted("b1")]


def files_in(folder: str) -> list[str]:
    return [str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()]


async def test_tracks_have_the_names_that_the_copy_of_the_minutes_tells_where_nothing_more_is_left(
    recorded: Recorded,
) -> None:
    opened = Opened("b1", 1, "room", 1000.0, ("audio", "tracks"))
    spool = Spool.create(recorded.folder / name_of("b1", 1), opened)
    sent = [((1001 + at * 0.02) * 1000, at * 960, data) for at, data in enumerate(tone(3.0))]
    text = msgspec.json.encode(line(0, sent)) + b"\n"
    spool.append([(Began(0, 1000.5, None, "tracks"), Chunk(0, 1004.0, 0.0, len(text), "tracks"), text)])
    minutes_file = recorded.minutes_outbox.begin(Join("w1", "b1", 1, "room", "http://h/r/x", "Bot"))
    assert minutes_file
    for look in range(8):
        minutes_file.note_speaker(1001.3 + look * 0.5, "p1", "Ann" if look < 6 else "")
    minutes_file.end()
    await minutes_file.copy(recorded.store, 0.0)
    minutes_file.path.unlink()
    [track] = (await finish(recorded)).tracks
    assert (track.speaker_id, track.speaker, track.packets) == ("p1", "Ann", 150)
    assert track.voice_s == pytest.approx(3.0, abs=0.2)


@pytest.mark.long
async def test_a_segment_that_is_not_what_it_was_is_a_gap_and_the_rest_plays(recorded: Recorded) -> None:
    spool = spooled(recorded.folder, 1000.5)
    spool.close(Closed(1011.0))
    store = recorded.store
    for segment in spool.progress.segments:
        await store.put(f"b1/1/{segment.path}", spool.read(segment))
        spool.note_stored(segment)
    await store.put(f"b1/1/{spool.progress.segments[-1].path}", b"another")
    made = await finish(recorded)
    assert [gap.cause for gap in made.gaps] == ["damaged"]
    assert made.audio
    assert 4.0 < made.audio.duration_s - made.audio.filled_s < 8.0


async def test_of_nothing_no_file_is_made_and_what_is_missing_is_said(recorded: Recorded) -> None:
    spool = Spool.create(recorded.folder / name_of("b1", 1), OPENED)
    spool.close(Closed(1009.0, "recorder_lost"))
    made = await finish(recorded)
    assert (made.audio, [gap.cause for gap in made.gaps]) == (None, ["recorder_lost"])
    assert [(report.finished, report.audio_s) for report in recorded.reports] == [(True, 0.0)]
    assert not list(recorded.file(AUDIO).parent.glob("audio*"))


async def test_what_is_no_sound_is_a_damaged_part(recorded: Recorded) -> None:
    spool = Spool.create(recorded.folder / name_of("b1", 1), OPENED)
    spool.append([(Began(0, 1000.5), Chunk(0, 1001.5, 0.0, 30_000), b"\x1a\x45\xdf\xa3" * 7_500)])
    made = await finish(recorded)
    assert (made.audio, [gap.cause for gap in made.gaps]) == (None, ["damaged"])


@pytest.mark.long
async def test_a_file_that_cannot_be_made_is_tried_again_and_nothing_goes_meanwhile(recorded: Recorded) -> None:
    recorded.settings = msgspec.structs.replace(recorded.settings, finish_memory_mb=1)
    recorded.anew()
    spooled(recorded.folder, 1000.5)
    with capture_logs() as logs:
        async with finishing(recorded):
            await wait_until(lambda: any(entry["event"] == "recording_unstored" for entry in logs), MAKING_S)
    assert not recorded.file(FINAL).exists()
    assert len(recorded.segments) == 2
    recorded.settings = CaptureSettings(store=recorded.settings.store)
    recorded.anew()
    assert (await finish(recorded)).audio


@pytest.mark.long
async def test_a_disk_that_is_full_while_files_are_made_is_no_fault_of_the_recording(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    monkeypatch.setattr("worker.capture.finishing.MOST_TRIES", 2)
    run, tries = Maker._run, list[Work]()  # pyright: ignore[reportPrivateUsage]

    async def run_on_a_full_disk(maker: Maker, work: Work, recorded_s: float) -> WorkResult:
        tries.append(work)
        is_full = len(tries) <= 4
        return await run(maker, msgspec.structs.replace(work, audio="/dev/full") if is_full else work, recorded_s)

    monkeypatch.setattr(Maker, "_run", run_on_a_full_disk)
    spooled(recorded.folder, 1000.5)
    with capture_logs() as logs:
        assert (await finish(recorded)).audio
    assert len(tries) == 5
    full = "the disk of worker.state_dir fails: no file was made: the disk is full"
    assert [report.unmade for report in recorded.reports] == [full, ""], "another VM may have room"
    assert {log["error"] for log in logs if "error" in log} == {"[Errno 28] no file was made: the disk is full"}


async def test_what_is_on_a_full_disk_alone_is_left_to_no_other_vm(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    spool, tries, note_stored = spooled(recorded.folder, 1000.5), 0, Spool.note_stored

    def note_when_there_is_room(of: Spool, segment: Segment) -> None:
        nonlocal tries
        tries += 1
        if tries <= 2 * MOST_TRIES:
            raise OSError(errno.ENOSPC, "No space left on device")
        note_stored(of, segment)

    monkeypatch.setattr(Spool, "note_stored", note_when_there_is_room)
    made = await finish(recorded)
    assert (made.gaps, len(made.segments)) == ([], len(spool.progress.segments))
    assert [report.unmade for report in recorded.reports] == [""]


@pytest.mark.long
async def test_a_finished_recording_that_the_disk_does_not_remove_is_reported_once(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    spooled(recorded.folder, 1000.5)
    tries, remove = 0, Spool.remove

    def remove_at_last(of: Spool) -> None:
        nonlocal tries
        tries += 1
        if tries < 5:
            raise OSError(errno.EIO, "Input/output error")
        remove(of)

    monkeypatch.setattr(Spool, "remove", remove_at_last)
    await finish(recorded)
    assert (tries, len([report for report in recorded.reports if report.finished])) == (5, 1)


async def test_a_folder_that_holds_no_recording_is_put_aside_and_keeps_no_other_one_waiting(recorded: Recorded) -> None:
    broken = recorded.folder / name_of("b0", 1)
    broken.mkdir(parents=True)
    (broken / "log").write_text("nothing of ours\n")
    (recorded.folder / name_of("b00", 1)).mkdir()
    spooled(recorded.folder, 1000.5)
    assert (await finish(recorded)).audio
    left = sorted(path.name for path in recorded.folder.iterdir())
    assert [name.partition("-")[0] for name in left] == ["b00@1", "b0@1"]
    assert all(name.endswith(".spoiled") for name in left)
    assert {(report.bot_id, report.finished, report.audio_s) for report in recorded.reports} >= {
        ("b0", False, 0.0),
        ("b00", False, 0.0),
    }
    assert {report.bot_id for report in recorded.reports if report.unmade} == {"b0", "b00"}


async def test_a_damaged_log_of_a_bot_that_is_out_by_then_makes_no_manifest_of_nothing(recorded: Recorded) -> None:
    log = spooled(recorded.folder, 1000.5).folder / "log"
    log.write_text("nothing of ours\n")
    join = Join("w1", "b1", 1, "room", "http://h/r/x", "Bot")
    told = list[str]()
    async with recorded.recordings.record(join, lambda: None, lambda: None, told.append, told.append) as note:
        note(OUT)
    assert (log.read_text(), told) == ("nothing of ours\n", [])
    async with finishing(recorded):
        await until_idle(recorded)
    assert not recorded.file(FINAL).exists()
    assert [(report.finished, bool(report.unmade)) for report in recorded.reports] == [(False, True)]


async def test_what_the_disk_does_not_read_ends_no_agent_and_keeps_no_other_recording_waiting(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled(recorded.folder, 1000.5)
    for bot_id in ("b7", "b8", "b9"):
        Spool.create(recorded.folder / name_of(bot_id, 1), msgspec.structs.replace(OPENED, bot_id=bot_id))
    (recorded.folder / name_of("b8", 1) / "segment-000000.webm").write_bytes(b"x")
    stat = Path.stat

    def fail(path: Path, **how: Any) -> os.stat_result:
        if path.name == name_of("b7", 1):
            raise FileNotFoundError(errno.ENOENT, "It has gone meanwhile")
        if path.name == name_of("b9", 1) or path == recorded.folder / name_of("b8", 1) / "segment-000000.webm":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", fail)
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    with capture_logs() as logs:
        async with finishing(recorded):
            await wait_until(lambda: recorded.reports, MAKING_S)
            await asyncio.sleep(0.1)  # it goes on looking
    unread = [log["recording"] for log in logs if log["event"] == "recording_unread"]
    assert sorted(unread) == [name_of("b8", 1), name_of("b9", 1)]
    assert [report.bot_id for report in recorded.reports if report.finished] == ["b1"]


async def test_a_folder_that_the_disk_does_not_read_is_left_to_others_which_is_told_once_and_again_at_an_order(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.finishing.CHECK_EVERY_S", 0.01)
    looks, stat = Counter[str](), Path.stat
    for bot_id in ("b1", "live"):
        Spool.create(recorded.folder / name_of(bot_id, 1), msgspec.structs.replace(OPENED, bot_id=bot_id))

    def fail(path: Path, **how: Any) -> os.stat_result:
        if path.parent == recorded.folder:
            looks[path.name] += 1
            raise OSError(errno.EIO, "Input/output error", str(path))
        return stat(path, **how)

    def is_there(_: Path) -> bool:
        return True

    monkeypatch.setattr(Path, "stat", fail)
    monkeypatch.setattr(Path, "exists", is_there)
    async with finishing(recorded):
        await wait_until(lambda: recorded.reports)
        seen = looks[name_of("b1", 1)]
        assert seen >= MOST_TRIES
        await wait_until(lambda: looks[name_of("b1", 1)] > seen + MOST_TRIES)
        assert len(recorded.reports) == 1
        recorded.recordings.take_over(ORDER)
        await wait_until(lambda: len(recorded.reports) == 2)
    why = "the disk of worker.state_dir fails: Input/output error"
    assert [(report.bot_id, report.attempt, report.unmade) for report in recorded.reports] == [("b1", 1, why)] * 2


@pytest.mark.long
async def test_what_cannot_be_taken_over_is_left_to_others(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    monkeypatch.setattr("worker.capture.finishing.CHECK_EVERY_S", 0.01)
    agent, restore = await lost(recorded), Spool.restore
    await recorded.store.put("spoiled/1/progress.json", b"{")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "restore", fail)
    agent.take_over(ORDER)
    agent.take_over(FinishRecording("spoiled", 1, 1040.0))
    async with finishing(recorded):
        await wait_until(lambda: len(recorded.reports) == 2)
        agent.take_over(ORDER)
        await wait_until(lambda: len(recorded.reports) == 3)
    assert [report.bot_id for report in recorded.reports] == ["spoiled", "b1", "b1"]
    assert all(report.unmade for report in recorded.reports)
    monkeypatch.setattr(Spool, "restore", restore)
    agent.take_over(ORDER)
    assert (await finish(recorded)).audio


@pytest.mark.long
async def test_a_disk_that_has_lost_many_segments_is_no_reason_to_leave_the_rest_to_others(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    monkeypatch.setattr("worker.capture.storing.MOST_TRIES", 2)
    monkeypatch.setattr("worker.capture.finishing.MOST_TRIES", 2)

    def fail(_: Spool, segment: Segment) -> bytes:
        raise OSError(errno.EIO, "Input/output error", segment.path)

    spool = spooled(recorded.folder, 1000.5, 1010.5)
    monkeypatch.setattr(Spool, "read", fail)
    await finish(recorded)
    assert len(spool.progress.segments) > 1
    assert [(report.finished, report.unmade) for report in recorded.reports] == [(True, "")]


async def test_a_folder_that_cannot_even_be_moved_is_tried_again_after_a_pause(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.finishing.MOST_TRIES", 3)
    (recorded.folder / name_of("b0", 1)).mkdir(parents=True)
    tried_at: list[float] = []

    def refuse(_: Path, __: Path) -> Path:
        tried_at.append(time.monotonic())
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuse)
    async with finishing(recorded):
        await wait_until(lambda: len(tried_at) >= 3)
        await wait_until(lambda: recorded.reports)
    waits = [later - earlier for earlier, later in pairwise(tried_at)]
    assert min(waits) >= RETRY_S[0] * 0.9
    why = "the disk of worker.state_dir fails: Read-only file system"
    assert [report.unmade for report in recorded.reports] == [why]


async def test_what_cannot_be_made_a_file_of_is_given_up_in_the_end(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    monkeypatch.setattr("worker.capture.finishing.MOST_TRIES", 2)
    recorded.settings = msgspec.structs.replace(recorded.settings, finish_memory_mb=1)
    recorded.anew()
    spooled(recorded.folder, 1000.5)
    async with finishing(recorded):
        await wait_until(lambda: bool(recorded.reports), MAKING_S)
    [reports] = recorded.reports
    assert (reports.bot_id, reports.attempt, reports.finished) == ("b1", 1, False)
    assert "no file was made" in reports.unmade
    assert [path.suffix for path in recorded.folder.iterdir()] == [SPOILED]
    assert len(recorded.segments) == 2, "what the store has it keeps"


async def test_what_was_put_aside_stays_for_a_week_and_the_latest_of_it_only(recorded: Recorded) -> None:
    now_ns = time.time_ns()
    names = [f"b{n}@1-{now_ns - n}{SPOILED}" for n in range(MOST_SPOILED + 2)]
    old = f"old@1-{now_ns - int((SPOILED_LIFE_S + 60) * 1e9)}{SPOILED}"
    for name in (*names, old, f"of-somebody{SPOILED}"):
        (recorded.folder / name).mkdir(parents=True)
    async with finishing(recorded):
        await until_idle(recorded)
    left = {path.name for path in recorded.folder.iterdir()}
    assert left == {*names[:MOST_SPOILED], f"of-somebody{SPOILED}"}
