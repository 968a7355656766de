"""The one bot of a worker, from the claim to the end of its session.

A fault of one bot never affects other workers. The manager has decided which worker gets the bot, and
`worker.meeting.session` takes it through its meeting.
"""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Final

import structlog
from msgspec.structs import replace
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from common.runtime import steps
from common.runtime.steps import AgentStep
from common.wire.messages import BotEnded, BotSaw, Join
from common.wire.vocabulary import BotState, GoneCause, Reason
from worker.chromium.driver import PAGE_ERRORS, Driver, one_line
from worker.decide.state import SessionSettings, State
from worker.decide.worker import Begun, Ended, Failure, LeaveOrdered, Progressed, Stale
from worker.meeting.evidence import EvidenceKeeper
from worker.meeting.opening import Opening
from worker.meeting.reports import BotNews
from worker.meeting.session import Context, Session
from worker.platforms import BLANK, Adapter
from worker.pool.connections import RESTORE_DEADLINE_S
from worker.pool.joins_first import JoinsFirst
from worker.pool.uplink import Uplink
from worker.pool.worker import Worker

log: structlog.stdlib.BoundLogger = structlog.get_logger()

NOT_EMPTY: Final = "its page is no longer empty"
PROBE_DEADLINE_S: Final = 1.0
REATTACHED_S: Final = RESTORE_DEADLINE_S
"""How long a bot waits for its browser to be connected to again. It is claimed: no other worker has it meanwhile."""


