"""From LPUSH to the meeting page and on to "Ask to join", with a real manager, agent and Chromium."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import Final, Self

from playwright.async_api import Browser, Page, Playwright, async_playwright

from lab.bench.page import MeetingPage
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.sample import Contender, Series, ratio, take_turns
from lab.parts.browser import launch
from lab.parts.stage import Stage
from poolmgr.core.events import LeaveRequested
from poolmgr.store.reading.views import Views

_ASKED_P50_MS, _ASKED_P99_MS, _JOINED_P50_MS = 30.0, 60.0, 200.0  # docs: the budgets
_IDLE_MS: Final = 40.0  # docs: the budgets
_IDLE_S: Final = 600.0
_SAY_EVERY_S: Final = 15.0
_MIN_IDLE: Final = 2
_SETTLE_S: Final = 0.3
_PEERS_EVERY: Final = 3
_BOT_NAME: Final = "Bench"

_Times = list[tuple[float, float]]


class _Pair:
    """Two series from one job: until the meeting page was asked for, and until the bot asked to join."""

    def __init__(self, name: str) -> None:
        self.asked = Series(name, "ms")
        self.joined = Series(name, "ms")

    @property
    def both(self) -> tuple[Series, Series]:
        return self.asked, self.joined


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    """Jobs for workers that have just become warm."""
    rounds = 3 if quick else 36
    async with MeetingPage() as page, async_playwright() as playwright, _WarmPages(playwright) as warm_pages:
        sections = {
            "pool": {"min_idle": _MIN_IDLE, "max_workers": _MIN_IDLE + 2},
            "meetings": {"room_hosts": [page.host]},
        }
        async with Stage("bench", sections) as stage:
            await stage.start_manager()
            stage.start_agent()
            progress.say(f"{_MIN_IDLE} workers warm up")
            await stage.pool_is(_MIN_IDLE)
            race = _Race(stage, page, playwright, warm_pages)
            await take_turns(rounds, race.contenders(), progress.say)
    return race.measurements(rounds)


async def measure_idle(progress: Progress, *, quick: bool) -> list[Measurement]:
    """Workers that have been idle for ten minutes, all at once, so that one wait serves several jobs."""
    count = 4 if quick else 8
    ours, floor = Series("LPUSH to a worker of the pool", "ms"), Series("goto on a warm page alone", "ms")
    async with MeetingPage() as page, async_playwright() as playwright, AsyncExitStack() as browsers:
        # As many slots as workers: while the bots stay in their meetings, there is no new worker that would be taken
        # first.
        sections = {"pool": {"min_idle": count, "max_workers": count}, "meetings": {"room_hosts": [page.host]}}
        async with Stage("bench", sections) as stage:
            await stage.start_manager()
            stage.start_agent()
            pages: list[Page] = []
            for number in range(count):
                progress.say(f"a bare browser, {number + 1} of {count}, warms up; so do {count} workers")
                browser = await launch(playwright)
                browsers.push_async_callback(browser.close)
                pages.append(await browser.new_page())
            await stage.pool_is(count)
            idle_from = time.monotonic()
            while (left_s := idle_from + _IDLE_S - time.monotonic()) > 0:
                progress.say(f"all stand idle, for {left_s:.0f} s more")
                await asyncio.sleep(min(left_s, _SAY_EVERY_S))
                stage.check()
            for bare in pages:
                await asyncio.sleep(_SETTLE_S)
                name = _new_name()
                began = _push(stage, page.link(name))
                ours.add([(await page.asked(name) - began) / 1e6])
                await asyncio.sleep(_SETTLE_S)
                name, began = _new_name(), time.monotonic_ns()
                await bare.goto(page.link(name), wait_until="domcontentloaded")
                floor.add([(await page.asked(name) - began) / 1e6])
    asked = ours.summary()
    return [
        Measurement(
            "warm_join_idle",
            "LPUSH to the first request for the meeting page, after 10 minutes of idleness",
            asked,
            [floor.summary()],
            ratio(ours, floor),
            [
                Budget("p50", "ms", asked.p50, _IDLE_MS),
                Budget("the first of them", "ms", ours.rounds[0][0], _IDLE_MS),
            ],
            conditions=f"{count} workers and {count} bare browsers, each with a page, stand idle for"
            f" {_IDLE_S / 60:.0f} minutes together; then jobs and bare navigations take turns, each with a browser of"
            " its own. The first of them finds the browser's files as cold as they have become; what it reads is warm"
            " for the next.",
            limited_by="as with a fresh worker, and whatever the system has evicted meanwhile: the agent keeps the"
            " browser's files in memory, but not the memory of idle processes.",
        )
    ]


class _WarmPages:
    """Pages for the floor, each in its own browser that was started well before, as a worker's is."""

    def __init__(self, playwright: Playwright) -> None:
        self._playwright = playwright
        self._browser: Browser | None = None
        self._page: Page | None = None

    async def __aenter__(self) -> Self:
        await self.renew()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._browser:
            await self._browser.close()

    @property
    def page(self) -> Page:
        assert self._page
        return self._page

    async def renew(self) -> None:
        if self._browser:
            await self._browser.close()
        self._browser = await launch(self._playwright)
        self._page = await self._browser.new_page()
        await asyncio.sleep(_SETTLE_S)


