"""A recorded bot whose page or driver is killed: what its finished file has, and what its manifest says is missing."""

import asyncio
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.async_api import Page

from common.config.settings import WorkerSettings
from common.wire.messages import BotEnded
from common.wire.vocabulary import Reason
from lab.recorded.received import listen
from tests.waiting import wait_until
from tests.worker.capture.conftest import Recorded, finished, go_in, harness_of
from tests.worker.capture.test_changed_way import silences
from tests.worker.capture.test_pictures import page_of
from tests.worker.capture.test_recordings import assert_true_to, fetched_lately, missing
from tests.worker.conftest import pool_with_own_driver
from worker.capture.tab import TabRecorder
from worker.chromium.driver import PAGE_ERRORS, Driver

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.long]


async def test_what_was_recorded_before_the_renderer_of_the_meeting_is_killed_is_kept(
    recorded: Recorded, driver: Driver, room: str, somebody: Page
) -> None:
    async with harness_of(recorded, driver, room) as harness:
        await go_in(harness)
        await wait_until(lambda: len(recorded.segments) >= 1)
        page = page_of(harness)
        devtools = await page.context.new_cdp_session(page)
        with suppress(TimeoutError, *PAGE_ERRORS):  # nobody is left to answer
            async with asyncio.timeout(1):
                await devtools.send("Page.crash")  # pyright: ignore[reportUnknownMemberType]
        await harness.gone()
        [ended] = harness.seen(BotEnded)
        assert ended.reason is Reason.BROWSER_CRASHED
    made = await finished(recorded)
    assert_true_to(made, recorded)
    assert {gap.cause for gap in missing(made)} <= {"tab_lost", "browser_gone"}
    assert made.audio
    assert made.audio.duration_s > 5
    heard = listen(recorded.made("audio.ogg"))
    at = heard.clearest(440, 1000)
    assert heard.tones(440, at)[0] == pytest.approx(-12, abs=3)


async def test_a_recorder_that_hangs_is_replaced_and_only_what_it_had_and_the_time_until_then_is_missing(
    recorded: Recorded, driver: Driver, room: str, somebody: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.tab.CALL_DEADLINE_S", 2.0)
    async with harness_of(recorded, driver, room) as harness:
        await go_in(harness)
        await wait_until(lambda: len(recorded.segments) >= 1)
        recorder = recorded.active._recorder  # pyright: ignore[reportPrivateUsage]
        assert isinstance(recorder, TabRecorder)
        await wait_until(lambda: fetched_lately(recorded))
        hung_at = time.time()
        await recorder.tab.evaluate("void setTimeout(() => { for (;;); }, 0)")
        await wait_until(lambda: recorded.parts == 2)
        assert recorder.tab not in page_of(harness).context.pages
        await asyncio.sleep(3)
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    made = await finished(recorded)
    assert_true_to(made, recorded)
    [gap] = missing(made)
    assert gap.cause == "recorder_lost"
    *_, (silent_s, again_s) = silences(listen(recorded.made("audio.ogg")))
    began_s, ended_s = gap.began_at - made.began_at, gap.ended_at - made.began_at
    print(f"hung at {hung_at - made.began_at:.2f} s; missing from {silent_s:.2f} to {again_s:.2f} s,")
    print(f"told from {began_s:.2f} to {ended_s:.2f} s")
    assert silent_s > hung_at - made.began_at - 2, "what came until the last fetch is there"
    assert (began_s, ended_s) == (pytest.approx(silent_s, abs=0.5), pytest.approx(again_s, abs=0.5))


async def test_nothing_is_missing_when_the_driver_is_killed(tmp_path: Path, room: str, somebody: Page) -> None:
    recorded = Recorded(tmp_path)
    recording = recorded.recordings.record, recorded.settings, recorded.recordings.equip
    state_dir = recorded.folder.parent
    async with pool_with_own_driver(state_dir, WorkerSettings(memory_reserve_mb=0), *recording) as harness:
        harness.meeting = room
        await go_in(harness)
        await wait_until(lambda: len(recorded.segments) >= 1)
        signal.pidfd_send_signal(harness.driver._pidfd, signal.SIGKILL)  # pyright: ignore[reportPrivateUsage]
        before = len(recorded.segments)
        await wait_until(lambda: len(recorded.segments) >= before + 2)
        assert not harness.seen(BotEnded)
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    made = await finished(recorded)
    assert_true_to(made, recorded)
    assert (len(made.parts), missing(made)) == (1, [])
    assert made.audio
    assert made.ended_at
    assert made.audio.duration_s == pytest.approx(made.ended_at - made.began_at, abs=3), (
        "less than two seconds at either end are no gap"
    )
