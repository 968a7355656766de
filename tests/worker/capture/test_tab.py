"""The tab that records, beside a page whose sound is known: when that is heard in the file."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page

from common.config.settings import WorkerSettings
from common.wire.manifest import Kind
from lab.recorded.received import listen
from tests.waiting import PATIENCE_S
from tests.worker.capture.test_pictures import beeps, later_s
from worker.capture.clock import Clock
from worker.capture.making import sound
from worker.capture.making.work import Stream
from worker.capture.tab import MOST_UNANSWERED, TabRecorder, TabWay
from worker.capture.way import CaptureOptions, Chunk, Pulled, Recorder, Start
from worker.chromium import processes
from worker.chromium.driver import Driver
from worker.chromium.process import Chromium, Launcher, find_chromium
from worker.chromium.profile import Profile

pytestmark = pytest.mark.asyncio(loop_scope="session")

# A beep a second, a fifth of a second long. `sent`: when each began, in epoch seconds.
BEEPING = """<script>
  const context = new AudioContext();
  const [tone, gain] = [context.createOscillator(), context.createGain()];
  gain.gain.value = 0;
  tone.connect(gain).connect(context.destination);
  tone.start();
  globalThis.sent = [];
  let wasOn = true;
  setInterval(() => {
    const isOn = performance.now() % 1000 < 200;
    if (isOn && !wasOn) sent.push(Date.now() / 1000);
    wasOn = isOn;
    gain.gain.setValueAtTime(isOn ? 0.5 : 0, context.currentTime);
  }, 10);
</script>"""


@pytest_asyncio.fixture(loop_scope="session")
async def chromium(tmp_path: Path) -> AsyncGenerator[Chromium]:
    chromium = await Launcher(Profile.of(find_chromium(""), WorkerSettings()), tmp_path).launch("w1")
    yield chromium
    await chromium.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def page(chromium: Chromium, driver: Driver, tmp_path: Path) -> Page:
    browser = await driver.connect(chromium.endpoint, tmp_path, PATIENCE_S)
    return browser.contexts[0].pages[0]


def renderers(chromium: Chromium) -> list[int]:
    """The processes of its pages."""
    group = [process.pid for process in processes.scan() if process.group == chromium.leader.pid]
    return [pid for pid in group if "--type=renderer" in processes.command_line(pid)]


async def recorder_of(page: Page, *kinds: Kind, clock: Clock | None = None) -> TabRecorder:
    options = CaptureOptions(kinds or ("audio",), 96, 1000, 640, 360, 15)
    parts: dict[Kind, int] = dict.fromkeys(options.kinds, 0)
    start = Start(options, 600, 500, parts, 0, None, paused=False, clock=clock or Clock.by_wall())
    return await TabWay().open(page, start)


async def pulled_until(recorder: Recorder, media_s: float, part: int = 0) -> Pulled:
    """All chunks, none of them confirmed, once there is one of that part that begins then or later."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            pulled = await recorder.pull(0, 600, None)
            last = pulled.chunks[-1] if pulled.chunks else None
            if last and last.part == part and last.media_s >= media_s:
                return pulled
            await asyncio.sleep(0.3)


def made_of(chunks: list[Chunk], folder: Path) -> list[float]:
    """When each beep of the finished file begins, in epoch seconds."""
    (folder / "part").write_bytes(b"".join(chunk.content for chunk in chunks))
    anchors: list[tuple[int, float]] = []
    size = 0
    for chunk in chunks:
        size += len(chunk.content)
        anchors.append((size, chunk.at - chunk.part_at))
    sound.make([Stream(str(folder / "part"), 0.0, anchors, anchors[-1][1])], str(folder / "made.ogg"))
    return [chunks[0].part_at + at for at in beeps(listen(folder / "made.ogg"))]


