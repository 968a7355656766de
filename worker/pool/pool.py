"""The workers of this VM: each is warmed up, serves one bot, and ends with its process tree and folder gone.

A worker is one task from its order to its end (`_live`), and one more while it serves a bot (serving.py):

    warm() -> WARMING -> IDLE -> begin() -> BUSY -> its bot ended -> RETIRING -> gone
                          |                  |
                          +-- retire(), crash, dead at the probe ----^

Every worker ends with exactly one WorkerGone, after everything that its bot had to say. How many there should be,
and who gets which bot, is the manager's business.

Browsers outlive the agent. All that happens to a worker is noted in the journal before it counts, and after an agent
that was killed or handed over the next one finds its workers again (takeover.py). A task of a worker that is cancelled
leaves the browser as it is; only `abandon` and an end of its own do not.
"""

import asyncio
import time
from collections import ChainMap
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from common.config.settings import WorkerSettings
from common.runtime import steps
from common.runtime.steps import AgentStep
from common.runtime.waiting import pause
from common.wire.messages import MOST_MESSAGE_CHARS, Join, WorkerGone, WorkerReport, WorkerWarm
from common.wire.vocabulary import GoneCause, Reason, RefusalCause, WorkerState
from worker.chromium import processes
from worker.chromium.accounts import GUESTS, Accounts
from worker.chromium.driver import Driver
from worker.chromium.process import Launcher
from worker.chromium.warm_pages import VISITOR, WarmPages
from worker.decide.overdue import Patience
from worker.link.journal import Entry, Stage, WorkerNote
from worker.platforms import adapter_for
from worker.pool.serving import Report, Serving, Witnesses, nobody
from worker.pool.takeover import Takeover
from worker.pool.warmth import ColdError, Warmth
from worker.pool.worker import Gone, Worker

log: structlog.stdlib.BoundLogger = structlog.get_logger()

