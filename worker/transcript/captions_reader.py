"""Reads the captions of a meeting's page while the bot is in: turns them on, reads them, and turns them on again when
they are gone. The result is utterances.
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
from worker.transcript.utterances import Block, UtteranceBuilder, UtteranceUpdate

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LOOK_S: Final = 0.3
CALL_DEADLINE_S: Final = 3.0
STEP_S: Final = 0.7
"""How long a page may take to answer a step: to open a menu, to show a dialog."""
ROUND_S: Final = 60.0
"""While captions do not show, each step that turns them on is tried at most twice in this time."""
GIVEN_UP_S: Final = 20.0
"""Without captions for this long, it is reported that there are none."""

_ERRORS: Final = (TimeoutError, *PAGE_ERRORS, msgspec.ValidationError)


class CaptionsReader:
    """`rules`: of the bot's platform, None if it has no captions. `page`: None while no driver is connected to it.
    `on_utterances`: gets what is said. `on_shown`: gets whether the page shows captions, when that changes.
    """

    def __init__(
        self,
        rules: Callable[[], Captions | None],
        page: Callable[[], Page | None],
        state: Callable[[], State | None],
        on_utterances: Callable[[Sequence[UtteranceUpdate]], None],
        on_shown: Callable[[bool], None],
    ) -> None:
        self._rules = rules
        self._page = page
        self._state = state
        self._on_utterances = on_utterances
        self._on_shown = on_shown
        self._utterances = UtteranceBuilder()
        self._was_flooded = False
        self._is_shown: bool | None = None
        self._missing_since = 0.0
        self._round_began = float("-inf")
        self._tried: list[int] = []  # the steps that were taken in this round
        self._stepped_at = float("-inf")

    async def run(self) -> None:
        """Read until it is cancelled. Call it once the bot is in its meeting."""
        self._missing_since = time.monotonic()
        while True:
            page, rules = self._page(), self._rules()
            if rules is None:
                self._tell(shown=False)
            elif page:
                try:
                    await self._look(page, rules)
                except _ERRORS as error:  # mostly because the page navigates, or the bot is leaving
                    log.debug("captions_unread", error=type(error).__name__)
            await asyncio.sleep(LOOK_S)

    def end(self) -> None:
        """The bot is out: utterances that have not ended end now."""
        self._on_utterances(self._utterances.end())

    async def _look(self, page: Page, rules: Captions) -> None:
        shown = await captions.read(page, rules, CALL_DEADLINE_S)
        speaker = self._speaker()
        blocks = [Block(line.key, line.speaker, line.text, speaker) for line in shown.lines]
        if said := self._utterances.look(time.time(), blocks):
            self._on_utterances(said)
        if self._utterances.is_flooded and not self._was_flooded:
            self._was_flooded = True
            log.warning("captions_flooded")
        await self._keep_captions_on(page, rules, shown)

    async def _keep_captions_on(self, page: Page, rules: Captions, shown: Shown) -> None:
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
        """The steps that may be taken now. Each may be taken twice, because a click may be lost. Where the page does
        not show whether captions are on (`late`), none is repeated once a step after the first was taken: a second
        click could turn them off again.
        """
        last = max(self._tried, default=-1)
        return [
            step
            for step in range(len(rules.on))
            if self._tried.count(step) < 2 and not (rules.late and last > 0 and step <= last)
        ]

    def _is_missing(self, rules: Captions, now: float) -> bool:
        """Whether captions should show by now. On some pages they show only once somebody speaks (`late`)."""
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
            self._on_shown(shown)
