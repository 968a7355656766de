"""A recording whose display fails in a real meeting, so that it goes on by the tab: what its finished files have."""

import asyncio
import io
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncGenerator
from itertools import pairwise
from pathlib import Path
from typing import Final

import av
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, VIDEO, Manifest
from common.wire.messages import BotSaw, Leave, Warm, WorkerWarm
from common.wire.vocabulary import Reason
from lab.recorded.received import RATE, Heard, level, listen
from lab.recorded.seeing import NOTE, PATTERN, watch
from tests.fork_server import ForkServer
from tests.waiting import wait_until
from tests.worker.capture.conftest import Recorded, finished, go_in, harness_of, somebody_in, story
from tests.worker.capture.test_on_display import program_of
from tests.worker.capture.test_pictures import beeps, box_of, later_s, page_of, parts
from tests.worker.test_agent import machine_with
from worker.capture.recording import CHUNK_S
from worker.capture.silence import SILENT_AFTER_S, SilenceDetector
from worker.chromium import display
from worker.chromium.driver import Driver

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.long,
    pytest.mark.skipif(
        not all(map(shutil.which, [*display.RECORDING_PROGRAMS, "pactl"])), reason="needs Xvfb, PulseAudio and ffmpeg"
    ),
]

BY_TAB: Final = "go on to record it by a tab that captures the meeting's, because "
BLOCK: Final = RATE // 20
SILENT: Final = 0.0005
OWN_SIDE_DB: Final = -10.0
"""Each side's tone is sent at -6 dB; mixed, it would have -12. The holes of a busy machine take some of it."""
FITS_S: Final = 1.5
"""For so long after the tab began its picture may be stretched, until the window has grown by the bar above it."""


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path, "display")


@pytest_asyncio.fixture(loop_scope="session")
async def seen_somebody(somebodys: Browser, room: str) -> AsyncGenerator[Page]:
    async with somebody_in(somebodys, room, PATTERN, camera=True) as page:
        yield page


def mute(worker: Path) -> None:
    """The worker's sound server gives nothing but silence from now on."""
    command = ["pactl", "set-sink-mute", "meeting", "1"]
    subprocess.run(command, check=True, env=os.environ | display.environment(worker, records=True))


def ways(made: Manifest) -> list[str]:
    """Of the sound's parts."""
    return [part.way or made.way for part in made.parts if part.kind == "audio"]


def silences(heard: Heard) -> list[tuple[float, float]]:
    """When each begins and ends in the file that is longer than half a second."""
    blocks = range(0, len(heard.left) - BLOCK, BLOCK)
    edges = [False, *(level(heard.left[at : at + BLOCK]) < SILENT for at in blocks), False]
    turns = [place * BLOCK / RATE for place, (before, after) in enumerate(pairwise(edges)) if before != after]
    return [
        (began_s, ended_s) for began_s, ended_s in zip(turns[::2], turns[1::2], strict=True) if ended_s - began_s > 0.5
    ]


def longest_hole_s(recorded: Recorded, made: Manifest) -> float:
    """From one packet of the last part's sound to the next. What they sound like says less: where a display's sound
    server had nothing to play for a moment, Chromium may give a tab that captures silence for as long as it had played.
    """
    last = made.parts[-1].number
    stored = [recorded.file(each.path) for each in made.segments if (each.kind, each.part) == ("audio", last)]
    with av.open(io.BytesIO(b"".join(path.read_bytes() for path in stored)), "r") as file:
        times = [packet.pts * packet.time_base for packet in file.demux(audio=0) if packet.pts is not None]
    return max(float(after - before) for before, after in pairwise(times))


