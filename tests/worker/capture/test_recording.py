"""What a recording does while its meeting refuses it, and when disk, store, driver or recorder fail."""

import asyncio
import errno
import math
import time
from pathlib import Path
from typing import Any, cast

import pytest
from playwright.async_api import Page

from common.wire.manifest import GapCause
from tests.waiting import wait_until
from tests.worker.capture.scene import IN_MEETING, OUT, REFUSED, SILENT, Scene, full
from worker.capture.progress import Opened, Paused
from worker.capture.recording import LIVE_CHUNK_S
from worker.capture.spool import Spool
from worker.capture.way import MOST_AT_ONCE, PAUSED


async def test_while_the_meeting_refuses_nothing_is_recorded_or_sent_whatever_a_user_asks_for(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.recorded():
        await wait_until(lambda: scene.heard)
        scene.recording.note(REFUSED)
        heard = len(scene.heard)
        await wait_until(lambda: scene.stand_in.stopped == PAUSED)
        scene.recording.pause(paused=True)
        await wait_until(lambda: "pause its recording" in scene.story)
        scene.recording.pause(paused=False)
        await wait_until(lambda: "resume its recording" in scene.story)
        await asyncio.sleep(0.6)
        assert (scene.stand_in.stopped, len(scene.heard)) == (PAUSED, heard)
        scene.recording.pause(paused=True)
        scene.recording.note(IN_MEETING)
        await wait_until(lambda: "record again: the meeting permits it" in scene.story)
        assert scene.stand_in.stopped == PAUSED, "a user's pause is not over with the refusal"
        scene.recording.pause(paused=False)
        await wait_until(lambda: 1 in scene.heard)
    assert scene.stand_in.told[:2] == ["pause", "resume"]
    [gap] = scene.gaps
    assert gap.cause == "refused"


async def test_a_refusal_that_lasts_to_the_end_is_the_cause_of_the_gap_there_also_if_no_disk_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path)
    async with scene.recorded():
        await wait_until(lambda: scene.heard)
        assert isinstance(scene.spool, Spool)
        monkeypatch.setattr(scene.spool, "pause", full)
        scene.recording.note(REFUSED)
        await wait_until(lambda: scene.stand_in.stopped == PAUSED)
        await asyncio.sleep(2.1)
    [gap] = scene.gaps
    assert gap.cause == "refused"
    assert scene.story[-1] == "capture_failed: the disk of worker.state_dir takes nothing: No space left on device"


async def test_an_attempt_that_begins_paused_says_so_and_announces_nothing_until_it_goes_on(tmp_path: Path) -> None:
    scene, now = Scene(tmp_path), time.time()
    Spool.create(scene.folder, Opened("b1", 1, "room", now), [Paused(now)])
    async with scene.recorded():
        await wait_until(lambda: scene.stand_in.opens)
        await wait_until(lambda: scene.story)
        assert (scene.story, scene.announced) == (["its recording is paused, as it was before"], [])
        scene.recording.pause(paused=False)
        await wait_until(lambda: scene.heard)
    assert set(scene.announced) == {False}


async def test_what_is_paused_before_it_begins_is_not_recorded_for_a_moment_also_if_no_disk_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spool, "pause", full)
    scene = Scene(tmp_path)
    scene.recording.pause(paused=True)
    async with scene.recorded():
        await wait_until(lambda: scene.stand_in.opens)
        await asyncio.sleep(0.6)
        assert (scene.stand_in.begun, scene.heard, scene.announced) == ([], [], [])
        scene.recording.pause(paused=False)
        await wait_until(lambda: scene.heard)
    assert scene.stand_in.begun == ["paused"]


