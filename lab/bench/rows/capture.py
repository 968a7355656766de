"""The processor time and memory of a recording, made either way, compared with a bot of the same meeting that only
listens, and with how others record.
"""

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from playwright.async_api import Page, async_playwright

from common.wire.vocabulary import BotState
from lab.bench import recorders
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.rows.memory import processes_of
from lab.bench.sample import Contender, Series, take_turns
from lab.bench.usage import cpu_percents, pss_mb
from lab.parts.browser import launch
from lab.parts.ports import free_ports
from lab.parts.stage import Stage
from poolmgr.core.requests import LeaveRequested
from poolmgr.store.reading.views import Views

_BOTS: Final = 2
_SETTLE_S: Final = 5.0
_INTERVAL_S: Final = 8.0
_DEADLINE_S: Final = 120.0
SENDS: Final = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@dataclass(frozen=True)
class Kind:
    """A job's options, and the budget of their cost over a bot that only listens: % of a core, MB. `way`: of _WAYS."""

    name: str
    asks: dict[str, bool] = field(hash=False)
    most_percent: float | None = None
    most_mb: float | None = None
    way: str = "tab"


_WAYS: Final[dict[str, dict[str, Any]]] = {
    "tab": {"video": "tab"},
    "display": {"video": "display"},
    "tracks": {"video": "tab", "tracks": True},
}
"""Settings of [capture]."""
_LISTENS: Final = Kind("nothing", {"audio_required": False})
_RECORDS: Final = (
    Kind("sound", {}, 6.0, 30.0),
    Kind("sound and picture, by the tab", {"video_required": True}, 40.0),
    Kind("sound and picture, by the display", {"video_required": True}, 30.0, way="display"),
    Kind("sound, and each track alone", {}, way="tracks"),
)
_PEERS: Final = {
    "Xvfb, sound server and ffmpeg by hand": recorders.on_display,
    "getDisplayMedia and base64": recorders.in_page,
}
_LIMITS: Final = {
    "tab": (
        "a second tab that captures the meeting's, and its encoders.",
        "the second tab's renderer, and pictures that wait for the encoder.",
    ),
    "display": (
        "Chromium's drawing on the display, and ffmpeg's fetching and encoding of what is there.",
        "ffmpeg and its encoders, Xvfb, the sound server.",
    ),
    "tracks": (
        "the second tab, and a Worker of the page that copies each packet.",
        "the second tab's renderer, and the Worker.",
    ),
}


Recording = AbstractAsyncContextManager[set[int]]


class Taken(NamedTuple):
    percent: Series
    memory: Series


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    rounds = 1 if quick else 5
    (port,) = free_ports(1)
    link = f"http://127.0.0.1:{port}/r/capture"
    kinds = (_LISTENS, *_RECORDS)
    taken = {
        kind: Taken(Series(f"records {kind.name}", "% of a core"), Series(f"records {kind.name}", "MB"))
        for kind in kinds
    }
    async with async_playwright() as playwright, AsyncExitStack() as entered:
        stages = {way: await entered.enter_async_context(_stage(port, way)) for way in _WAYS}
        await stages["tab"].start_room(port, "--open")
        for stage in stages.values():
            await stage.start_manager()
            stage.start_agent()
        talker = await launch(playwright, *SENDS)
        await enter(await talker.new_page(), link)

        def contender(kind: Kind) -> Contender:
            series, stage = taken[kind], stages[kind.way]
            return Contender((series.percent, series.memory), lambda: _of_kind(stage, link, kind, progress))

        peers = {name: Taken(Series(name, "% of a core"), Series(name, "MB")) for name in _PEERS}
        others = [Contender(tuple(series), partial(_of_peer, _PEERS[name], link)) for name, series in peers.items()]
        await take_turns(rounds, [*(contender(kind) for kind in kinds), *others], progress.say)
        await talker.close()
        for stage in stages.values():
            await stage.until("files are made of all recordings", partial(_all_are_made, stage), _DEADLINE_S)
    return [
        line
        for kind in _RECORDS
        for line in _lines(kind, taken[kind], taken[_LISTENS], list(peers.values()) if _is_seen(kind) else [], rounds)
    ]


def _is_seen(kind: Kind) -> bool:
    return kind.asks.get("video_required", False)


async def _all_are_made(stage: Stage) -> bool:
    return not await asyncio.to_thread(os.listdir, stage.state_dir / "recordings")


