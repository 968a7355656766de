"""The memory of a worker whose bot waits in a lobby, with a real manager, agent, Chromium and meeting room."""

import asyncio
import json
from typing import Final

from playwright.async_api import Page

from common.wire.vocabulary import BotState
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.rows.memory import pairs_mb, processes_of
from lab.bench.sample import Series
from lab.bench.usage import pss_mb
from lab.parts.ports import free_ports
from lab.parts.stage import Stage
from poolmgr.store.reading.views import Views

_MOST_MB: Final = 350.0  # a worker; docs: the budgets
_SETTLE_S: Final = 6.0
_DEADLINE_S: Final = 60.0


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    count = 2 if quick else 4
    (port,) = free_ports(1)
    link = f"http://127.0.0.1:{port}/r/lobby"
    # As many slots as bots: no replacement warms up beside them.
    sections = {
        "pool": {"min_idle": count, "max_workers": count},
        "meetings": {"room_hosts": [f"127.0.0.1:{port}"]},
    }
    peer = Series("a driver and a browser for every bot", "MB")
    async with Stage("bench", sections) as stage:
        await stage.start_room(port)
        await stage.start_manager()
        stage.start_agent()
        progress.say(f"{count} workers warm up")
        await stage.pool_is(count)
        for number in range(count):
            stage.client.lpush(stage.keys.jobs, json.dumps({"meeting_link": link, "bot_id": f"lobby-{number}"}))
        await stage.until(f"{count} bots in the lobby", lambda: _are_waiting(stage, count), _DEADLINE_S)
        progress.say(f"{count} bots in the lobby settle")
        await asyncio.sleep(_SETTLE_S)
        workers, agent = processes_of(stage, count)
        each, share = Series("one worker: its Chromium", "MB"), Series("one worker with its share of agent", "MB")
        each.add([pss_mb(pids) for pids in workers])
        share.add([mb + pss_mb(agent) / count for mb in each.samples])
        await stage.stop("agent")

        async def enter(page: Page) -> None:
            await page.goto(link, wait_until="domcontentloaded")
            await page.fill("#name", "Bench")
            await page.click("#join")
            await page.wait_for_selector("#waiting-room")

        peer.add(await pairs_mb(count, _SETTLE_S, progress, enter))
    memory = each.summary()
    return [
        Measurement(
            "lobby",
            f"one of {count} workers in a lobby (PSS)",
            memory,
            [peer.summary(), share.summary()],
            share.summary().p50 / peer.summary().p50,
            [Budget("p50", "MB", memory.p50, _MOST_MB), Budget("p50 with its share", "MB", share.summary().p50)],
            conditions=f"{count} bots in the lobby of the project's own room, headless, {_SETTLE_S:.0f} s after the"
            " last got there; all processes of a worker summed up. Those beside them go to the same lobby when ours"
            " have left. The ratio is that of a worker with its share of agent and driver to one with its own. A page"
            " of Google Meet is heavier than this room's.",
            limited_by="Chromium's processes, and what the meeting's page loads.",
        )
    ]


async def _are_waiting(stage: Stage, count: int) -> bool:
    bots = await Views(stage.redis, stage.keys).bots(most=count, live_only=True)
    return [bot.state for bot in bots] == [BotState.WAITING_ROOM] * count
