"""The workers of this VM: each is warmed up, serves one bot, and ends with its process tree and folder gone.

A worker is one task from its order to its removal (`_live`), and one for what it does meanwhile: it warms up, and later
serves its bot. Where it is on its way, and what follows from what happens to it, is decided by worker.decide.worker:
what arrives here is told to the worker, and the rest is done below. How many workers there should be, and who gets
which bot, is the manager's business.

Browsers outlive the agent. All that happens to a worker is noted in the journal before it counts, and after an agent
that was killed or handed over the next one finds its workers again (takeover.py). A task of a worker that is cancelled
leaves the browser as it is.
"""

import asyncio
import time
from collections import ChainMap
from collections.abc import Coroutine, Mapping
from typing import Any, Final, NamedTuple, Self

import structlog

from common.config.settings import WorkerSettings
from common.runtime import steps
from common.runtime.steps import AgentStep
from common.wire.messages import MOST_MESSAGE_CHARS, Join, JoinRefused, WorkerGone, WorkerReport
from common.wire.vocabulary import GoneCause, Reason, RefusalCause
from worker.chromium.driver import Driver
from worker.chromium.process import Launcher
from worker.chromium.warm_pages import VISITOR, Pages, WarmPages
from worker.decide.overdue import Limits
from worker.decide.state import SessionSettings
from worker.decide.worker import (
    Abandoned,
    Assigned,
    LeaveOrdered,
    Phase,
    Removed,
    RetireOrdered,
    StopOrdered,
    WorkerStatus,
)
from worker.link.journal import Entry, WorkerNote
from worker.platforms import adapter_for
from worker.pool.connections import Connections
from worker.pool.joins_first import JoinsFirst
from worker.pool.memory import Memory
from worker.pool.serving import Serving
from worker.pool.takeover import Takeover, status_of
from worker.pool.uplink import Uplink
from worker.pool.warmth import Warmth
from worker.pool.watch import Watch
from worker.pool.worker import Worker

log: structlog.stdlib.BoundLogger = structlog.get_logger()

WIND_UP_S: Final = 5.0  # for a worker's task, once its bot was answered, to be done before its browser is killed
REMEMBERED: Final = 1000  # orders are deleted when they are carried out: only the latest ones can come again


class PoolSettings(NamedTuple):
    """What the workers of this VM take from the agent's settings. `limit_mb`: what one worker may hold."""

    memory: Memory
    limit_mb: int
    launch_s: float
    pages: Pages
    session: SessionSettings

    @classmethod
    def of(cls, settings: WorkerSettings) -> Self:
        return cls(
            memory=Memory(settings.memory_reserve_mb, settings.worker_memory_mb),
            limit_mb=settings.memory_limit_mb,
            launch_s=settings.launch_timeout_s,
            pages=Pages.of(settings),
            session=SessionSettings.of(settings),
        )


