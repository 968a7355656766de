"""When a display fails, and a tab goes on for it."""

import errno
import math
import time
from pathlib import Path

import pytest
from playwright.async_api import Error as PlaywrightError

from common.wire.manifest import Manifest
from tests.waiting import wait_until
from tests.worker.capture.scene import SILENT, Scene, StandIn, full
from worker.capture.recording import LIVE_CHUNK_S
from worker.capture.way import PAUSED, Pulled, WayName


@pytest.fixture
def display() -> StandIn:
    return StandIn("display")


@pytest.fixture
def tab() -> StandIn:
    return StandIn("recorder_tab")


@pytest.fixture
def both(tmp_path: Path, display: StandIn, tab: StandIn) -> Scene:
    return Scene(tmp_path, display, tab)


def ways(made: Manifest) -> list[WayName]:
    return [part.way or made.way for part in made.parts]


@pytest.mark.parametrize("is_paused_later", [False, True])
async def test_a_display_that_is_silent_is_given_up_for_the_tab_at_once_and_all_goes_on(
    both: Scene, display: StandIn, tab: StandIn, monkeypatch: pytest.MonkeyPatch, is_paused_later: bool
) -> None:
    monkeypatch.setattr("worker.capture.silence.SILENT_AFTER_S", 1.0)
    async with both.recorded():
        await wait_until(lambda: both.heard)
        display.stopped = "recorder"
        await wait_until(lambda: 1 in both.heard)
        assert (display.opens, tab.opens) == (2, 0), "a display that failed once is tried again"
        display.level, both.voice_at, silent_at = 0.0, math.inf, display.clock.now()
        await wait_until(lambda: 2 in both.heard)
        assert display.told == ["close", "close"]
        if is_paused_later:
            both.recording.pause(paused=True)
            await wait_until(lambda: tab.stopped == PAUSED)
            both.recording.pause(paused=False)
            await wait_until(lambda: 3 in both.heard)
    assert both.begun == ["by a stand-in for the display"]
    told = "go on to record it by a stand-in for the recorder_tab, because what was recorded was silent"
    assert both.story[:2] == [SILENT, told]
    assert ways(both.made) == ["display", "display", "recorder_tab", *["recorder_tab"] * is_paused_later]
    assert both.made.way == "display"
    lost, silent, changed, *paused = both.gaps
    assert [gap.cause for gap in (lost, silent, changed)] == ["recorder_lost", "silent", "recorder_lost"]
    assert [gap.cause for gap in paused] == ["paused"] * is_paused_later
    assert silent_at - LIVE_CHUNK_S < silent.began_at < display.heard_at, "from the last sound on"
    assert changed.ended_at == both.made.parts[2].began_at
    sequence = [segment.sequence for segment in both.made.segments]
    assert sequence == list(range(len(sequence)))


@pytest.mark.parametrize("is_soon", [True, False])
async def test_a_display_whose_recorder_fails_again_within_a_minute_is_given_up_for_the_tab(
    both: Scene, display: StandIn, tab: StandIn, monkeypatch: pytest.MonkeyPatch, is_soon: bool
) -> None:
    monkeypatch.setattr("worker.capture.stall.STALLED_AFTER_S", 1.0)
    if not is_soon:
        monkeypatch.setattr("worker.capture.recording.RESTART_EVERY_S", 0.0)
    async with both.recorded():
        await wait_until(lambda: both.heard)
        display.stopped = "recorder"
        await wait_until(lambda: 1 in both.heard)
        display.is_stuck = True
        await wait_until(lambda: "capture_failed: nothing comes of the audio" in both.story)
        display.is_stuck = False
        await wait_until(lambda: 2 in both.heard)
    assert (display.opens, tab.opens) == ((2, 1) if is_soon else (3, 0))
    told = "go on to record it by a stand-in for the recorder_tab, because nothing came of the audio"
    assert (told in both.story) is is_soon
    assert [gap.cause for gap in both.gaps] == ["recorder_lost", "recorder_lost"]


