"""The workers of this VM. Each is warmed up, serves one bot, and ends: its processes and its folder are removed.

A worker has two tasks. `_live` runs from its order to its removal. The other one warms it up, and later serves its bot.
worker.decide.worker decides what follows from each event; the pool passes events on to the worker. The manager decides
how many workers there are, and which of them gets which bot.

Browsers outlive the agent. Every change of a worker is in the journal before it takes effect, so the next agent finds
its workers again (takeover.py) after this one was killed or handed over. Cancelling a worker's task leaves its browser
as it is.
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
from worker.capture.recording import MOST_END_S
from worker.capture.tracks import END_DEADLINE_S as TRACKS_END_S
from worker.chromium.driver import Driver
from worker.chromium.process import Launcher
from worker.chromium.warm_files import WarmFiles
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
from worker.meeting.onlookers import Looked
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

WIND_UP_S: Final = MOST_END_S + TRACKS_END_S + 8.0
"""How long an ending worker's task may still run before its browser is killed: mostly less than a second, but a
recorder whose agent was away has minutes to give. On top of that the disk's own time, and that of a claim.
"""
REMEMBERED: Final = 1000  # ids of removed workers: only the latest orders can be read a second time


class PoolSettings(NamedTuple):
    """What the workers of this VM take from the agent's settings. `limit_mb`: what one worker may hold.
    `files_refresh_s`: how often the browsers' files are read; 0: never.
    """

    memory: Memory
    limit_mb: int
    launch_s: float
    pages: Pages
    files_refresh_s: float
    session: SessionSettings

    @classmethod
    def of(cls, settings: WorkerSettings) -> Self:
        return cls(
            memory=Memory(settings.memory_reserve_mb, settings.worker_memory_mb, settings.display_memory_mb),
            limit_mb=settings.memory_limit_mb,
            launch_s=settings.launch_timeout_s,
            pages=Pages.of(settings),
            files_refresh_s=settings.warm_files_refresh_s,
            session=SessionSettings.of(settings),
        )


class Pool:
    """`adopted` is set once every worker of the earlier agent is connected to, or ends. `empty` is set while there is
    no worker. `watch` ends workers that have to end; its methods are to be called at intervals.
    """

    def __init__(
        self, settings: PoolSettings, launcher: Launcher, driver: Driver, uplink: Uplink, tasks: asyncio.TaskGroup
    ) -> None:
        self._uplink = uplink
        self._launcher = launcher
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()
        self._workers: dict[str, Worker] = {}
        self._were_here: dict[str, None] = {}  # ids of the latest workers that were reported as gone
        self._memory = settings.memory
        self._joins = JoinsFirst()
        self._connections = Connections(driver, settings.launch_s, self._start, uplink.equip)
        self._warm_pages = WarmPages(
            settings.pages, launcher, driver, self._joins.nobody_joins, lambda: self.room() > 0
        )
        self._warm_files = WarmFiles(
            settings.files_refresh_s,
            launcher.state_dir,
            self._newest_browser,
            self._joins.nobody_joins,
            lambda: self.room() > 0,
        )
        self._warmth = Warmth(
            launcher,
            self._connections,
            self._joins,
            self._start,
            fill_profile=self._warm_pages.copy_cache,
            equip=uplink.equip,
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

    def warm(self, worker_id: str, *, display: bool = False) -> None:
        """Start a worker. Idempotent: when there is, or was, a worker of that id, nothing changes. An agent reads an
        order again if the agent before it died over it, and by then the manager has ordered another worker.

        `display`: with a display that can be recorded, if this agent makes such workers. Its reports say which it is.
        """
        display = display and self.makes_displays
        if worker_id in self._workers or worker_id in self._were_here:
            return
        if self.stopping:
            self._report_gone(worker_id, GoneCause.AGENT_STOPPED)
        elif self.room(display=display) < 1:
            self._report_gone(worker_id, GoneCause.LOW_MEMORY, "a worker more would touch the memory reserve")
        else:
            worker = self._add(WorkerStatus(self._uplink.vm_id, worker_id, Phase.WARMING), display=display)
            worker.note()
            steps.done(AgentStep.WORKER_NOTED)
            worker.work = self._start(self._warmth.warm_up(worker), name=f"warm up {worker_id}")

    def retire(self, worker_id: str, *, by_force: bool = False) -> None:
        """End a worker. One that has a bot goes on until its bot has ended or its assignment turns out stale, unless
        `by_force`.
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
        """Begin to take a bot into its meeting, or report why not. Idempotent."""
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
        """Make a bot leave, if this worker serves it in this attempt."""
        worker = self._workers.get(worker_id)
        if worker and worker.status.serves(bot_id, attempt):
            worker.tell(LeaveOrdered(reason))
        else:
            log.info("leave_ignored", worker_id=worker_id, bot_id=bot_id, attempt=attempt, why="no such bot here")

    def say(self, worker_id: str, bot_id: str, attempt: int, text: str) -> None:
        """Make a bot write in its meeting's chat, if this worker serves it in this attempt."""
        worker = self._workers.get(worker_id)
        if worker and worker.session and worker.status.serves(bot_id, attempt):
            worker.session.say(text[:MOST_MESSAGE_CHARS])
        else:
            log.info("say_ignored", worker_id=worker_id, bot_id=bot_id, attempt=attempt, why="no such bot here")

    # After an earlier agent, and after the driver died

    def adopt(self, notes: Mapping[str, WorkerNote]) -> None:
        """Take over the workers in the journal. A worker whose browser lives goes on; the others end, and so do their
        bots. `adopted` is set once all are connected to, or end.
        """
        for worker_id, note in notes.items():
            worker = self._add(status_of(self._uplink.vm_id, worker_id, note))
            self._takeover.begin(worker, note)
        self._takeover.done_if_connected()

    def reconnect(self) -> None:
        """Connect to all browsers again: a new driver was started."""
        self._connections.lose_all(self._workers.values())

    # Shutdown

    def refuse_work(self) -> None:
        """Take no new worker and no new bot. Workers without a bot end, now or when their assignment turns out
        stale.
        """
        self.stopping = True
        for worker in self._workers.values():
            worker.tell(StopOrdered())

    def take_work(self) -> None:
        """Take work again, after `refuse_work`. Workers that were already ordered to end still end."""
        self.stopping = False

    def leave_all(self, reason: Reason) -> None:
        for worker in self._workers.values():
            worker.tell(LeaveOrdered(reason))

    def abandon(self) -> None:
        """End all workers and their bots at once: some did not leave after `leave_all`. Nor is anything waited for that
        a recorder has yet to give.
        """
        for worker in self._workers.values():
            worker.tell(Abandoned())
            if worker.work:
                worker.work.cancel()

    async def end(self, deadline_s: float) -> None:
        """Leave the meetings in good order, for `deadline_s` at most. Afterwards nothing runs any more."""
        self.refuse_work()
        self.leave_all(Reason.USER_REQUESTED)
        try:
            async with asyncio.timeout(deadline_s):
                await self.empty.wait()
        except TimeoutError:
            self.abandon()
            await self.empty.wait()

    def let_go(self) -> None:
        """Cancel all tasks and leave the browsers running, for the next agent."""
        for task in self._running:
            task.cancel()

    # Upkeep and reports

    async def sweep(self, most: int) -> list[str]:
        """End up to `most` browsers in the state folder that belong to no worker. Returns their ids."""
        return await self._launcher.sweep(ChainMap[str, Any](self._workers, {VISITOR: None}), most)

    async def keep_pages_warm(self) -> None:
        """Keep the warm pages' cache fresh, for as long as the agent lives."""
        await self._warm_pages.keep()

    async def keep_files_warm(self) -> None:
        """Keep the files that the browsers run from in memory, for as long as the agent lives."""
        await self._warm_files.keep()

    def _newest_browser(self) -> int | None:
        """The leader of the idle browser that was launched last; None: there is none. After an upgrade of Chromium
        older ones run from files that no further browser does.
        """
        idle = [worker for worker in self._workers.values() if worker.status.phase is Phase.IDLE]
        newest = max(idle, key=lambda worker: worker.launched_at or 0.0, default=None)
        return newest.chromium.leader.pid if newest and newest.chromium else None

    def reports(self) -> dict[str, WorkerReport]:
        made_at = self._warm_pages.made_at
        return {worker.worker_id: worker.report(made_at) for worker in self._workers.values()}

    def looked_at(self, bot_id: str) -> Looked | None:
        """The worker that serves the bot, and its page; None: there is none."""
        for worker in self._workers.values():
            if worker.status.join and worker.status.join.bot_id == bot_id:
                return Looked(worker.worker_id, worker.page)
        return None

    @property
    def makes_displays(self) -> bool:
        """Whether it starts workers with a display that can be recorded, when they are ordered."""
        return self._launcher.recorded is not None

    def room(self, *, display: bool = False) -> int:
        """How many more workers, with a display or without, the memory bears beside the reserve and those that
        warm up.
        """
        return self._memory.room(*self._warming(), display=display)

    def free_mb(self) -> int:
        """The memory beside the reserve and those that warm up."""
        return self._memory.free_mb(*self._warming())

    def _warming(self) -> tuple[int, int]:
        """How many workers warm up, and how many of them will have a display."""
        warming = [worker.display for worker in self._workers.values() if worker.status.phase is Phase.WARMING]
        return len(warming), sum(warming)

    # The life of a worker

    def _add(self, status: WorkerStatus, *, display: bool = False) -> Worker:
        worker = self._workers[status.worker_id] = Worker(status, self._uplink, display=display)
        self.empty.clear()
        self._start(self._live(worker), name=f"worker {status.worker_id}")
        return worker

    async def _live(self, worker: Worker) -> None:
        """Wait until the worker is to end, then remove it."""
        await worker.ends.wait()
        if worker.work:
            await asyncio.wait({worker.work}, timeout=WIND_UP_S)
            worker.work.cancel()  # it may still wait for Redis
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

    # Reports about workers that are not there

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
