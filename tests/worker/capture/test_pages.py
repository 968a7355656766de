"""A bot that is recorded on the local pages of each platform, under a policy that forbids all but the page's own. Sound
comes from Web Audio alone, somebody is muted for a while, and the page makes all its connections anew. No live page was
tried.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from itertools import groupby
from typing import Final

import pytest
import pytest_asyncio

from common.config.settings import WorkerSettings
from common.wire.manifest import AUDIO
from common.wire.messages import BotMoved, PermissionSeen
from common.wire.vocabulary import BotState, Reason
from lab.platforms.meeting import Meeting
from lab.platforms.scenario import Scenario
from lab.platforms.site import Site, serving
from lab.platforms.trial import browser_for
from lab.recorded.received import RATE, level, listen
from tests.waiting import wait_until
from tests.worker.capture.conftest import Recorded, finished, story
from tests.worker.conftest import Harness, pool_with
from worker.chromium.driver import Driver

pytestmark = pytest.mark.asyncio(loop_scope="session")

CODES: Final = {"google_meet": "rec-ords-all", "zoom": "85555555555", "teams": "4000000000055", "jitsi": "Recorded"}
SCENARIO: Final = Scenario(people=(), voices=("Ann",), strict=True, plays="graph")
PHASE_S: Final = 2.0
WINDOW_S: Final = 0.25
LOUD: Final = 0.05


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site() -> AsyncGenerator[Site]:
    async with serving() as site, browser_for(site):
        yield site


def phases(samples: list[float]) -> list[tuple[bool, float]]:
    """Whether it was loud, and for how many seconds, one after the other. Less than half a second does not count."""
    size = round(WINDOW_S * RATE)
    loud = [level(samples[at : at + size]) > LOUD for at in range(0, len(samples) - size, size)]
    runs = [(is_loud, len(list(run)) * WINDOW_S) for is_loud, run in groupby(loud)]
    long_ones = [run for run in runs if run[1] >= 2 * WINDOW_S]
    return [(is_loud, sum(s for _, s in run)) for is_loud, run in groupby(long_ones, lambda run: run[0])]


def is_so(recorded: Recorded, does_speak: bool) -> bool:
    """Whether the page's connections received a voice within the last second, or none."""
    voice_at = recorded.active._voice_at()  # pyright: ignore[reportPrivateUsage]
    return does_speak is (voice_at is not None and time.monotonic() - voice_at < 1.0)


@asynccontextmanager
async def recorded_on(
    recorded: Recorded, driver: Driver, site: Site, platform: str, code: str
) -> AsyncGenerator[tuple[Harness, Meeting]]:
    """A bot that is recorded in a meeting of that platform's page. `code`: none that was there before, or the page of
    voices still plays Ann in that one.
    """
    meeting = site.arrange(platform, code, SCENARIO)
    settings = WorkerSettings(memory_reserve_mb=0, chromium_arguments=site.chromium_flags())
    recordings = recorded.recordings
    async with pool_with(
        recorded.folder.parent, settings, driver, recordings.record, recorded.settings, recordings.equip
    ) as harness:
        harness.meeting = meeting.link
        await harness.warm()
        harness.pool.begin(harness.join(platform=platform))
        await wait_until(lambda: any(move.state is BotState.IN_MEETING for move in harness.seen(BotMoved)))
        await wait_until(lambda: recorded.reports and recorded.spooled)
        yield harness, meeting


@pytest.mark.long
@pytest.mark.parametrize("platform", CODES)
async def test_all_is_heard_under_a_strict_policy_by_web_audio_and_over_new_connections(
    recorded: Recorded, driver: Driver, site: Site, platform: str
) -> None:
    async with recorded_on(recorded, driver, site, platform, CODES[platform]) as (harness, meeting):
        for does_speak in (True, False, True):
            meeting.tone("Ann", loud=does_speak)
            if not does_speak:
                meeting.turn("rewire")
            await wait_until(partial(is_so, recorded, does_speak))
            await asyncio.sleep(PHASE_S)
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    made = await finished(recorded)
    assert [gap for gap in made.gaps if gap.cause != "late"] == []
    assert not [did for did in story(harness) if "capture_failed" in did]
    heard = phases(listen(recorded.made(AUDIO)).left)
    if not heard[0][0]:  # before she began
        del heard[0]
    assert [is_loud for is_loud, _ in heard[:3]] == [True, False, True]
    assert min(seconds for _, seconds in heard[:3]) >= PHASE_S / 2


@pytest.mark.long
async def test_nothing_is_recorded_while_the_page_says_that_the_host_does_not_permit_it(
    recorded: Recorded, driver: Driver, site: Site
) -> None:
    async with recorded_on(recorded, driver, site, "zoom", "86666666666") as (harness, meeting):
        meeting.tone("Ann", loud=True)
        await wait_until(partial(is_so, recorded, True))
        await asyncio.sleep(PHASE_S)
        meeting.turn("recording_denied")
        await wait_until(lambda: "record nothing: the meeting does not permit it" in story(harness))
        recorded.recordings.pause("b1", 1, paused=False)
        await asyncio.sleep(2 * PHASE_S)
        assert recorded.parts == 1
        meeting.turn("meeting")
        await wait_until(lambda: recorded.parts == 2)
        await asyncio.sleep(2 * PHASE_S)
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    assert [(told.allowed, told.number) for told in harness.seen(PermissionSeen)] == [(False, 1), (True, 2)]
    made = await finished(recorded)
    [gap] = [gap for gap in made.gaps if gap.cause != "late"]
    assert gap.cause == "refused"
    assert gap.ended_at - gap.began_at > PHASE_S
    heard = listen(recorded.made(AUDIO)).left
    inside = slice(*(round((at - made.began_at) * RATE) for at in (gap.began_at + 0.5, gap.ended_at - 0.5)))
    assert level(heard[inside]) < 0.001
    assert max(level(heard[: inside.start][-RATE:]), level(heard[inside.stop :])) > LOUD / 2
