"""What a platform's adapter is to the session: it looks at the page and acts on it, and decides nothing.

`worker.platforms.page.PageAdapter` is one for pages that a file of rules describes. Others are added by an entry point.
"""

from typing import Protocol, runtime_checkable

from playwright.async_api import Page

from common.wire.messages import Join
from worker.decide.participants import LookRequest
from worker.decide.words import Dismiss, Observation, PageAction
from worker.platforms.rules import Rules


@runtime_checkable
class Adapter(Protocol):
    platform: str

    @property
    def rules(self) -> Rules:
        """Those that count now: an operator may change them while a bot is in its meeting."""
        ...

    def address(self, join: Join) -> str:
        """Where the browser is to go in order to join; the link itself, or the platform's page for it in a browser."""
        ...

    async def observe(self, page: Page, timeout_s: float, request: LookRequest) -> Observation:
        """What the page shows now, in one evaluation, without the people and chat lines that `request` says were read.

        Raises: TimeoutError when the page does not answer, playwright's Error when it cannot.
        """
        ...

    async def act(self, page: Page, action: PageAction | Dismiss, join: Join, timeout_s: float) -> None:
        """Act on the page as the bot that `join` describes; safe to repeat. That it worked is seen at the next look.

        Raises: TimeoutError when the page does not let it in time, playwright's Error when it cannot.
        """
        ...

    async def say(self, page: Page, text: str, timeout_s: float) -> bool:
        """Write it in the meeting's chat and send it, once. False if the page has no place for it, or kept it unsent.

        Raises: as act; it may have been sent then.
        """
        ...
