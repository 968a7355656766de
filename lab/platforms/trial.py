"""Tries real bots on the pages: each case with the worker's own session and adapters, many in one browser.

A trial fails if the bot ends for another reason, if a screen was never recognised, if a microphone or a camera was left
on, or if the bot is still in the meeting after its end.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from playwright.async_api import Browser
from playwright.async_api import Error as PlaywrightError

from common.config.settings import WorkerSettings
from common.wire.messages import BotEnded, BotMoved, BotSaw, BotVitals, ChatHeard, Join
from common.wire.vocabulary import BotState, Reason
from lab.parts.browser import chromium
from lab.platforms.cases import BOT_NAME, Case
from lab.platforms.meeting import Meeting
from lab.platforms.site import Site
from worker.chromium.driver import Driver
from worker.chromium.process import Launcher
from worker.chromium.profile import Profile
from worker.decide.state import SessionSettings, State
from worker.meeting.reports import BotNews
from worker.meeting.session import Context, Session
from worker.platforms import adapter_for, prepare

AT_ONCE: Final = 6
PATIENCE_S: Final = 60.0  # on top of the time that a case takes by itself
ANNOUNCEMENT: Final = "This meeting is recorded: by Notetaker, for who was invited."
GONE_S: Final = 5.0  # until a page that was emptied has left the meeting

_MOVED_AT: Final = {"lobby": BotState.WAITING_ROOM, "meeting": BotState.IN_MEETING}
_NOTHING_TO_ASK: Final = (Reason.BROWSER_CRASHED, Reason.BROWSER_HUNG)
_GIVES_UP_SOON: Final = (Reason.PAGE_LOAD_FAILED, Reason.UI_ELEMENT_NOT_FOUND)


class Outcome(NamedTuple):
    """`seen`: the screens and rules, in order, and what the bot did. `noted`: what its page reports was done to it.
    `faults`: what went wrong; empty: nothing.
    """

    case: Case
    ended: BotEnded | None
    seen: list[str]
    noted: list[str]
    faults: list[str]
    took_s: float


@asynccontextmanager
async def browser_for(site: Site, *, has_voices: bool = True) -> AsyncGenerator[Browser]:
    """A browser as the agent starts them, which knows the site and has the page of voices open, if it is to."""
    driver = Driver()
    with tempfile.TemporaryDirectory(prefix="sites-") as folder:
        launcher = Launcher(Profile(chromium(), further=tuple(site.chromium_flags())), Path(folder))
        process = await launcher.launch("trial")
        try:
            await driver.start()
            browser = await driver.connect(process.endpoint, process.folder / "artifacts", PATIENCE_S)
            if has_voices:
                voices = await browser.contexts[0].new_page()
                await voices.goto("https://localhost.example/-/voices")
            yield browser
        finally:
            try:
                await driver.stop()
            finally:  # also when that is interrupted: whoever presses Ctrl-C does it twice
                await process.kill()


async def try_all(
    browser: Browser, site: Site, cases: Iterable[Case], tell: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """Try all cases, those that take longest first. `tell` is called as each one ends."""
    waiting = sorted(cases, key=lambda case: -case.takes_s)
    outcomes: list[Outcome] = []

    async def one_after_another() -> None:
        while waiting:
            outcome = await attempt(browser, site, waiting.pop(0))
            outcomes.append(outcome)
            tell(outcome)

    async with asyncio.TaskGroup() as tasks:
        for number in range(AT_ONCE):
            tasks.create_task(one_after_another(), name=f"try cases, {number}")
    return outcomes


async def attempt(browser: Browser, site: Site, case: Case) -> Outcome:
    """One bot, from the link to its end."""
    meeting = site.arrange(case.platform, case.code, case.scenario)
    context = await browser.new_context(locale="en-US")
    began = time.monotonic()
    bot = _Bot(case)
    meeting.hold = bot.when  # a busy machine may take longer to look than a short call lasts
    try:
        page, _ = await prepare(context)
        session = Session(
            page, bot.join, bot.adapter, Context(SessionSettings.of(_settings(case)), "vm-1", bot.keep, _answers)
        )
        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(session.run(), name=f"session of {case}")
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S + case.takes_s):
                    if case.asked_at:
                        await bot.reached(case.asked_at)
                        if case.announces:
                            session.announce(ANNOUNCEMENT)
                            session.announce(ANNOUNCEMENT)
                            await bot.announced()
                        session.leave(Reason.USER_REQUESTED)
                    if case.crashes:
                        await bot.reached("meeting")
                        await context.new_page()  # a context without a living page would be lost with it
                        with suppress(PlaywrightError):
                            await page.goto("chrome://crash")
                    await asyncio.wait([ending])
            if not ending.done():
                ending.cancel()
        ended = None if ending.cancelled() else ending.result()
        # If the page does not answer any more, the end of the browser takes the bot out.
        still_there = case.reason not in _NOTHING_TO_ASK and await _is_still_in(meeting)
    finally:
        with suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(GONE_S):
                await context.close()
    faults, took_s = _faults(case, meeting, bot, ended, still_there=still_there), time.monotonic() - began
    if case.most_s and took_s > case.most_s:
        faults.append(f"took {took_s:.0f} s, more than {case.most_s:g} s")
    return Outcome(case, ended, bot.seen, meeting.noted, faults, took_s)


class _Bot:
    """What a session gets, and what it reports."""

    def __init__(self, case: Case) -> None:
        adapter = adapter_for(case.platform)
        assert adapter
        self.adapter = adapter
        self.join = Join(
            *("w-1", str(case), 1, case.platform, case.link, BOT_NAME, case.automatic_leave),
            passcode=case.passcode,
        )
        self.seen: list[str] = []
        self.screens: set[str] = set()
        self.moves: list[BotState] = []
        self.heard: list[tuple[str, str]] = []
        self.most_people = 0
        self.speakers: set[str] = set()
        self._noted = asyncio.Event()
        self._held: dict[BotState, list[Callable[[], None]]] = {}

    def keep(self, _state: State, news: Sequence[BotNews]) -> None:
        for event in news:
            if isinstance(event, BotSaw):
                self.seen.append(f"{event.screen}/{event.rule}{': ' if event.did else ''}{event.did}")
                self.screens.add(event.screen)
            elif isinstance(event, BotMoved):
                self.moves.append(event.state)
                for begin in self._held.pop(event.state, ()):
                    begin()
            elif isinstance(event, ChatHeard):
                self.heard += [(line.sender_name, line.text) for line in event.chats]
            elif isinstance(event, BotVitals):
                self.most_people = max(self.most_people, event.participants or 0)
                self.speakers.add(event.speaker)
        self._noted.set()

    def when(self, moment: str, begin: Callable[[], None]) -> None:
        """Begin the act once the bot has reported that moment."""
        state = _MOVED_AT[moment]
        if state in self.moves:
            begin()
        else:
            self._held.setdefault(state, []).append(begin)

    async def reached(self, moment: str) -> None:
        while _MOVED_AT.get(moment, BotState.JOINING) not in self.moves:
            self._noted.clear()
            await self._noted.wait()

    async def announced(self) -> None:
        """It said that it is recorded, or failed to."""
        while not any("say in the chat that it records" in each for each in self.seen):
            self._noted.clear()
            await self._noted.wait()


def _faults(case: Case, meeting: Meeting, bot: _Bot, ended: BotEnded | None, *, still_there: bool) -> list[str]:
    faults: list[str] = []
    if ended is None:
        return [f"did not end within {PATIENCE_S + case.takes_s:g} s"]
    if ended.reason is not case.reason:
        faults.append(f"ended with {ended.reason} ({ended.detail}), not with {case.reason}")
    if case.screen and case.screen not in {*bot.screens, *ended.detail.split()}:
        faults.append(f"never saw {case.screen}")
    if case.reason is Reason.MEETING_ENDED and BotState.IN_MEETING not in bot.moves:
        faults.append("was never in the meeting")
    faults += _faults_of_devices(meeting)
    if case.clicks_leave and "left" not in meeting.noted:
        faults.append("did not leave by the page's own button")
    if still_there:
        faults.append("is still in the meeting")
    return faults + _faults_of_telling(case, meeting, bot)


def _faults_of_devices(meeting: Meeting) -> list[str]:
    faults: list[str] = []
    for note in meeting.noted:
        if note.startswith("joined with") and note != "joined with microphone false camera false":
            faults.append(note)
        if note.startswith("switched on by somebody"):
            device = note.rpartition(" ")[2]
            again = [note for note in meeting.noted if note.endswith(f"in the meeting: {device}")]
            if not again or not again[-1].startswith("switched off"):
                faults.append(f"left its {device} on")
    return faults


def _faults_of_telling(case: Case, meeting: Meeting, bot: _Bot) -> list[str]:
    faults: list[str] = []
    if case.announces and meeting.said != [(BOT_NAME, ANNOUNCEMENT)]:
        faults.append(f"was to say once that it records, and {meeting.said} was said")
    if case.tells:
        everybody = 1 + len(case.scenario.people) + len(case.scenario.voices)
        reported = (bot.most_people, bot.speakers - {""}, bot.heard)
        if reported != (everybody, set(case.scenario.voices), meeting.said):
            faults.append(f"told {reported}, and there were {everybody}, who said {meeting.said}")
    lost_until = [float(note.rpartition(" ")[2]) for note in meeting.noted if note.startswith("heard again after")]
    if case.most_late_s and max(lost_until, default=0.0) > case.most_late_s * 1000:
        faults.append(f"clicked {lost_until} ms after the button heard again, not within {case.most_late_s:g} s")
    return faults


async def _is_still_in(meeting: Meeting) -> bool:
    deadline = time.monotonic() + GONE_S
    while BOT_NAME in (*meeting.present, *meeting.waiting):
        if time.monotonic() > deadline:
            return True
        await asyncio.sleep(0.02)
    return False


def _settings(case: Case) -> WorkerSettings:
    load_s = 6.0 if case.reason in _GIVES_UP_SOON else 40.0
    # on a busy machine a look takes seconds; that is no hang
    page_s = 1.5 if case.reason is Reason.BROWSER_HUNG else 20.0
    return WorkerSettings(load_timeout_s=load_s, join_timeout_s=20.0, page_timeout_s=page_s, leave_timeout_s=20.0)


async def _answers() -> bool:
    return True