WARM_UP_WAITS_S: Final = 2.0  # for joins, however many there are
FORCED_S: Final = 5.0  # for a session that is ended by force to see that it is
LOUD_BYTES: Final = 100_000  # unread: a calm page has none, a flood fills the kernel's buffer, 200 KB or more
LOUD_LOOKS: Final = 5  # the agent looks every two seconds; a page that loads is read within one
REMEMBERED: Final = 1000  # orders are deleted when they are carried out: only the latest ones can come again
RESERVE_FOR_CALLS: Final = 0.5  # of the memory reserve: warm-ups end at all of it, so that calls may use some


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
        witnesses: Witnesses = nobody,
        accounts: Accounts = GUESTS,
    ) -> None:
        self._settings = settings
        self._vm_id = vm_id
        self._launcher = launcher
        self._driver = driver
        self._tasks = tasks
        self._report = report
        self._serving = Serving(settings, vm_id, driver, claim, report, witnesses, accounts)
        self._takeover = Takeover(settings, launcher, driver, self._serving, self._start)
        self._warm_pages = WarmPages(settings, launcher, driver, self._serving.nobody_joins, lambda: self.room() > 0)
        self._warmth = Warmth(
            launcher, self._takeover.connect, self._start, self._warm_pages.furnish, settings.launch_timeout_s
        )
        self._workers: dict[str, Worker] = {}
        self._were_here: dict[str, None] = {}  # the latest ones that were reported to be gone
        self._running: set[asyncio.Task[None]] = set()
        self.stopping = False
        self.adopted = self._takeover.done
        self.empty = asyncio.Event()
        self.empty.set()

    # Orders

    def warm(self, worker_id: str) -> None:
        """Start a worker of that name. When there is one already, or was one that is gone, nothing changes: an agent
        reads the order again over which the one before it died, and the manager has ordered another worker.
        """
        if worker_id in self._workers or worker_id in self._were_here:
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

    def retire(self, worker_id: str, *, by_force: bool = False) -> None:
        """End a worker that serves nobody. A busy one goes on, and ends when its assignment turns out stale, or its bot
        has ended: the manager has taken back what it was given, and waits for it to go.
        """
        worker = self._workers.get(worker_id)
        if worker is None:
            self._report_gone(worker_id, Gone(GoneCause.MISSING))
        elif worker.state is WorkerState.BUSY and by_force:
            self._serving.end_by_force(worker, "the manager had its browser ended")
        elif worker.state is WorkerState.BUSY:
            log.info("retire_put_off", worker_id=worker_id, why="it serves a bot")
            worker.ends_when_free = GoneCause.RETIRED
            if worker.session is None:  # otherwise its bot has come, and goes before it
                self._report(entry=worker.remember(Stage.WARM))
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
            self._serving.refuse(join, RefusalCause.STOPPING)
        elif worker is None or worker.state is not WorkerState.IDLE or worker.gone.done():
            self._serving.refuse(join, RefusalCause.NO_SUCH_WORKER)
        elif adapter is None:
            self._serving.refuse(join, RefusalCause.UNKNOWN_PLATFORM)
        elif _available_memory_mb() < self._settings.memory_reserve_mb * RESERVE_FOR_CALLS:
            self._serving.refuse(join, RefusalCause.LOW_MEMORY)
        else:
            worker.state, worker.join = WorkerState.BUSY, join
            self._report(entry=worker.remember(Stage.WARM))
            steps.done(AgentStep.JOIN_NOTED)
            self._serving.let_join_go_first(worker.worker_id)
            worker.serving = self._start(self._serving.serve(worker, join, adapter), name=f"bot {join.bot_id}")

    def leave(self, worker_id: str, bot_id: str, attempt: int, reason: Reason) -> None:
        """Let a bot leave, if it is with this worker in this attempt."""
        worker = self._workers.get(worker_id)
        if worker is None or not worker.serves(bot_id, attempt):
            log.info("leave_ignored", worker_id=worker_id, bot_id=bot_id, attempt=attempt, why="no such bot here")
        else:
            worker.leave(reason)

    def say(self, worker_id: str, bot_id: str, attempt: int, text: str) -> None:
        """Let a bot say something, if it is with this worker in this attempt."""
        worker = self._workers.get(worker_id)
        if worker and worker.session and worker.serves(bot_id, attempt):
            worker.session.say(text[:MOST_MESSAGE_CHARS])
        else:
            log.info("say_ignored", worker_id=worker_id, bot_id=bot_id, attempt=attempt, why="no such bot here")

    # After an agent that was killed or handed over, and after the driver died

    def adopt(self, notes: Mapping[str, WorkerNote]) -> None:
        """Take over what the journal holds. Those whose browsers live go on, the others end as they would have.
        `adopted` is set once each of them is connected to, or ends.
        """
        for worker_id, note in notes.items():
            worker = self._add(worker_id)
            if chromium := self._takeover.find(worker, note):
                begin = partial(self._takeover.take_over, worker, chromium, note)
                worker.life = self._start(self._live(worker, begin), name=f"worker {worker_id}")
            else:
                worker.life = self._start(self._end_leftover(worker, note), name=f"leftover {worker_id}")
        self._takeover.done_if_connected()

    async def _end_leftover(self, worker: Worker, note: WorkerNote) -> None:
        self._forget(worker, await self._takeover.end_leftover(worker, note))

    def reconnect(self) -> None:
        """The driver was started anew: connect to all browsers again."""
        self._takeover.reconnect(self._workers.values())

    # Shutdown

    def refuse_work(self) -> None:
        """No new worker, no new bot; whoever serves nobody ends, now or when its assignment turns out stale."""
        self.stopping = True
        for worker in self._workers.values():
            worker.ends_when_free = worker.ends_when_free or GoneCause.AGENT_STOPPED
            if worker.state is not WorkerState.BUSY:
                worker.end(GoneCause.AGENT_STOPPED)
            elif worker.session is None and not worker.is_in:  # it may wait for Redis to answer its claim
                self._serving.end_by_force(worker, "the agent stops")

    def leave_all(self, reason: Reason) -> None:
        for worker in self._workers.values():
            if worker.join:
                worker.leave(reason)

    def abandon(self) -> None:
        """End all workers as they are: for when `leave_all` was not heeded."""
        for worker in self._workers.values():
            worker.abandoned = True
            self._serving.abandon(worker)
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
            worker.note_memory(held_mb, time.monotonic())
            if held_mb > limit_mb and not worker.gone.done():
                detail = f"it held {held_mb} MB, more than worker.memory_limit_mb ({limit_mb})"
                log.warning("memory_limit_reached", worker_id=worker.worker_id, held_mb=held_mb, limit_mb=limit_mb)
                if worker.session:
                    worker.session.browser_gone(detail, Reason.MEMORY_LIMIT)
                else:
                    worker.end(GoneCause.MEMORY_LIMIT, detail)

    def end_those_overdue(self) -> None:
        """Whoever has outlived every limit of its own ends, by force. To be called every overdue.LOOK_S."""
        now = time.monotonic()
        for worker in self._workers.values():
            if worker.session and not worker.ended_by_force:
                patience = worker.patience = worker.patience or Patience(self._settings)
                if detail := patience.look(worker.session.steps, worker.session.state, now):
                    self._serving.end_by_force(worker, detail)

    async def end_those_too_loud(self) -> None:
        """Whoever's page makes more events than the driver can read ends: it keeps all others from being heard. Only
        the loudest, since beside it others may go unread, too; and of a driver that reads nothing no page is to blame.
        """
        if not self._loudest() or not await self._driver.answers():
            return
        loudest = self._loudest()
        if not loudest or not loudest.session:
            return
        for worker in self._workers.values():
            worker.loud = 0
        log.warning("page_too_loud", worker_id=loudest.worker_id)
        detail = "its page made more events than the driver, which all workers share, can read"
        loudest.session.browser_gone(detail, Reason.BROWSER_HUNG)

    def _loudest(self) -> Worker | None:
        """Of those that were too loud at every look for a while; None: nobody was."""
        of_port = {worker.chromium.port: worker for worker in self._workers.values() if worker.chromium}
        unread = processes.unread_bytes(of_port)  # nothing of those that the driver is about to be connected to again
        for port, waiting in unread.items():
            of_port[port].loud = of_port[port].loud + 1 if waiting > LOUD_BYTES else 0
        loud = [port for port in unread if of_port[port].loud >= LOUD_LOOKS]
        return of_port[max(loud, key=lambda port: unread[port])] if loud else None

    def leave_if_cut_off(self, silent_s: float) -> None:
        """Bots that are sent in again when their VM is not heard of leave before that happens."""
        for worker in self._workers.values():
            limit_s = worker.join.leave_when_cut_off_s if worker.join else 0.0
            if worker.session and 0.0 < limit_s < silent_s:
                worker.session.leave(Reason.CUT_OFF)

    async def sweep(self, most: int) -> list[str]:
        """End what is in the state folder and belongs to no worker, up to `most` of them. Their ids."""
        return await self._launcher.sweep(ChainMap[str, Any](self._workers, {VISITOR: None}), most)

    async def keep_pages_warm(self) -> None:
        """For as long as the agent lives."""
        await self._warm_pages.keep()

    # Reports

    def reports(self) -> dict[str, WorkerReport]:
        return {worker.worker_id: worker.report() for worker in self._workers.values()}

    def room(self) -> int:
        """How many further workers the memory bears without touching the reserve. Those warming up have theirs."""
        spare_mb = _available_memory_mb() - self._settings.memory_reserve_mb
        warming = sum(worker.state is WorkerState.WARMING for worker in self._workers.values())
        return max(0, spare_mb // self._settings.worker_memory_mb - warming)

    # The life of a worker

    async def _live(self, worker: Worker, begin: Callable[[], Awaitable[Gone | None]]) -> None:
        """From its beginning, which answers None once it is idle or busy, to its end."""
        gone = Gone(GoneCause.AGENT_STOPPED)
        ends = False
        try:
            gone = await begin() or await worker.gone
            if worker.serving:  # what the bot has to say comes first; of one that is ended by force it is said
                await asyncio.wait({worker.serving}, timeout=FORCED_S if worker.ended_by_force else None)
            ends = True
        finally:
            if ends or worker.abandoned:
                worker.state = WorkerState.RETIRING
                self._serving.join_is_done(worker.worker_id)
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
        await pause(self._serving.nobody_joins, WARM_UP_WAITS_S)
        if worker.gone.done():
            return worker.gone.result()
        started = time.monotonic()
        try:
            await self._warmth.warm_up(worker)
        except ColdError as error:
            return worker.gone.result() if worker.gone.done() else Gone(GoneCause.WARMUP_FAILED, str(error))
        took_s = time.monotonic() - started
        worker.state = WorkerState.IDLE
        log.info("worker_warmed", worker_id=worker.worker_id, took_s=round(took_s, 3))
        warm = WorkerWarm(self._vm_id, worker.worker_id, time.time(), took_s)
        self._report(warm, entry=worker.remember(Stage.WARM))
        steps.done(AgentStep.WORKER_WARMED)
        return None

    def _report_gone(self, worker_id: str, gone: Gone) -> None:
        self._were_here[worker_id] = None
        if len(self._were_here) > REMEMBERED:
            del self._were_here[next(iter(self._were_here))]
        log.info("worker_gone", worker_id=worker_id, cause=gone.cause, detail=gone.detail)
        gone_event = WorkerGone(self._vm_id, worker_id, time.time(), gone.cause, gone.detail)
        self._report(gone_event, entry=Entry(worker_id, None))


def _available_memory_mb() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise RuntimeError("cannot read MemAvailable from /proc/meminfo: the kernel is older than 3.14")
