"""A call in the project's room with somebody whose picture and sound are known, recorded by bots of each way at once.

Of each bot a folder is left: the finished files, their manifest, and what was noted meanwhile.
"""

import asyncio
import base64
import json
import os
import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import aiohttp
import msgspec
from playwright.async_api import Page, async_playwright

from common.config.settings import Settings
from common.runtime.workshop import workshop
from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, VIDEO
from common.wire.vocabulary import BotState
from lab.parts import StageError
from lab.parts.browser import launch
from lab.parts.ports import free_ports
from lab.parts.stage import Stage
from lab.recorded.seeing import NOTE, PATTERN, Box
from lab.recorded.trouble import Trouble, kill_browser, make, pages, prepared
from lab.speech import voice
from poolmgr.core.requests import LeaveRequested
from poolmgr.store.reading.views import Views
from worker.chromium import processes

Way = Literal["tab", "display", "sound", "tracks"]
"""`sound`: by the tab, and no picture. `tracks`: likewise, and the packets of each participant's sound."""
SEEN: Final = ("tab", "display")
NOTED: Final = "noted.json"
SAID: Final = "said.wav"
NOTE_S: Final = 30.0
"""How long the bots' pages note what they show and play: after the beginning, and before the end."""
_DEADLINE_S: Final = 180.0
_CALL_S: Final = 15.0
_MAKING_S: Final = 900.0
_NICENESS: Final = -15
_OTHERS: Final = 0.5  # processors that the speaker, the room, the manager and Redis take, all rounded up
_BOX: Final = """(() => {
  const box = document.querySelector(".tile[data-camera] video").getBoundingClientRect();
  return [box.x, box.y, box.width, box.height];
})()"""


class Window(msgspec.Struct, frozen=True):
    """When a bot's page showed flashes and played beeps, in epoch seconds."""

    flashes: list[float]
    beeps: list[float]


class Noted(msgspec.Struct, frozen=True):
    """`sent`: when each flash and beep began at whoever sent them, in epoch seconds; `said`: and the sentence. `box`:
    where the bot's page shows them, None if the bot records no picture; then there are no windows. `loads`: the
    machine's load average, once a minute. `processors`: how many it has.
    """

    way: Way
    box: Box | None
    sent: list[float]
    windows: list[Window]
    loads: list[float]
    processors: int
    said: list[float] = []


class _Bot(NamedTuple):
    stage: Stage
    way: Way
    bot_id: str

    @property
    def stored(self) -> Path:
        return _store(self.stage) / manifest.folder(self.bot_id, 1)


