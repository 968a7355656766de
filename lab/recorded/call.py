"""A call in the project's room with somebody whose picture and sound are known, recorded by a bot of each way at once.

Of each way a folder is left: the finished files, their manifest, and what was noted meanwhile.
"""

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp
import msgspec
from playwright.async_api import Page, async_playwright

from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, VIDEO
from common.wire.vocabulary import BotState
from lab.parts import StageError
from lab.parts.browser import launch
from lab.parts.ports import free_ports
from lab.parts.stage import Stage
from lab.recorded.seeing import NOTE, PATTERN, Box
from poolmgr.core.requests import LeaveRequested
from poolmgr.store.reading.views import Views

Way = Literal["tab", "display"]
NOTED: Final = "noted.json"
NOTE_S: Final = 30.0
"""How long the bots' pages note what they show and play: after the beginning, and before the end."""
_DEADLINE_S: Final = 180.0
_CALL_S: Final = 15.0
_MAKING_S: Final = 900.0
_BOX: Final = """(() => {
  const box = document.querySelector(".tile[data-camera] video").getBoundingClientRect();
  return [box.x, box.y, box.width, box.height];
})()"""


class Window(msgspec.Struct, frozen=True):
    """When a bot's page showed flashes and played beeps, in epoch seconds."""

    flashes: list[float]
    beeps: list[float]


class Noted(msgspec.Struct, frozen=True):
    """`sent`: when each flash and beep began at whoever sent them, in epoch seconds. `box`: where the bot's page shows
    them. `loads`: the machine's load average, once a minute. `processors`: how many it has.
    """

    way: Way
    box: Box
    sent: list[float]
    windows: list[Window]
    loads: list[float]
    processors: int


async def hold(ways: Sequence[Way], minutes: float, folder: Path, say: Callable[[str], None]) -> list[Path]:
    """Hold the call, and leave the folder of each way in `folder`. Raises: StageError."""
    (port,) = free_ports(1)
    link = f"http://127.0.0.1:{port}/r/recorded"
    async with async_playwright() as playwright, AsyncExitStack() as entered:
        stages = [await entered.enter_async_context(_stage(port, way)) for way in ways]
        await stages[0].start_room(port, "--open")
        for stage in stages:
            await stage.start_manager()
            stage.start_agent()
        browser = await launch(playwright, "--autoplay-policy=no-user-gesture-required")
        talker = await browser.new_page()
        await _enter(talker, link)
        for stage in stages:
            job = {"meeting_link": link, "bot_id": "recorded", "video_required": True}
            stage.client.lpush(stage.keys.jobs, json.dumps(job))
        for stage in stages:
            await stage.until("the bot is recorded", partial(_is_recorded, stage), _DEADLINE_S)
        ends_at = time.monotonic() + minutes * 60
        say(f"recorded by {' and '.join(ways)}, for {minutes:g} minutes")
        boxes = [Box(*await _evaluate(stage, _BOX)) for stage in stages]
        first = await _note(stages)
        loads: list[float] = []
        while (left_s := ends_at - time.monotonic()) > NOTE_S:
            loads.append(os.getloadavg()[0])
            await asyncio.sleep(min(60.0, left_s - NOTE_S))
            for stage in stages:
                stage.check()
            say(f"{(ends_at - time.monotonic()) / 60:.1f} minutes more, load {loads[-1]:.1f}")
        last = await _note(stages)
        sent: list[float] = await talker.evaluate("sent")
        for stage in stages:
            await Views(stage.redis, stage.keys).request(LeaveRequested("recorded"))
        for stage in stages:
            await stage.until("its files are made", partial(_is_finished, stage), _MAKING_S, every_s=0.5)
        await browser.close()
        processors = len(os.sched_getaffinity(0))
        return [
            _keep(stage, folder / way, Noted(way, box, sent, [start, end], loads, processors))
            for stage, way, box, start, end in zip(stages, ways, boxes, first, last, strict=True)
        ]


def _stage(port: int, way: Way) -> Stage:
    sections: dict[str, dict[str, Any]] = {
        "pool": {"min_idle": 0, "min_idle_display": 0, "max_workers": 1, "cpu_limit": 0.0},
        "meetings": {"room_hosts": [f"127.0.0.1:{port}"]},
    }
    stage = Stage("recorded", sections | {"capture": {"store": "/nowhere", "video": way}})
    stage.config.write_text(stage.config.read_text().replace("/nowhere", str(_store(stage))))
    return stage


def _store(stage: Stage) -> Path:
    return stage.folder / "recordings"


async def _enter(page: Page, link: str) -> None:
    await page.add_init_script(PATTERN)
    await page.goto(f"{link}?name=Ann", wait_until="domcontentloaded")
    for device in ("#microphone", "#camera"):
        await page.set_checked(device, True)
    await page.click("#join")
    await page.wait_for_selector("#in-meeting", state="visible")


async def _is_recorded(stage: Stage) -> bool:
    bot = await Views(stage.redis, stage.keys).bot("recorded")
    return bool(bot and bot.state == BotState.IN_MEETING and bot.manifest_status == "recording")


async def _is_finished(stage: Stage) -> bool:
    return await asyncio.to_thread((_store(stage) / manifest.folder("recorded", 1) / FINAL).exists)


async def _note(stages: Sequence[Stage]) -> list[Window]:
    """What the bots' pages show and play for NOTE_S."""
    for stage in stages:
        await _evaluate(stage, f"({NOTE})()")
    await asyncio.sleep(NOTE_S)
    noted = [await _evaluate(stage, "Object.assign(noted, { isOver: true })") for stage in stages]
    return [msgspec.convert(each, Window) for each in noted]


async def _evaluate(stage: Stage, expression: str) -> Any:
    """In the meeting's page of the bot. Raises: StageError."""
    [port_file] = stage.state_dir.glob("workers/*/profile/DevToolsActivePort")
    port = port_file.read_text().split("\n")[0]
    async with asyncio.timeout(_CALL_S), aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            [page] = [each for each in await answer.json() if "/r/recorded" in each["url"] and each["type"] == "page"]
        async with session.ws_connect(page["webSocketDebuggerUrl"]) as socket:
            params = {"expression": expression, "returnByValue": True}
            await socket.send_json({"id": 1, "method": "Runtime.evaluate", "params": params})
            said = await socket.receive_json()
    if "exceptionDetails" in said.get("result", {}) or "error" in said:
        raise StageError(f"the bot's page does not take {expression[:40]!r}: {json.dumps(said)[:300]}")
    return said["result"]["result"].get("value")


def _keep(stage: Stage, folder: Path, noted: Noted) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in (FINAL, AUDIO, VIDEO):
        shutil.copy(_store(stage) / manifest.folder("recorded", 1) / name, folder / name)
    (folder / NOTED).write_bytes(msgspec.json.encode(noted))
    return folder
