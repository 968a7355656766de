"""A meeting with a counter in its picture and tones in its sound, recorded: what the finished file looks like, and that
both are in step, whatever is killed meanwhile.
"""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncGenerator
from functools import partial
from itertools import pairwise
from pathlib import Path

import av
import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from common.config.settings import WorkerSettings
from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, VIDEO, Manifest
from common.wire.messages import Leave
from common.wire.vocabulary import Reason
from lab.recorded.received import RATE, Heard, level, listen
from lab.recorded.seeing import NOTE, PATTERN, Box, Watched, watch
from tests.fork_server import ForkServer
from tests.waiting import wait_until
from tests.worker.capture.conftest import Recorded, finished, go_in, harness_of, somebody_in, story
from tests.worker.conftest import Harness, pool_with
from tests.worker.test_agent import machine_with
from worker.capture.tab import TabRecorder
from worker.chromium.driver import Driver

pytestmark = pytest.mark.asyncio(loop_scope="session")

SMALL_S = 0.02
NOTED = 5  # flashes and beeps, of one each second


@pytest_asyncio.fixture(loop_scope="session")
async def seen_somebody(somebodys: Browser, room: str) -> AsyncGenerator[Page]:
    async with somebody_in(somebodys, room, PATTERN, camera=True) as page:
        yield page


def page_of(harness: Harness) -> Page:
    """The meeting's, as the bot has it."""
    page = harness.pool._workers["w1"].page  # pyright: ignore[reportPrivateUsage]
    assert page
    return page


async def box_of(harness: Harness) -> Box:
    """Where the bot's page shows somebody."""
    tile = page_of(harness).locator(".tile[data-camera] video")
    await tile.wait_for()
    box = await tile.bounding_box()
    assert box
    return Box(box["x"], box["y"], box["width"], box["height"])


def size_of(picture: Path) -> tuple[int, int]:
    with av.open(str(picture)) as file:
        [shown] = file.decode(video=0)
        return shown.width, shown.height


def beeps(heard: Heard) -> list[float]:
    """When they begin."""
    block = round(SMALL_S * RATE)
    levels = [level(heard.left[at : at + block]) for at in range(0, len(heard.left) - block, block)]
    loud = [each > max(levels) / 3 for each in levels]
    return [
        place * SMALL_S for place, (before, is_loud) in enumerate(pairwise(loud), start=1) if is_loud and not before
    ]


def still_s(whole: Watched) -> list[float]:
    """How long each picture of somebody is there before the next."""
    changes = [later.at for each, later in pairwise(whole.pictures) if later.counter != each.counter]
    return [later - at for at, later in pairwise(changes)]


def later_s(noted: list[float], found: list[float]) -> float:
    """How much later it is found than it was noted."""
    near = [min((each - at for each in found), key=abs, default=1.0) for at in noted]
    return statistics.median([offset for offset in near if abs(offset) < 0.5])


@pytest.mark.parametrize("fps", [8, pytest.param(15, marks=pytest.mark.long)])
async def test_a_counter_and_tones_are_in_one_file_in_step_and_can_be_sought_in(
    recorded: Recorded, driver: Driver, room: str, seen_somebody: Page, fps: int
) -> None:
    recorded.settings = msgspec.structs.replace(recorded.settings, video_fps=fps)
    recorded.anew()
    async with harness_of(recorded, driver, room, video=True) as harness:
        await go_in(harness)
        await wait_until(lambda: any(path.suffix == ".ivf" for path in recorded.spooled))
        box = await box_of(harness)
        page = page_of(harness)
        await page.evaluate(NOTE)
        await wait_until(lambda: page.evaluate(f"Math.min(noted.flashes.length, noted.beeps.length) >= {NOTED}"))
        noted = await page.evaluate("noted")
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    made = await finished(recorded)
    assert made.audio
    assert made.video
    assert (made.video.width, made.video.height, made.video.damaged) == (640, 360, 0)
    whole = watch(recorded.made(VIDEO), box)
    assert (whole.width, whole.height, len(whole.pictures)) == (640, 360, made.video.pictures)
    assert whole.duration_s == pytest.approx(made.video.duration_s, abs=0.1)
    assert whole.duration_s == pytest.approx(made.audio.duration_s, abs=1.0)
    assert made.thumbnails
    assert size_of(recorded.file(made.thumbnails.path)) == (made.thumbnails.count * 160, 90)
    assert made.thumbnails.bytes == recorded.file(made.thumbnails.path).stat().st_size < 200_000
    [shot] = made.screenshots
    assert size_of(recorded.file(shot.path)) == (shot.width, shot.height) == (640, 360)
    counters = [each.counter for each in whole.pictures if each.at > 2]
    assert counters == sorted(counters), "in order, none of it unreadable"
    heard = listen(recorded.made(VIDEO))
    assert heard.left == listen(recorded.made(AUDIO)).left
    still = still_s(whole)
    usual_s, longest_s = statistics.median(still), max(still)
    picture = later_s(noted["flashes"], [made.began_at + at for at in whole.flashes])
    sound = later_s(noted["beeps"], [made.began_at + at for at in beeps(heard)])
    print(f"picture {picture * 1000:.0f} ms, sound {sound * 1000:.0f} ms late: {made.video}")
    print(f"each picture is there for {usual_s:.2f} s, {longest_s:.2f} s at most")
    late_s, sought_s = whole.pictures[1].at, whole.duration_s - 0.5  # a key picture every 5 s, once it shows any
    key_s = watch(recorded.made(VIDEO), box, since_s=sought_s).pictures[0].at
    print(f"of {sought_s:.2f} s the key picture is at {key_s:.2f} s, the first of somebody was at {late_s:.2f} s")
    assert sought_s - late_s - 6 - longest_s < key_s <= sought_s
    assert usual_s < 0.5, "as many as were asked for where the machine has time, whenever it stood still"
    assert abs(sound - picture) < 0.1 + 0.5 * usual_s, "as the page had them, as far as such pictures can tell"


