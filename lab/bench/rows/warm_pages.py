"""From LPUSH to "Ask to join" on a platform's page of several megabytes: with its code in the cache, without, and by a
browser per job; with real managers, agents and Chromium, and the pages of `sites`.
"""

import asyncio
import json
import secrets
import string
import time
from contextlib import AsyncExitStack
from typing import Final

from playwright.async_api import Playwright, async_playwright

from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.sample import Contender, Series, ratio, take_turns
from lab.parts import StageError
from lab.parts.browser import launch
from lab.parts.stage import Stage
from lab.platforms.meeting import Meeting
from lab.platforms.scenario import Scenario
from lab.platforms.site import Site, serving
from poolmgr.core.events import LeaveRequested
from poolmgr.store.reading.views import Views
from worker.chromium.warm_pages import VISITOR

_WEIGHT_MB: Final = 8
_PLATFORM: Final = "google_meet"
_SETTLE_S: Final = 0.5
_POLL_S: Final = 0.001
_DEADLINE_S: Final = 60.0
_BOT_NAME: Final = "Bench"


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    rounds = 3 if quick else 12
    warm = Series("LPUSH to a worker with the page's code in its cache", "ms")
    cold = Series("LPUSH to a worker without", "ms")
    launched = Series("a browser launched per job, driver running", "ms")
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(serving())
        playwright = await stack.enter_async_context(async_playwright())
        pages = [_arrange(site).link]
        with_pages = await stack.enter_async_context(_stage(site, {"warm_pages": pages}))
        without = await stack.enter_async_context(_stage(site, {}))
        for stage in (with_pages, without):
            await stage.start_manager()
            stage.start_agent()
        progress.say(f"a browser visits a page of {_WEIGHT_MB} MB")
        await with_pages.until("the pages are warm", lambda: _is_warm(with_pages), _DEADLINE_S)
        contenders = [
            Contender((warm,), lambda: _pool_job(with_pages, site)),
            Contender((cold,), lambda: _pool_job(without, site)),
            Contender((launched,), lambda: _launched_job(playwright, site)),
        ]
        await take_turns(rounds, contenders, progress.say)
    times = ratio(warm, cold)
    joined = warm.summary()
    return [
        Measurement(
            "warm_pages",
            f'LPUSH to "Ask to join" on a page of {_WEIGHT_MB} MB',
            joined,
            [cold.summary(), launched.summary()],
            times,
            [
                Budget("p50", "ms", joined.p50),
                Budget("ratio to a worker without", "x", times or 0.0),
                Budget("ratio to a browser per job", "x", ratio(warm, launched) or 0.0),
            ],
            conditions=f"{rounds} jobs each, one after the other, each when a worker stands idle again; the pages of"
            " `sites` as Google Meet's, served over TLS on this machine. So the ratio is what loading from the disk and"
            " not compiling save; what a network costs comes on top for the others.",
            limited_by="running the page's code, then looks and clicks.",
        )
    ]


def _stage(site: Site, worker: dict[str, object]) -> Stage:
    pool = {"min_idle": 1, "max_workers": 3}
    return Stage("bench", {"pool": pool, "worker": {"chromium_arguments": site.chromium_flags(), **worker}})


async def _is_warm(stage: Stage) -> bool:
    folder = stage.state_dir / VISITOR
    return folder.exists() and any(path.name[-1].isdecimal() for path in folder.iterdir())


def _arrange(site: Site) -> Meeting:
    letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(10))
    code = f"{letters[:3]}-{letters[3:7]}-{letters[7:]}"
    return site.arrange(_PLATFORM, code, Scenario(entry="lobby", weight_mb=_WEIGHT_MB))


async def _pool_job(stage: Stage, site: Site) -> list[tuple[float]]:
    await stage.pool_is(1)
    await asyncio.sleep(_SETTLE_S)
    meeting = _arrange(site)
    bot_id = secrets.token_hex(16)
    job = json.dumps({"meeting_link": meeting.link, "bot_name": _BOT_NAME, "bot_id": bot_id})
    began = time.monotonic_ns()
    stage.client.lpush(stage.keys.jobs, job)
    took_ms = await _knocked(meeting, began)
    await Views(stage.redis, stage.keys).request(LeaveRequested(bot_id))
    await stage.pool_is(1)
    return [(took_ms,)]


async def _launched_job(playwright: Playwright, site: Site) -> list[tuple[float]]:
    """Join as a bot that is written for this page only: it recognises and decides nothing."""
    await asyncio.sleep(_SETTLE_S)
    meeting = _arrange(site)
    began = time.monotonic_ns()
    browser = await launch(playwright, *site.chromium_flags())
    try:
        page = await browser.new_page()
        await page.goto(meeting.link, wait_until="domcontentloaded")
        await page.get_by_role("textbox", name="Your name").fill(_BOT_NAME)
        await page.get_by_role("button", name="Ask to join").click()
        return [(await _knocked(meeting, began),)]
    finally:
        await browser.close()


async def _knocked(meeting: Meeting, began: int) -> float:
    """How many ms after `began` the bot was in the lobby."""
    while _BOT_NAME not in meeting.waiting:
        if time.monotonic_ns() - began > _DEADLINE_S * 1e9:
            raise StageError(f"nobody asked to join within {_DEADLINE_S:.0f} s")
        await asyncio.sleep(_POLL_S)
    return (time.monotonic_ns() - began) / 1e6
