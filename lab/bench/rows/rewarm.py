"""The time from a spent worker to the next warm one in its place, beside a bare start of Chromium."""

import asyncio
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
from playwright.async_api import Playwright, async_playwright

from common.wire import codec
from common.wire.messages import Event, WorkerGone, WorkerWarm
from common.wire.vocabulary import GoneCause
from lab.bench.page import MeetingPage
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.sample import Contender, Series, ratio, take_turns
from lab.parts import StageError
from lab.parts.browser import QUIET, chromium, launch, no_sandbox
from lab.parts.stage import Stage
from poolmgr.store.answers import entries_of

_MOST: Final = 1.5  # times a bare start; docs: the budgets
_SETTLE_S: Final = 0.5
_POLL_S: Final = 0.002
_DEADLINE_S: Final = 30.0


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    rounds = 3 if quick else 20
    ours, floor = Series("spent slot back to warm", "ms"), Series("bare Chromium start to its DevTools port", "ms")
    answered = Series("bare Chromium start to its page's first answer, to a bare client", "ms")
    paged = Series("Playwright: launch and a new page", "ms")
    async with MeetingPage() as page, async_playwright() as playwright:
        # One slot: its next browser is not ordered before the last one is gone.
        sections = {"pool": {"min_idle": 1, "max_workers": 1}, "meetings": {"room_hosts": [page.host]}}
        async with Stage("bench", sections) as stage:
            await stage.start_manager()
            stage.start_agent()
            contenders = [
                Contender((ours,), lambda: _spend(stage, page)),
                Contender((floor,), lambda: _start_bare(stage.folder)),
                Contender((answered,), lambda: _answer_bare(stage.folder)),
                Contender((paged,), lambda: _start_page(playwright)),
            ]
            await take_turns(rounds, contenders, progress.say)
    times = ratio(ours, floor) or 0.0
    return [
        Measurement(
            "rewarm",
            "a spent idle slot back to warm",
            ours.summary(),
            [floor.summary(), answered.summary(), paged.summary()],
            times,
            [
                Budget("ratio of p50s", "x", times, _MOST),
                Budget("ratio to the page's first answer", "x", ratio(ours, answered) or 0.0),
            ],
            conditions=f"{rounds} times: a VM with one slot serves a bot whose meeting is over; from WorkerGone(spent)"
            " to WorkerWarm, by the times that Redis gave these events. The bare start is a process with an empty"
            " profile, from its fork to the complete DevToolsActivePort file, or until its page has told one sum.",
            limited_by="Chromium's own start: when its DevTools port is there, more than a third of its processor time"
            " is still to come, for its window and the page's process. A client that only asks the page for one sum"
            " waits for that, too. On top come the order over Redis and preparing the page.",
        )
    ]


async def _spend(stage: Stage, page: MeetingPage) -> list[tuple[float]]:
    await stage.pool_is(1)
    await asyncio.sleep(_SETTLE_S)
    name = f"over-{time.monotonic_ns()}"
    newest: Any = await stage.redis.xrevrange(stage.keys.events, count=1)
    stage.client.lpush(stage.keys.jobs, json.dumps({"meeting_link": page.link(name), "bot_id": name}))
    gone_ms = 0
    try:
        async with asyncio.timeout(_DEADLINE_S):
            async for at_ms, event in _events(stage, newest[0][0]):
                if isinstance(event, WorkerGone) and event.cause is GoneCause.SPENT:
                    gone_ms = at_ms
                elif isinstance(event, WorkerWarm) and gone_ms:
                    return [(float(at_ms - gone_ms),)]
    except TimeoutError:
        pass
    raise StageError(f"no worker was warm again within {_DEADLINE_S:.0f} s")


async def _events(stage: Stage, after: bytes) -> AsyncGenerator[tuple[int, Event]]:
    """The agents' events, each with Redis' time in ms."""
    while True:
        for entry in entries_of(await stage.redis.xread({stage.keys.events: after}, block=1000)):
            after = entry.entry_id
            yield int(after.partition(b"-")[0]), codec.decode_event(entry.fields[codec.FIELD.encode()])


async def _start_page(playwright: Playwright) -> list[tuple[float]]:
    await asyncio.sleep(_SETTLE_S)
    began = time.monotonic_ns()
    browser = await launch(playwright)
    try:
        await browser.new_page()
        return [((time.monotonic_ns() - began) / 1e6,)]
    finally:
        await browser.close()


async def _start_bare(parent: Path) -> list[tuple[float]]:
    async with _bare(parent) as (began, _):
        return [((time.monotonic_ns() - began) / 1e6,)]


async def _answer_bare(parent: Path) -> list[tuple[float]]:
    """The page is asked for one sum, by a client that does nothing else."""
    async with _bare(parent) as (began, endpoint), aiohttp.ClientSession() as session:
        async with session.ws_connect(endpoint) as browser:
            pages: list[Any] = []
            while not pages:
                targets = (await _call(browser, "Target.getTargets"))["targetInfos"]
                pages = [each["targetId"] for each in targets if each["type"] == "page"]
            attached = await _call(browser, "Target.attachToTarget", targetId=pages[0], flatten=True)
            await _call(browser, "Runtime.evaluate", attached["sessionId"], expression="1 + 1")
        return [((time.monotonic_ns() - began) / 1e6,)]


async def _call(browser: aiohttp.ClientWebSocketResponse, method: str, session: str = "", **params: Any) -> Any:
    """A DevTools command, and its answer; events are passed over."""
    whose = {"sessionId": session} if session else {}
    await browser.send_json({"id": 1, "method": method, "params": params, **whose})
    while "id" not in (said := await browser.receive_json()):
        pass
    return said["result"]


@asynccontextmanager
async def _bare(parent: Path) -> AsyncGenerator[tuple[int, str]]:
    """A Chromium whose DevTools port is there: when it was started (monotonic, ns), and its endpoint."""
    await asyncio.sleep(_SETTLE_S)
    profile = Path(tempfile.mkdtemp(prefix="bare-", dir=parent))
    headless = ("--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank")
    port_file = profile / "DevToolsActivePort"
    began = time.monotonic_ns()
    process = await asyncio.create_subprocess_exec(
        chromium(),
        *(*QUIET, *no_sandbox(), *headless),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_DEADLINE_S):
            while not (endpoint := _endpoint(port_file)):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(_POLL_S)
            yield began, endpoint
    except TimeoutError:
        raise StageError(f"Chromium did not start within {_DEADLINE_S:.0f} s") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


def _endpoint(port_file: Path) -> str:
    """Empty while the file is not complete."""
    with suppress(FileNotFoundError, ValueError):
        port, path = port_file.read_text().split("\n")
        return f"ws://127.0.0.1:{port}{path}" if path else ""
    return ""
