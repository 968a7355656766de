"""A meeting with known tones, recorded: what the finished file sounds like, whatever is killed or away meanwhile."""

import asyncio
import hashlib
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from playwright.async_api import Browser, Page
from playwright.async_api import Error as PlaywrightError

from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, Gap, Manifest
from common.wire.messages import BotEnded, BotSaw
from common.wire.vocabulary import Reason
from lab.recorded.received import BLOCK, RATE, listen
from tests.fork_server import ForkServer
from tests.waiting import wait_until
from tests.worker.capture.conftest import Recorded, finished, go_in, harness_of, somebody_in, story
from tests.worker.test_agent import machine_with
from worker.capture.progress import AnyEntry, Chunk
from worker.capture.recording import CHUNK_S, FETCH_S
from worker.capture.recordings import Recordings
from worker.capture.tab import TabRecorder
from worker.chromium.driver import Driver

pytestmark = pytest.mark.asyncio(loop_scope="session")


def assert_true_to(made: Manifest, recorded: Recorded) -> None:
    """The manifest is right about everything that it names."""
    for segment in made.segments:
        content = recorded.file(segment.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (segment.bytes, segment.sha256)
    assert made.audio
    content = recorded.made(AUDIO).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (made.audio.bytes, made.audio.sha256)


def missing(made: Manifest) -> list[Gap]:
    """Whatever a machine that is very busy does: a recorder may take seconds to begin there."""
    return [gap for gap in made.gaps if gap.cause != "late"]


def fetched_lately(recorded: Recorded) -> bool:
    """Whether the agent has what the recorder gave up to a second and a half ago: one that stands still has not."""
    lines = (recorded.folder / "b1@1" / "log").read_bytes().splitlines(keepends=True)
    entries = [msgspec.json.decode(line, type=AnyEntry) for line in lines if line.endswith(b"\n")]
    return time.time() - max(entry.at for entry in entries if isinstance(entry, Chunk)) < CHUNK_S + FETCH_S


async def test_both_sides_are_in_one_file_though_the_store_was_away_the_agent_died_and_the_browser_is_killed(
    fork_server: ForkServer, redis_server: str, prefix: str, tmp_path: Path, somebodys: Browser
) -> None:
    recorded = Recorded(tmp_path)
    async with machine_with(fork_server, redis_server, prefix, tmp_path) as machine:
        machine.environment["POOLMGR_CAPTURE__STORE"] = recorded.settings.store
        machine.environment["POOLMGR_CAPTURE__ANNOUNCEMENT"] = "This is recorded"
        async with somebody_in(somebodys, machine.meeting) as ann:
            agent = await machine.agent()
            recorded.block_store()
            ordered_at = time.time()
            await agent.enter("w1", "b1")
            await agent.seen(BotSaw, lambda saw: "the store does not take" in saw.did)
            told_at = time.time()
            assert all(oct(path.stat().st_mode)[-3:] == "600" for path in recorded.spooled)
            recorded.unblock_store()
            said = ann.locator("#chat li").filter(has_text="This is recorded")
            await said.wait_for()
            await agent.kill()
            await asyncio.sleep(2)
            successor = await machine.agent()
            await successor.logged("worker_adopted")
            stored = len(recorded.segments)
            await wait_until(lambda: len(recorded.segments) > stored)
            assert await said.count() == 1, "the second agent says it no second time"
            await asyncio.sleep(2.5)  # longer than what may be lost: a segment is there just after a fetch
            [browser] = successor.leaders("w1")
            await wait_until(lambda: fetched_lately(recorded))
            killed_at = time.time()
            os.killpg(browser, signal.SIGKILL)
            assert (await successor.ended("b1")).reason is Reason.BROWSER_CRASHED
            ended_at = time.time()
            await wait_until(lambda: recorded.file(FINAL).exists())
    made = manifest.decode(recorded.file(FINAL).read_bytes())
    assert_true_to(made, recorded)
    assert len(made.parts) == 1
    assert {gap.cause for gap in missing(made)} <= {"browser_gone"}
    assert made.audio
    heard = listen(recorded.made(AUDIO))
    assert made.ended_at
    assert ordered_at < made.began_at < told_at < killed_at < made.ended_at < ended_at
    assert heard.duration_s == pytest.approx(made.audio.duration_s, abs=0.1)
    assert killed_at - made.began_at > 4, "there is more than what may be lost"
    assert made.segments[-1].ended_at > killed_at - 2, "all but the last two seconds are there"
    assert heard.duration_s > killed_at - made.began_at - 2
    at = heard.clearest(440, 1000)
    (left, leaked), (crossed, right) = heard.tones(440, at), heard.tones(1000, at)
    assert left == pytest.approx(-12, abs=3)
    assert right == pytest.approx(-12, abs=3)
    assert max(leaked, crossed) < -40
    assert made.audio.left_dbfs is not None
    assert made.audio.loudness_lufs is not None
    # Nobody asked for a picture: there is none anywhere.
    assert (made.kinds, made.video, {segment.kind for segment in made.segments}) == (("audio",), None, {"audio"})
    kept = [path for path in recorded.folder.parent.parent.rglob("*") if path.suffix in (".ivf", ".mkv", ".mp4")]
    assert kept == []


@pytest.mark.long
async def test_what_is_refused_because_the_store_is_away_too_long_and_what_a_crashed_recorder_costs_are_gaps(
    recorded: Recorded,
    driver: Driver,
    room: str,
    somebody: Page,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.capture.recording.RECORDER_BUFFER_S", 3)
    waiting = 0
    monkeypatch.setattr(Recordings, "spooled_bytes", property(lambda _: waiting))
    async with harness_of(recorded, driver, room) as harness:
        await go_in(harness)
        await wait_until(lambda: recorded.spooled)
        waiting = 10**12
        await wait_until(lambda: any("capture.spool_mb is reached" in did for did in story(harness)))
        await asyncio.sleep(5)
        assert not harness.seen(BotEnded)
        waiting = 0
        await wait_until(lambda: recorded.parts == 2)
        await asyncio.sleep(1)
        recorder = recorded.active._recorder  # pyright: ignore[reportPrivateUsage]
        assert isinstance(recorder, TabRecorder)
        devtools = await recorder.tab.context.new_cdp_session(recorder.tab)
        with suppress(PlaywrightError):  # nobody is left to answer
            await devtools.send("Page.crash")  # pyright: ignore[reportUnknownMemberType]
        await wait_until(lambda: recorded.parts == 3)
        await asyncio.sleep(1)
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    made = await finished(recorded)
    assert_true_to(made, recorded)
    gap, crash = missing(made)
    assert (gap.cause, crash.cause) == ("spool_full", "recorder_lost")
    assert made.audio
    assert made.ended_at
    assert made.audio.filled_s > gap.ended_at - gap.began_at - 0.5
    assert made.audio.duration_s == pytest.approx(made.ended_at - made.began_at, abs=1)


@pytest.mark.long
async def test_silence_in_the_recorder_while_somebody_speaks_is_told_another_one_begins_and_the_tracks_mend_it(
    tmp_path: Path,
    driver: Driver,
    room: str,
    somebody: Page,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded = Recorded(tmp_path, tracks=True)
    monkeypatch.setattr("worker.capture.silence.SILENT_AFTER_S", 3.0)
    async with harness_of(recorded, driver, room) as harness:
        await go_in(harness)
        await wait_until(lambda: recorded.spooled and recorded.packets)
        recorder = recorded.active._recorder  # pyright: ignore[reportPrivateUsage]
        assert isinstance(recorder, TabRecorder)
        await recorder.tab.evaluate("poolmgrKept.getAudioTracks()[0].enabled = false")
        began, silent_at = time.monotonic(), time.time()
        await wait_until(lambda: any(did.startswith("capture_failed") for did in story(harness)))
        assert time.monotonic() - began < 15
        await wait_until(lambda: recorded.parts == 2)
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    made = await finished(recorded)
    assert "silent" in {gap.cause for gap in made.gaps}
    assert made.audio
    assert made.audio.mended_s > 2
    heard = listen(recorded.made(AUDIO))
    for late_s in (1.0, 1.5, 2.0):
        at = round((silent_at + late_s - made.began_at) * RATE)
        blocks = range(at, at + RATE // 2, BLOCK)  # a busy machine leaves holes
        left, crossed = max(heard.tones(440, block) for block in blocks)
        assert (left, crossed < -40) == (pytest.approx(-12, abs=3), True)
