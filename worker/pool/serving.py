"""The one bot of a worker: begun, refused, or carried on with; and its one end, which is reported before the worker's.

Whatever goes wrong with a bot, the workers beside it do not notice. Which worker it gets was decided by the manager,
and what it does in its meeting is `worker.meeting.session`'s business.
"""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from common.config.settings import WorkerSettings
from common.runtime import steps
from common.runtime.steps import AgentStep
from common.wire.messages import BotEnded, Event, Join, JoinRefused
from common.wire.vocabulary import BotState, GoneCause, Reason, RefusalCause, WorkerState
from worker.chromium.accounts import GUESTS, Accounts
from worker.chromium.driver import PAGE_ERRORS, Driver, one_line
from worker.decide.deadlines import State
from worker.decide.words import Finish
from worker.link.journal import Entry, Stage, WorkerNote
from worker.meeting.evidence import Witness
from worker.meeting.reports import BotNews
from worker.meeting.session import Session
from worker.platforms import Adapter
from worker.pool.worker import EXITED, Worker

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PROBE_DEADLINE_S: Final = 1.0
JOIN_FIRST_S: Final = 1.0  # how long a join may keep warm-ups waiting: a page on the room's scale needs a third of it


Witnesses = Callable[[Join, Adapter, bool], Witness | None]
"""Who is to see a bot's session, if anybody; True: an earlier agent began it."""


def nobody(_join: Join, _adapter: Adapter, _resumed: bool) -> None:
    return None


class Report(Protocol):
    """Takes what happened, in order, and together with it what is to be remembered of a worker."""

    def __call__(self, *events: Event, entry: Entry | None = None) -> None: ...