async def hold(
    ways: Sequence[Way],
    each: int,
    minutes: float,
    folder: Path,
    say: Callable[[str], None],
    troubles: Sequence[Trouble] = (),
) -> list[Path]:
    """Hold the call with so many bots of each way, and leave the folder of each in `folder`. Raises: StageError."""
    sentence = _sentence(say)
    (port,) = free_ports(1)
    link = f"http://127.0.0.1:{port}/r/recorded"
    async with AsyncExitStack() as entered:
        with _before_others():
            playwright = await entered.enter_async_context(async_playwright())
            browser = await launch(playwright, "--autoplay-policy=no-user-gesture-required")
            _put_sessions_first()
        stages = [await entered.enter_async_context(_stage(port, way, each)) for way in ways]
        await stages[0].start_room(port, "--open")
        for stage in stages:
            entered.enter_context(prepared(stage, _store(stage), troubles))
            await stage.start_manager()
            stage.start_agent()
        talker = await browser.new_page()
        await _enter(talker, link, *(["#camera"] if set(ways) & set(SEEN) else []))
        bots = [
            _Bot(stage, way, f"{way}-{number}")
            for stage, way in zip(stages, ways, strict=True)
            for number in range(1, each + 1)
        ]
        for bot in bots:
            job = {"meeting_link": link, "bot_id": bot.bot_id, "video_required": bot.way in SEEN}
            bot.stage.client.lpush(bot.stage.keys.jobs, json.dumps(job))
        for bot in bots:
            await bot.stage.until(f"{bot.bot_id} is recorded", partial(_is_recorded, bot), _DEADLINE_S)
        ends_at = time.monotonic() + minutes * 60
        say(f"recorded by {', '.join(bot.bot_id for bot in bots)}, for {minutes:g} minutes")
        seeing = {bot: await _page_of(bot) for bot in bots if bot.way in SEEN}
        boxes = {bot: Box(*await _evaluate(page, _BOX)) for bot, page in seeing.items()}
        first = await _note(seeing)
        said = await _speak(talker, sentence)
        workers = {bot: await _worker_of(bot) for bot in bots}
        trouble_s = max(0.0, ends_at - NOTE_S - time.monotonic())
        loads: list[float] = []
        async with asyncio.TaskGroup() as group:
            for trouble, stage in product(troubles, stages):
                theirs = [workers[bot] for bot in bots if bot.stage is stage]
                making = make(trouble, stage, _store(stage), theirs, trouble_s, say)
                group.create_task(making, name=f"trouble: {trouble}")
            while (left_s := ends_at - time.monotonic()) > NOTE_S:
                loads.append(os.getloadavg()[0])
                await asyncio.sleep(min(60.0, left_s - NOTE_S))
                for stage in stages:
                    stage.check()
                say(f"{(ends_at - time.monotonic()) / 60:.1f} minutes more, load {loads[-1]:.1f}")
        said += await _speak(talker, sentence)
        last = await _note(seeing)
        sent: list[float] = await talker.evaluate("sent")
        for bot in bots:
            if "browser" in troubles:
                say(f"trouble: browser of {workers[bot]}")
                kill_browser(bot.stage, workers[bot])
            await Views(bot.stage.redis, bot.stage.keys).request(LeaveRequested(bot.bot_id))
        for bot in bots:
            await bot.stage.until("its files are made", partial(_is_finished, bot), _MAKING_S, every_s=0.5)
        await browser.close()
        processors = len(os.sched_getaffinity(0))
        for bot in bots:
            windows = _windows(bot, first, last)
            _keep(bot, folder, Noted(bot.way, boxes.get(bot), sent, windows, loads, processors, said), sentence)
        return [folder / bot.bot_id for bot in bots]


def admitted(way: Way) -> int:
    """As many bots as the pool admits beside each other, by its settings as they come, on the processors of this
    machine that are left beside whoever speaks and what no VM of a fleet has.
    """
    pool = Settings().pool
    share = pool.picture_cpu_share if way in SEEN else pool.sound_cpu_share
    return max(1, int((len(os.sched_getaffinity(0)) - _OTHERS) * pool.cpu_limit / share))


@contextmanager
def _before_others() -> Generator[None]:
    """What starts meanwhile gets processor time before all else, where this user may say so. Whoever speaks in a
    meeting does it on another machine: it is measured what bots lose, and not what could not be sent to them.
    """
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def _put_sessions_first() -> None:
    """Of all that runs below this process. Linux shares processors out among sessions first, and each browser has
    one.
    """
    below = {os.getpid()}
    for process in sorted(processes.scan(), key=lambda each: each.started_ticks):
        if process.parent in below:
            below.add(process.pid)
            if process.group == process.pid:
                with suppress(OSError):  # it ended, or this user may not, or this kernel has no such groups
                    Path(f"/proc/{process.pid}/autogroup").write_text(str(_NICENESS))


def _stage(port: int, way: Way, bots: int) -> Stage:
    sections: dict[str, dict[str, Any]] = {
        "pool": {"min_idle": 0, "min_idle_display": 0, "max_workers": bots, "cpu_limit": 0.0},
        "meetings": {"room_hosts": [f"127.0.0.1:{port}"]},
    }
    video = "display" if way == "display" else "tab"
    capture = {"store": "/nowhere", "video": video, "tracks": way == "tracks"}
    stage = Stage("recorded", sections | {"capture": capture})
    stage.config.write_text(stage.config.read_text().replace("/nowhere", str(_store(stage))))
    return stage


