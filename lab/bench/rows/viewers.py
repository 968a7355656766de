"""What viewers of the manager's page cost the manager, and what the page costs one viewer's browser, with a large fleet
and many bots.
"""

import asyncio
import hashlib
import json
import os
import secrets
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import aiohttp
from playwright.async_api import Page, async_playwright

from lab.bench.arrivals import Arrivals
from lab.bench.commands import module
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.sample import Series, ratio
from lab.bench.usage import cpu_percent, cpu_percents
from lab.parts import StageError, browser
from lab.parts.ports import free_ports
from lab.parts.stage import Stage
from lab.parts.table import below

VIEWERS: Final = 10
_MOST_POINTS: Final = 2.0
_MOST_BROWSER: Final = 10.0
_MOST_PAINT_MS: Final = 300.0
_VMS, _MIN_IDLE = 1000, 2
_BOTS: Final = 5000
_JOBS_A_SECOND: Final = 2
_STAY_S: Final = 3600.0
_LINK: Final = "http://127.0.0.1:8090/r/viewed"
_OF_PLACE: Final = {
    "a standby": " A standby does nothing else, so this is what viewers cost.",
    "the leader": " What a leader does by itself varies by more than viewers cost, most of all beside other load.",
}
_ROWS: Final = "() => document.querySelectorAll('#vms tbody tr').length >= 100"
_PAINT: Final = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    rounds, interval_s, loads, settles_s = (2, 4.0, 3, 10.0) if quick else (4, 8.0, 8, 40.0)
    token = f"pm_{secrets.token_urlsafe(32)}"
    tokens = [{"name": "viewer", "sha256": hashlib.sha256(token.encode()).hexdigest(), "role": "read"}]
    sections = {"pool": {"min_idle": _MIN_IDLE, "max_workers": 12}, "api": {"tokens": tokens}}
    places = ("a standby", "the leader")
    alone = {place: Series(f"{place}, nobody looks", "% of a core") for place in places}
    watched = {place: Series(f"{place}, {VIEWERS} viewers", "% of a core") for place in places}
    viewing, paint, work = Series("the page", "% of a core"), Series("the page", "ms"), Series("the page", "ms")
    async with Stage("bench", sections) as stage, asyncio.TaskGroup() as group:
        arrivals = Arrivals(stage.folder / "agents.arrivals")
        await stage.start_manager()
        stage.start("agents", *module("simulate", stage.redis_url, _VMS, 50, 0.5, _STAY_S, arrivals.path, 1))
        progress.say(f"{_VMS:,} simulated VMs take {_BOTS:,} bots in")
        await _fill(stage)
        bases = dict(zip(places, (await _standby(stage), stage.api), strict=True))
        pids = dict(zip(places, (stage.pid("standby"), stage.pid("manager")), strict=True))
        trickle = group.create_task(_trickle(stage), name="jobs")
        progress.say(f"the last hour is read, {settles_s:.0f} s")
        async with AsyncExitStack() as stack:
            for base in bases.values():
                await stack.enter_async_context(_viewers(base, token))
            await asyncio.sleep(settles_s)
        for number in range(rounds):
            progress.say(f"processor time, {number + 1} of {rounds} times three times {interval_s:.0f} s")
            for place, taken in zip(places, await cpu_percents(list(pids.values()), interval_s), strict=True):
                alone[place].add([taken])
            for place, base in bases.items():
                async with _viewers(base, token):
                    watched[place].add(await cpu_percents([pids[place]], interval_s))
        await stage.stop("standby")
        progress.say("the page in a browser")
        async with _page(stage, token) as (page, browsers):

            async def load() -> None:
                await page.reload()
                await page.wait_for_function(_ROWS)

            for _ in range(loads):
                await load()
                paint.add([float(await page.evaluate(_PAINT))])
            for _ in range(loads):
                work.add([await _work_of(page, load)])
            for number in range(-1, rounds):
                taken = await cpu_percent(browsers, interval_s)
                if number >= 0:  # before, it settles: the page was just loaded
                    viewing.add([taken])
        trickle.cancel()
    what = f"{_VMS:,} VMs, {_BOTS:,} bots"
    conditions = (
        f"{_VMS:,} simulated agents with heartbeats every 2 s, {_BOTS:,} bots in meetings, {_JOBS_A_SECOND} jobs a"
        f" second; {rounds} times {interval_s:.0f} s with nobody and with {VIEWERS} streams that are read at once,"
        f" after {settles_s:.0f} s in which the last hour was read."
    )
    takes = viewing.summary()
    return [
        *(
            Measurement(
                "viewers",
                f"{what}: processor time of {place} with {VIEWERS} viewers",
                seen.summary(),
                [alone[place].summary()],
                ratio(seen, alone[place]),
                [Budget("mean, points over nobody", "%", _points(seen, alone[place]), _MOST_POINTS)],
                conditions=conditions + _OF_PLACE[place],
                limited_by="One look at Redis for all viewers, at most five a second, and writing it to each of them.",
            )
            for place, seen in watched.items()
        ),
        Measurement(
            "viewers",
            f"{what}: processor time of the page in a browser",
            takes,
            budgets=[Budget("mean", "%", takes.mean, _MOST_BROWSER)],
            conditions=f"{conditions} A headless Chromium, all its processes and Playwright's driver.",
            limited_by="Painting what changed, at most once a frame, and the ages of shown bots once a second.",
        ),
        Measurement(
            "viewers",
            f"{what}: first paint of the page",
            paint.summary(),
            budgets=[Budget("p50", "ms", paint.summary().p50, _MOST_PAINT_MS)],
            conditions=f"{loads} reloads in that browser, from its navigation on; by the browser's own word.",
            limited_by="The browser's own start of a document: three small files from this machine.",
        ),
        Measurement(
            "viewers",
            f"{what}: processor time of the page's main thread, from its navigation to its first 100 rows of VMs",
            work.summary(),
            budgets=[Budget("p50", "ms", work.summary().p50)],
            conditions=f"{loads} more reloads, each with a trace of its tasks: processor time, whatever else runs.",
            limited_by="Parsing the page and its script, then at most 40 rows a table and frame.",
        ),
    ]