def _stage(port: int, way: str) -> Stage:
    """A fleet that records that way."""
    sections: dict[str, dict[str, Any]] = {
        "pool": {"min_idle": 0, "min_idle_display": 0, "max_workers": _BOTS, "cpu_limit": 0.0},
        "meetings": {"room_hosts": [f"127.0.0.1:{port}"]},
    }
    stage = Stage("bench", sections | {"capture": {"store": "/nowhere", **_WAYS[way]}})
    stage.config.write_text(stage.config.read_text().replace("/nowhere", str(stage.folder / "recordings")))
    return stage


async def _of_kind(stage: Stage, link: str, kind: Kind, progress: Progress) -> list[tuple[float, float]]:
    """The cost of each of some bots with these options. They join, are measured, and leave."""
    ids = [f"capture-{kind.name.replace(' ', '-').replace(',', '')}-{n}" for n in range(_BOTS)]
    views = Views(stage.redis, stage.keys)
    progress.say(f"{_BOTS} bots that record {kind.name}")
    taken_ids = [f"{bot_id}-{await stage.redis.incr('bench:round')}" for bot_id in ids]
    for bot_id in taken_ids:
        stage.client.lpush(stage.keys.jobs, json.dumps({"meeting_link": link, "bot_id": bot_id, **kind.asks}))

    async def are_at_work() -> bool:
        bots = [await views.bot(bot_id) for bot_id in taken_ids]
        records = "" if kind is _LISTENS else "recording"
        return all(bot and bot.state == BotState.IN_MEETING and bot.manifest_status == records for bot in bots)

    await stage.until(f"bots that record {kind.name}", are_at_work, _DEADLINE_S)
    await asyncio.sleep(_SETTLE_S)
    workers, _ = processes_of(stage, _BOTS)
    everything = [sorted(pids) for pids in workers]
    percents = iter(await cpu_percents([pid for pids in everything for pid in pids], _INTERVAL_S))
    found = [(sum(next(percents) for _ in pids), pss_mb(pids)) for pids in everything]
    for bot_id in taken_ids:
        await views.request(LeaveRequested(bot_id))

    async def are_gone() -> bool:
        return sum((await stage.workers()).values()) == 0

    await stage.until("they have left", are_gone, _DEADLINE_S)
    return found


async def _of_peer(record: Callable[[Path, recorders.Enter], Recording], link: str) -> list[tuple[float, float]]:
    """The cost of each of some bots that record as others do."""
    async with AsyncExitStack() as stack:
        bots: list[list[int]] = []
        for _ in range(_BOTS):
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="poolmgr-bench-")))
            bots.append(sorted(await stack.enter_async_context(record(folder, partial(enter, link=link, sends=False)))))
        await asyncio.sleep(_SETTLE_S)
        percents = iter(await cpu_percents([pid for pids in bots for pid in pids], _INTERVAL_S))
        return [(sum(next(percents) for _ in pids), pss_mb(pids)) for pids in bots]


def _lines(kind: Kind, ours: Taken, listens: Taken, peers: Sequence[Taken], rounds: int) -> list[Measurement]:
    percent, idle_percent = ours.percent.summary(), listens.percent.summary()
    memory, idle_memory = ours.memory.summary(), listens.memory.summary()
    conditions = (
        f"{rounds} rounds of {_BOTS} bots each in the project's own room, with one person beside them who sends"
        f" Chromium's test picture and sound; all processes of a bot, over {_INTERVAL_S:.0f} s. The agent and the"
        " process that makes files are not in it, nor are the programs and drivers of those beside it."
    )
    return [
        Measurement(
            "capture",
            f"a bot that records {kind.name}: processor time",
            percent,
            [idle_percent, *(peer.percent.summary() for peer in peers)],
            percent.p50 / idle_percent.p50,
            [Budget("more than one that records nothing, p50", "%", percent.p50 - idle_percent.p50, kind.most_percent)],
            conditions=conditions,
            limited_by=_LIMITS[kind.way][0],
        ),
        Measurement(
            "capture",
            f"a bot that records {kind.name} (PSS)",
            memory,
            [idle_memory, *(peer.memory.summary() for peer in peers)],
            memory.p50 / idle_memory.p50,
            [Budget("more than one that records nothing, p50", "MB", memory.p50 - idle_memory.p50, kind.most_mb)],
            conditions=conditions,
            limited_by=_LIMITS[kind.way][1],
        ),
    ]


async def enter(page: Page, link: str, *, sends: bool = True) -> None:
    await page.goto(link, wait_until="domcontentloaded")
    await page.fill("#name", "Talker" if sends else "Bench")
    for device in ("#microphone", "#camera"):
        await page.set_checked(device, sends)
    await page.click("#join")
    await page.wait_for_selector("#in-meeting", state="visible")