async def test_of_a_meeting_that_never_permitted_it_nothing_is_left(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.recorded(REFUSED):
        await wait_until(lambda: scene.story)
        await asyncio.sleep(0.6)
    assert (scene.begun, scene.stand_in.is_open, scene.heard) == ([], False, [])
    assert not scene.folder.exists()
    assert scene.story == ["record nothing: the meeting does not permit it"]


@pytest.mark.parametrize("is_lost", [True, False])
async def test_of_what_was_told_to_have_begun_files_are_made_also_if_it_was_refused_before_anything_came(
    tmp_path: Path, is_lost: bool
) -> None:
    scene = Scene(tmp_path)
    scene.stand_in.is_stuck = True
    async with scene.recorded():
        await wait_until(lambda: scene.begun)
        scene.recording.note(REFUSED)
        await wait_until(lambda: scene.stand_in.stopped == PAUSED)
        if is_lost:
            scene.stand_in.is_open = False
            await wait_until(lambda: scene.recording._recorder is None)  # pyright: ignore[reportPrivateUsage]
    progress = Spool.find(scene.folder).progress
    assert (progress.closed is not None, progress.has_begun) == (True, False)


async def test_so_they_are_if_the_agent_that_told_it_has_died_meanwhile(tmp_path: Path) -> None:
    scene, successors = Scene(tmp_path), Scene(tmp_path)
    scene.stand_in.is_stuck = True
    async with scene.recorded(is_killed=True):
        await wait_until(lambda: scene.begun)
        scene.recording.note(REFUSED)
        await wait_until(lambda: scene.stand_in.stopped == PAUSED)
    async with successors.recorded(REFUSED):
        await wait_until(lambda: successors.spool)
    progress = Spool.find(scene.folder).progress
    assert (successors.begun, progress.closed is not None, progress.has_begun) == ([], True, False)


def left_recording(tmp_path: Path) -> Scene:
    """A recorder that an earlier agent began, and of which nobody has fetched or told anything."""
    scene = Scene(tmp_path)
    scene.stand_in.is_open, scene.stand_in._part = True, -1  # pyright: ignore[reportPrivateUsage]
    scene.stand_in._begin(None)  # pyright: ignore[reportPrivateUsage]
    return scene


async def test_that_a_recording_began_is_told_by_the_next_agent_if_the_one_that_began_it_died_before(
    tmp_path: Path,
) -> None:
    scene = left_recording(tmp_path)
    async with scene.recorded(is_killed=True):
        await wait_until(lambda: scene.heard)
    assert scene.begun == ["by a stand-in for the recorder_tab"]
    successors = Scene(tmp_path, scene.stand_in)
    async with successors.recorded():
        await wait_until(lambda: successors.heard)
    assert successors.begun == []


async def test_a_recording_that_is_permitted_late_begins_then_and_its_gap_says_why(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.recorded(REFUSED):
        await wait_until(lambda: scene.story)
        scene.recording.note(IN_MEETING)
        await wait_until(lambda: scene.heard)
    assert (len(scene.begun), scene.stand_in.begun) == (1, ["refused"])
    assert [gap.cause for gap in scene.gaps] == ["refused"]


async def test_the_next_agent_pauses_what_an_earlier_one_still_recorded_when_the_meeting_refused(
    tmp_path: Path,
) -> None:
    scene = left_recording(tmp_path)
    async with scene.recorded(REFUSED):
        await wait_until(lambda: scene.stand_in.stopped == PAUSED)
        assert (scene.heard, scene.folder.exists()) == ([], True)
        scene.recording.note(IN_MEETING)
        await wait_until(lambda: scene.heard)
        scene.stand_in.is_open = False
        await wait_until(lambda: len(scene.stand_in.begun) == 3)
    assert scene.stand_in.begun == [None, "refused", "recorder_lost"]


async def test_that_a_bot_is_listened_to_is_told_once_however_many_agents_there_are(tmp_path: Path) -> None:
    before = Scene(tmp_path)
    before.is_only_streamed = True
    async with before.recorded(is_killed=True):
        await wait_until(lambda: before.heard)
    after = Scene(tmp_path, before.stand_in)
    after.is_only_streamed = True
    async with after.recorded():
        await wait_until(lambda: after.heard)
    assert (len(before.begun), after.begun) == (1, [])


async def test_silence_is_told_and_is_a_gap_also_if_the_recorder_was_replaced_just_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.silence.SILENT_AFTER_S", 0.5)
    scene = Scene(tmp_path)
    async with scene.recorded():
        await wait_until(lambda: scene.heard)
        scene.stand_in.stopped = "tab"
        await wait_until(lambda: 1 in scene.heard)
        scene.stand_in.level, began_at, scene.voice_at = 0.0, scene.stand_in.clock.now(), math.inf
        await wait_until(lambda: len(scene.gaps) >= 3)
        assert SILENT in scene.story
        assert scene.stand_in.told == ["close"], "it is not replaced again"
        monkeypatch.setattr("worker.capture.recording.RESTART_EVERY_S", 0.0)
        await wait_until(lambda: 2 in scene.heard)
    lost, *silences = scene.gaps
    assert (lost.cause, {gap.cause for gap in silences}) == ("tab_lost", {"silent", "recorder_lost"})
    assert began_at - 0.5 < silences[0].began_at < silences[0].ended_at == pytest.approx(silences[1].began_at, abs=1.0)


async def test_silence_is_told_from_the_last_sound_on_however_slow_the_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.silence.SILENT_AFTER_S", 0.5)
    scene = Scene(tmp_path)
    async with scene.recorded():
        await wait_until(lambda: scene.heard)
        assert isinstance(scene.spool, Spool)
        append = scene.spool.append

        def take_long(entries: Any) -> None:
            time.sleep(2 * LIVE_CHUNK_S)
            append(entries)

        monkeypatch.setattr(scene.spool, "append", take_long)
        scene.stand_in.level, scene.voice_at = 0.0, math.inf
        await wait_until(lambda: scene.gaps)
    assert scene.gaps[0].began_at < scene.stand_in.heard_at


@pytest.mark.parametrize(("error", "cause"), [(errno.ENOSPC, "disk_full"), (errno.EIO, "late")])
async def test_a_disk_that_takes_no_recording_when_the_bot_comes_in_is_tried_again_and_the_gap_says_why(
    tmp_path: Path, error: int, cause: GapCause
) -> None:
    scene = Scene(tmp_path)
    scene.disk, came_in_at = OSError(error, "it fails"), time.time()
    async with scene.recorded():
        await wait_until(lambda: scene.story)
        told_at = time.time()
        assert scene.story == ["capture_failed: the disk of worker.state_dir takes nothing: it fails"]
        scene.disk = None
        await wait_until(lambda: scene.heard)
    gap = scene.made.gaps[0]
    assert gap.cause == cause
    assert came_in_at <= gap.began_at <= told_at
    assert scene.made.parts[0].began_at == gap.ended_at


async def test_a_bot_may_leave_before_the_disk_takes_anything(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.disk = OSError(errno.ENOSPC, "it fails")
    async with scene.recorded():
        await wait_until(lambda: scene.story)
    assert (scene.spool, scene.stand_in.is_open) == (None, False)


@pytest.mark.parametrize("is_disk", [False, True])
async def test_while_nothing_can_be_spooled_a_recording_is_paused_and_told_of_silence_and_keeps_its_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_disk: bool
) -> None:
    monkeypatch.setattr("worker.capture.silence.SILENT_AFTER_S", 0.5)
    monkeypatch.setattr("worker.capture.recording.RESTART_EVERY_S", 0.0)
    scene = Scene(tmp_path)
    async with scene.recorded():
        await wait_until(lambda: scene.heard)
        assert isinstance(scene.spool, Spool)
        append = scene.spool.append
        if is_disk:
            monkeypatch.setattr(scene.spool, "append", full)
        else:
            scene.has_room = False
        scene.recording.pause(paused=True)
        await wait_until(lambda: scene.stand_in.stopped == PAUSED)
        scene.recording.pause(paused=False)
        await wait_until(lambda: not scene.stand_in.stopped)
        scene.stand_in.level, scene.voice_at = 0.0, math.inf
        await wait_until(lambda: SILENT in scene.story)
        await wait_until(lambda: [gap.cause for gap in scene.made.gaps].count("silent") >= 2)
        assert scene.stand_in.told == ["pause", "resume"], "what the recorder has is not thrown away"
        waiting = scene.stand_in.seq
        monkeypatch.setattr(scene.spool, "append", append)
        scene.has_room = True
        await wait_until(lambda: "close" in scene.stand_in.told)
    assert scene.spool.progress.next_seq >= waiting


async def test_a_recorder_that_stalls_while_nothing_can_be_spooled_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.stall.STALLED_AFTER_S", 1.5)
    stalled = "capture_failed: nothing comes of the audio"
    scene = Scene(tmp_path)
    async with scene.recorded():
        await wait_until(lambda: scene.heard)
        scene.has_room = False
        await asyncio.sleep(2)
        assert stalled not in scene.story, "chunks still come, though nobody takes them"
        scene.stand_in.is_stuck = True
        await wait_until(lambda: stalled in scene.story)


async def test_a_browser_that_is_not_connected_to_for_long_is_told_and_what_was_recorded_meanwhile_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, page = Scene(tmp_path), cast("Page", object())
    async with scene.recorded():
        await wait_until(lambda: scene.heard)
        scene.page = None
        await asyncio.sleep(0.6)
        assert scene.story == []
        monkeypatch.setattr("worker.capture.recording.WARN_AFTER_S", 1.0)
        await wait_until(lambda: scene.story)
        scene.page = page
        heard = len(scene.heard)
        await wait_until(lambda: len(scene.heard) > heard)
    assert scene.story == ["capture_failed: nothing is fetched: the browser is not connected"]
    assert (scene.stand_in.begun, scene.gaps) == ([None], [])


def _slowly(_: int) -> None:
    time.sleep(0.005)


@pytest.mark.parametrize("is_gone", [False, True])
async def test_of_a_bot_that_is_out_when_the_next_agent_first_looks_all_that_its_recorder_has_is_fetched(
    tmp_path: Path, is_gone: bool
) -> None:
    before = Scene(tmp_path)
    async with before.recorded(is_killed=True):
        await wait_until(lambda: before.heard)
    tab = before.stand_in
    for _ in range(20):  # it goes on without an agent
        await tab.pull(0, 0, None)
    tab.is_open = not is_gone
    scene = Scene(tmp_path, tab)
    async with scene.recorded(OUT):
        pass
    progress = Spool.find(scene.folder).progress
    assert progress.closed
    assert progress.closed.cause == ("browser_gone" if is_gone else "late"), "if anything is missing"
    assert (progress.next_seq == tab.seq, scene.begun) == (not is_gone, [])
    async with Scene(tmp_path, tab).recorded(OUT):  # whoever comes then
        pass
    assert Spool.find(scene.folder).progress.closed == progress.closed


@pytest.mark.parametrize(("most_s", "is_whole"), [(30.0, True), (1.0, False)])
async def test_what_the_recorder_has_of_a_bot_that_is_out_is_fetched_for_as_long_as_more_comes_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_s: float, is_whole: bool
) -> None:
    """All takes the disk longer than END_DEADLINE_S, and what is fetched at once far less."""
    monkeypatch.setattr("worker.capture.recording.MOST_END_S", most_s)
    monkeypatch.setattr("os.fdatasync", _slowly)
    scene = Scene(tmp_path)
    async with scene.recorded():
        await wait_until(lambda: scene.heard)
        for _ in range(8 * MOST_AT_ONCE):
            await scene.stand_in.pull(0, 0, None)
    found = Spool.find(scene.folder).progress
    assert found.closed
    assert (found.next_seq == scene.stand_in.seq) is is_whole


async def test_of_one_that_never_permitted_it_and_is_out_by_then_nothing_is_left(tmp_path: Path) -> None:
    before = Scene(tmp_path)
    async with before.recorded(REFUSED, is_killed=True):
        await wait_until(lambda: before.story)
    async with Scene(tmp_path).recorded(OUT):
        pass
    assert not before.folder.exists()


async def test_what_an_earlier_agent_left_stays_if_the_disk_does_not_give_it_to_the_next(tmp_path: Path) -> None:
    before, scene = Scene(tmp_path), Scene(tmp_path)
    async with before.recorded(is_killed=True):
        await wait_until(lambda: before.heard)
    scene.disk = OSError(errno.EIO, "Input/output error")
    async with scene.recorded(OUT):
        pass
    assert scene.story == ["capture_failed: the disk of worker.state_dir takes nothing: Input/output error"]
    assert Spool.find(scene.folder).progress.closed is None


@pytest.mark.parametrize("set_by_s", [-3600.0, 3600.0])
async def test_a_wall_clock_that_is_set_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_by_s: float
) -> None:
    scene, wall = Scene(tmp_path), time.time
    began = time.time()
    async with scene.recorded():
        await wait_until(lambda: scene.heard)
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: wall() + set_by_s)
            scene.recording.pause(paused=True)
            await wait_until(lambda: scene.stand_in.stopped == PAUSED)
            scene.recording.pause(paused=False)
            await wait_until(lambda: 1 in scene.heard)
            scene.recording.end()
    made = scene.made
    [gap] = scene.gaps
    assert made.ended_at
    assert (gap.cause, [part.number for part in made.parts]) == ("paused", [0, 1])
    times = [made.began_at, gap.began_at, gap.ended_at, made.parts[1].began_at, made.ended_at]
    assert times == sorted(times)
    assert began <= made.began_at < made.ended_at <= wall(), "as it was when the bot came in"