async def test_a_display_whose_sound_is_silent_is_given_up_for_the_tab_and_sound_and_picture_go_on_in_step(
    recorded: Recorded, driver: Driver, room: str, seen_somebody: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = [time.time()]
    is_wrongly_silent = SilenceDetector.is_wrongly_silent

    def look(detector: SilenceDetector, now: float, level: float, voice_at: float | None) -> bool:
        looked_at.append(time.time())
        return is_wrongly_silent(detector, now, level, voice_at)

    monkeypatch.setattr(SilenceDetector, "is_wrongly_silent", look)
    async with harness_of(recorded, driver, room, video=True) as harness:
        worker = recorded.folder.parent / "workers/w1"
        await go_in(harness)
        await wait_until(lambda: any(path.suffix == ".mkv" for path in recorded.spooled))
        page = page_of(harness)
        box = await box_of(harness)
        await page.evaluate(NOTE)
        await asyncio.sleep(5)
        muting_at = time.time()
        heard_at = max(at for at in looked_at if at <= muting_at)
        await asyncio.to_thread(mute, worker)
        muted_at = time.time()
        await wait_until(lambda: any(did.startswith("capture_failed") for did in story(harness)))
        told_s = time.time() - muted_at
        await wait_until(lambda: recorded.parts_of("video") == 2)
        assert program_of(worker, "ffmpeg") is None
        assert not (worker / "capture").exists()
        await asyncio.sleep(6)
        assert await box_of(harness) == box, "the bar that says that the tab is captured takes nothing of the page"
        noted = await page.evaluate("noted")
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    assert told_s < SILENT_AFTER_S + 20, "a process that stands still for a while is no fault"
    assert f"{BY_TAB}what was recorded was silent" in story(harness)
    made = await finished(recorded)
    assert (made.way, ways(made), parts(made)) == ("display", ["display", "recorder_tab"], {"audio": 2, "video": 2})
    assert [Path(each.path).suffix for each in made.segments if each.kind == "video" and each.part] != []
    assert {Path(each.path).suffix for each in made.segments if each.kind == "video" and each.part} == {".ivf"}
    sound, lost, no_picture = (
        [gap for gap in made.gaps if (gap.kind, gap.cause) == which]
        for which in (("audio", "silent"), ("audio", "recorder_lost"), ("video", "recorder_lost"))
    )
    assert [len(each) for each in (sound, lost, no_picture)] == [1, 1, 1]
    assert {gap.cause for gap in made.gaps} <= {"silent", "recorder_lost", "late"}
    heard = listen(recorded.made(AUDIO))
    *_, (silent_s, again_s) = silences(heard)
    told = sound[0].began_at - made.began_at, lost[0].ended_at - made.began_at
    print(f"muted at {muted_at - made.began_at:.2f} s, told after {told_s:.1f} s")
    print(f"silent in the file from {silent_s:.2f} to {again_s:.2f} s, told from {told[0]:.2f} to {told[1]:.2f} s")
    assert muting_at - 0.5 < made.began_at + silent_s < muted_at + 0.5
    since_s = min(silent_s, heard_at - made.began_at)  # silence counts from the last look that heard something
    assert since_s - CHUNK_S - 0.5 < told[0] < silent_s + 1.5
    assert told[1] == pytest.approx(again_s, abs=0.5)
    assert lost[0].began_at < sound[0].ended_at + 0.5, "nothing between them is untold"
    before, afterwards = slice(round(silent_s * RATE)), slice(round(again_s * RATE), None)
    for stretch in (Heard(*(side[part] for side in heard)) for part in (before, afterwards)):
        at = stretch.clearest(440, 1000)
        (left, leaked), (crossed, right) = stretch.tones(440, at), stretch.tones(1000, at)
        assert min(left, right) > OWN_SIDE_DB
        assert max(leaked, crossed) < -36
    assert made.video
    assert (made.video.width, made.video.height, made.video.damaged, made.video.codec) == (640, 360, 0, "h264")
    whole = watch(recorded.made(VIDEO), box)
    assert whole.duration_s == pytest.approx(heard.duration_s, abs=1.0)
    told = no_picture[0].began_at - made.began_at, no_picture[0].ended_at - made.began_at
    readable = [each for each in whole.pictures if each.at > 2 and not told[1] - 0.1 < each.at < told[1] + FITS_S]
    counters = [each.counter for each in readable]
    assert counters == sorted(counters), "in order, none of it unreadable, before and after"
    changes = [later.at for each, later in pairwise(whole.pictures) if later.counter != each.counter]
    since_s, until_s = max(pairwise(changes), key=lambda still: still[1] - still[0])
    print(f"the picture stands still from {since_s:.2f} to {until_s:.2f} s, told from {told[0]:.2f} to {told[1]:.2f} s")
    assert since_s - 0.5 < told[0] < since_s + 1.5, "as far as chunks of a second tell on a busy machine"
    assert told[1] == pytest.approx(until_s, abs=0.5)
    for name, begins_s, ends_s in (("before", 0.0, silent_s), ("afterwards", until_s + FITS_S, whole.duration_s)):
        rate = whole.rate(max(begins_s, 2.0), ends_s)
        begins_at, ends_at = made.began_at + begins_s, made.began_at + ends_s - 0.5
        flashes, sounds = ([at for at in noted[each] if begins_at < at < ends_at] for each in ("flashes", "beeps"))
        picture = later_s(flashes, [made.began_at + at for at in whole.flashes])
        heard_s = later_s(sounds, [made.began_at + at for at in beeps(heard)])
        print(f"{name}: {rate:.1f} a second, picture {picture * 1000:.0f} ms, sound {heard_s * 1000:.0f} ms late")
        assert abs(heard_s - picture) < 0.1 + 0.5 / rate


async def test_a_display_that_cannot_be_recorded_is_given_up_for_the_tab_within_seconds(
    recorded: Recorded, driver: Driver, room: str, seen_somebody: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "MONITOR", "nothing of that name")
    async with harness_of(recorded, driver, room) as harness:
        worker = recorded.folder.parent / "workers/w1"
        await go_in(harness)
        in_at = time.time()
        await wait_until(lambda: recorded.spooled)
        assert time.time() - in_at < 15
        assert (program_of(worker, "ffmpeg"), (worker / "capture").exists()) == (None, False)
        await asyncio.sleep(3)
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    began, changed = (did for did in story(harness) if "record" in did)
    assert began.startswith("record its sound, by ffmpeg")
    assert changed.startswith(f"{BY_TAB}ffmpeg ended at once: nothing of that name")
    made = await finished(recorded)
    assert (made.way, ways(made), {gap.cause for gap in made.gaps} <= {"late"}) == ("display", ["recorder_tab"], True)
    heard = listen(recorded.made(AUDIO))
    at = heard.clearest(440, 1000)
    assert min(heard.tones(440, at)[0], heard.tones(1000, at)[1]) > OWN_SIDE_DB


async def test_a_display_whose_ffmpeg_is_killed_twice_is_given_up_for_the_tab_and_the_next_agent_goes_on_with_that(
    fork_server: ForkServer, redis_server: str, prefix: str, tmp_path: Path, somebodys: Browser
) -> None:
    recorded = Recorded(tmp_path, "display")
    async with machine_with(fork_server, redis_server, prefix, tmp_path) as machine:
        machine.environment["POOLMGR_CAPTURE__STORE"] = recorded.settings.store
        machine.environment["POOLMGR_CAPTURE__VIDEO"] = "display"
        worker = machine.state_dir / "workers" / "w1"
        async with somebody_in(somebodys, machine.meeting):
            agent = await machine.agent()
            await agent.order(Warm("w1", display=True))
            await agent.seen(WorkerWarm)
            await agent.enter("w1", "b1", warm=False)
            killed: list[int] = []
            for _ in range(2):
                await wait_until(lambda: program_of(worker, "ffmpeg") not in (None, *killed))
                await wait_until(lambda: list((worker / "capture/chunks").iterdir()))
                ffmpeg = program_of(worker, "ffmpeg")
                assert ffmpeg
                killed.append(ffmpeg)
                os.kill(ffmpeg, signal.SIGKILL)
            changed = await agent.seen(BotSaw, lambda saw: saw.did.startswith(BY_TAB))
            assert changed.did == f"{BY_TAB}its recorder ended"
            stored = len(recorded.segments)
            await wait_until(lambda: len(recorded.segments) > stored)
            await agent.kill()
            await asyncio.sleep(2)
            successor = await machine.agent()
            await successor.logged("worker_adopted")
            stored = len(recorded.segments)
            await wait_until(lambda: len(recorded.segments) > stored)
            assert program_of(worker, "ffmpeg") is None
            await successor.order(Leave("w1", "b1", 1, Reason.USER_REQUESTED))
            await successor.gone("w1")
            await wait_until(lambda: recorded.file(FINAL).exists())
            assert (successor.browsers(), successor.folders()) == ([], [])
    made = manifest.decode(recorded.file(FINAL).read_bytes())
    assert (made.way, ways(made)) == ("display", ["display", "display", "recorder_tab"])
    # a killed ffmpeg may leave a part of which nothing can be read, which is told where it began
    causes = [gap.cause for gap in made.gaps if gap.cause != "late" and gap.ended_at > gap.began_at]
    assert causes == ["recorder_lost"] * 2, "and nothing while no agent was there"
    heard = listen(recorded.made(AUDIO))
    assert made.ended_at
    assert heard.duration_s == pytest.approx(made.ended_at - made.began_at, abs=2)
    by_tab = heard.left[round((made.parts[-1].began_at - made.began_at) * RATE) :]
    told = [(gap.began_at - made.began_at, gap.ended_at - made.began_at) for gap in made.gaps]
    print(f"silent in the file: {silences(heard)}, told: {told}; {len(by_tab) / RATE:.0f} s after the change")
    assert max(level(by_tab[at : at + BLOCK]) for at in range(0, len(by_tab) - BLOCK, BLOCK)) > 0.1
    assert longest_hole_s(recorded, made) < CHUNK_S, "none while the agents changed"
