"""Pages that are wedged: each ends in time and for its own reason, or is put up with; the bot beside them goes on."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from common.config.settings import WorkerSettings
from common.wire.messages import BotEnded, BotMoved, ChatHeard, Join, WorkerGone
from common.wire.vocabulary import BotState, Reason
from lab.meeting.server import create_app
from tests.waiting import wait_until
from tests.worker.conftest import Harness, pool_with
from tests.worker.visits import WAIT
from worker.chromium.driver import Driver

pytestmark = pytest.mark.asyncio(loop_scope="session")

_NEIGHBOUR = "neighbour"
_WEDGES = {
    "endless": f"setTimeout(() => {{ {WAIT} }}, 0)",
    "alert": "setTimeout(() => alert('Still there?'), 0)",
    "nodes": "document.body.append(...Array.from({ length: 30000 }, () => document.createElement('div')))",
    "hoard": "globalThis.hoard = new Uint8Array(500 << 20).fill(1); 0",
}
_ENDS = {
    "endless": Reason.BROWSER_HUNG,
    "crash": Reason.BROWSER_CRASHED,
    "hoard": Reason.MEMORY_LIMIT,
    "silent": Reason.PAGE_LOAD_FAILED,
}


async def _watch_memory(harness: Harness) -> None:
    """As the agent does, and more often: these pages take in a second what meetings take in minutes."""
    while True:
        harness.pool.watch.end_those_too_large()
        await asyncio.sleep(0.5)


@pytest_asyncio.fixture(loop_scope="session")
async def harness(tmp_path: Path, driver: Driver) -> AsyncGenerator[Harness]:
    settings = WorkerSettings(
        memory_reserve_mb=0, memory_limit_mb=450, page_timeout_s=8.0, load_timeout_s=20.0, leave_timeout_s=2.0
    )
    silence = asyncio.Event()

    async def never(_request: web.Request) -> web.Response:
        await silence.wait()
        return web.Response()

    app = create_app("key", no_lobby=True)
    app.router.add_get("/silent/r/meeting", never)
    app.router.add_get("/never", never)
    async with pool_with(tmp_path, settings, driver) as harness:
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        harness.meeting = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with asyncio.TaskGroup() as watching:
            memory = watching.create_task(_watch_memory(harness), name="memory")
            yield harness
            memory.cancel()
        silence.set()
        await runner.cleanup()


def page_of(harness: Harness, name: str) -> Page:
    page = harness.pool._workers[name].page  # pyright: ignore[reportPrivateUsage]
    assert page
    return page


def are_in(harness: Harness) -> set[str]:
    return {event.bot_id for event in harness.seen(BotMoved) if event.state is BotState.IN_MEETING}


async def warm_up(harness: Harness, name: str) -> None:
    harness.pool.warm(name)
    await wait_until(lambda: harness.pool.reports()[name].state == "idle")


async def bring_in(harness: Harness, name: str) -> None:
    await warm_up(harness, name)
    harness.pool.begin(Join(name, name, 1, "room", f"{harness.meeting}/r/{name}", name))
    await wait_until(lambda: name in are_in(harness))


@pytest.mark.long
@pytest.mark.parametrize(
    ("wedges", "unused"),
    [
        ({"endless": _WEDGES["endless"], "hoard": _WEDGES["hoard"]}, {"crash", "silent"}),
        (_WEDGES, set[str]()),
    ],
    ids=["some", "all"],
)
async def test_wedged_pages_end_in_time_for_their_reasons_and_their_neighbour_is_unaware(
    harness: Harness, wedges: dict[str, str], unused: set[str]
) -> None:
    """The long one has pages that are merely a nuisance, and one that crashes or is not answered, too: for the bot of
    such a page alone this is tried in tests/worker/meeting/test_session.py.
    """
    ends = {name: reason for name, reason in _ENDS.items() if name not in unused}
    for name in (_NEIGHBOUR, *wedges, *({"crash"} - unused)):
        await bring_in(harness, name)
    if "silent" in ends:
        await warm_up(harness, "silent")
        harness.pool.begin(Join("silent", "silent", 1, "room", f"{harness.meeting}/silent/r/meeting", "silent"))
    for name, script in wedges.items():
        with suppress(PlaywrightError):  # of one that is ended before it has answered
            await page_of(harness, name).evaluate(script)
    if "crash" in ends:
        with suppress(PlaywrightError):
            await page_of(harness, "crash").goto("chrome://crash")
    await wait_until(lambda: {event.worker_id for event in harness.seen(WorkerGone)} == set(ends))
    ended = {event.bot_id: event for event in harness.seen(BotEnded)}
    assert {bot_id: event.reason for bot_id, event in ended.items()} == ends
    assert "more than worker.memory_limit_mb (450)" in ended["hoard"].detail
    # Those that are merely a nuisance stay, like the neighbour, and all of them still do what they are told.
    assert set(harness.pool.reports()) == {_NEIGHBOUR, *wedges} - set(ends)
    for name in harness.pool.reports():
        harness.pool.say(name, name, 1, f"{name} is here")
    await wait_until(
        lambda: (
            {line.text for event in harness.seen(ChatHeard) for line in event.chats}
            == {f"{name} is here" for name in harness.pool.reports()}
        )
    )
    moves = [event.state for event in harness.seen(BotMoved) if event.bot_id == _NEIGHBOUR]
    assert moves[-1] is BotState.IN_MEETING
    assert moves.count(BotState.IN_MEETING) == 1