class Serving:
    """`settings`: of the sessions. `memory_limit_mb`: what one worker may hold."""

    def __init__(
        self, settings: SessionSettings, memory_limit_mb: int, driver: Driver, uplink: Uplink, joins: JoinsFirst
    ) -> None:
        self._settings = settings
        self._memory_limit_mb = memory_limit_mb
        self._driver = driver
        self._uplink = uplink
        self._joins = joins

    async def serve(self, worker: Worker, join: Join, adapter: Adapter) -> None:
        """Take the bot into its meeting, if the claim says that it is still this worker's. Returns at its end."""
        opening = _opening_of(worker.page)
        async with asyncio.TaskGroup() as navigating:
            try:
                await self._serve(worker, join, adapter, opening, navigating)
            finally:
                if opening:
                    opening.close()

    async def _serve(
        self, worker: Worker, join: Join, adapter: Adapter, opening: Opening | None, navigating: asyncio.TaskGroup
    ) -> None:
        accounts, probed = self._uplink.accounts, worker.page
        # At the same time, because the bot waits for all three: whether the assignment is still this worker's, which
        # account the bot joins with, and whether the page answers. A guest that is ours is sent to its meeting before
        # the page has answered: one that does not answer does not get there.
        async with asyncio.TaskGroup() as all_of_them:
            claiming = all_of_them.create_task(_await(self._uplink.claim(join)), name=f"claim {join.bot_id}")
            taking = all_of_them.create_task(accounts.take(join), name=f"account for {join.bot_id}")
            probing = all_of_them.create_task(
                _probe(worker.worker_id, probed, opening), name=f"probe {worker.worker_id}"
            )
            claimed, account = await claiming, await taking
            may_go = claimed and not account and not worker.status.is_ending
            if may_go and opening and opening.page is worker.page:
                with suppress(Exception):  # a bug in an installed adapter, which the session meets, too
                    opening.begin(navigating, adapter.address(join))
        page = probing.result()
        if page is None and claimed and (page := await self._reattached(worker, probed)):
            # While it waited, the assignment may have become another's.
            claimed = await self._uplink.claim(join)
        if account:
            as_somebody = replace(join, account=account)
            if (
                page
                and claimed
                and (page is probed or await accounts.still_has(as_somebody))  # while it waited, as above
                and await accounts.sign_in(page.context, account)
            ):
                join = as_somebody
            else:
                await accounts.give_back(as_somebody)
        if page is None:
            worker.tell(Failure(GoneCause.UNRESPONSIVE, "the page did not answer the probe"))
        elif claimed:
            steps.done(AgentStep.JOIN_CLAIMED)
            await self.attend(worker, join, adapter, page, opening=opening)
        else:
            log.info("assignment_stale", worker_id=worker.worker_id, bot_id=join.bot_id, attempt=join.attempt)
            if page.url == BLANK:
                worker.tell(Stale())
            else:  # it was on its way when an agent, or the driver, died
                worker.tell(Failure(GoneCause.UNRESPONSIVE, NOT_EMPTY))

    async def _reattached(self, worker: Worker, probed: Page | None) -> Page | None:
        """The worker's page, once it is connected to again, if `probed` did not answer for want of a driver."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REATTACHED_S):
                if probed and worker.page is probed and await self._driver.answers() and worker.page is probed:
                    return None
                while worker.page in (None, probed):
                    if worker.status.is_ending or worker.status.leaves:
                        return None
                    worker.changed.clear()
                    await worker.changed.wait()
                return await _probe(worker.worker_id, worker.page)
        return None

    async def attend(
        self,
        worker: Worker,
        join: Join,
        adapter: Adapter,
        page: Page,
        state: State | None = None,
        opening: Opening | None = None,
    ) -> None:
        """Run the bot's session. `state`: where an earlier agent left it; None: from the beginning. `opening`: what was
        begun with the page that the worker had. Whatever goes wrong, the bot's end is reported.
        """

        def keep(state: State, news: Sequence[BotNews]) -> None:
            if state.phase.rank >= BotState.WAITING_ROOM.rank:
                self._joins.end(worker.worker_id)
            worker.tell(Progressed(state, tuple(news)))
            recorded(state)
            steps.done(AgentStep.MOVE_NOTED)

        def memory_growth() -> str:
            return worker.memory.growth(self._memory_limit_mb)

        def tell(did: str) -> None:
            self._tell(worker, join, did)

        def announce(text: str) -> None:
            if worker.session:
                worker.session.announce(text)

        settings, uplink = self._settings, self._uplink
        keeper: EvidenceKeeper | None = None
        recorder = uplink.recorders(join, lambda: worker.page, lambda: _state_of(worker), tell, announce)
        # The account is another bot's before the recorder has given all that it has.
        async with recorder as recorded, uplink.accounts.held(join):
            if worker.status.is_ending:  # its browser died meanwhile, and its bot's end was reported
                return
            try:
                keeper = uplink.keepers(join, adapter, state is not None)
                context = Context(settings, uplink.vm_id, keep, self._driver.answers, state, keeper, memory_growth)
                # Since the page was probed, it may have been connected to again, or be lost.
                page = worker.page or page
                begun = opening if opening and opening.page is page else None
                worker.session = Session(page, join, adapter, context, begun)
                worker.tell(Begun(join))
                if worker.page is None:
                    worker.session.detach()
                ended = await worker.session.run()
            except Exception:  # a bug, here or in an installed adapter: it ends this bot and no other
                log.exception("session_failed", worker_id=worker.worker_id, bot_id=join.bot_id, attempt=join.attempt)
                reason, fault = Reason.INTERNAL_ERROR, traceback.format_exc()
                evidence = await keeper.keep(worker.page, reason, error=fault) if keeper else ""
                who = (uplink.vm_id, join.worker_id, join.bot_id, join.attempt)
                ended = BotEnded(*who, time.time(), reason, evidence=evidence)
            reached = _state_of(worker)
            was_let_in = reached is not None and reached.phase.rank >= BotState.WAITING_ROOM.rank
            uplink.accounts.fared(join, ended.reason, was_let_in=was_let_in)
            worker.tell(Ended(ended))
            steps.done(AgentStep.END_NOTED)

    def _tell(self, worker: Worker, join: Join, did: str) -> None:
        """Report an action of the recorder, for the bot's history."""
        state = _state_of(worker)
        screen, rule = (state.screen, state.rule) if state else ("", "")
        who = (self._uplink.vm_id, join.worker_id, join.bot_id, join.attempt)
        self._uplink.tell(BotSaw(*who, time.time(), screen, rule, did))

    async def check_claim(self, worker: Worker, join: Join) -> None:
        """Claim the bot again after an adoption. While no agent ran, its attempt may have become stale: then it
        leaves.
        """
        if not await self._uplink.claim(join):
            log.warning("assignment_stale", worker_id=worker.worker_id, bot_id=join.bot_id, attempt=join.attempt)
            if worker.status.serves(join.bot_id, join.attempt):
                worker.tell(LeaveOrdered(Reason.SUPERSEDED))


def _state_of(worker: Worker) -> State | None:
    return worker.session.state if worker.session else None


def _opening_of(page: Page | None) -> Opening | None:
    """What can be begun with a worker's page; None: nothing, because it is lost, or an earlier agent has begun."""
    with suppress(*PAGE_ERRORS):
        return Opening(page) if page and page.url == BLANK else None
    return None


async def _probe(worker_id: str, page: Page | None, opening: Opening | None = None) -> Page | None:
    """The page, if it answers within PROBE_DEADLINE_S. `opening`: takes it to its meeting meanwhile, perhaps."""
    if page is None:
        return None
    error: Exception = TimeoutError()
    with suppress(TimeoutError):
        async with asyncio.timeout(PROBE_DEADLINE_S):
            for _ in range(2):  # Playwright may raise, once, an error that belongs to another page
                try:
                    return page if await page.evaluate("1") == 1 else None
                except PAGE_ERRORS as fault:
                    error = fault
                    if isinstance(fault, PlaywrightError):
                        break
            # A document that was left before it has answered does not answer any more.
            if opening and await opening.comes():
                return page
    log.warning("probe_failed", worker_id=worker_id, error=one_line(error))
    return None


async def _await(awaitable: Awaitable[bool]) -> bool:
    return await awaitable