def _store(stage: Stage) -> Path:
    return stage.folder / "recordings"


async def _enter(page: Page, link: str, *camera: str) -> None:
    await page.add_init_script(PATTERN)
    await page.goto(f"{link}?name=Ann", wait_until="domcontentloaded")
    for device in ("#microphone", *camera):
        await page.set_checked(device, True)
    await page.click("#join")
    await page.wait_for_selector("#in-meeting", state="visible")


def _sentence(say: Callable[[str], None]) -> bytes:
    """A WAV; empty: it cannot be made here."""
    if without := voice.missing():
        say(f"no sentence is spoken: there is no {without}")
        return b""
    with workshop() as folder:
        voice.speak(folder / SAID)
        return (folder / SAID).read_bytes()


async def _speak(talker: Page, sentence: bytes) -> list[float]:
    """When it was begun, if there is one."""
    return [await talker.evaluate("speak", base64.b64encode(sentence).decode())] if sentence else []


async def _is_recorded(bot: _Bot) -> bool:
    seen = await Views(bot.stage.redis, bot.stage.keys).bot(bot.bot_id)
    return bool(seen and seen.state == BotState.IN_MEETING and seen.manifest_status == "recording")


async def _is_finished(bot: _Bot) -> bool:
    return await asyncio.to_thread((bot.stored / FINAL).exists)


async def _note(seeing: Mapping[_Bot, str]) -> dict[_Bot, Window]:
    """What the bots' pages show and play for NOTE_S."""
    for page in seeing.values():
        await _evaluate(page, f"({NOTE})()")
    await asyncio.sleep(NOTE_S)
    noted = {bot: await _evaluate(page, "Object.assign(noted, { isOver: true })") for bot, page in seeing.items()}
    return {bot: msgspec.convert(each, Window) for bot, each in noted.items()}


def _windows(bot: _Bot, *noted: Mapping[_Bot, Window]) -> list[Window]:
    return [each[bot] for each in noted if bot in each]


async def _worker_of(bot: _Bot) -> str:
    seen = await Views(bot.stage.redis, bot.stage.keys).bot(bot.bot_id)
    assert seen
    return seen.worker_id


async def _page_of(bot: _Bot) -> str:
    """Where the DevTools of the bot's page are."""
    found = await pages(bot.stage, await _worker_of(bot))
    [page] = [each for each in found if "/r/recorded" in each["url"]]
    return page["webSocketDebuggerUrl"]


async def _evaluate(page: str, expression: str) -> Any:
    """In the meeting's page of a bot. Raises: StageError."""
    async with asyncio.timeout(_CALL_S), aiohttp.ClientSession() as session, session.ws_connect(page) as socket:
        params = {"expression": expression, "returnByValue": True}
        await socket.send_json({"id": 1, "method": "Runtime.evaluate", "params": params})
        said = await socket.receive_json()
    if "exceptionDetails" in said.get("result", {}) or "error" in said:
        raise StageError(f"the bot's page does not take {expression[:40]!r}: {json.dumps(said)[:300]}")
    return said["result"]["result"].get("value")


def _keep(bot: _Bot, folder: Path, noted: Noted, sentence: bytes) -> None:
    kept = folder / bot.bot_id
    kept.mkdir(parents=True, exist_ok=True)
    made = manifest.decode((bot.stored / FINAL).read_bytes())
    shutil.copy(bot.stored / FINAL, kept / FINAL)
    tracks = [(track, track.path) for track in made.tracks]
    for file, name in ((made.audio, AUDIO), (made.video, VIDEO), *tracks):
        if file:
            shutil.copy(bot.stored / file.path, kept / name)
    (kept / SAID).write_bytes(sentence)
    (kept / NOTED).write_bytes(msgspec.json.encode(noted))
