"""The workers of this VM: each is warmed up, serves one bot, and ends with its process tree and folder gone.

A worker is one task from its order to its end (`_live`), and one more while it serves a bot (`_serve`):

    warm() -> WARMING -> IDLE -> begin() -> BUSY -> its bot ended -> RETIRING -> gone
                          |                  |
                          +-- retire(), crash, dead at the probe ----^

Every worker ends with exactly one WorkerGone, after everything that its bot had to say. How many there should be,
and who gets which bot, is the manager's business.

Browsers outlive the agent. All that happens to a worker is noted in the journal before it counts, and after an agent
that was killed or handed over the next one finds its workers again (`adopt`). A task of a worker that is cancelled
leaves the browser as it is; only `abandon` and an end of its own do not.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import structlog
from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

from runtime import steps
from runtime.steps import AgentStep
from runtime.waiting import pause
from wire.messages import (
    MOST_MESSAGE_CHARS,
    BotEnded,
    Event,
    Join,
    JoinRefused,
    WorkerGone,
    WorkerReport,
    WorkerWarm,
)
from wire.settings import WorkerSettings
from wire.vocabulary import BotState, GoneCause, Reason, RefusalCause, WorkerState
from worker import lifecycle, processes
from worker.browser import BrowserError, Chromium, Launcher
from worker.driver import PAGE_ERRORS, Driver, DriverError
from worker.journal import Entry, Stage, WorkerNote
from worker.platforms import BLANK, Adapter, adapter_for, find_again, prepare
from worker.session import BotNews, Session

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PROBE_DEADLINE_S: Final = 1.0
JOIN_FIRST_S: Final = 1.0  # how long a join may keep warm-ups waiting: a page on the room's scale needs a third of it
WARM_UP_WAITS_S: Final = 2.0  # and how long a warm-up waits for joins, however many there are
REATTACH_DEADLINE_S: Final = 45.0  # a driver may take 30 s to start on a machine that is very busy
REATTACH_AGAIN_S: Final = 0.1
RESERVE_FOR_CALLS: Final = 0.5  # of the memory reserve: warm-ups end at all of it, so that calls may use some

_EXITED: Final = "the browser's process exited"
_ATTACH_ERRORS: Final = (DriverError, *PAGE_ERRORS, OSError)  # TimeoutError is an OSError


class Report(Protocol):
    """Takes what happened, in order, and together with it what is to be remembered of a worker."""

    def __call__(self, *events: Event, entry: Entry | None = None) -> None: ...


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
        self.page_id = ""
        self.reattaching = False
        self.abandoned = False
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

    def remember(self, stage: Stage, state: lifecycle.State | None = None) -> Entry:
        return Entry(self.worker_id, WorkerNote(stage, self.page_id, self.join, state))

    def report(self) -> WorkerReport:
        if self.join:
            return WorkerReport(self.state, self.join.bot_id, self.join.attempt)
        return WorkerReport(self.state)


class Pool:
    """`claim` answers whether an assignment is still this worker's."""

    def __init__(
        self,
        settings: WorkerSettings,
        vm_id: str,
        launcher: Launcher,
        driver: Driver,
        tasks: asyncio.TaskGroup,
        claim: Callable[[Join], Awaitable[bool]],
        report: Report,
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
        self._to_connect: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()
        self.stopping = False
        self.adopted = asyncio.Event()
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
            worker = self._add(worker_id)
            self._report(entry=worker.remember(Stage.ORDERED))
            steps.done(AgentStep.WORKER_NOTED)
            begin = partial(self._warm_up, worker)
            worker.life = self._start(self._live(worker, begin), name=f"worker {worker_id}")

    def retire(self, worker_id: str) -> None:
        """End a worker that serves nobody. A busy one goes on."""
        worker = self._workers.get(worker_id)
        if worker is None:
            self._report_gone(worker_id, Gone(GoneCause.MISSING))
        elif worker.state is WorkerState.BUSY:
            log.warning("retire_ignored", worker_id=worker_id, why="it serves a bot")
        else:
            self._report(entry=worker.remember(Stage.SPENT))  # the order is not given again
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
        elif _available_memory_mb() < self._settings.memory_reserve_mb * RESERVE_FOR_CALLS:
            self._refuse(join, RefusalCause.LOW_MEMORY)
        else:
            worker.state, worker.join = WorkerState.BUSY, join
            self._report(entry=worker.remember(Stage.WARM))
            steps.done(AgentStep.JOIN_NOTED)
            self._let_join_go_first(worker.worker_id)
            worker.serving = self._start(self._serve(worker, join, adapter), name=f"bot {join.bot_id}")

    def leave(self, worker_id: str, bot_id: str, attempt: int, reason: Reason) -> None:
        """Let a bot leave, if it is with this worker in this attempt."""
        worker = self._workers.get(worker_id)
        if worker is None or not worker.serves(bot_id, attempt):
            log.info("leave_ignored", worker_id=worker_id, bot_id=bot_id, attempt=attempt, why="no such bot here")
        elif worker.session:
            worker.session.leave(reason)
        else:
            worker.left_early = reason

    def say(self, worker_id: str, bot_id: str, attempt: int, text: str) -> None:
        """Let a bot say something, if it is with this worker in this attempt."""
        worker = self._workers.get(worker_id)
        if worker and worker.session and worker.serves(bot_id, attempt):
            worker.session.say(text[:MOST_MESSAGE_CHARS])
        else:
            log.info("say_ignored", worker_id=worker_id, bot_id=bot_id, attempt=attempt, why="no such bot here")

    # After an agent that was killed or handed over

    def adopt(self, notes: Mapping[str, WorkerNote]) -> None:
        """Take over what the journal holds. Those whose browsers live go on, the others end as they would have.
        `adopted` is set once each of them is connected to, or ends.
        """
        for worker_id, note in notes.items():
            worker = self._add(worker_id)
            worker.page_id, worker.join = note.page, note.join
            worker.chromium = self._launcher.find(worker_id) if note.stage is Stage.WARM else None
            if worker.chromium:
                self._to_connect.add(worker_id)
                worker.state = WorkerState.BUSY if note.join else WorkerState.IDLE
                begin = partial(self._take_over, worker, worker.chromium, note)
                worker.life = self._start(self._live(worker, begin), name=f"worker {worker_id}")
            else:
                worker.state = WorkerState.RETIRING
                worker.life = self._start(self._end_leftover(worker, note), name=f"leftover {worker_id}")
        if not self._to_connect:
            self.adopted.set()

    async def _take_over(self, worker: Worker, chromium: Chromium, note: WorkerNote) -> Gone | None:
        """None when it is as it was."""
        self._start(self._watch(worker, chromium), name=f"watch the browser of {worker.worker_id}")
        await self._reattach(worker, chromium)
        self._to_connect.discard(worker.worker_id)
        if not self._to_connect:
            self.adopted.set()
        join, adapter = note.join, adapter_for(note.join.platform) if note.join else None
        if not worker.page or worker.gone.done():
            if join:
                self._lose_bot(worker, join, note)
            return worker.gone.result()
        log.info("worker_adopted", worker_id=worker.worker_id, bot_id=join.bot_id if join else "")
        if join and adapter and note.state:
            self._start(self._check_claim(worker, join), name=f"claim {join.bot_id}")
            serving = self._attend(worker, join, adapter, worker.page, note.state)
            worker.serving = self._start(serving, name=f"bot {join.bot_id}")
        elif join and adapter:
            worker.serving = self._start(self._serve(worker, join, adapter), name=f"bot {join.bot_id}")
        elif worker.page.url != BLANK:
            return Gone(GoneCause.UNRESPONSIVE, "its page is no longer empty")
        return None

    async def _check_claim(self, worker: Worker, join: Join) -> None:
        """While nobody drove this bot, its attempt may have come to nothing."""
        if not await self._claim(join):
            log.warning("assignment_stale", worker_id=worker.worker_id, bot_id=join.bot_id, attempt=join.attempt)
            self.leave(worker.worker_id, join.bot_id, join.attempt, Reason.SUPERSEDED)

    async def _end_leftover(self, worker: Worker, note: WorkerNote) -> None:
        if note.join:
            self._lose_bot(worker, note.join, note)
        await self._launcher.end_leftover(worker.worker_id)
        cause = GoneCause.SPENT if note.stage is Stage.SPENT else GoneCause.MISSING
        self._forget(worker, Gone(cause, "left by an earlier run of the agent"))

    def _lose_bot(self, worker: Worker, join: Join, note: WorkerNote) -> None:
        if note.state:
            ended = self._ended(join, Reason.BROWSER_CRASHED, "the browser was gone when the agent started again")
            self._note_end(worker, ended)
        else:
            self._refuse(join, RefusalCause.BROWSER_DEAD)

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
            worker.abandoned = True
            if worker.join and worker.session:
                self._note_end(worker, self._ended(worker.join, Reason.SHUTDOWN, "did not leave in time"))
            elif worker.join:
                self._refuse(worker.join, RefusalCause.STOPPING)
            for task in (worker.serving, worker.life):
                if task:
                    task.cancel()

    def let_go(self) -> None:
        """Leave all workers as they are, for the next agent."""
        for task in self._running:
            task.cancel()

    # Watching

    def end_those_too_large(self) -> None:
        """Whoever holds more memory than one worker may ends, and its neighbours do not notice. Blocks for some ms."""
        limit_mb = self._settings.memory_limit_mb
        of_group = {worker.chromium.leader.pid: worker for worker in self._workers.values() if worker.chromium}
        for group, held_mb in processes.private_memory_mb(of_group).items():
            worker = of_group[group]
            if held_mb > limit_mb and not worker.gone.done():
                detail = f"it held {held_mb} MB, more than worker.memory_limit_mb ({limit_mb})"
                log.warning("memory_limit_reached", worker_id=worker.worker_id, held_mb=held_mb, limit_mb=limit_mb)
                if worker.session:
                    worker.session.browser_gone(detail, Reason.MEMORY_LIMIT)
                else:
                    worker.end(GoneCause.MEMORY_LIMIT, detail)

    def leave_if_cut_off(self, silent_s: float) -> None:
        """Bots that are sent in again when their VM is not heard of leave before that happens."""
        for worker in self._workers.values():
            limit_s = worker.join.leave_when_cut_off_s if worker.join else 0.0
            if worker.session and 0.0 < limit_s < silent_s:
                worker.session.leave(Reason.CUT_OFF)

    async def sweep(self, most: int) -> list[str]:
        """End what is in the state folder and belongs to no worker, up to `most` of them. Their ids."""
        return await self._launcher.sweep(self._workers, most)

    # Reports

    def reports(self) -> dict[str, WorkerReport]:
        return {worker.worker_id: worker.report() for worker in self._workers.values()}

    def room(self) -> int:
        """How many further workers the memory bears without touching the reserve. Those warming up have theirs."""
        spare_mb = _available_memory_mb() - self._settings.memory_reserve_mb
        warming = sum(worker.state is WorkerState.WARMING for worker in self._workers.values())
        return max(0, spare_mb // self._settings.worker_memory_mb - warming)

    def reconnect(self) -> None:
        """The driver was started anew: connect to all browsers again."""
        for worker in self._workers.values():
            self._lose_connection(worker)

    def _lose_connection(self, worker: Worker) -> None:
        if worker.chromium and worker.page and not worker.reattaching and worker.state is not WorkerState.RETIRING:
            if worker.session:
                worker.session.detach()
            worker.page = None
            reattaching = self._reattach(worker, worker.chromium)
            self._start(reattaching, name=f"reattach {worker.worker_id}")

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

    def _note_progress(self, worker: Worker, state: lifecycle.State, events: Sequence[BotNews]) -> None:
        if state.phase.rank >= BotState.WAITING_ROOM.rank:
            self._join_is_done(worker.worker_id)
        self._report(*events, entry=worker.remember(Stage.WARM, state))
        steps.done(AgentStep.MOVE_NOTED)

    # The life of a worker

    async def _live(self, worker: Worker, begin: Callable[[], Awaitable[Gone | None]]) -> None:
        """From its beginning, which answers None once it is idle or busy, to its end."""
        gone = Gone(GoneCause.AGENT_STOPPED)
        ends = False
        try:
            gone = await begin() or await worker.gone
            if worker.serving:
                await asyncio.wait({worker.serving})  # what the bot has to say comes first
            ends = True
        finally:
            if ends or worker.abandoned:
                worker.state = WorkerState.RETIRING
                self._join_is_done(worker.worker_id)
                if worker.chromium:
                    await worker.chromium.kill()
                self._forget(worker, gone)

    def _start(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        task = self._tasks.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def _add(self, worker_id: str) -> Worker:
        worker = self._workers[worker_id] = Worker(worker_id)
        self.empty.clear()
        return worker

    def _forget(self, worker: Worker, gone: Gone) -> None:
        self._report_gone(worker.worker_id, gone)
        steps.done(AgentStep.WORKER_FORGOTTEN)
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
                self._start(self._watch(worker, worker.chromium), name=f"watch the browser of {worker.worker_id}")
                worker.page, worker.page_id = await prepare(await self._connect(worker, worker.chromium))
                await self._note_answer(worker, worker.page)
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
        warm = WorkerWarm(self._vm_id, worker.worker_id, time.time(), took_s)
        self._report(warm, entry=worker.remember(Stage.WARM))
        steps.done(AgentStep.WORKER_WARMED)
        return None

    async def _connect(self, worker: Worker, chromium: Chromium) -> BrowserContext:
        artifacts = _artifacts(chromium)
        browser = await self._driver.connect(chromium.endpoint, artifacts, self._settings.launch_timeout_s)
        browser.on("disconnected", lambda _: self._lose_connection(worker))
        return browser.contexts[0]

    async def _note_answer(self, worker: Worker, page: Page) -> None:
        await page.evaluate("1")  # it answers; and the first answer, which takes longest, is not left to the probe
        page.on("crash", lambda _: self._note_crash(worker, "the page crashed"))

    async def _reattach(self, worker: Worker, chromium: Chromium) -> None:
        """Afterwards the worker is connected, or ends."""
        worker.reattaching = True
        error: Exception | None = None
        try:
            async with asyncio.timeout(REATTACH_DEADLINE_S):
                while not worker.gone.done():
                    try:
                        page = await find_again(await self._connect(worker, chromium), worker.page_id)
                    except _ATTACH_ERRORS as fault:  # the driver is starting, or died again
                        error = fault
                        await asyncio.sleep(REATTACH_AGAIN_S)
                        continue
                    if page is None:
                        self._end_unreachable(worker, "its page was closed")
                        return
                    if worker.state is WorkerState.IDLE:
                        await self._note_answer(worker, page)
                    worker.page = page
                    if worker.session:
                        worker.session.attach(page)
                    return
        except _ATTACH_ERRORS as fault:
            self._end_unreachable(worker, f"cannot connect to it again: {_one_line(error or fault)}")
        finally:
            worker.reattaching = False

    def _end_unreachable(self, worker: Worker, detail: str) -> None:
        if worker.session:
            worker.session.browser_gone(detail)
        else:
            worker.end(GoneCause.UNRESPONSIVE, detail)

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
            self._report(entry=worker.remember(Stage.WARM))
            if self.stopping:
                worker.end(GoneCause.AGENT_STOPPED)
        else:
            steps.done(AgentStep.JOIN_CLAIMED)
            await self._attend(worker, join, adapter, page)

    async def _probe(self, worker: Worker) -> Page | None:
        """The page, if it answers."""
        page, error = worker.page, None
        for _ in range(2):  # an error may be a neighbour's, once
            try:
                async with asyncio.timeout(PROBE_DEADLINE_S):
                    return page if page and await page.evaluate("1") == 1 and not worker.gone.done() else None
            except (*PAGE_ERRORS, TimeoutError) as fault:
                error = fault
                if isinstance(fault, PlaywrightError | TimeoutError):
                    break
        if error:
            log.warning("probe_failed", worker_id=worker.worker_id, error=_one_line(error))
        return None

    async def _attend(
        self, worker: Worker, join: Join, adapter: Adapter, page: Page, state: lifecycle.State | None = None
    ) -> None:
        """The whole meeting, or what is left of it after `state`. Whatever goes wrong, the bot ends, and the neighbours
        do not notice.
        """

        def keep(state: lifecycle.State, events: Sequence[BotNews]) -> None:
            self._note_progress(worker, state, events)

        settings, driver_answers = self._settings, self._driver.answers
        session = worker.session = Session(page, join, adapter, settings, self._vm_id, keep, driver_answers, state)
        if worker.gone.done():  # the browser went between the probe and the session
            session.browser_gone(_EXITED)
        if worker.page is not page:  # the connection did
            session.detach()
        if worker.left_early:
            session.leave(worker.left_early)
        try:
            ended = await session.run()
        except Exception:
            log.exception("session_failed", worker_id=worker.worker_id, bot_id=join.bot_id, attempt=join.attempt)
            ended = self._ended(join, Reason.INTERNAL_ERROR)
        self._note_end(worker, ended)
        worker.end(GoneCause.SPENT)

    def _note_end(self, worker: Worker, ended: BotEnded) -> None:
        worker.join = None
        self._report(ended, entry=worker.remember(Stage.SPENT))
        steps.done(AgentStep.END_NOTED)

    def _ended(self, join: Join, reason: Reason, detail: str = "") -> BotEnded:
        return BotEnded(self._vm_id, join.worker_id, join.bot_id, join.attempt, time.time(), reason, detail)

    def _refuse(self, join: Join, cause: RefusalCause) -> None:
        log.warning("join_refused", worker_id=join.worker_id, bot_id=join.bot_id, attempt=join.attempt, cause=cause)
        self._report(JoinRefused(self._vm_id, join.worker_id, join.bot_id, join.attempt, time.time(), cause))

    def _report_gone(self, worker_id: str, gone: Gone) -> None:
        log.info("worker_gone", worker_id=worker_id, cause=gone.cause, detail=gone.detail)
        gone_event = WorkerGone(self._vm_id, worker_id, time.time(), gone.cause, gone.detail)
        self._report(gone_event, entry=Entry(worker_id, None))


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
