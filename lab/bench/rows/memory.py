"""The memory (PSS, each process's share of what it maps) and CPU time of idle workers."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

from playwright.async_api import Page, async_playwright

from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.sample import Series
from lab.bench.usage import TICKS_A_SECOND, cpu_percent, pss_mb, tree, worker_groups
from lab.parts import StageError
from lab.parts.browser import launch
from lab.parts.stage import Stage
from lab.parts.table import below

_MOST_MB: Final = 200.0  # a worker; docs: the budgets
_MOST_CPU: Final = 2.0  # percent of one core, for ten workers; docs: the budgets
_BUDGETED_WORKERS: Final = 10
_MOST_GROWTH: Final = 1.05
_MANY: Final = 50
_LOOKS: Final = 12
_SETTLE_S: Final = 6.0
_INTERVAL_S: Final = 5.0


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    count, intervals = (4, 2) if quick else (_BUDGETED_WORKERS, 4)
    async with Stage("bench", {"pool": {"min_idle": count, "max_workers": count}}) as stage:
        await stage.start_manager()
        stage.start_agent()
        progress.say(f"{count} workers warm up")
        await stage.pool_is(count, within_s=120.0)
        progress.say("they settle")
        await asyncio.sleep(_SETTLE_S)
        workers, agent = processes_of(stage, count)
        each = Series("one worker: its Chromium", "MB")
        each.add([pss_mb(pids) for pids in workers])
        shared_mb = pss_mb(agent)
        cpu = Series(f"{count} workers, agent, driver", "% of a core")
        everything = [*agent, *(pid for pids in workers for pid in pids)]
        for number in range(intervals):
            progress.say(f"processor time, {number + 1} of {intervals} times {_INTERVAL_S:.0f} s")
            cpu.add([await cpu_percent(everything, _INTERVAL_S)])
    share = Series("one worker with its share of agent and driver", "MB")
    share.add([mb + shared_mb / count for mb in each.samples])
    shared = Series("the agent and its driver, one for all", "MB")
    shared.add([shared_mb])
    peer = Series("a driver and a browser for every bot", "MB")
    peer.add(await pairs_mb(count, _SETTLE_S, progress, _nothing))
    memory, processor = each.summary(), cpu.summary()
    return [
        Measurement(
            "memory",
            f"one of {count} idle workers (PSS)",
            memory,
            [peer.summary(), share.summary(), shared.summary()],
            share.summary().p50 / peer.summary().p50,
            [Budget("p50", "MB", memory.p50, _MOST_MB), Budget("p50 with its share", "MB", share.summary().p50)],
            conditions=f"{count} workers, all processes of each summed up, {_SETTLE_S:.0f} s after the last was warm."
            f" The {count} beside them run when ours have ended, because who runs together shares memory. The ratio is"
            " that of a worker with its share of agent and driver to one with its own.",
            limited_by="Chromium's browser, GPU, storage and renderer processes for one empty page, and the two from"
            " which these are forked.",
        ),
        Measurement(
            "cpu",
            f"{count} idle workers",
            processor,
            budgets=[
                Budget(
                    f"mean of {_BUDGETED_WORKERS}", "%", processor.mean, _MOST_CPU, judged=count == _BUDGETED_WORKERS
                )
            ],
            conditions=f"user and system time of agent, driver and all browsers, {intervals} times"
            f" {_INTERVAL_S:.0f} s; a tick is {1000 / TICKS_A_SECOND:.0f} ms.",
            limited_by="heartbeats of the agent and what Chromium's processes wake up for by themselves.",
        ),
    ]


async def measure_idle(progress: Progress, *, quick: bool, minutes: float = 2.0) -> list[Measurement]:
    """Whether workers that stand idle for long, and the agent with them, take more and more."""
    count = 4 if quick else _MANY
    workers = [Series(f"one worker, {when}", "MB") for when in ("at the end", "at the beginning")]
    agent = [Series(f"agent and driver, {when}", "MB") for when in ("at the end", "at the beginning")]
    async with Stage("bench", {"pool": {"min_idle": count, "max_workers": count}}) as stage:
        await stage.start_manager()
        stage.start_agent()
        progress.say(f"{count} workers warm up")
        await stage.pool_is(count, within_s=count * 12.0)
        await asyncio.sleep(_SETTLE_S)
        looks: list[tuple[list[float], float]] = []
        for number in range(_LOOKS + 1):
            if number:
                progress.say(f"{count} idle workers, for {minutes * (1 - (number - 1) / _LOOKS):.0f} minutes more")
                await asyncio.sleep(minutes * 60 / _LOOKS)
            stage.check()
            each, own = processes_of(stage, count)
            looks.append(([pss_mb(pids) for pids in each], pss_mb(own)))
    for series, shared, look in zip(workers, agent, (looks[-1], looks[0]), strict=True):
        series.add(look[0])
        shared.add([look[1]])
    last, first = (series.summary() for series in workers)
    most = max(sum(each) for each, _ in looks)
    return [
        Measurement(
            "idle",
            f"{count} workers, idle for {minutes:g} minutes (PSS)",
            last,
            [first, *(shared.summary() for shared in agent)],
            last.p50 / first.p50,
            [
                Budget("p50 at the end by that at the beginning", "x", last.p50 / first.p50, _MOST_GROWTH),
                Budget("all workers together, at most", "MB", most),
            ],
            conditions=f"{count} workers, all processes of each summed up, {_LOOKS + 1} times in {minutes:g} minutes.",
            limited_by="what Chromium's processes keep for one empty page.",
        )
    ]


async def pairs_mb(
    count: int, settle_s: float, progress: Progress, use: Callable[[Page], Awaitable[object]]
) -> list[float]:
    """The memory of each of `count` pairs of driver and browser, as a program for one bot starts them, `settle_s` after
    all have used their page.
    """
    before = below([os.getpid()])
    pairs: list[set[int]] = []
    async with AsyncExitStack() as stack:
        for number in range(count):
            progress.say(f"driver and browser {number + 1} of {count} beside them")
            playwright = await stack.enter_async_context(async_playwright())
            browser = await launch(playwright)
            stack.push_async_callback(browser.close)
            await use(await browser.new_page())
            now = below([os.getpid()])
            pairs.append(now - before)
            before = now
        progress.say("they settle")
        await asyncio.sleep(settle_s)
        # A pair that is started later is also a descendant of its driver.
        return [pss_mb(below(pair)) for pair in pairs]


def processes_of(stage: Stage, count: int) -> tuple[list[set[int]], set[int]]:
    """The processes of each worker, and those of the agent and its driver. Raises: StageError when there are not
    `count` workers.
    """
    workers = [tree(group) for group in worker_groups(stage.state_dir)]
    if len(workers) != count:
        raise StageError(f"there should be {count} workers, but {len(workers)} browsers were found")
    return workers, below([stage.pid("agent")]) - {pid for pids in workers for pid in pids}


async def _nothing(_page: Page) -> None:
    pass
