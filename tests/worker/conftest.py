"""Workers with real browsers, and all that they report. No Redis: a claim is a function."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page
from playwright.async_api import Error as PlaywrightError

from common.config.settings import CaptureSettings, EvidenceSettings, WorkerSettings
from common.wire.messages import Event, Join, WorkerGone, WorkerWarm
from common.wire.vocabulary import Reason
from lab.chaos.observers.witness import Witness
from lab.chaos.stand_in.chromium import write_program
from lab.meeting.server import create_app
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.visits import Site, serving
from worker.chromium import processes
from worker.chromium.accounts import Accounts
from worker.chromium.driver import Driver
from worker.chromium.process import Launcher, find_chromium
from worker.chromium.profile import Profile
from worker.link.journal import Entry, WorkerNote
from worker.meeting.evidence import keepers_for
from worker.platforms import BLANK, prepare
from worker.pool.pool import Pool, PoolSettings
from worker.pool.uplink import Recorders, Uplink, as_it_is, unrecorded

E = TypeVar("E", bound=Event)

ANSWER_S: Final = 10.0  # a page that takes longer to answer is not lent again


class Harness:
    """A pool, and all that it reported."""

    def __init__(
        self,
        state_dir: Path,
        driver: Driver,
        tasks: asyncio.TaskGroup,
        settings: WorkerSettings,
        recorders: Recorders = unrecorded,
        capture: CaptureSettings | None = None,
        equip: Callable[[Page], Awaitable[None]] = as_it_is,
    ) -> None:
        self.state_dir = state_dir
        self.driver = driver
        self.events: list[Event] = []
        self.notes: dict[str, WorkerNote] = {}
        self.claimed = True
        self.may_claim = asyncio.Event()
        self.may_claim.set()
        self.meeting = ""
        self.video = False
        self.display = capture is not None and capture.needs_display
        chromium = find_chromium(settings.chromium)
        recorded = Profile.recorded(chromium, settings, capture) if capture else None
        launcher = Launcher(Profile.of(chromium, settings), state_dir, recorded)
        self.locks: dict[str, str] = {}
        self.accounts = Accounts(settings.accounts, "vm1", self)
        self.bundles: dict[str, bytes] = {}
        keepers = keepers_for(EvidenceSettings(), "vm1", self._put)
        uplink = Uplink("vm1", self._claim, self.report, keepers, self.accounts, recorders, equip)
        self.pool = Pool(PoolSettings.of(settings), launcher, driver, uplink, tasks)

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
        return Join("w1", bot_id, 1, platform, self.meeting, "Bot", video=self.video)

    def seen(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def kinds(self) -> list[type[Event]]:
        """What was reported about the bot and its worker, in order, each kind once."""
        return list(dict.fromkeys(type(event) for event in self.events))

    async def warm(self, worker_id: str = "w1") -> None:
        self.pool.warm(worker_id, display=self.display)
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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def driver() -> AsyncGenerator[Driver]:
    """One for all tests of this process that are not about starting it, or about its death."""
    driver = Driver()
    with pytest.MonkeyPatch.context() as patch:  # on a busy machine its start takes longer than an agent waits
        patch.setattr("worker.chromium.driver.START_DEADLINE_S", PATIENCE_S)
        await driver.start()
    yield driver
    await driver.stop()


@asynccontextmanager
async def pool_with(
    state_dir: Path,
    settings: WorkerSettings,
    driver: Driver,
    recorders: Recorders = unrecorded,
    capture: CaptureSettings | None = None,
    equip: Callable[[Page], Awaitable[None]] = as_it_is,
) -> AsyncGenerator[Harness]:
    """A machine that is very busy is waited for: no manager is there that would give out the bot anew."""
    settings = msgspec.structs.replace(settings, launch_timeout_s=PATIENCE_S)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.pool.serving.PROBE_DEADLINE_S", PATIENCE_S)
        async with asyncio.TaskGroup() as tasks:
            harness = Harness(state_dir, driver, tasks, settings, recorders, capture, equip)
            try:
                yield harness
            finally:
                harness.may_claim.set()
                harness.pool.refuse_work()
                harness.pool.leave_all(Reason.SHUTDOWN)
                await harness.pool.empty.wait()


@asynccontextmanager
async def pool_with_own_driver(
    state_dir: Path,
    settings: WorkerSettings,
    recorders: Recorders = unrecorded,
    capture: CaptureSettings | None = None,
    equip: Callable[[Page], Awaitable[None]] = as_it_is,
) -> AsyncGenerator[Harness]:
    """For what happens when that dies."""
    driver = Driver()
    await driver.start()
    async with (
        pool_with(state_dir, settings, driver, recorders, capture, equip) as harness,
        asyncio.TaskGroup() as tasks,
    ):
        tending = tasks.create_task(driver.tend(harness.pool.reconnect), name="tend the driver")
        yield harness
        tending.cancel()
    await driver.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def room() -> AsyncGenerator[str]:
    """The address of a meeting that everybody may come to."""
    async with serving(create_app("key", no_lobby=True)) as address:
        yield f"{address}/r/meeting"


@pytest_asyncio.fixture(loop_scope="session")
async def harness(tmp_path: Path, driver: Driver, room: str) -> AsyncGenerator[Harness]:
    async with pool_with(tmp_path, WorkerSettings(memory_reserve_mb=0), driver) as harness:
        harness.meeting = room
        yield harness


@asynccontextmanager
async def stand_ins(state_dir: Path, settings: WorkerSettings) -> AsyncGenerator[tuple[WorkerSettings, str]]:
    """Settings with the fault suite's stand-ins, and the link to their meeting: where a test asks of a browser no more
    than that it is one. A real one takes two seconds of a processor from its start into a meeting.
    """
    async with Witness() as witness:
        program = write_program(state_dir / "stand-in", witness.address)
        settings = msgspec.structs.replace(settings, memory_reserve_mb=0, chromium=str(program))
        yield settings, f"http://{witness.address}/r/chaos?tag=a&lobby_s=0"


@asynccontextmanager
async def light_pool(state_dir: Path, driver: Driver, settings: WorkerSettings) -> AsyncGenerator[Harness]:
    """Where a test is about the pool."""
    async with (
        stand_ins(state_dir, settings) as (settings, meeting),
        pool_with(state_dir, settings, driver) as harness,
    ):
        harness.meeting = meeting
        yield harness


@pytest_asyncio.fixture(loop_scope="session")
async def light_harness(tmp_path: Path, driver: Driver) -> AsyncGenerator[Harness]:
    async with light_pool(tmp_path, driver, WorkerSettings()) as harness:
        yield harness


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Browser]:
    """As the agent starts them, and one for all tests of this process that are about pages."""
    settings = WorkerSettings(devices="fake")
    launcher = Launcher(Profile.of(find_chromium(settings.chromium), settings), tmp_path_factory.mktemp("browser"))
    async with asyncio.timeout(PATIENCE_S):
        chromium = await launcher.launch("pages")
    yield await driver.connect(chromium.endpoint, chromium.folder / "artifacts", PATIENCE_S)
    await chromium.kill()


# A session empties its page in the end, and to do it again would take a third of a test's time.
IS_USED: Final = f"() => globalThis.lent || location.href !== '{BLANK}' || document.body.innerHTML !== ''"


class Lender:
    """Lends out the same page again and again, as long as it comes back whole: a new one takes 0.4 s of processors."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._page: Page | None = None

    async def lend(self, *, empty: bool = True) -> Page:
        """Not `empty`: it may show what the test before left there."""
        if self._page is None:
            self._page, _ = await prepare(await self._browser.new_context())
        if empty:
            if self._page.url != BLANK:
                await self._page.goto(BLANK)
            await self._page.evaluate("() => { globalThis.lent = true; }")
        return self._page

    async def take_back(self, page: Page, *, empty: bool = True) -> None:
        """Not `empty`: what the test left there may stay, since it does nothing."""
        with suppress(TimeoutError, PlaywrightError):
            async with asyncio.timeout(ANSWER_S):
                await page.unroute_all()
                if await page.evaluate(IS_USED) and empty:  # what a test left there would go on
                    await page.goto(BLANK)
                if len(page.context.pages) == 1:
                    return
        self._page = None
        with suppress(TimeoutError, PlaywrightError):  # what does not go ends with its browser
            async with asyncio.timeout(ANSWER_S):
                await page.context.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lender(browser: Browser) -> Lender:
    return Lender(browser)


@pytest_asyncio.fixture(loop_scope="session")
async def page(lender: Lender) -> AsyncGenerator[Page]:
    """As a worker has it, on about:blank. Other tests had it before, and have it after."""
    page = await lender.lend()
    yield page
    await lender.take_back(page)


@pytest_asyncio.fixture(loop_scope="session")
async def own_page(browser: Browser) -> AsyncGenerator[Page]:
    """The same for a test that wedges it, or listens to it, or leaves something in it."""
    context = await browser.new_context()
    page, _ = await prepare(context)
    yield page
    with suppress(TimeoutError, PlaywrightError):  # what its test left there may keep it from closing
        async with asyncio.timeout(ANSWER_S):
            await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncGenerator[Site]:
    site = Site()
    async with serving(site.app()) as site.address:
        yield site
