"""The interface between a session and a platform's adapter, which looks at the page and acts on it.

`worker.platforms.page.PageAdapter` implements it for pages that a file of rules describes. Other distributions add
adapters by an entry point.
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
        """The rules that are in use now: an operator may change them while a bot is in its meeting."""
        ...

    def address(self, join: Join) -> str:
        """The address at which a browser joins: the link itself, or the platform's page for browsers."""
        ...

    async def observe(self, page: Page, timeout_s: float, request: LookRequest) -> Observation:
        """What the page shows now, in one evaluation, without the people and chat lines that `request` says were read.

        Raises: TimeoutError when the page does not answer, playwright's Error when it cannot.
        """
        ...

    async def act(self, page: Page, action: PageAction | Dismiss, join: Join, timeout_s: float) -> None:
        """Act on the page for the bot that `join` describes. Safe to repeat. The next look shows whether it worked.

        Raises: TimeoutError when the page does not react in time, playwright's Error when it cannot.
        """
        ...

    async def say(self, page: Page, text: str, timeout_s: float) -> bool:
        """Write `text` in the meeting's chat and send it once. Returns False if the page has no chat, or did not send
        it.

        Raises: as `act`; the text may have been sent then.
        """
        ...
