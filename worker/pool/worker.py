"""One worker as its agent knows it, from its order to its end; and how it comes to an end.

It is a record that others keep: pool.py its life, serving.py its bot, takeover.py the connection to its browser.
"""

import asyncio
from collections import deque
from typing import Final, NamedTuple

from playwright.async_api import Page

from common.wire.messages import Join, WorkerReport
from common.wire.vocabulary import GoneCause, Reason, WorkerState
from worker.chromium.process import Chromium
from worker.decide.deadlines import State
from worker.decide.overdue import Patience
from worker.link.journal import Entry, Stage, WorkerNote
from worker.meeting.session import Session

EXITED: Final = "the browser's process exited"
HOARD_WINDOW_S: Final = 30.0  # a page that answers nothing is given up within it
HOARD_SHARE: Final = 1 / 3  # of what a worker may hold: meetings come to that in minutes, or never


class Gone(NamedTuple):
    """Why a worker ends."""

    cause: GoneCause
    detail: str = ""


class Worker:
    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id
        self.state = WorkerState.WARMING
        self.chromium: Chromium | None = None
        self.page: Page | None = None
        self.page_id = ""
        self.reattaching = False
        self.abandoned = False
        self.ended_by_force = False
        self.patience: Patience | None = None
        self.ends_when_free: GoneCause | None = None  # why, once it serves nobody; None: it goes on
        self.join: Join | None = None
        self.session: Session | None = None
        self.is_in = False  # an earlier agent took its bot to a meeting, whose session begins when it is connected to
        self.left_early: Reason | None = None
        self.held_mb: deque[tuple[float, int]] = deque()  # when, and how much; the latest of HOARD_WINDOW_S
        self.loud = 0  # in how many looks in a row too much of what its page tells the driver was unread
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

    def end_unreachable(self, detail: str) -> None:
        if self.session:
            self.session.browser_gone(detail)
        else:
            self.end(GoneCause.UNRESPONSIVE, detail)

    def leave(self, reason: Reason) -> None:
        """Let its bot leave, also one that is not in yet."""
        if self.session:
            self.session.leave(reason)
        else:
            self.left_early = reason

    async def watch(self, chromium: Chromium) -> None:
        """Wait for the process to exit, wanted or not."""
        await chromium.exited()
        if self.session:
            self.session.browser_gone(EXITED)
        elif self.state is not WorkerState.RETIRING:
            self._note_crash(chromium.last_words())

    async def await_answer(self, page: Page) -> None:
        """Afterwards the page has answered, and is watched. The first answer, which takes longest, is not left to the
        probe.
        """
        await page.evaluate("1")
        page.on("crash", lambda _: self._note_crash("the page crashed"))

    def _note_crash(self, detail: str) -> None:
        if self.session is None:  # a session sees for itself what became of its page
            warming = self.state is WorkerState.WARMING
            self.end(GoneCause.WARMUP_FAILED if warming else GoneCause.CRASHED, detail)

    def note_memory(self, held_mb: int, now: float) -> None:
        """How much it holds at `now`, monotonic seconds."""
        self.held_mb.append((now, held_mb))
        while now - self.held_mb[0][0] > HOARD_WINDOW_S:
            self.held_mb.popleft()

    def hoarding(self, limit_mb: int) -> str:
        """How much memory it took lately, if that is enough to have brought its page down; or empty."""
        held_mb = [held for _, held in self.held_mb]
        if not held_mb or held_mb[-1] - min(held_mb) < limit_mb * HOARD_SHARE:
            return ""
        took_s = self.held_mb[-1][0] - self.held_mb[held_mb.index(min(held_mb))][0]
        return f"it grew from {min(held_mb)} to {held_mb[-1]} MB in {took_s:.0f} s"

    def serves(self, bot_id: str, attempt: int) -> bool:
        return self.join is not None and (self.join.bot_id, self.join.attempt) == (bot_id, attempt)

    def remember(self, stage: Stage, state: State | None = None) -> Entry:
        retires = self.ends_when_free is GoneCause.RETIRED  # of an agent that stops the next one knows nothing
        return Entry(self.worker_id, WorkerNote(stage, self.page_id, self.join, state, retires))

    def report(self) -> WorkerReport:
        if self.join:
            return WorkerReport(self.state, self.join.bot_id, self.join.attempt)
        return WorkerReport(self.state)
