"""Many bots in one room for minutes: what each of them uses, and whether all are still there at the end. Or beside bots
of another checkout, at the same time: what a change of the code takes or saves.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from playwright.async_api import Page, async_playwright

from common.wire.vocabulary import BotState
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.rows.memory import pairs_mb, processes_of
from lab.bench.sample import Series, ratio
from lab.bench.usage import cpu_percents, pss_mb
from lab.parts.browser import launch
from lab.parts.ports import free_ports
from lab.parts.stage import ROOT, Stage
from poolmgr.store.reading.views import Views

_SETTLE_S: Final = 6.0
_INTERVAL_S: Final = 10.0
_DEADLINE_S: Final = 120.0
_ROUNDS: Final = 4
_ROUND_S: Final = 25.0
_SENDS: Final = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


async def measure(progress: Progress, *, quick: bool, minutes: float = 2.0) -> list[Measurement]:
    count = 3 if quick else 8
    (port,) = free_ports(1)
    link = f"http://127.0.0.1:{port}/r/calls"
    each, cpu = Series("one bot: its Chromium", "MB"), Series("one bot: its Chromium", "% of a core")
    peer = Series("a driver and a browser for every bot", "MB")
    share = Series("agent and driver, one for all", "% of a core")
    async with _stage(count, port) as stage, async_playwright() as playwright:
        await stage.start_room(port, "--open")
        await stage.start_manager()
        stage.start_agent()
        progress.say(f"{count} workers warm up")
        await stage.pool_is(count)
        talker = await launch(playwright, *_SENDS)
        await _enter(await talker.new_page(), link, sends=True)
        await _send_in(stage, link, count)
        await asyncio.sleep(_SETTLE_S)
        workers, agent = processes_of(stage, count)
        until = time.monotonic() + minutes * 60
        while (left_s := until - time.monotonic()) > 0:
            progress.say(f"{count} bots in one room, for {left_s:.0f} s more")
            *bots, own = await _percents([*workers, agent], min(_INTERVAL_S, max(left_s, 1.0)))
            cpu.add(bots)
            share.add([own])
            stage.check()
        each.add([pss_mb(pids) for pids in workers])
        still_in = await _count_in(stage, count)
        await stage.stop("agent")

        async def enter(page: Page) -> None:
            await _enter(page, link, sends=False)

        peer.add(await pairs_mb(count, _SETTLE_S, progress, enter))
        await talker.close()
    memory, processor = each.summary(), cpu.summary()
    conditions = (
        f"{count} bots for {minutes:g} minutes in the project's own room, open door, with one person beside them who"
        " sends Chromium's test picture and sound to each; headless, on the same machine. Those beside them are in the"
        " same room when ours have left."
    )
    return [
        Measurement(
            "calls",
            f"one of {count} bots in one room (PSS)",
            memory,
            [peer.summary()],
            memory.p50 / peer.summary().p50,
            [Budget("p50", "MB", memory.p50), Budget("bots that left by themselves", "", count - still_in, 0.0)],
            conditions=conditions,
            limited_by="Chromium's processes, and what the meeting's page and its media take.",
        ),
        Measurement(
            "calls",
            f"one of {count} bots in one room: processor time",
            processor,
            [share.summary()],
            budgets=[Budget("p50", "%", processor.p50)],
            conditions=f"{conditions} By processes of each bot, over {_INTERVAL_S:.0f} s each.",
            limited_by="decoding the one picture, playing the sound, and two looks at the page a second.",
        ),
    ]


async def measure_beside(progress: Progress, checkout: Path, *, quick: bool) -> list[Measurement]:
    """The processor time of bots beside that of bots whose agent runs the code of another checkout. All are in one room
    at the same time, so that whatever else the machine does falls on both.
    """
    count, rounds = (2, 1) if quick else (3, _ROUNDS)
    (port,) = free_ports(1)
    link = f"http://127.0.0.1:{port}/r/calls"
    ours, theirs = (Series(f"one bot: its Chromium, {whose}", "% of a core") for whose in ("here", "there"))
    shares = [Series(f"agent and driver for {count}, {whose}", "% of a core") for whose in ("here", "there")]
    async with AsyncExitStack() as entered:
        stages = [await entered.enter_async_context(_stage(count, port)) for _ in (ours, theirs)]
        playwright = await entered.enter_async_context(async_playwright())
        await stages[0].start_room(port, "--open")
        for stage, code in zip(stages, (ROOT, checkout), strict=True):
            await stage.start_manager()
            stage.start_agent(code)
        for stage in stages:
            await stage.pool_is(count)
        talker = await launch(playwright, *_SENDS)
        await _enter(await talker.new_page(), link, sends=True)
        for stage in stages:
            await _send_in(stage, link, count)
        await asyncio.sleep(_SETTLE_S)
        found = [processes_of(stage, count) for stage in stages]
        everything = [pids for workers, agent in found for pids in (*workers, agent)]
        for number in range(rounds):
            progress.say(f"{count} bots of each checkout, round {number + 1} of {rounds}")
            percents = await _percents(everything, _ROUND_S)
            for series, share, taken in zip(
                (ours, theirs), shares, (percents[: count + 1], percents[count + 1 :]), strict=True
            ):
                series.add(taken[:count])
                share.add(taken[count:])
            for stage in stages:
                stage.check()
        await talker.close()
    processor = ours.summary()
    return [
        Measurement(
            "calls beside",
            f"one of {count} bots beside {count} of another checkout: processor time",
            processor,
            [theirs.summary(), *(share.summary() for share in shares)],
            ratio(ours, theirs),
            [Budget("mean", "%", processor.mean), Budget("mean there", "%", theirs.summary().mean)],
            conditions=(
                f"{rounds} rounds of {_ROUND_S:.0f} s, all bots in the project's own room at the same time, with one"
                " person beside them who sends Chromium's test picture and sound to each; headless."
            ),
        )
    ]


def _stage(count: int, port: int) -> Stage:
    sections = {
        "pool": {"min_idle": count, "max_workers": count},
        "meetings": {"room_hosts": [f"127.0.0.1:{port}"]},
    }
    return Stage("bench", sections)


async def _send_in(stage: Stage, link: str, count: int) -> None:
    for number in range(count):
        stage.client.lpush(stage.keys.jobs, json.dumps({"meeting_link": link, "bot_id": f"calls-{number}"}))
    await stage.until(f"{count} bots in the room", lambda: _are_in(stage, count), _DEADLINE_S)


async def _percents(groups: Sequence[set[int]], interval_s: float) -> list[float]:
    """How many percent of a core the processes of each group use together over the next `interval_s`."""
    everything = [sorted(pids) for pids in groups]
    percents = iter(await cpu_percents([pid for pids in everything for pid in pids], interval_s))
    return [sum(next(percents) for _ in pids) for pids in everything]


async def _enter(page: Page, link: str, *, sends: bool) -> None:
    await page.goto(link, wait_until="domcontentloaded")
    await page.fill("#name", "Talker" if sends else "Bench")
    for device in ("#microphone", "#camera"):
        await page.set_checked(device, sends)
    await page.click("#join")
    await page.wait_for_selector("#in-meeting", state="visible")


async def _are_in(stage: Stage, count: int) -> bool:
    return await _count_in(stage, count) == count


async def _count_in(stage: Stage, count: int) -> int:
    bots = await Views(stage.redis, stage.keys).bots(most=count, live_only=True)
    return sum(bot.state == BotState.IN_MEETING for bot in bots)
