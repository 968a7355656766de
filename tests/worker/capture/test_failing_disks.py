"""Recordings on disks that are full, do not read what they hold, or hold what is no recording."""

import asyncio
import errno
import os
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from common.wire.manifest import FINAL, Segment
from common.wire.messages import FinishRecording, Join
from tests.waiting import wait_until
from tests.worker.capture.conftest import Recorded
from tests.worker.capture.left import (
    MAKING_S,
    OPENED,
    ORDER,
    OUT,
    UnderWay,
    finish,
    finishing,
    lost,
    spooled,
    storing,
    until_idle,
)
from worker.capture.finishing import MOST_SPOILED, SPOILED, SPOILED_LIFE_S
from worker.capture.making.maker import Maker
from worker.capture.making.work import Work, WorkResult
from worker.capture.progress import Began, Chunk
from worker.capture.spool import Spool, name_of
from worker.capture.storing import MOST_TRIES, RETRY_S

pytestmark = pytest.mark.timeout(3 * MAKING_S)


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
