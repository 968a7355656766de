"""A recorded bot whose page or driver is killed: what its finished file has, and what its manifest says is missing."""

import asyncio
import signal
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
from tests.worker.capture.test_pictures import page_of
from tests.worker.capture.test_recordings import assert_true_to, missing
from tests.worker.conftest import pool_with_own_driver
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
    heard = listen(recorded.file("audio.ogg"))
    at = heard.clearest(440, 1000)
    assert heard.tones(440, at)[0] == pytest.approx(-12, abs=3)


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