@pytest.mark.long
async def test_sound_is_at_its_own_time_also_after_the_tabs_stood_still(
    page: Page, chromium: Chromium, tmp_path: Path
) -> None:
    await page.set_content(BEEPING)
    recorder = await recorder_of(page)
    before = (await pulled_until(recorder, 4)).chunks[-1].at
    for how in (signal.SIGSTOP, signal.SIGCONT):
        for pid in renderers(chromium):
            os.kill(pid, how)
        await asyncio.sleep(2)
    chunks = (await pulled_until(recorder, 10)).chunks
    sent: list[float] = await page.evaluate("sent")
    found = made_of(chunks, tmp_path)
    first, last = (
        later_s(these, found)
        for these in ([at for at in sent if at < before - 1], [at for at in sent if before + 2 < at < chunks[-1].at])
    )
    print(f"{first * 1000:.0f} ms late before, {last * 1000:.0f} ms afterwards")
    assert abs(first) < 0.15, "of which a page needs 0.05 to play it"
    assert abs(last - first) < 0.06


async def finds(way: TabWay, page: Page) -> Recorder | None:
    """What it finds, however often the tab has to be asked."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(TimeoutError):
                return await way.find(page)


@pytest.mark.long
async def test_a_tab_that_hangs_is_asked_some_times_and_then_closed(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, way = await recorder_of(page), TabWay()
    assert isinstance(recorder, TabRecorder)
    assert await way.find(page)
    monkeypatch.setattr("worker.capture.tab.CALL_DEADLINE_S", 2.0)  # it takes a moment to close a tab that hangs
    await recorder.tab.evaluate("void setTimeout(() => { for (;;); }, 0)")
    for _ in range(MOST_UNANSWERED - 1):
        with pytest.raises(TimeoutError):
            await way.find(page)
        assert recorder.tab in page.context.pages, "what it has may still come"
    assert await finds(way, page) is None
    assert recorder.tab not in page.context.pages
    await pulled_until(await recorder_of(page), 0)


async def test_a_tab_is_kept_as_long_as_the_whole_browser_stands_still(
    page: Page, chromium: Chromium, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, way = await recorder_of(page), TabWay()
    chunks = (await pulled_until(recorder, 1)).chunks
    monkeypatch.setattr("worker.capture.tab.CALL_DEADLINE_S", 0.3)
    for pid in renderers(chromium):
        os.kill(pid, signal.SIGSTOP)
    for _ in range(MOST_UNANSWERED + 2):
        with pytest.raises(TimeoutError):
            await way.find(page)
    for pid in renderers(chromium):
        os.kill(pid, signal.SIGCONT)
    monkeypatch.setattr("worker.capture.tab.CALL_DEADLINE_S", 5.0)
    found = await finds(way, page)
    assert found
    assert (await found.pull(0, 600, None)).chunks[: len(chunks)] == chunks


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("Xvfb"), reason="needs Xvfb")
async def test_a_page_in_a_window_keeps_its_size_under_the_bar_that_says_that_it_is_captured(
    driver: Driver, tmp_path: Path
) -> None:
    in_window = WorkerSettings(headless=False, display="virtual")
    chromium = await Launcher(Profile.of(find_chromium(""), in_window), tmp_path).launch("w1")
    try:
        browser = await driver.connect(chromium.endpoint, tmp_path, PATIENCE_S)
        page = browser.contexts[0].pages[0]
        await recorder_of(page, "audio", "video")
        await asyncio.sleep(1)
        assert await page.evaluate("[innerWidth, innerHeight]") == [640, 360]
    finally:
        await chromium.kill()


@pytest.mark.long
async def test_its_times_are_those_of_the_recordings_clock_whoever_sets_the_wall_clock(page: Page) -> None:
    await page.set_content(BEEPING)
    clock = Clock(Clock.by_wall().ahead_s - 3600)  # the wall clock was set forward by an hour
    recorder = await recorder_of(page, clock=clock)
    before = (await pulled_until(recorder, 0.5)).chunks[-1]
    await recorder.tab.evaluate("{ const wall = Date.now; Date.now = () => wall() - 7_200_000; }")
    await pulled_until(recorder, before.media_s + 1)
    await recorder.pause()
    await recorder.resume("paused")
    chunks = (await pulled_until(recorder, 0, part=1)).chunks
    times = [chunk.at for chunk in chunks]
    assert times == sorted(times)
    assert clock.now() - 2 * PATIENCE_S < times[0] <= times[-1] <= clock.now()
    assert chunks[-1].part_at > next(chunk.at for chunk in reversed(chunks) if chunk.part == 0) - 0.1