class Pool:
    """`adopted`: what an earlier agent left is connected to, or ends. `empty`: there is no worker. `watch` is to be
    asked to look now and then.
    """

    def __init__(
        self, settings: PoolSettings, launcher: Launcher, driver: Driver, uplink: Uplink, tasks: asyncio.TaskGroup
    ) -> None:
        self._uplink = uplink
        self._launcher = launcher
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()
        self._workers: dict[str, Worker] = {}
        self._were_here: dict[str, None] = {}  # the latest ones that were reported to be gone
        self._memory = settings.memory
        self._joins = JoinsFirst()
        self._connections = Connections(driver, settings.launch_s, self._start)
        self._warm_pages = WarmPages(
            settings.pages, launcher, driver, self._joins.nobody_joins, lambda: self.room() > 0
        )
        self._warmth = Warmth(
            launcher,
            self._connections,
            self._joins,
            self._start,
            fill_profile=self._warm_pages.copy_cache,
            limit_s=settings.launch_s,
        )
        self._serving = Serving(settings.session, settings.limit_mb, driver, uplink, self._joins)
        self._takeover = Takeover(launcher, self._connections, self._serving, self._start)
        limits = Limits(settings.session.session_s, settings.session.leave_s)
        self.watch = Watch(self._workers, driver, settings.limit_mb, limits)
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
            self._report_gone(worker_id, GoneCause.AGENT_STOPPED)
        elif self.room() < 1:
            self._report_gone(worker_id, GoneCause.LOW_MEMORY, "a worker more would touch the memory reserve")
        else:
            worker = self._add(WorkerStatus(self._uplink.vm_id, worker_id, Phase.WARMING))
            worker.note()
            steps.done(AgentStep.WORKER_NOTED)
            worker.work = self._start(self._warmth.warm_up(worker), name=f"warm up {worker_id}")

    def retire(self, worker_id: str, *, by_force: bool = False) -> None:
        """End a worker that serves nobody. A busy one goes on, and ends when its assignment turns out stale, or its bot
        has ended: the manager has taken back what it was given, and waits for it to go.
        """
        worker = self._workers.get(worker_id)
        if worker is None:
            self._report_gone(worker_id, GoneCause.MISSING)
        elif worker.status.join and by_force:
            worker.end_by_force("the manager had its browser ended")
        else:
            if worker.status.join:
                log.info("retire_put_off", worker_id=worker_id, why="it serves a bot")
            worker.tell(RetireOrdered())

    def begin(self, join: Join) -> None:
        """Take a bot into its meeting, or say why not. The same order a second time changes nothing."""
        worker = self._workers.get(join.worker_id)
        adapter = adapter_for(join.platform)
        if worker and worker.status.serves(join.bot_id, join.attempt):
            return
        if self.stopping:
            self._refuse(join, RefusalCause.STOPPING)
        elif worker is None or worker.status.phase is not Phase.IDLE:
            self._refuse(join, RefusalCause.NO_SUCH_WORKER)
        elif adapter is None:
            self._refuse(join, RefusalCause.UNKNOWN_PLATFORM)
        elif not self._memory.bears_a_join():
            self._refuse(join, RefusalCause.LOW_MEMORY)
        else:
            worker.tell(Assigned(join))
            steps.done(AgentStep.JOIN_NOTED)
            self._joins.begin(worker.worker_id)
            worker.work = self._start(self._serving.serve(worker, join, adapter), name=f"bot {join.bot_id}")

    def leave(self, worker_id: str, bot_id: str, attempt: int, reason: Reason) -> None:
        """Let a bot leave, if it is with this worker in this attempt."""
        worker = self._workers.get(worker_id)
        if worker and worker.status.serves(bot_id, attempt):
            worker.tell(LeaveOrdered(reason))
        else:
            log.info("leave_ignored", worker_id=worker_id, bot_id=bot_id, attempt=attempt, why="no such bot here")

    def say(self, worker_id: str, bot_id: str, attempt: int, text: str) -> None:
        """Let a bot say something, if it is with this worker in this attempt."""
        worker = self._workers.get(worker_id)
        if worker and worker.session and worker.status.serves(bot_id, attempt):
            worker.session.say(text[:MOST_MESSAGE_CHARS])
        else:
            log.info("say_ignored", worker_id=worker_id, bot_id=bot_id, attempt=attempt, why="no such bot here")

    # After an agent that was killed or handed over, and after the driver died

    def adopt(self, notes: Mapping[str, WorkerNote]) -> None:
        """Take over what the journal holds. Those whose browsers live go on, the others end as they would have.
        `adopted` is set once each of them is connected to, or ends.
        """
        for worker_id, note in notes.items():
            worker = self._add(status_of(self._uplink.vm_id, worker_id, note))
            self._takeover.begin(worker, note)
        self._takeover.done_if_connected()

    def reconnect(self) -> None:
        """The driver was started anew: connect to all browsers again."""
        self._connections.lose_all(self._workers.values())

    # Shutdown

    def refuse_work(self) -> None:
        """No new worker, no new bot; whoever serves nobody ends, now or when its assignment turns out stale."""
        self.stopping = True
        for worker in self._workers.values():
            worker.tell(StopOrdered())

    def leave_all(self, reason: Reason) -> None:
        for worker in self._workers.values():
            worker.tell(LeaveOrdered(reason))

    def abandon(self) -> None:
        """End all workers as they are: for when `leave_all` was not heeded."""
        for worker in self._workers.values():
            worker.tell(Abandoned())

    def let_go(self) -> None:
        """Leave all workers as they are, for the next agent."""
        for task in self._running:
            task.cancel()

    # Upkeep and reports

    async def sweep(self, most: int) -> list[str]:
        """End what is in the state folder and belongs to no worker, up to `most` of them. Their ids."""
        return await self._launcher.sweep(ChainMap[str, Any](self._workers, {VISITOR: None}), most)

    async def keep_pages_warm(self) -> None:
        """For as long as the agent lives."""
        await self._warm_pages.keep()

    def reports(self) -> dict[str, WorkerReport]:
        return {worker.worker_id: worker.report() for worker in self._workers.values()}

    def room(self) -> int:
        """How many further workers the memory bears without touching the reserve. Those warming up have theirs."""
        return self._memory.room(sum(worker.status.phase is Phase.WARMING for worker in self._workers.values()))

    # The life of a worker

    def _add(self, status: WorkerStatus) -> Worker:
        worker = self._workers[status.worker_id] = Worker(status, self._uplink)
        self.empty.clear()
        self._start(self._live(worker), name=f"worker {status.worker_id}")
        return worker

    async def _live(self, worker: Worker) -> None:
        """Wait for its end, and remove it."""
        await worker.ends.wait()
        if worker.work:
            await asyncio.wait({worker.work}, timeout=WIND_UP_S)
            worker.work.cancel()  # it may wait for an answer of Redis, which nobody needs any more
        self._joins.end(worker.worker_id)
        if worker.chromium:
            await worker.chromium.kill()
        else:
            await self._launcher.end_leftover(worker.worker_id)
        self._remember_gone(worker.worker_id)
        worker.tell(Removed())
        steps.done(AgentStep.WORKER_FORGOTTEN)
        del self._workers[worker.worker_id]
        if not self._workers:
            self.empty.set()

    def _start(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        task = self._tasks.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    # What is said of workers that are not there

    def _refuse(self, join: Join, cause: RefusalCause) -> None:
        who = (self._uplink.vm_id, join.worker_id, join.bot_id, join.attempt)
        self._uplink.tell(JoinRefused(*who, time.time(), cause))

    def _report_gone(self, worker_id: str, cause: GoneCause, detail: str = "") -> None:
        self._remember_gone(worker_id)
        gone = WorkerGone(self._uplink.vm_id, worker_id, time.time(), cause, detail)
        self._uplink.tell(gone, entry=Entry(worker_id, None))

    def _remember_gone(self, worker_id: str) -> None:
        self._were_here[worker_id] = None
        if len(self._were_here) > REMEMBERED:
            del self._were_here[next(iter(self._were_here))]
