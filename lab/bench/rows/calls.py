"""Many bots in one room for minutes: what each of them uses, and whether all are still there at the end."""

import asyncio
import json
import time
from typing import Final

from playwright.async_api import Page, async_playwright

from common.wire.vocabulary import BotState
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.rows.memory import pairs_mb, processes_of
from lab.bench.sample import Series
from lab.bench.usage import cpu_percents, pss_mb
from lab.parts.browser import launch
from lab.parts.ports import free_ports
from lab.parts.stage import Stage
from poolmgr.store.reading.views import Views

_SETTLE_S: Final = 6.0
_INTERVAL_S: Final = 10.0
_DEADLINE_S: Final = 120.0
_SENDS: Final = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


async def measure(progress: Progress, *, quick: bool, minutes: float = 2.0) -> list[Measurement]:
    count = 3 if quick else 8
    (port,) = free_ports(1)
    link = f"http://127.0.0.1:{port}/r/calls"
    sections = {
        "pool": {"min_idle": count, "max_workers": count},
        "meetings": {"room_hosts": [f"127.0.0.1:{port}"]},
    }
    each, cpu = Series("one bot: its Chromium", "MB"), Series("one bot: its Chromium", "% of a core")
    peer = Series("a driver and a browser for every bot", "MB")
    share = Series("agent and driver, one for all", "% of a core")
    async with Stage("bench", sections) as stage, async_playwright() as playwright:
        await stage.start_room(port, "--open")
        await stage.start_manager()
        stage.start_agent()
        progress.say(f"{count} workers warm up")
        await stage.pool_is(count)
        talker = await launch(playwright, *_SENDS)
        await _enter(await talker.new_page(), link, sends=True)
        for number in range(count):
            stage.client.lpush(stage.keys.jobs, json.dumps({"meeting_link": link, "bot_id": f"calls-{number}"}))
        await stage.until(f"{count} bots in the room", lambda: _are_in(stage, count), _DEADLINE_S)
        await asyncio.sleep(_SETTLE_S)
        workers, agent = processes_of(stage, count)
        until = time.monotonic() + minutes * 60
        while (left_s := until - time.monotonic()) > 0:
            progress.say(f"{count} bots in one room, for {left_s:.0f} s more")
            everything = [*(sorted(pids) for pids in workers), sorted(agent)]
            flat = [pid for pids in everything for pid in pids]
            percents = iter(await cpu_percents(flat, min(_INTERVAL_S, max(left_s, 1.0))))
            *bots, own = [sum(next(percents) for _ in pids) for pids in everything]
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
            limited_by="decoding and drawing the one picture, and two looks at the page a second.",
        ),
    ]


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