def _points(watched: Series, alone: Series) -> float:
    return max(0.0, watched.summary().mean - alone.summary().mean)


async def _work_of(page: Page, act: Callable[[], Awaitable[None]]) -> float:
    """The processor time of the page's main thread while `act` runs, in ms: of all tasks in its own trace."""
    ours = page.context.browser
    assert ours
    await ours.start_tracing(page=page, categories=["toplevel"])
    await act()
    events: list[dict[str, Any]] = json.loads(await ours.stop_tracing())["traceEvents"]
    named = (event for event in events if event["name"] == "thread_name")
    mains = {(event["pid"], event["tid"]) for event in named if event["args"]["name"] == "CrRendererMain"}
    spent: Counter[tuple[int, int]] = Counter()
    for event in events:
        thread = event["pid"], event["tid"]
        if thread in mains and event["name"] == "ThreadControllerImpl::RunTask":
            spent[thread] += event.get("tdur", 0)
    return max(spent.values()) / 1000


async def _standby(stage: Stage) -> str:
    """Start a second manager. Returns the address of its API."""
    api, metrics = (f"127.0.0.1:{port}" for port in free_ports(2))
    command = (sys.executable, "-m", "poolmgr", "serve", "--config", str(stage.config))
    stage.start("standby", *command, POOLMGR_API__LISTEN=api, POOLMGR_METRICS__LISTEN=metrics)
    await stage.port_opens("standby", int(api.rpartition(":")[2]))
    return f"http://{api}"


async def _fill(stage: Stage) -> None:
    await stage.pool_is(_VMS * _MIN_IDLE, within_s=120.0)
    for start in range(0, _BOTS, 500):
        jobs = [_job(f"viewed-{number}") for number in range(start, start + 500)]
        await stage.redis.lpush(stage.keys.jobs, *jobs)  # pyright: ignore[reportGeneralTypeIssues]

    async def all_in() -> bool:
        workers = await stage.workers()
        return workers.get("busy") == _BOTS and workers.get("idle") == _VMS * _MIN_IDLE

    await stage.until(f"{_BOTS} bots in meetings", all_in, 180.0, 0.5)


def _job(bot_id: str) -> str:
    return json.dumps({"meeting_link": _LINK, "bot_id": bot_id, "bot_name": f"Bot {bot_id}"})


async def _trickle(stage: Stage) -> None:
    number = 0
    while True:
        number += 1
        await stage.redis.lpush(stage.keys.jobs, _job(f"new-{number}"))  # pyright: ignore[reportGeneralTypeIssues]
        await asyncio.sleep(1 / _JOBS_A_SECOND)


@asynccontextmanager
async def _viewers(base: str, token: str) -> AsyncGenerator[None]:
    """Streams that are received, but not parsed."""
    headers = {"Authorization": f"Token {token}"}
    began = [asyncio.Event() for _ in range(VIEWERS)]

    async def view(session: aiohttp.ClientSession, has_begun: asyncio.Event) -> None:
        async with session.get(f"{base}/page/live", headers=headers) as answer:
            if answer.status != 200:
                raise StageError(f"/page/live was answered with {answer.status}")
            async for _ in answer.content.iter_any():
                has_begun.set()

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(view(session, each), name="viewer") for each in began]
        for each in began:
            await each.wait()
        yield
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def _page(stage: Stage, token: str) -> AsyncGenerator[tuple[Page, Collection[int]]]:
    """The page with its token, and the processes of its browser."""
    before = below([os.getpid()])
    async with async_playwright() as playwright:
        ours: Any = await browser.launch(playwright)
        page = await ours.new_page()
        await page.goto(stage.api)
        await page.get_by_label("API token").fill(token)
        await page.get_by_label("API token").press("Enter")
        await page.wait_for_function(_ROWS)
        yield page, below([os.getpid()]) - before
        await ours.close()