@pytest.mark.long
async def test_of_the_picture_too_all_but_the_last_two_seconds_are_there_when_the_browser_is_killed(
    recorded: Recorded, driver: Driver, room: str, seen_somebody: Page
) -> None:
    async with harness_of(recorded, driver, room, video=True) as harness:
        await go_in(harness)
        await wait_until(lambda: any(path.suffix == ".ivf" for path in recorded.spooled))
        box = await box_of(harness)
        await asyncio.sleep(3)
        killed_at = time.time()
        os.killpg(harness.browsers()[0], signal.SIGKILL)
        await harness.gone()
    made = await finished(recorded)
    last = [segment for segment in made.segments if segment.kind == "video"][-1]
    assert last.ended_at > killed_at - 2
    whole = watch(recorded.made(VIDEO), box)
    assert whole.pictures[-1].at > killed_at - made.began_at - 2


@pytest.mark.long
async def test_beside_a_picture_that_is_kept_a_sound_can_be_heard_that_is_not(
    recorded: Recorded, driver: Driver, room: str, seen_somebody: Page
) -> None:
    heard: list[tuple[int, int]] = []

    def on_sound(seq: int, part: int, chunk: bytes) -> None:
        assert chunk
        heard.append((part, seq))

    recorder = partial(recorded.recordings.record, on_sound=on_sound)
    async with pool_with(recorded.folder.parent, WorkerSettings(memory_reserve_mb=0), driver, recorder) as harness:
        harness.meeting, harness.video = room, True
        await harness.warm()
        harness.pool.begin(msgspec.structs.replace(harness.join(), no_audio=True))
        await wait_until(lambda: recorded.spooled and len(heard) >= 4)
        assert any("record its picture and listen to its sound" in did for did in story(harness))
        recorder = recorded.active._recorder  # pyright: ignore[reportPrivateUsage]
        assert isinstance(recorder, TabRecorder)
        await recorder.close()
        await wait_until(lambda: heard[-1][0] == 1)
        await wait_until(lambda: recorded.parts_of("video") == 2)
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    assert heard == sorted(set(heard)), "each once, in order"
    made = await finished(recorded)
    assert (made.kinds, made.audio, {segment.kind for segment in made.segments}) == (("video",), None, {"video"})
    assert made.video
    assert not list(recorded.file(AUDIO).parent.glob("audio*"))


@pytest.mark.long
async def test_a_paused_recording_has_a_gap_there_and_its_file_keeps_to_the_clock(
    recorded: Recorded, driver: Driver, room: str, seen_somebody: Page
) -> None:
    async with harness_of(recorded, driver, room, video=True) as harness:
        await go_in(harness)
        await wait_until(lambda: any(path.suffix == ".ivf" for path in recorded.spooled))
        recorded.recordings.pause("nobody", 1, paused=True)
        recorded.recordings.pause("b1", 1, paused=True)
        await wait_until(lambda: recorded.active.spool and recorded.active.spool.progress.is_paused)
        await asyncio.sleep(4)
        recorded.recordings.pause("b1", 1, paused=False)
        await wait_until(lambda: recorded.parts == 2)
        await asyncio.sleep(2)
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    made = await finished(recorded)
    paused = [gap for gap in made.gaps if gap.cause == "paused"]
    assert sorted(gap.kind for gap in paused) == ["audio", "video"]
    assert made.audio
    assert made.ended_at
    assert made.audio.duration_s == pytest.approx(made.ended_at - made.began_at, abs=1)
    heard = listen(recorded.made(AUDIO))
    middle = paused[0].began_at - made.began_at + 2
    assert level(heard.left[round(middle * RATE) : round((middle + 1) * RATE)]) < 0.001


@pytest.mark.long
async def test_what_is_shown_while_the_agent_is_dead_is_not_missing(
    fork_server: ForkServer, redis_server: str, prefix: str, tmp_path: Path, somebodys: Browser
) -> None:
    recorded = Recorded(tmp_path)
    async with machine_with(fork_server, redis_server, prefix, tmp_path) as machine:
        machine.environment["POOLMGR_CAPTURE__STORE"] = recorded.settings.store
        async with somebody_in(somebodys, machine.meeting, PATTERN, camera=True):
            agent = await machine.agent()
            await agent.enter("w1", "b1", video=True)
            await wait_until(lambda: any(path.suffix == ".ivf" for path in recorded.spooled))
            await agent.kill()
            await asyncio.sleep(2)
            successor = await machine.agent()
            await successor.logged("worker_adopted")
            before = len(recorded.segments)
            await wait_until(lambda: len(recorded.segments) > before)
            await successor.order(Leave("w1", "b1", 1))
            await successor.ended("b1")
            await wait_until(lambda: recorded.file(FINAL).exists())
    made = manifest.decode(recorded.file(FINAL).read_bytes())
    assert parts(made) == {"audio": 1, "video": 1}
    assert [gap for gap in made.gaps if gap.cause != "late"] == []
    assert made.video
    assert made.ended_at
    assert made.video.duration_s == pytest.approx(made.ended_at - made.began_at, abs=1)


def parts(made: Manifest) -> dict[str, int]:
    return {kind: sum(part.kind == kind for part in made.parts) for kind in made.kinds}
