"""One worker: its status, and what it has: browser, page, session, task.

Only `tell` changes the status. `worker.decide.worker` decides what follows from an event; `tell` carries it out.
"""

import asyncio
import time
from typing import Final

import structlog
from playwright.async_api import Page

from common.wire.messages import WorkerReport
from common.wire.vocabulary import BotState, GoneCause
from worker.chromium.process import Chromium
from worker.decide.words import BrowserGone, LeaveRequested
from worker.decide.worker import End, Failure, Happening, Order, Overdue, Phase, Report, WorkerStatus, step
from worker.link.journal import Entry, Stage, WorkerNote
from worker.meeting.session import Session
from worker.pool.memory import MemoryHistory
from worker.pool.uplink import Uplink

log: structlog.stdlib.BoundLogger = structlog.get_logger()

EXITED: Final = "the browser's process exited"

_STAGES: Final = {Phase.WARMING: Stage.ORDERED, Phase.RETIRING: Stage.SPENT}


class Worker:
    """`page`: None while there is no connection to it. `changed` is set whenever that or the status is another. `work`:
    the task that warms it up or serves its bot. `ends` is set when it is to be removed once that task is done.
    `launched_at`: epoch seconds; None: by an earlier agent. `display`: it has a display that can be recorded.
    """

    def __init__(self, status: WorkerStatus, uplink: Uplink, *, display: bool = False) -> None:
        self.worker_id = status.worker_id
        self.status = status
        self.display = display
        self.chromium: Chromium | None = None
        self.launched_at: float | None = None
        self.changed = asyncio.Event()
        self._page: Page | None = None
        self.session: Session | None = None
        self.work: asyncio.Task[None] | None = None
        self.ends = asyncio.Event()
        self.memory = MemoryHistory()
        self._uplink = uplink

    @property
    def page(self) -> Page | None:
        return self._page

    @page.setter
    def page(self, page: Page | None) -> None:
        self._page = page
        self.changed.set()

    def tell(self, event: Order | Happening) -> None:
        """Tell the worker what happened. All that follows is done when this returns. Raises: IllegalMoveError."""
        self.status, effects = step(self.status, event, time.time())
        self.changed.set()
        for effect in effects:
            match effect:
                case Report(events=events):
                    self._uplink.tell(*events, entry=Entry(self.worker_id, self._note()))
                case LeaveRequested(reason=reason) if self.session:
                    self.session.leave(reason)
                case BrowserGone(detail=detail, reason=reason) if self.session:
                    self.session.browser_gone(detail, reason)
                case End(cancels=cancels):
                    self.ends.set()
                    if cancels and self.work:
                        self.work.cancel()
                case _:
                    raise AssertionError("a worker that serves has a session")

    def end_by_force(self, detail: str) -> None:
        """End its bot at once, then its browser."""
        join, bot = self.status.join, self.status.bot
        if join and self.status.phase is not Phase.CLAIMING:
            who = {"worker_id": self.worker_id, "bot_id": join.bot_id, "attempt": join.attempt}
            log.error("bot_overdue", **who, detail=detail, phase=bot.phase if bot else BotState.ASSIGNED)
        self.tell(Overdue(detail))

    def note(self) -> None:
        """Write its status into the journal."""
        self._uplink.tell(entry=Entry(self.worker_id, self._note()))

    async def watch(self, chromium: Chromium) -> None:
        """Wait until the browser's process exits, and tell the worker."""
        await chromium.exited()
        detail = EXITED if self.status.phase is Phase.SERVING else chromium.last_words()
        self.tell(Failure(GoneCause.CRASHED, detail))

    async def await_answer(self, page: Page) -> None:
        """Make the page answer once, and watch it for crashes. A page's first answer takes longest, so it is not left
        to the probe before a join.
        """
        await page.evaluate("1")
        page.on("crash", lambda _: self.tell(Failure(GoneCause.CRASHED, "the page crashed")))

    def report(self, pages_made_at: float = 0.0) -> WorkerReport:
        """`pages_made_at`: when the page code was put together that a fresh worker begins with."""
        state, join = self.status.reported, self.status.join
        if join:
            return WorkerReport(state, join.bot_id, join.attempt, display=self.display)
        is_outdated = self.launched_at is not None and self.launched_at < pages_made_at
        return WorkerReport(state, outdated=is_outdated, display=self.display)

    def _note(self) -> WorkerNote | None:
        status = self.status
        if status.phase is Phase.GONE:
            return None
        retires = status.ends_when_free is GoneCause.RETIRED  # not when the agent stops: the next one keeps it
        return WorkerNote(_STAGES.get(status.phase, Stage.WARM), status.page_id, status.join, status.bot, retires)