async def test_a_display_that_cannot_be_recorded_at_all_is_given_up_for_the_tab(
    both: Scene, display: StandIn, tab: StandIn
) -> None:
    display.trouble = OSError(errno.ENXIO, "nobody starts ffmpeg")
    async with both.recorded():
        await wait_until(lambda: both.heard)
        tab.is_open = False
        await wait_until(lambda: 1 in both.heard)
    assert (display.opens, tab.opens) == (2, 2)
    why = "[Errno 6] nobody starts ffmpeg"
    assert (both.begun, both.story) == ([f"by a stand-in for the recorder_tab, because {why}"], [])
    assert (both.made.way, ways(both.made)) == ("display", ["recorder_tab"] * 2)


@pytest.mark.parametrize("is_heard", [True, False])
async def test_a_display_that_begins_and_then_gives_nothing_but_errors_is_closed_before_the_tab_begins(
    both: Scene, display: StandIn, tab: StandIn, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    if not is_heard:
        monkeypatch.setattr(display, "pull", full)
    async with both.recorded():
        await wait_until(lambda: both.heard or tab.opens)
        monkeypatch.setattr(display, "pull", full)
        await wait_until(lambda: tab.opens)
        assert display.told == ["close"]
        await wait_until(lambda: is_heard in both.heard)
    why = "[Errno 28] No space left on device"
    assert both.begun == ["by a stand-in for the display"], "it is told once that it is recorded"
    assert both.story == [f"go on to record it by a stand-in for the recorder_tab, because {why}"]


@pytest.mark.parametrize("buffer_s", [600.0, 0.0])
async def test_a_display_whose_chunks_wait_is_tried_again_while_the_disk_is_full(
    both: Scene, display: StandIn, tab: StandIn, monkeypatch: pytest.MonkeyPatch, buffer_s: float
) -> None:
    tries, pull = list[float](), display.pull

    async def fail(*_: object) -> Pulled:
        tries.append(time.monotonic())
        raise OSError(errno.ENOSPC, "No space left on device")

    async with both.recorded():
        await wait_until(lambda: both.heard)
        both.has_room = False
        waiting_from = display.seq
        await wait_until(lambda: display.seq > waiting_from + 1)
        monkeypatch.setattr("worker.capture.recording.RECORDER_BUFFER_S", buffer_s)
        monkeypatch.setattr(display, "pull", fail)
        await wait_until(lambda: len(tries) >= 3 or tab.opens)
        monkeypatch.setattr(display, "pull", pull)
        both.has_room = True
        heard = len(both.heard)
        await wait_until(lambda: len(both.heard) > heard)
    is_kept = buffer_s > 0.0
    assert (tab.opens, display.told) == ((0, []) if is_kept else (1, ["close"])), "no longer than it has room for more"
    assert (both.gaps == []) is is_kept


@pytest.mark.parametrize("trouble", [TimeoutError(), PlaywrightError("Target closed")])
async def test_a_page_that_does_not_answer_is_no_fault_of_the_display(
    both: Scene, display: StandIn, tab: StandIn, trouble: Exception
) -> None:
    display.trouble = trouble
    async with both.recorded():
        await wait_until(lambda: display.opens >= 3)
        display.trouble = None
        await wait_until(lambda: both.heard)
    assert (tab.opens, ways(both.made)) == (0, ["display"])


@pytest.mark.parametrize("is_there", [True, False])
async def test_the_next_agent_goes_on_by_the_tab_also_if_it_is_gone(tmp_path: Path, is_there: bool) -> None:
    display, tab = StandIn("display"), StandIn("recorder_tab")
    display.trouble = OSError("it fails")
    before = Scene(tmp_path, display, tab)
    async with before.recorded(is_killed=True):
        await wait_until(lambda: before.heard and before.made.parts)
    tab.is_open, display.trouble = is_there, None
    scene = Scene(tmp_path, display, tab)
    async with scene.recorded():
        await wait_until(lambda: scene.heard)
    assert (display.opens, tab.opens) == (2, 1 if is_there else 2)
    assert set(ways(scene.made)) == {"recorder_tab"}


async def test_the_next_agent_finds_a_tab_of_which_none_before_had_anything(
    both: Scene, display: StandIn, tab: StandIn
) -> None:
    display.is_open = True  # its disk did not let it be closed
    tab.is_open, tab._part = True, -1  # pyright: ignore[reportPrivateUsage]
    tab._begin(None)  # pyright: ignore[reportPrivateUsage]
    async with both.recorded():
        await wait_until(lambda: both.heard)
        tab.is_open = False
        await wait_until(lambda: tab.opens)
    assert display.opens == 0
