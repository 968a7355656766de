"""One bot in one meeting: looks at the page, lets the lifecycle decide, acts on the page and reports.

The session itself decides nothing. It reads the clock, and turns whatever Playwright raises into an observation. From
`run` until the end nobody else uses the page.

When the connection to the page is lost, the session waits for `attach`. When the agent ends, a later session goes on:
`keep` gets every state that is worth writing down, together with its events, and a later session begins with it.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple

import structlog
from msgspec.structs import replace
from playwright.async_api import Page

from common.runtime import steps
from common.runtime.steps import AgentStep
from common.runtime.waiting import pause
from common.wire.messages import BotEnded, BotMoved, BotSaw, Join
from common.wire.trace import read
from common.wire.vocabulary import BotState, Reason
from worker.chromium.driver import NEIGHBOURS_ERRORS, PAGE_ERRORS
from worker.decide import lifecycle
from worker.decide.deadlines import HUNG, next_deadline
from worker.decide.page_actions import REPEAT_S, is_at_a_loss
from worker.decide.participants import look_request
from worker.decide.state import LEAVE_SHARE, Limits, SessionOptions, SessionSettings, State
from worker.decide.words import (
    Announce,
    BrowserGone,
    CallTimedOut,
    Dismiss,
    Finish,
    Greet,
    LeaveRequested,
    LoadFailed,
    Observation,
    PageAction,
    PageRequested,
    RecordingBegan,
    Screen,
    Seen,
)
from worker.meeting.counts import counts
from worker.meeting.evidence import EvidenceKeeper
from worker.meeting.opening import Opening, go
from worker.meeting.reports import BotNews, Reporter
from worker.platforms import ATTEND, BLANK, HIDE_VIDEOS, Adapter

LOOK_S: Final = 0.05
LOOK_WHILE_SETTLED_S: Final = 0.5
SHORTEST_CALL_S: Final = 0.5  # a busy page has at least this long to answer, also when a timer is about to run out
SHORTEST_CALL_WHILE_LEAVING_S: Final = 0.05
ATTEND_S: Final = 10.0  # how often the page is told that an agent looks at it (guard.js)
ATTEND_SHARE: Final = 0.25  # of worker.unattended_s: at least this often
SLOW_DRIVER_SHARE: Final = 0.2  # of worker.page_timeout_s; a driver that takes longer for a trivial call is slow
EXCUSED_S: Final = 60.0  # how long a slow driver excuses a page that does not answer
BLANK_HOLDS_S: Final = 5.0  # pages may pass through an empty page
MOST_TO_SAY: Final = 100
FORGET: Final = "() => { try { localStorage.clear(); sessionStorage.clear(); } catch {} }"

_SETTLED: Final = (BotState.WAITING_ROOM, BotState.IN_MEETING)
_TYPED: Final = (PageAction.FILL_NAME_AND_JOIN, PageAction.ENTER_PASSCODE)
_NET_ERROR: Final = re.compile(r"net::ERR_\w+")

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Context(NamedTuple):
    """What a session gets from its caller.

    - `keep`: takes every state that is worth writing down, with the events to report.

    - `driver_answers`: whether the Playwright driver answers.

    - `state`: where an earlier session of this bot left off; None: there was none.

    - `keeper`: watches the session, and keeps evidence of a failure.

    - `memory_growth`: how much memory the browser took lately, in words, if that explains a dead page; else empty.
    """

    settings: SessionSettings
    vm_id: str
    keep: Callable[[State, Sequence[BotNews]], None]
    driver_answers: Callable[[], Awaitable[bool]]
    state: State | None = None
    keeper: EvidenceKeeper | None = None
    memory_growth: Callable[[], str] = str


class Session:
    def __init__(
        self, page: Page, join: Join, adapter: Adapter, context: Context, opening: Opening | None = None
    ) -> None:
        """`opening`: what was begun with this page already."""
        settings, vm_id, self._keep, self._driver_answers, state, self._keeper, self._memory_growth = context
        self._page = page
        self._opening = opening or Opening(page)
        self._join = join
        self._adapter = adapter
        self._settings = settings
        self._begin_with = state
        self._state = state
        self.steps = 0  # of the lifecycle, so far
        self._unattended_s = min(settings.unattended_s, join.leave_when_cut_off_s or settings.unattended_s)
        self._attended_at = float("-inf")
        self._is_seen = join.video or join.is_probe  # pictures are made of all that the page shows
        self._has_hidden = False  # its videos, so that they are not drawn
        self._news: deque[Observation] = deque()
        self._to_say: deque[str] = deque()
        self._announcement = ""
        self._wake = asyncio.Event()  # set when there is news, or a reason to look at once
        self._call: asyncio.Timeout | None = None  # of the page call that is under way
        self._excused_since: float | None = None  # since when a slow driver excuses the page
        self._is_open = False
        self._is_attached = asyncio.Event()
        self._is_attached.set()
        self._asked_to_leave = False
        self._gone = False
        traced = {"trace_id": trace.trace_id} if (trace := read(join.traceparent)) else {}
        self._log = log.bind(bot_id=join.bot_id, attempt=join.attempt, worker_id=join.worker_id, **traced)
        self._reporter = Reporter(join, vm_id, state, self._log)

    def leave(self, reason: Reason) -> None:
        """Leave the meeting, in whatever phase the bot is. At any time; idempotent: the first reason counts."""
        if not self._asked_to_leave:  # a second request would interrupt the click of the first
            self._asked_to_leave = True
            self._interrupt(LeaveRequested(reason))

    @property
    def state(self) -> State | None:
        """The state after the last look; None before the first. Once it has an ending, that is the bot's reason."""
        return self._state

    def say(self, text: str) -> None:
        """Write `text` in the meeting's chat, at most once, as soon as the page shows the meeting. At any time."""
        if len(self._to_say) < MOST_TO_SAY:
            self._to_say.append(text)
            self._wake.set()
        else:
            self._log.warning("say_failed", why="too many messages wait")

    def announce(self, text: str) -> None:
        """The bot is recorded: write `text` in the chat, once in its life, whichever agent it began with. At any time;
        idempotent.
        """
        self._announcement = text
        self._note(RecordingBegan())

    def browser_gone(self, detail: str, reason: Reason = Reason.BROWSER_CRASHED) -> None:
        """The browser is dead, or about to be killed. At any time; idempotent."""
        self._gone = True
        if reason is Reason.BROWSER_CRASHED and (memory_growth := self._memory_growth()):
            detail, reason = f"{detail}: {memory_growth}", Reason.MEMORY_LIMIT
        self._interrupt(BrowserGone(detail, reason))

    def detach(self) -> None:
        """The connection to the page is lost. The session waits for `attach` or `browser_gone`."""
        if self._is_attached.is_set():
            self._log.warning("page_detached")
            self._is_attached.clear()
            self._interrupt()

    @property
    def is_attached(self) -> bool:
        """Whether the session has a connection to the page, as far as it knows."""
        return self._is_attached.is_set()

    def attach(self, page: Page) -> None:
        """Go on with the same page over a new connection."""
        self._stop_listening()
        self._page, self._opening = page, Opening(page, is_requested=self._opening.is_requested)
        self._listen()
        self._is_attached.set()
        self._wake.set()
        self._log.info("page_attached")

    async def run(self) -> BotEnded:
        """Take the bot into the meeting and stay until its end. Afterwards the page is empty. To be called once. Never
        raises for what a page or browser does.
        """
        self._listen()
        try:
            async with asyncio.TaskGroup() as tasks:
                opening = tasks.create_task(self._open(), name=f"open the meeting page of {self._join.bot_id}")
                state, finish = await self._follow()
                opening.cancel()
            if self._can_be_asked(finish):
                await self._empty_page()
            steps.done(AgentStep.PAGE_EMPTIED)
        finally:
            self._stop_listening()
        if self._to_say:
            self._log.warning("say_failed", why="the bot is out", messages=len(self._to_say))
        return self._reporter.ended(state, finish, state.evidence or "")

    def _listen(self) -> None:
        self._opening.call(self._note_request)
        self._page.on("domcontentloaded", self._note_ready)
        self._page.on("crash", self._note_crash)
        if self._keeper:
            self._keeper.watch(self._page)

    def _stop_listening(self) -> None:
        self._opening.close()
        self._page.remove_listener("domcontentloaded", self._note_ready)
        self._page.remove_listener("crash", self._note_crash)
        if self._keeper:
            self._keeper.unwatch()

    async def _open(self) -> None:
        """Navigate to the meeting, unless an earlier session did, or go on with what is begun. It has no deadline of
        its own: the lifecycle's deadlines end the session, which cancels this.
        """
        was_open = self._begin_with is not None and self._begin_with.phase is not BotState.ASSIGNED
        while self._opening.is_begun or (self._page.url == BLANK and not was_open):
            try:
                if self._opening.is_begun:
                    response = await self._opening.answer()
                else:
                    response = await go(self._page, self._adapter.address(self._join))
            except PAGE_ERRORS as error:
                if isinstance(error, NEIGHBOURS_ERRORS):
                    continue
                if await self._lost_connection(error):
                    await self._is_attached.wait()
                    continue
                self._note(self._lost_page() or LoadFailed(_why(error)))
                return
            if response and response.status >= 400:
                self._note(LoadFailed(f"HTTP {response.status}"))
                return
            break
        steps.done(AgentStep.MEETING_ENTERED)
        self._is_open = True
        if self._begin_with is None:
            self._note(Seen(Screen.LOADING))

    async def _follow(self) -> tuple[State, Finish]:
        """Observe, decide and act, until the lifecycle gives the `Finish`."""
        limits = Limits.of(self._join.automatic_leave, self._settings)
        options = SessionOptions.of(self._join, reads_chat=self._settings.reads_chat)
        state = lifecycle.begin(limits, time.monotonic(), options, greets=bool(self._join.message))
        if self._begin_with:
            state = lifecycle.carry_on(self._begin_with)
        kept = None
        while True:
            state, actions = lifecycle.step(state, await self._observe(state), time.monotonic())
            events = self._reporter.news(state, actions)
            if events or lifecycle.worth_keeping(state) != kept:
                kept = lifecycle.worth_keeping(state)
                self._keep(state, events)
            self._state = state
            self.steps += 1
            await self._show_keeper(events)
            if state.ending and state.evidence is None:  # before the bot leaves, because leaving changes the page
                steps.done(AgentStep.END_CONCLUDED)
                state = replace(state, evidence=await self._keep_evidence(state.ending))
                self._state, kept = state, lifecycle.worth_keeping(state)
                self._keep(state, ())
                steps.done(AgentStep.EVIDENCE_KEPT)
            for action in actions:
                if action is PageAction.LOAD_AGAIN:
                    await self._load_again(state)
                elif isinstance(action, PageAction | Dismiss):
                    await self._act(action, state)
                elif isinstance(action, Greet):
                    await self._say(self._join.message, state)
                elif isinstance(action, Announce):
                    why = await self._say(self._announcement, state)
                    did = (
                        f"fail to say in the chat that it records: {why}" if why else "say in the chat that it records"
                    )
                    self._keep(state, self._reporter.did(did))
                elif isinstance(action, Finish):
                    return state, action
            if self._to_say and lifecycle.is_in(state):
                await self._say(self._to_say.popleft(), state)

    async def _observe(self, state: State) -> Observation:
        """The next observation: news at once, otherwise what the page shows after a pause."""
        while True:
            if not self._news:
                await pause(self._wake, LOOK_WHILE_SETTLED_S if state.phase in _SETTLED else LOOK_S)
            self._wake.clear()
            if self._news:
                return self._news.popleft()
            if not self._is_attached.is_set():
                continue
            if not self._is_open:
                return Seen(Screen.LOADING)
            if self._page.url == BLANK:
                return self._blank()
            try:
                request = look_request(
                    state.roster,
                    self._join.bot_name,
                    inside=state.phase is BotState.IN_MEETING,
                    document=state.document,
                    place=state.place,
                )
                async with self._interruptible():
                    await self._attend(state)
                    seen = await self._adapter.observe(self._page, self._patience_s(state), request)
                self._excused_since = None
                return seen
            except TimeoutError:
                counts.page_timeouts += not self._news
                if self._is_attached.is_set() and not self._news and await self._is_to_blame():
                    return CallTimedOut(self._memory_growth())
            except PAGE_ERRORS as error:  # mostly a page that just navigates
                self._log.debug("page_unreadable", error=_why(error))
                if not isinstance(error, NEIGHBOURS_ERRORS) and not await self._lost_connection(error):
                    return self._lost_page() or Seen(Screen.LOADING)

    async def _is_to_blame(self) -> bool:
        """Whether the page is to blame for an unanswered call, and not the driver. A driver that is slow, for example
        because another page floods it, excuses the page for EXCUSED_S.
        """
        asked_at = time.monotonic()
        if not await self._driver_answers():
            self.detach()
            return False
        now = time.monotonic()
        if now - asked_at < self._settings.page_s * SLOW_DRIVER_SHARE:
            return True
        if self._excused_since is None:
            self._excused_since = asked_at
            self._log.warning("driver_slow", answered_after_s=round(now - asked_at, 3))
        return now - self._excused_since > EXCUSED_S

    def _blank(self) -> Observation:
        """What an empty page means. guard.js empties a page that no agent attended to; other pages do so by
        themselves.
        """
        never_attended = self._begin_with is None and self._attended_at == float("-inf")
        if never_attended or time.monotonic() - self._attended_at < self._unattended_s * (1 - ATTEND_SHARE):
            return Seen(Screen.REDIRECTED, "blank-page", holds_s=BLANK_HOLDS_S)
        return BrowserGone("the page left its meeting, because no agent attended to it", Reason.CUT_OFF)

    async def _attend(self, state: State) -> None:
        is_due = time.monotonic() - self._attended_at >= min(ATTEND_S, self._unattended_s * ATTEND_SHARE)
        hides = state.phase is BotState.IN_MEETING and not self._is_seen
        if is_due or (hides and not self._has_hidden):
            async with asyncio.timeout(self._patience_s(state)):
                await self._page.evaluate(ATTEND, self._unattended_s)
                if hides:
                    await self._page.evaluate(HIDE_VIDEOS)
            self._has_hidden = hides
            self._attended_at = time.monotonic()

    async def _act(self, action: PageAction | Dismiss, state: State) -> None:
        """Act on the page. The next look shows whether it worked."""
        try:
            async with self._interruptible():
                patience_s = self._patience_s(state)
                if action not in _TYPED:  # typing is not cut short: half a passcode would be a wrong one
                    patience_s = min(patience_s, REPEAT_S)
                await self._adapter.act(self._page, action, self._join, patience_s)
        except (TimeoutError, *PAGE_ERRORS) as error:
            self._log.debug("page_action_failed", action=action, error=_why(error))

    async def _load_again(self, state: State) -> None:
        """Navigate to the meeting again. The next look shows what came of it. If the page refused the bot, or showed
        nothing known, its storage and cookies are cleared first.
        """
        address = self._adapter.address(self._join)
        try:
            async with self._interruptible(), asyncio.timeout(min(self._patience_s(state), REPEAT_S)):
                if (state.screen is Screen.REFUSED or is_at_a_loss(state)) and not self._join.account:
                    await self._page.evaluate(FORGET)
                    await self._page.context.clear_cookies()
                response = await self._page.goto(address, wait_until="commit")
                if response is None:  # nothing is loaded if the address differs only in its fragment
                    await self._page.reload(wait_until="commit")
        except (TimeoutError, *PAGE_ERRORS) as error:
            self._log.debug("page_action_failed", action=PageAction.LOAD_AGAIN, error=_why(error))

    async def _say(self, text: str, state: State) -> str:
        """Write in the chat once. A failed message may have been sent all the same, so it is not sent again.

        Returns why it failed; empty: it did not.
        """
        try:
            async with self._interruptible():
                patience_s = min(self._patience_s(state), REPEAT_S)
                if await self._adapter.say(self._page, text, patience_s):
                    self._log.info("message_said", chars=len(text))
                    return ""
            why = "the page has no chat that takes it"
        except (TimeoutError, *PAGE_ERRORS) as error:
            why = _why(error)
        self._log.warning("say_failed", why=why)
        return why

    async def _show_keeper(self, events: Sequence[BotNews]) -> None:
        """Tell the keeper what was seen and done. A probe also takes a picture of each screen."""
        if self._keeper is None:
            return
        for event in events:
            if isinstance(event, BotSaw):
                self._keeper.saw(event.screen, event.rule, event.did)
            elif isinstance(event, BotMoved):
                self._keeper.note(f"moved to {event.state}")
        if any(isinstance(event, BotSaw) and not event.did for event in events) and self._is_attached.is_set():
            await self._keeper.picture(self._page, self._reporter.screen)

    async def _keep_evidence(self, finish: Finish) -> str:
        page = self._page if self._can_be_asked(finish) else None
        return await self._keeper.keep(page, finish.reason, finish.detail) if self._keeper else ""

    def _can_be_asked(self, finish: Finish) -> bool:
        return not self._gone and self._is_attached.is_set() and finish.reason not in HUNG

    async def _empty_page(self) -> None:
        """Leave by emptying the page, in case its own button did not work. If this fails too, the browser is killed."""
        with suppress(TimeoutError, *PAGE_ERRORS):
            async with asyncio.timeout(self._settings.leave_s * (1 - LEAVE_SHARE)):
                await self._page.goto(BLANK)

    def _patience_s(self, state: State) -> float:
        """How long one call to the page may take: until the next timer runs out, or until the page timeout."""
        leaves = state.phase is BotState.LEAVING
        shortest_s = SHORTEST_CALL_WHILE_LEAVING_S if leaves else SHORTEST_CALL_S
        return min(self._settings.page_s, max(next_deadline(state) - time.monotonic(), shortest_s))

    @asynccontextmanager
    async def _interruptible(self) -> AsyncGenerator[None]:
        """Within it `_interrupt` raises TimeoutError, for news that cannot wait for the page."""
        try:
            async with asyncio.timeout(None) as self._call:
                yield
        finally:
            self._call = None

    def _note(self, observation: Observation) -> None:
        self._news.append(observation)
        self._wake.set()

    def _interrupt(self, observation: Observation | None = None) -> None:
        if observation:
            self._note(observation)
        if self._call is not None and not self._call.expired():
            self._call.reschedule(asyncio.get_running_loop().time())

    def _note_request(self, at: float) -> None:
        self._reporter.note_request(at)
        self._note(PageRequested())

    def _note_ready(self, _page: Page) -> None:
        self._wake.set()

    def _note_crash(self, _page: Page) -> None:
        self.browser_gone("the page crashed")

    async def _lost_connection(self, error: Exception) -> bool:
        """Whether the error came from a lost connection, and so says nothing about the page."""
        browser = self._page.context.browser
        disconnected = browser is not None and not browser.is_connected()
        # A driver that died does not report that; only calls to it fail.
        if disconnected or ("closed" in str(error) and not await self._driver_answers()):
            self.detach()
        return not self._is_attached.is_set()

    def _lost_page(self) -> BrowserGone | None:
        if self._page.is_closed():
            self._gone = True
            return BrowserGone("the page was closed")
        return None


def _why(error: Exception) -> str:
    """The kind of the error. Its text may quote the meeting link and is left out."""
    net_error = _NET_ERROR.search(str(error))
    return net_error[0] if net_error else type(error).__name__
