"""One bot in one meeting: looks at the page, lets the lifecycle decide, acts on the page and reports.

The only place between a page and the lifecycle: here clocks are read, and whatever Playwright may raise becomes an
observation. It decides nothing. The page is the session's own from `run` until the end; the browser is not.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, TypedDict

import structlog
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, Request

from runtime.waiting import pause
from wire.messages import BotEnded, BotMoved, BotVitals, Join
from wire.settings import WorkerSettings
from wire.vocabulary import BotState, Reason
from worker import lifecycle
from worker.lifecycle import (
    LEAVE_SHARE,
    REPEAT_S,
    BrowserGone,
    CallTimedOut,
    Finish,
    LeaveRequested,
    Limits,
    LoadFailed,
    Move,
    Observation,
    PageAction,
    PageRequested,
    ReportVitals,
    Screen,
    Seen,
    State,
)
from worker.platforms import Adapter

LOOK_S: Final = 0.05
LOOK_WHILE_SETTLED_S: Final = 0.5
SHORTEST_CALL_S: Final = 0.05

_SETTLED: Final = (BotState.WAITING_ROOM, BotState.IN_MEETING)
_NET_ERROR: Final = re.compile(r"net::ERR_\w+")

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Who(TypedDict):
    vm_id: str
    worker_id: str
    bot_id: str
    attempt: int


class Session:
    def __init__(
        self,
        page: Page,
        join: Join,
        adapter: Adapter,
        settings: WorkerSettings,
        vm_id: str,
        report: Callable[[BotMoved | BotVitals], None],
    ) -> None:
        self._page = page
        self._join = join
        self._adapter = adapter
        self._settings = settings
        self._vm_id = vm_id
        self._report = report
        self._news: deque[Observation] = deque()
        self._wake = asyncio.Event()  # there is news, or a reason to look at once
        self._call: asyncio.Timeout | None = None  # the page call that is under way
        self._first_request_at = 0.0
        self._is_open = False
        self._asked_to_leave = False
        self._gone = False
        self._log = log.bind(bot_id=join.bot_id, attempt=join.attempt, worker_id=join.worker_id)

    def leave(self, reason: Reason) -> None:
        """Leave the meeting, wherever the bot is on its way. At any time, idempotent: the first reason counts."""
        if not self._asked_to_leave:  # a second request must not cut short the click of the first
            self._asked_to_leave = True
            self._interrupt(LeaveRequested(reason))

    def browser_gone(self, detail: str) -> None:
        """The browser is lost: its process exited, or the connection to it. At any time, idempotent."""
        self._gone = True
        self._interrupt(BrowserGone(detail))

    async def run(self) -> BotEnded:
        """Go into the meeting and stay until the end; the page is empty afterwards. To be called once.

        Never raises for what a page or browser does.
        """
        self._page.on("request", self._note_request)
        self._page.on("domcontentloaded", self._note_ready)
        self._page.on("crash", self._note_crash)
        try:
            async with asyncio.TaskGroup() as tasks:
                opening = tasks.create_task(self._open(), name=f"open the meeting page of {self._join.bot_id}")
                state, finish = await self._follow()
                opening.cancel()
            if not self._gone and finish.reason is not Reason.BROWSER_HUNG:
                await self._empty_page()
        finally:
            self._page.remove_listener("request", self._note_request)
            self._page.remove_listener("domcontentloaded", self._note_ready)
            self._page.remove_listener("crash", self._note_crash)
        self._log.info("bot_ended", reason=finish.reason, detail=finish.detail)
        who, at = self._who(), time.time()
        return BotEnded(**who, at=at, reason=finish.reason, detail=finish.detail, audio_packets=state.audio_packets)

    async def _open(self) -> None:
        """Navigate to the meeting. No deadline here: the lifecycle's own ends the session and cancels this."""
        try:
            response = await self._page.goto(self._join.meeting_url, wait_until="commit", timeout=0)
        except PlaywrightError as error:
            self._note(self._lost_browser() or LoadFailed(_why(error)))
            return
        if response and response.status >= 400:
            self._note(LoadFailed(f"HTTP {response.status}"))
            return
        self._is_open = True
        self._note(Seen(Screen.LOADING))

    async def _follow(self) -> tuple[State, Finish]:
        """Observe, decide, act, until the lifecycle says that it is over."""
        limits = Limits.of(self._join.automatic_leave, self._settings)
        state = lifecycle.begin(limits, time.monotonic())
        while True:
            state, actions = lifecycle.step(state, await self._observe(state), time.monotonic())
            for action in actions:
                match action:
                    case Move():
                        self._report_move(action)
                    case ReportVitals(participants=participants, audio_packets=packets):
                        who, at = self._who(), time.time()
                        self._report(BotVitals(**who, at=at, participants=participants, audio_packets=packets))
                    case PageAction():
                        await self._act(action, state)
                    case Finish():
                        return state, action

    async def _observe(self, state: State) -> Observation:
        """Whatever is news, at once; without any, what the page shows after a pause."""
        if not self._news:
            await pause(self._wake, LOOK_WHILE_SETTLED_S if state.phase in _SETTLED else LOOK_S)
        self._wake.clear()
        if self._news:
            return self._news.popleft()
        if not self._is_open:
            return Seen(Screen.LOADING)
        try:
            async with self._interruptible():
                return await self._adapter.observe(self._page, self._patience_s(state))
        except TimeoutError:
            return self._news.popleft() if self._news else CallTimedOut()
        except PlaywrightError as error:  # mostly a page that just navigates
            self._log.debug("page_unreadable", error=_why(error))
            return self._lost_browser() or Seen(Screen.UNKNOWN)

    async def _act(self, action: PageAction, state: State) -> None:
        """Act on the page. Whether it worked is not asked here: the next look tells."""
        try:
            async with self._interruptible():
                await self._adapter.act(self._page, action, self._join.bot_name, min(self._patience_s(state), REPEAT_S))
        except (TimeoutError, PlaywrightError) as error:
            self._log.debug("page_action_failed", action=action, error=_why(error))

    async def _empty_page(self) -> None:
        """Ends what the page's own button did not. A page that does not even let go of this is left to be killed."""
        with suppress(TimeoutError, PlaywrightError):
            async with asyncio.timeout(self._settings.leave_timeout_s * (1 - LEAVE_SHARE)):
                await self._page.goto("about:blank")

    def _patience_s(self, state: State) -> float:
        """How long one call to the page may take: no longer than until the next timer runs out."""
        until_timer_s = lifecycle.next_deadline(state) - time.monotonic()
        return min(self._settings.page_timeout_s, max(until_timer_s, SHORTEST_CALL_S))

    @asynccontextmanager
    async def _interruptible(self) -> AsyncGenerator[None]:
        """Ends with TimeoutError as soon as there is news that cannot wait for the page."""
        try:
            async with asyncio.timeout(None) as self._call:
                yield
        finally:
            self._call = None

    def _note(self, observation: Observation) -> None:
        self._news.append(observation)
        self._wake.set()

    def _interrupt(self, observation: Observation) -> None:
        self._note(observation)
        if self._call is not None and not self._call.expired():
            self._call.reschedule(asyncio.get_running_loop().time())

    def _note_request(self, request: Request) -> None:
        if not self._first_request_at and request.is_navigation_request():
            self._first_request_at = time.time()
            self._note(PageRequested())

    def _note_ready(self, _page: Page) -> None:
        self._wake.set()

    def _note_crash(self, _page: Page) -> None:
        self._gone = True
        self._interrupt(BrowserGone("the page crashed"))

    def _lost_browser(self) -> BrowserGone | None:
        browser = self._page.context.browser
        if self._page.is_closed() or (browser is not None and not browser.is_connected()):
            self._gone = True
            return BrowserGone("the connection to the page is lost")
        return None

    def _report_move(self, move: Move) -> None:
        self._log.info("bot_moved", state=move.state, screen=move.screen, rule=move.rule)
        who, at = self._who(), time.time()
        asked_at = self._first_request_at if move.state is BotState.JOINING else 0.0
        self._report(
            BotMoved(**who, at=at, state=move.state, screen=move.screen, rule=move.rule, first_request_at=asked_at)
        )

    def _who(self) -> _Who:
        join = self._join
        return _Who(vm_id=self._vm_id, worker_id=join.worker_id, bot_id=join.bot_id, attempt=join.attempt)


def _why(error: Exception) -> str:
    """The error without its text, which may quote the meeting link."""
    net_error = _NET_ERROR.search(str(error))
    return net_error[0] if net_error else type(error).__name__
