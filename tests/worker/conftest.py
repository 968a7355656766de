"""Workers with real browsers, and all that they report. No Redis: a claim is a function."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright

from room.server import create_app
from tests.waiting import wait_until
from tests.worker.visits import FLAGS, Site, serving
from wire.messages import Event, Join, WorkerGone, WorkerWarm
from wire.settings import EvidenceSettings, WorkerSettings
from wire.vocabulary import Reason
from worker import processes
from worker.accounts import Accounts
from worker.browser import Launcher, find_chromium
from worker.driver import Driver
from worker.evidence import witnesses_for
from worker.journal import Entry, WorkerNote
from worker.platforms import prepare
from worker.pool import Pool
from worker.profile import Profile

E = TypeVar("E", bound=Event)


class Harness:
    """A pool, and all that it reported."""

    def __init__(self, state_dir: Path, driver: Driver, tasks: asyncio.TaskGroup, settings: WorkerSettings) -> None:
        self.state_dir = state_dir
        self.driver = driver
        self.events: list[Event] = []
        self.notes: dict[str, WorkerNote] = {}
        self.claimed = True
        self.may_claim = asyncio.Event()
        self.may_claim.set()
        self.meeting = ""
        launcher = Launcher(Profile.of(find_chromium(settings.chromium), settings), state_dir)
        self.locks: dict[str, str] = {}
        accounts = Accounts(settings.accounts, "vm1", self)
        self.bundles: dict[str, bytes] = {}
        witnesses = witnesses_for(EvidenceSettings(), "vm1", self._put)
        self.pool = Pool(settings, "vm1", launcher, driver, tasks, self._claim, self.report, witnesses, accounts)

    def _put(self, name: str, data: bytes) -> bool:
        self.bundles[name] = data
        return True

    def report(self, *events: Event, entry: Entry | None = None) -> None:
        self.events += events
        if entry and entry.note:
            self.notes[entry.worker_id] = entry.note
        elif entry:
            self.notes.pop(entry.worker_id, None)

    async def _claim(self, _join: Join) -> bool:
        await self.may_claim.wait()
        return self.claimed

    async def hold(self, name: str, holder: str, life_s: float) -> bool | None:
        assert life_s > 0
        return self.locks.setdefault(name, holder) == holder

    async def let_go(self, name: str, holder: str) -> None:
        if self.locks.get(name) == holder:
            del self.locks[name]

    def join(self, bot_id: str = "b1", platform: str = "room") -> Join:
        return Join("w1", bot_id, 1, platform, self.meeting, "Bot")

    def seen(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def kinds(self) -> list[type[Event]]:
        """What was reported about the bot and its worker, in order, each kind once."""
        return list(dict.fromkeys(type(event) for event in self.events))

    async def warm(self, worker_id: str = "w1") -> None:
        self.pool.warm(worker_id)
        await wait_until(lambda: self.seen(WorkerWarm))

    async def gone(self) -> WorkerGone:
        await wait_until(lambda: self.seen(WorkerGone))
        [event] = self.seen(WorkerGone)
        assert self.browsers() == []
        assert not (self.state_dir / "workers" / event.worker_id).exists()
        return event

    def browsers(self) -> list[int]:
        """The leaders of all process trees."""
        ours = f"--user-data-dir={self.state_dir}/workers/"
        return [
            each.pid for each in processes.scan() if each.pid == each.group and ours in processes.command_line(each.pid)
        ]


@asynccontextmanager
async def pool_with(state_dir: Path, settings: WorkerSettings) -> AsyncGenerator[Harness]:
    driver = Driver()
    await driver.start()
    async with asyncio.TaskGroup() as tasks:
        harness = Harness(state_dir, driver, tasks, settings)
        tending = tasks.create_task(driver.tend(harness.pool.reconnect), name="tend the driver")
        yield harness
        harness.may_claim.set()
        harness.pool.refuse_work()
        harness.pool.leave_all(Reason.SHUTDOWN)
        await harness.pool.empty.wait()
        tending.cancel()
    await driver.stop()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncGenerator[Harness]:
    async with pool_with(tmp_path, WorkerSettings(memory_reserve_mb=0)) as harness:
        runner = web.AppRunner(create_app("key", open_door=True), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        harness.meeting = f"http://127.0.0.1:{runner.addresses[0][1]}/r/meeting"
        yield harness
        await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncGenerator[Browser]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=find_chromium(WorkerSettings().chromium), args=[*FLAGS, *sandbox]
        )
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncGenerator[Page]:
    context = await browser.new_context()
    page, _ = await prepare(context)
    yield page
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def site() -> AsyncGenerator[Site]:
    site = Site()
    async with serving(site.app()) as site.address:
        yield site
