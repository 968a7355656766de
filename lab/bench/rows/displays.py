"""Both kinds of warm workers of one VM: what each takes while it is idle, and how soon a picture is recorded on one
with a display, beside one without, where a tab records.
"""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from playwright.async_api import async_playwright

from common.wire import manifest
from common.wire.manifest import PROGRESS
from common.wire.vocabulary import BotState
from lab.bench.progress import Progress
from lab.bench.report import Measurement
from lab.bench.rows.capture import SENDS, enter
from lab.bench.sample import Contender, Series, take_turns
from lab.bench.usage import pss_mb, tree, worker_groups
from lab.parts.browser import launch
from lab.parts.ports import free_ports
from lab.parts.stage import Stage
from poolmgr.core.requests import LeaveRequested
from poolmgr.store.reading.views import Views
from worker.chromium.display import is_recordable

_SETTLE_S: Final = 6.0
_DEADLINE_S: Final = 120.0


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    each = 2 if quick else 4
    memory = {display: Series(f"one {_named(display)}", "MB") for display in (True, False)}
    async with _stage(1, each, each) as stage:
        await stage.start_manager()
        stage.start_agent()
        progress.say(f"{each} workers of each kind warm up")
        await stage.pool_is(2 * each, within_s=_DEADLINE_S)
        progress.say("they settle")
        await asyncio.sleep(_SETTLE_S)
        folders = sorted(path.parent for path in stage.state_dir.glob("workers/*/worker.json"))
        for folder, group in zip(folders, worker_groups(stage.state_dir), strict=True):
            memory[is_recordable(folder)].add([pss_mb(tree(group))])
    ours, others = memory[True].summary(), memory[False].summary()
    return [
        Measurement(
            "displays",
            "an idle worker with a display (PSS)",
            ours,
            [others],
            ours.p50 / others.p50,
            conditions=f"{each} workers of each kind on one VM, all processes of each, {_SETTLE_S:.0f} s after the last"
            " was warm.",
            limited_by="a window that is drawn, Xvfb, the sound server.",
        )
    ]


async def measure_begin(progress: Progress, *, quick: bool) -> list[Measurement]:
    rounds = 3 if quick else 8
    (port,) = free_ports(1)
    link = f"http://127.0.0.1:{port}/r/displays"
    begun = {display: Series(f"on a worker {_named(display)}", "ms") for display in (True, False)}
    inside = {display: Series(f"in the meeting, {_named(display)}", "ms") for display in (True, False)}
    async with async_playwright() as playwright, AsyncExitStack() as entered:
        stages = {
            display: await entered.enter_async_context(_stage(port, int(not display), int(display)))
            for display in (True, False)
        }
        await stages[True].start_room(port, "--open")
        for stage in stages.values():
            await stage.start_manager()
            stage.start_agent()
        talker = await launch(playwright, *SENDS)
        await enter(await talker.new_page(), link)
        contenders = [
            Contender((begun[display], inside[display]), partial(_one, stage, link, progress, display=display))
            for display, stage in stages.items()
        ]
        await take_turns(rounds, contenders, progress.say)
        await talker.close()
    ours, others = begun[True].summary(), begun[False].summary()
    return [
        Measurement(
            "displays_begin",
            "LPUSH to the first picture that is recorded, on a warm worker with a display",
            ours,
            [others, inside[True].summary(), inside[False].summary()],
            ours.p50 / others.p50,
            conditions=f"{rounds} rounds of one bot on each kind of warm worker in turn, in the own room, which"
            " lets all in, with one person beside them; from LPUSH to the time of the first picture, as the manifest"
            " has it. On a worker without a display a tab records.",
            limited_by="joining, and the start of ffmpeg or of the recorder's tab.",
        )
    ]


def _named(display: bool) -> str:
    return "with a display" if display else "without one"


def _stage(port: int, min_idle: int, min_idle_display: int) -> Stage:
    sections: dict[str, dict[str, Any]] = {
        "pool": {
            "min_idle": min_idle,
            "min_idle_display": min_idle_display,
            "max_workers": min_idle + min_idle_display + 1,
            "cpu_limit": 0.0,
        },
        "meetings": {"room_hosts": [f"127.0.0.1:{port}"]},
        "capture": {"store": "/nowhere", "video": "display"},
    }
    stage = Stage("bench", sections)
    stage.config.write_text(stage.config.read_text().replace("/nowhere", str(stage.folder / "recordings")))
    return stage


async def _one(stage: Stage, link: str, progress: Progress, *, display: bool) -> list[tuple[float, float]]:
    """How long after the push its picture is recorded and it is in the meeting, in milliseconds. It leaves again."""
    await stage.pool_is(1, within_s=_DEADLINE_S)
    progress.say(f"a bot on a worker {_named(display)}")
    views, bot_id = Views(stage.redis, stage.keys), f"displays-{await stage.redis.incr('bench:round')}"
    pushed_at = time.time()
    job = {"meeting_link": link, "bot_id": bot_id, "video_required": True}
    await asyncio.to_thread(stage.client.lpush, stage.keys.jobs, json.dumps(job))
    so_far = stage.folder / "recordings" / manifest.folder(bot_id, 1) / PROGRESS
    first = 0.0

    async def is_recorded() -> bool:
        nonlocal first
        first = await asyncio.to_thread(_first_picture, so_far)
        return first > 0

    await stage.until("its picture is recorded", is_recorded, _DEADLINE_S)
    made, bot = manifest.decode(so_far.read_bytes()), await views.bot(bot_id)
    assert bot
    assert (made.way == "display") is display, "the worker was of the other kind"
    assert bot.state == BotState.IN_MEETING
    await views.request(LeaveRequested(bot_id))

    async def is_gone() -> bool:
        return (await stage.workers()).get("busy", 0) == 0

    await stage.until("it has left", is_gone, _DEADLINE_S)
    return [((first - pushed_at) * 1000, (made.began_at - pushed_at) * 1000)]


def _first_picture(so_far: Path) -> float:
    """When the first picture was recorded, epoch seconds; 0: none is in the store yet."""
    told = [manifest.decode(path.read_bytes()) for path in so_far.parent.glob(f"{so_far.stem}*")]
    pictures = (segment.began_at for made in told for segment in made.segments if segment.kind == "video")
    return min(pictures, default=0.0)
