"""The workers of this VM: each is warmed up, serves one bot, and ends with its process tree and folder gone.

A worker is one task from its order to its end (`_live`), and one more while it serves a bot (`_serve`):

    warm() -> WARMING -> IDLE -> begin() -> BUSY -> its bot ended -> RETIRING -> gone
                          |                  |
                          +-- retire(), crash, dead at the probe ----^

Every worker ends with exactly one WorkerGone, after everything that its bot had to say. How many there should be,
and who gets which bot, is the manager's business.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

import structlog
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from runtime.waiting import pause
from wire.messages import BotEnded, BotMoved, BotVitals, Event, Join, JoinRefused, WorkerGone, WorkerReport, WorkerWarm
from wire.settings import WorkerSettings
from wire.vocabulary import BotState, GoneCause, Reason, RefusalCause, WorkerState
from worker.browser import BrowserError, Chromium, Launcher
from worker.driver import Driver, DriverError
from worker.platforms import Adapter, adapter_for, prepare
from worker.session import Session

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PROBE_DEADLINE_S: Final = 1.0
JOIN_FIRST_S: Final = 1.0  # how long a join may keep warm-ups waiting: a page on the room's scale needs a third of it
WARM_UP_WAITS_S: Final = 2.0  # and how long a warm-up waits for joins, however many there are

_EXITED: Final = "the browser's process exited"
_ATTACH_ERRORS: Final = (DriverError, PlaywrightError, OSError)  # TimeoutError is an OSError


class Gone(NamedTuple):
    """Why a worker ends."""

    cause: GoneCause
    detail: str = ""


class Worker:
    """One worker, from its order to its end. What happens to it is decided in `Pool`."""

    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id
        self.state = WorkerState.WARMING
        self.chromium: Chromium | None = None
        self.page: Page | None = None
        self.join: Join | None = None
        self.session: Session | None = None
        self.left_early: Reason | None = None
        self.gone: asyncio.Future[Gone] = asyncio.get_running_loop().create_future()
        self.warm_up: asyncio.Timeout | None = None
        self.life: asyncio.Task[None] | None = None
        self.serving: asyncio.Task[None] | None = None

    def end(self, cause: GoneCause, detail: str = "") -> None:
        """Let it end, also in the middle of its warm-up. The first cause counts."""
        if not self.gone.done():
            self.gone.set_result(Gone(cause, detail))
            if self.warm_up and not self.warm_up.expired():
                self.warm_up.reschedule(0.0)

    def serves(self, bot_id: str, attempt: int) -> bool:
        return self.join is not None and (self.join.bot_id, self.join.attempt) == (bot_id, attempt)

    def report(self) -> WorkerReport:
        if self.join:
            return WorkerReport(self.state, self.join.bot_id, self.join.attempt)
        return WorkerReport(self.state)


class Pool:
    """`claim` answers whether an assignment is still this worker's; `report` takes what happened, in order."""

    def __init__(
        self,
        settings: WorkerSettings,
        vm_id: str,
        launcher: Launcher,
        driver: Driver,
        tasks: asyncio.TaskGroup,
        claim: Callable[[Join], Awaitable[bool]],
        report: Callable[[Event], None],
    ) -> None:
        self._settings = settings
        self._vm_id = vm_id
        self._launcher = launcher
        self._driver = driver
        self._tasks = tasks
        self._claim = claim
        self._report = report
        self._workers: dict[str, Worker] = {}
        self._joining: set[str] = set()
        self._nobody_joins = asyncio.Event()
        self._nobody_joins.set()
        self.stopping = False
        self.empty = asyncio.Event()
        self.empty.set()

    # Orders

    def warm(self, worker_id: str) -> None:
        """Start a worker of that name. When there is one already, nothing changes."""
        if worker_id in self._workers:
            return
        if self.stopping:
            self._report_gone(worker_id, Gone(GoneCause.AGENT_STOPPED))
        elif self.room() < 1:
            self._report_gone(worker_id, Gone(GoneCause.LOW_MEMORY, "a worker more would touch the memory reserve"))
        else:
            worker = self._workers[worker_id] = Worker(worker_id)
            self.empty.clear()
            worker.life = self._tasks.create_task(self._live(worker), name=f"worker {worker_id}")

    def retire(self, worker_id: str) -> None:
        """End a worker that serves nobody. A busy one goes on."""
        worker = self._workers.get(worker_id)
        if worker is None:
            self._report_gone(worker_id, Gone(GoneCause.MISSING))
        elif worker.state is WorkerState.BUSY:
            log.warning("retire_ignored", worker_id=worker_id, why="it serves a bot")
        else:
            worker.end(GoneCause.RETIRED)

    def begin(self, join: Join) -> None:
        """Take a bot into its meeting, or say why not. The same order a second time changes nothing."""
        worker = self._workers.get(join.worker_id)
        adapter = adapter_for(join.platform)
        if worker and worker.serves(join.bot_id, join.attempt):
            return
        if self.stopping:
            self._refuse(join, RefusalCause.STOPPING)
        elif worker is None or worker.state is not WorkerState.IDLE or worker.gone.done():
            self._refuse(join, RefusalCause.NO_SUCH_WORKER)
        elif adapter is None:
            self._refuse(join, RefusalCause.UNKNOWN_PLATFORM)
        else:
            worker.state, worker.join = WorkerState.BUSY, join
            self._let_join_go_first(worker.worker_id)
            worker.serving = self._tasks.create_task(self._serve(worker, join, adapter), name=f"bot {join.bot_id}")

    def leave(self, worker_id: str, bot_id: str, attempt: int, reason: Reason) -> None:
        """Let a bot leave, if it is with this worker in this attempt."""
        worker = self._workers.get(worker_id)
        if worker is None or not worker.serves(bot_id, attempt):
            log.info("leave_ignored", worker_id=worker_id, bot_id=bot_id, attempt=attempt, why="no such bot here")
        elif worker.session:
            worker.session.leave(reason)
        else:
            worker.left_early = reason

    # Shutdown

    def refuse_work(self) -> None:
        """No new worker, no new bot; whoever serves nobody ends, now or when its assignment turns out stale."""
        self.stopping = True
        for worker in self._workers.values():
            if worker.state is not WorkerState.BUSY:
                worker.end(GoneCause.AGENT_STOPPED)

    def leave_all(self, reason: Reason) -> None:
        for worker in self._workers.values():
            if worker.join:
                self.leave(worker.worker_id, worker.join.bot_id, worker.join.attempt, reason)

    def abandon(self) -> None:
        """End all workers as they are: for when `leave_all` was not heeded."""
        for worker in self._workers.values():
            if worker.join and worker.session:
                self._report(self._ended(worker.join, Reason.SHUTDOWN, "did not leave in time"))
            elif worker.join:
                self._refuse(worker.join, RefusalCause.STOPPING)
            for task in (worker.serving, worker.life):
                if task:
                    task.cancel()

    # Reports

    def reports(self) -> dict[str, WorkerReport]:
        return {worker.worker_id: worker.report() for worker in self._workers.values()}

    def room(self) -> int:
        """How many further workers the memory bears without touching the reserve. Those warming up have theirs."""
        spare_mb = _available_memory_mb() - self._settings.memory_reserve_mb
        warming = sum(worker.state is WorkerState.WARMING for worker in self._workers.values())
        return max(0, spare_mb // self._settings.worker_memory_mb - warming)

    def reconnect(self) -> None:
        """The driver was started anew: connect to the idle browsers again. What a page was used for cannot be saved."""
        for worker in self._workers.values():
            if worker.session:
                worker.session.browser_gone("the Playwright driver was started anew")
            elif worker.state is WorkerState.IDLE:
                worker.page = None
                self._tasks.create_task(self._reattach(worker), name=f"reattach {worker.worker_id}")

    # A replacement is ordered in the moment in which a bot sets out. Starting a browser takes more of the machine than
    # joining does, so it waits until the bot has asked to be let in: nobody waits for the replacement yet.

    def _let_join_go_first(self, worker_id: str) -> None:
        self._joining.add(worker_id)
        self._nobody_joins.clear()
        asyncio.get_running_loop().call_later(JOIN_FIRST_S, self._join_is_done, worker_id)

    def _join_is_done(self, worker_id: str) -> None:
        self._joining.discard(worker_id)
        if not self._joining:
            self._nobody_joins.set()

    def _report_progress(self, event: BotMoved | BotVitals) -> None:
        if isinstance(event, BotMoved) and event.state.rank >= BotState.WAITING_ROOM.rank:
            self._join_is_done(event.worker_id)
        self._report(event)

    # The life of a worker

    async def _live(self, worker: Worker) -> None:
        gone = Gone(GoneCause.AGENT_STOPPED)
        try:
            gone = await self._warm_up(worker) or await worker.gone
            if worker.serving:
                await asyncio.wait({worker.serving})  # what the bot has to say comes first
        finally:  # also when the agent ends because of a fault: no browser stays behind
            worker.state = WorkerState.RETIRING
            self._join_is_done(worker.worker_id)
            if worker.chromium:
                await worker.chromium.kill()
            self._report_gone(worker.worker_id, gone)
            del self._workers[worker.worker_id]
            if not self._workers:
                self.empty.set()

    async def _warm_up(self, worker: Worker) -> Gone | None:
        """None when it is idle now."""
        await pause(self._nobody_joins, WARM_UP_WAITS_S)
        if worker.gone.done():
            return worker.gone.result()
        started = time.monotonic()
        limit_s = self._settings.launch_timeout_s
        try:
            async with asyncio.timeout(limit_s) as worker.warm_up:
                worker.chromium = await self._launcher.launch(worker.worker_id)
                self._tasks.create_task(
                    self._watch(worker, worker.chromium), name=f"watch the browser of {worker.worker_id}"
                )
                await self._attach(worker, worker.chromium)
        except (BrowserError, *_ATTACH_ERRORS) as error:
            if worker.gone.done():
                return worker.gone.result()
            missing = "an answer from the page" if worker.chromium else "the DevTools port"
            late = isinstance(error, TimeoutError)
            why = f"cannot warm up: after {limit_s:g} s still without {missing}" if late else _one_line(error)
            return Gone(GoneCause.WARMUP_FAILED, why)
        finally:
            worker.warm_up = None
        took_s = time.monotonic() - started
        worker.state = WorkerState.IDLE
        log.info("worker_warmed", worker_id=worker.worker_id, took_s=round(took_s, 3))
        self._report(WorkerWarm(self._vm_id, worker.worker_id, time.time(), took_s))
        return None

    async def _attach(self, worker: Worker, chromium: Chromium) -> None:
        artifacts = _artifacts(chromium)
        browser = await self._driver.connect(chromium.endpoint, artifacts, self._settings.launch_timeout_s)
        page = await prepare(browser.contexts[0])
        await page.evaluate("1")  # it answers; and the first answer, which takes longest, is not left to the probe
        page.on("crash", lambda _: self._note_crash(worker, "the page crashed"))
        worker.page = page

    async def _reattach(self, worker: Worker) -> None:
        assert worker.chromium
        try:
            async with asyncio.timeout(self._settings.page_timeout_s):
                await self._attach(worker, worker.chromium)
        except _ATTACH_ERRORS as error:
            worker.end(GoneCause.UNRESPONSIVE, f"cannot connect to it again: {_one_line(error)}")

    async def _watch(self, worker: Worker, chromium: Chromium) -> None:
        """Wait for the process to exit, wanted or not."""
        await chromium.exited()
        if worker.session:
            worker.session.browser_gone(_EXITED)
        elif worker.state is not WorkerState.RETIRING:
            self._note_crash(worker, chromium.last_words())

    def _note_crash(self, worker: Worker, detail: str) -> None:
        if worker.session is None:  # a session sees for itself what became of its page
            warming = worker.state is WorkerState.WARMING
            worker.end(GoneCause.WARMUP_FAILED if warming else GoneCause.CRASHED, detail)

    # The one bot of a worker

    async def _serve(self, worker: Worker, join: Join, adapter: Adapter) -> None:
        # Side by side, because the meeting waits for both: is the page alive, and is the assignment still ours?
        async with asyncio.TaskGroup() as both:
            probing = both.create_task(self._probe(worker), name=f"probe {worker.worker_id}")
            claiming = both.create_task(_await(self._claim(join)), name=f"claim {join.bot_id}")
        page, claimed = probing.result(), claiming.result()
        if page is None:
            self._refuse(join, RefusalCause.BROWSER_DEAD)
            worker.end(GoneCause.UNRESPONSIVE, "the page did not answer the probe")
        elif not claimed:
            log.info("assignment_stale", worker_id=worker.worker_id, bot_id=join.bot_id, attempt=join.attempt)
            worker.state, worker.join, worker.left_early = WorkerState.IDLE, None, None
            if self.stopping:
                worker.end(GoneCause.AGENT_STOPPED)
        else:
            self._report(await self._attend(worker, join, adapter, page))
            worker.end(GoneCause.SPENT)

    async def _probe(self, worker: Worker) -> Page | None:
        """The page, if it answers."""
        page = worker.page
        try:
            async with asyncio.timeout(PROBE_DEADLINE_S):
                if page and await page.evaluate("1") == 1 and not worker.gone.done():
                    return page
        except (PlaywrightError, TimeoutError) as error:
            log.warning("probe_failed", worker_id=worker.worker_id, error=_one_line(error))
        return None

    async def _attend(self, worker: Worker, join: Join, adapter: Adapter, page: Page) -> BotEnded:
        """The whole meeting. Whatever goes wrong, the bot ends, and the neighbours do not notice."""
        session = worker.session = Session(page, join, adapter, self._settings, self._vm_id, self._report_progress)
        if worker.gone.done():  # the browser went between the probe and the session
            session.browser_gone(_EXITED)
        if worker.left_early:
            session.leave(worker.left_early)
        try:
            return await session.run()
        except Exception:
            log.exception("session_failed", worker_id=worker.worker_id, bot_id=join.bot_id, attempt=join.attempt)
            return self._ended(join, Reason.INTERNAL_ERROR)

    def _ended(self, join: Join, reason: Reason, detail: str = "") -> BotEnded:
        return BotEnded(self._vm_id, join.worker_id, join.bot_id, join.attempt, time.time(), reason, detail)

    def _refuse(self, join: Join, cause: RefusalCause) -> None:
        log.warning("join_refused", worker_id=join.worker_id, bot_id=join.bot_id, attempt=join.attempt, cause=cause)
        self._report(JoinRefused(self._vm_id, join.worker_id, join.bot_id, join.attempt, time.time(), cause))

    def _report_gone(self, worker_id: str, gone: Gone) -> None:
        log.info("worker_gone", worker_id=worker_id, cause=gone.cause, detail=gone.detail)
        self._report(WorkerGone(self._vm_id, worker_id, time.time(), gone.cause, gone.detail))


async def _await(awaitable: Awaitable[bool]) -> bool:
    return await awaitable


def _artifacts(chromium: Chromium) -> Path:
    """Where Playwright puts downloads: with the rest of the worker, so that they go with it."""
    folder = chromium.folder / "artifacts"
    folder.mkdir(exist_ok=True)
    return folder


def _available_memory_mb() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise RuntimeError("cannot read MemAvailable from /proc/meminfo: the kernel is older than 3.14")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
