"""Reads what a meeting's page writes down of what is said, for as long as its bot is in: turns it on, looks at it, and
turns it on again when it is gone. What comes of it are utterances.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog
from playwright.async_api import Page

from worker.chromium.driver import PAGE_ERRORS
from worker.decide.state import State
from worker.platforms import captions
from worker.platforms.captions import Shown
from worker.platforms.rules import Captions
from worker.words.utterances import Block, Said, Utterances

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LOOK_S: Final = 0.3
CALL_DEADLINE_S: Final = 3.0
STEP_S: Final = 0.7
"""How long a page may take to answer a step: to open a menu, to show a dialog."""
ROUND_S: Final = 60.0
"""What did not turn it on is tried again after that; until then each step is taken at most twice."""
GIVEN_UP_S: Final = 20.0
"""Without any words for so long, it is said that there are none."""

_ERRORS: Final = (TimeoutError, *PAGE_ERRORS, msgspec.ValidationError)


class Reading:
    """`rules`: those that count now, None where the page of a platform writes nothing down. `page`: None while nobody
    is connected to it. `said`: hears what is said. `shows`: hears whether the page writes it down, when that changes.
    """

    def __init__(
        self,
        rules: Callable[[], Captions | None],
        page: Callable[[], Page | None],
        state: Callable[[], State | None],
        said: Callable[[Sequence[Said]], None],
        shows: Callable[[bool], None],
    ) -> None:
        self._rules = rules
        self._page = page
        self._state = state
        self._said = said
        self._shows = shows
        self._utterances = Utterances()
        self._is_shown: bool | None = None
        self._missing_since = 0.0
        self._round_began = float("-inf")
        self._tried: list[int] = []  # the steps that were taken in this round
        self._stepped_at = float("-inf")

    async def run(self) -> None:
        """Until it is cancelled. The bot is in its meeting."""
        self._missing_since = time.monotonic()
        while True:
            page, rules = self._page(), self._rules()
            if rules is None:
                self._tell(shown=False)
            elif page:
                try:
                    await self._look(page, rules)
                except _ERRORS as error:  # mostly a page that just navigates, or is about to be left
                    log.debug("captions_unread", error=type(error).__name__)
            await asyncio.sleep(LOOK_S)

    def end(self) -> None:
        """Nothing more comes: what was being said is all of it."""
        self._said(self._utterances.end())

    async def _look(self, page: Page, rules: Captions) -> None:
        shown = await captions.read(page, rules, CALL_DEADLINE_S)
        speaker = self._speaker()
        blocks = [Block(line.key, line.speaker, line.text, speaker) for line in shown.lines]
        if said := self._utterances.look(time.time(), blocks):
            self._said(said)
        await self._see_to_it(page, rules, shown)

    async def _see_to_it(self, page: Page, rules: Captions, shown: Shown) -> None:
        now = time.monotonic()
        if shown.shown:
            self._missing_since, self._round_began = now, float("-inf")
            self._tell(shown=True)
            return
        if self._is_missing(rules, now):
            self._tell(shown=False)
        if now - self._round_began > ROUND_S and not (rules.late and self._tried and not self._is_missing(rules, now)):
            self._round_began, self._tried = now, []
        steps = self._steps(rules)
        if not steps or now - self._stepped_at < STEP_S:
            return
        step = await captions.turn_on(page, rules, steps, CALL_DEADLINE_S, by_mouse=self._tried)
        if step is not None:
            self._tried.append(step)
            self._stepped_at = time.monotonic()

    def _steps(self, rules: Captions) -> list[int]:
        """Those that are to be taken once more: each twice, for a click may be lost. Where nobody sees whether it is
        on, a second click on the last of them might turn it off again.
        """
        last = max(self._tried, default=-1)
        return [
            step
            for step in range(len(rules.on))
            if self._tried.count(step) < 2 and not (rules.late and last > 0 and step <= last)
        ]

    def _is_missing(self, rules: Captions, now: float) -> bool:
        """Whether there should be words by now. Where they show only once somebody speaks, somebody has to."""
        since = self._missing_since
        if rules.late:
            state = self._state()
            voice_at = state.received.voice_at if state else None
            return voice_at is not None and voice_at - since > GIVEN_UP_S
        return now - since > GIVEN_UP_S

    def _speaker(self) -> str:
        state = self._state()
        return state.speaker if state else ""

    def _tell(self, *, shown: bool) -> None:
        if shown is not self._is_shown:
            self._is_shown = shown
            self._shows(shown)