class _Race:
    def __init__(self, stage: Stage, page: MeetingPage, playwright: Playwright, warm_pages: _WarmPages) -> None:
        self._stage = stage
        self._page = page
        self._playwright = playwright
        self._warm_pages = warm_pages
        self._views = Views(stage.redis, stage.keys)
        self._pool = _Pair("LPUSH to a worker of the pool")
        self._floor = _Pair("goto on a warm page alone")
        self._launched = _Pair("a browser launched per job, driver running")
        self._driven = _Pair("driver and browser started per job")

    def contenders(self) -> list[Contender]:
        return [
            Contender(self._pool.both, self._pool_job),
            Contender(self._floor.both, self._floor_job),
            Contender(self._launched.both, self._launched_job, _PEERS_EVERY),
            Contender(self._driven.both, self._driven_job, _PEERS_EVERY),
        ]

    async def _pool_job(self) -> _Times:
        await self._stage.pool_is(_MIN_IDLE)
        await asyncio.sleep(_SETTLE_S)
        name = _new_name()
        link = self._page.link(name)
        began = _push(self._stage, link)
        times = await self._times(name, began)
        [bot_id] = [bot.bot_id for bot in await self._views.bots(most=10, live_only=True) if bot.meeting_url == link]
        await self._views.request(LeaveRequested(bot_id))
        await self._stage.pool_is(_MIN_IDLE)
        return times

    async def _floor_job(self) -> _Times:
        times = await self._join(self._warm_pages.page, time.monotonic_ns())
        await self._warm_pages.renew()
        return times

    async def _launched_job(self) -> _Times:
        return await self._launch_and_join(self._playwright, time.monotonic_ns())

    async def _driven_job(self) -> _Times:
        began = time.monotonic_ns()
        async with async_playwright() as playwright:
            return await self._launch_and_join(playwright, began)

    async def _launch_and_join(self, playwright: Playwright, began: int) -> _Times:
        browser = await launch(playwright)
        try:
            return await self._join(await browser.new_page(), began)
        finally:
            await browser.close()

    async def _join(self, page: Page, began: int) -> _Times:
        """Join as a bot that is written for this page only: it recognises and decides nothing."""
        name = _new_name()
        await page.goto(self._page.link(name), wait_until="domcontentloaded")
        await page.fill("#name", _BOT_NAME)
        await page.click("#join")
        return await self._times(name, began)

    async def _times(self, name: str, began: int) -> _Times:
        asked, joined = await self._page.asked(name), await self._page.joined(name)
        return [((asked - began) / 1e6, (joined - began) / 1e6)]

    def measurements(self, rounds: int) -> list[Measurement]:
        asked, joined = self._pool.asked.summary(), self._pool.joined.summary()
        others = (self._floor, self._launched, self._driven)
        how = (
            f"{rounds} jobs, one after the other, each when {_MIN_IDLE} workers stand idle again; headless, a page with"
            " one form from an own server, which notes both moments. The floor's page is on about:blank in a browser"
            f" of its own, too. The slow ones beside it take part in every {_PEERS_EVERY}rd round."
        )
        return [
            Measurement(
                "warm_join",
                "LPUSH to the first request for the meeting page",
                asked,
                [other.asked.summary() for other in others],
                ratio(self._pool.asked, self._floor.asked),
                [Budget("p50", "ms", asked.p50, _ASKED_P50_MS), Budget("p99", "ms", asked.p99, _ASKED_P99_MS)],
                conditions=how,
                limited_by="the dispatch and the claim, on top of what Chromium takes to begin a navigation; the page"
                " is probed meanwhile. It starts no renderer for it: that of the empty page is used.",
            ),
            Measurement(
                "warm_join",
                'LPUSH to "Ask to join" clicked',
                joined,
                [other.joined.summary() for other in others],
                ratio(self._pool.joined, self._floor.joined),
                [Budget("p50", "ms", joined.p50, _JOINED_P50_MS)],
                conditions=f"{how} The others fill in the form without looking which screen shows.",
                limited_by="the page's own loading, then a look, the name and the click, each some round trips to the"
                " browser; meanwhile the replacement's browser starts on the same cores.",
            ),
        ]


def _new_name() -> str:
    return f"join-{time.monotonic_ns()}"


def _push(stage: Stage, link: str) -> int:
    """Hand in a job. Returns when (monotonic, ns)."""
    job = json.dumps({"meeting_link": link, "bot_name": _BOT_NAME})
    began = time.monotonic_ns()
    stage.client.lpush(stage.keys.jobs, job)
    return began