class Serving:
    """`claim` answers whether an assignment is still this worker's. `nobody_joins`: no bot is on its way in."""

    def __init__(
        self,
        settings: WorkerSettings,
        vm_id: str,
        driver: Driver,
        claim: Callable[[Join], Awaitable[bool]],
        report: Report,
        witnesses: Witnesses = nobody,
        accounts: Accounts = GUESTS,
    ) -> None:
        self._settings = settings
        self._vm_id = vm_id
        self._driver = driver
        self._claim = claim
        self._report = report
        self._accounts = accounts
        self._witnesses = witnesses
        self._joining: set[str] = set()
        self.nobody_joins = asyncio.Event()
        self.nobody_joins.set()

    # A replacement is ordered in the moment in which a bot sets out. Starting a browser takes more of the machine than
    # joining does, so it waits until the bot has asked to be let in: nobody waits for the replacement yet.

    def let_join_go_first(self, worker_id: str) -> None:
        self._joining.add(worker_id)
        self.nobody_joins.clear()
        asyncio.get_running_loop().call_later(JOIN_FIRST_S, self.join_is_done, worker_id)

    def join_is_done(self, worker_id: str) -> None:
        self._joining.discard(worker_id)
        if not self._joining:
            self.nobody_joins.set()

    # The way of a bot

    async def serve(self, worker: Worker, join: Join, adapter: Adapter) -> None:
        # Side by side, because the meeting waits for all: is the page alive, is the assignment still ours, and as whom
        # does it join?
        async with asyncio.TaskGroup() as all_of_them:
            probing = all_of_them.create_task(_probe(worker), name=f"probe {worker.worker_id}")
            claiming = all_of_them.create_task(_await(self._claim(join)), name=f"claim {join.bot_id}")
            taking = all_of_them.create_task(self._accounts.take(join), name=f"account for {join.bot_id}")
        page, claimed = probing.result(), claiming.result()
        if account := taking.result():
            as_somebody = msgspec.structs.replace(join, account=account)
            if page and claimed and await self._accounts.sign_in(page.context, account):
                join = worker.join = as_somebody
            else:
                await self._accounts.give_back(as_somebody)
        if page is None:
            self.refuse(join, RefusalCause.BROWSER_DEAD)
            worker.end(GoneCause.UNRESPONSIVE, "the page did not answer the probe")
        elif not claimed:
            log.info("assignment_stale", worker_id=worker.worker_id, bot_id=join.bot_id, attempt=join.attempt)
            worker.state, worker.join, worker.left_early = WorkerState.IDLE, None, None
            self._report(entry=worker.remember(Stage.SPENT if worker.ends_when_free else Stage.WARM))
            if worker.ends_when_free:
                worker.end(worker.ends_when_free)
        else:
            steps.done(AgentStep.JOIN_CLAIMED)
            await self.attend(worker, join, adapter, page)

    async def attend(
        self, worker: Worker, join: Join, adapter: Adapter, page: Page, state: State | None = None
    ) -> None:
        """The whole meeting, or what is left of it after `state`. Whatever goes wrong, the bot ends."""

        def keep(state: State, events: Sequence[BotNews]) -> None:
            self._note_progress(worker, state, events)

        def hoarding() -> str:
            return worker.hoarding(settings.memory_limit_mb)

        settings, driver_answers = self._settings, self._driver.answers
        witness: Witness | None = None
        async with self._accounts.held(join):
            try:
                witness = self._witnesses(join, adapter, state is not None)
                session = worker.session = Session(
                    page, join, adapter, settings, self._vm_id, keep, driver_answers, state, witness, hoarding
                )
                if worker.gone.done():  # the browser went between the probe and the session
                    session.browser_gone(EXITED)
                if worker.page is not page:  # the connection did
                    session.detach()
                if worker.left_early:
                    session.leave(worker.left_early)
                ended = await session.run()
            except Exception:  # of ours, or of somebody else's adapter: it costs this bot its meeting, and nobody else
                log.exception("session_failed", worker_id=worker.worker_id, bot_id=join.bot_id, attempt=join.attempt)
                seen, reason = worker.page, Reason.INTERNAL_ERROR
                fault = traceback.format_exc()
                evidence = await witness.keep(seen, reason, error=fault) if witness else ""
                ended = self._ended(join, reason, evidence=evidence)
            if not worker.ended_by_force:  # otherwise that is reported already
                self._note_end(worker, ended)
            worker.end(GoneCause.SPENT)

    async def check_claim(self, worker: Worker, join: Join) -> None:
        """While nobody drove this bot, its attempt may have come to nothing."""
        if not await self._claim(join):
            log.warning("assignment_stale", worker_id=worker.worker_id, bot_id=join.bot_id, attempt=join.attempt)
            if worker.serves(join.bot_id, join.attempt):
                worker.leave(Reason.SUPERSEDED)

    def _note_progress(self, worker: Worker, state: State, events: Sequence[BotNews]) -> None:
        if state.phase.rank >= BotState.WAITING_ROOM.rank:
            self.join_is_done(worker.worker_id)
        self._report(*events, entry=worker.remember(Stage.WARM, state))
        steps.done(AgentStep.MOVE_NOTED)

    # Ends without a session, or in spite of it

    def refuse(self, join: Join, cause: RefusalCause) -> None:
        log.warning("join_refused", worker_id=join.worker_id, bot_id=join.bot_id, attempt=join.attempt, cause=cause)
        self._report(JoinRefused(self._vm_id, join.worker_id, join.bot_id, join.attempt, time.time(), cause))

    def lose(self, worker: Worker, join: Join, note: WorkerNote) -> None:
        """The bot's browser did not outlive the agent that wrote the note."""
        crash = Finish(Reason.BROWSER_CRASHED, "the browser was gone when the agent started again")
        self._end_noted(worker, join, note, crash, RefusalCause.BROWSER_DEAD)

    def give_up(self, worker: Worker, join: Join, note: WorkerNote) -> None:
        """The agent that wrote the note had an adapter for the bot's platform, and this one has none."""
        fault = Finish(Reason.UNSUPPORTED_PLATFORM, f"the agent has no adapter for {join.platform} any more")
        self._end_noted(worker, join, note, fault, RefusalCause.UNKNOWN_PLATFORM)

    def _end_noted(self, worker: Worker, join: Join, note: WorkerNote, finish: Finish, cause: RefusalCause) -> None:
        if note.state:
            self._note_end(worker, self._ended_as(join, note.state, finish))
        else:
            self.refuse(join, cause)

    def abandon(self, worker: Worker) -> None:
        if worker.join and worker.session:
            late = Finish(Reason.SHUTDOWN, "did not leave in time")
            self._note_end(worker, self._ended_as(worker.join, worker.session.state, late))
        elif worker.join:
            self.refuse(worker.join, RefusalCause.STOPPING)

    def end_by_force(self, worker: Worker, detail: str) -> None:
        """Its bot ends here and now, whatever it is about to do, and its browser is ended next."""
        join, state = worker.join, worker.session.state if worker.session else None
        worker.ended_by_force = True
        if join and worker.session:
            who = {"worker_id": worker.worker_id, "bot_id": join.bot_id, "attempt": join.attempt}
            log.error("bot_overdue", **who, detail=detail, phase=state.phase if state else BotState.ASSIGNED)
            evidence = state.evidence if state else ""
            self._note_end(worker, self._ended(join, Reason.OVERDUE, detail, evidence or ""))
        elif join:
            self.refuse(join, RefusalCause.STOPPING if worker.ends_when_free else RefusalCause.BROWSER_DEAD)
        worker.end(GoneCause.SPENT if worker.session else worker.ends_when_free or GoneCause.RETIRED, detail)
        if worker.serving:
            worker.serving.cancel()

    def _note_end(self, worker: Worker, ended: BotEnded) -> None:
        worker.join = None
        self._report(ended, entry=worker.remember(Stage.SPENT))
        steps.done(AgentStep.END_NOTED)

    def _ended_as(self, join: Join, state: State | None, otherwise: Finish) -> BotEnded:
        """With the reason that it had, if it had one already."""
        finish, evidence = (state.ending or otherwise, state.evidence) if state else (otherwise, None)
        return self._ended(join, finish.reason, finish.detail, evidence or "")

    def _ended(self, join: Join, reason: Reason, detail: str = "", evidence: str = "") -> BotEnded:
        at = time.time()
        return BotEnded(self._vm_id, join.worker_id, join.bot_id, join.attempt, at, reason, detail, evidence=evidence)


async def _probe(worker: Worker) -> Page | None:
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
        log.warning("probe_failed", worker_id=worker.worker_id, error=one_line(error))
    return None


async def _await(awaitable: Awaitable[bool]) -> bool:
    return await awaitable
