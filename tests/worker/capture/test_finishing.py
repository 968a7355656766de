"""What an agent makes of what another one left: one file, once, and the truth about what is missing."""

import hashlib
import math
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from common.config.settings import CaptureSettings
from common.runtime.recordings import deletion
from common.runtime.recordings.manifests import so_far
from common.runtime.recordings.store import Store, StoreError
from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, PROGRESS, Gap, GapCause, Kind, Peaks, Way
from common.wire.messages import Join
from common.wire.vocabulary import BotState
from lab.recorded.received import listen
from tests.waiting import wait_until
from tests.worker.capture.conftest import Recorded
from tests.worker.capture.left import (
    MAKING_S,
    OPENED,
    ORDER,
    OUT,
    RATE,
    TEN_S,
    files_in,
    finish,
    finishing,
    lost,
    spooled,
    store_next,
    until_idle,
)
from tests.worker.capture.test_making_tracks import line, tone
from worker.capture.clock import Clock
from worker.capture.finishing import missing_s
from worker.capture.progress import Began, Chunk, Closed, Opened, Paused, Resumed
from worker.capture.recordings import MOST_PUT_OFF
from worker.capture.spool import Spool, name_of
from worker.capture.tab import TabWay

pytestmark = pytest.mark.timeout(3 * MAKING_S)


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
