"""The meeting platforms: one package each, which recognises the platform's screens and acts on them. An adapter
decides nothing; `worker.lifecycle` does.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, cast

from playwright.async_api import BrowserContext, Page

from worker.company import Known
from worker.lifecycle import Observation, PageAction
from worker.platforms import room
from worker.platforms.rules import Rules, load

BLANK: Final = "about:blank"
IN_EVERY_PAGE: Final = tuple(
    (Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("media.js", "guard.js")
)
ATTEND: Final = "(seconds) => globalThis.poolmgrGuard?.attend(seconds)"
"""Tells the page that it is attended to: without this for so many seconds, it leaves its meeting by itself."""


class Adapter(Protocol):
    platform: str
    rules: Rules

    async def observe(self, page: Page, timeout_s: float, known: Known) -> Observation:
        """What the page shows now, in one evaluation, without those people and chat lines that are known.

        Raises: TimeoutError when the page does not answer, playwright's Error when it cannot.
        """
        ...

    async def act(self, page: Page, action: PageAction, bot_name: str, timeout_s: float) -> None:
        """Act on the page; safe to repeat. That it worked is seen at the next look.

        Raises: TimeoutError when the page does not let it in time, playwright's Error when it cannot.
        """
        ...

    async def say(self, page: Page, text: str, timeout_s: float) -> bool:
        """Write it in the meeting's chat and send it, once. False if the page has no place for it, or kept it unsent.

        Raises: as act; it may have been sent then.
        """
        ...


@cache
def adapter_for(platform: str, overrides: Path | None = None) -> Adapter | None:
    """The adapter for a platform, None when there is none. Reads its file once a process.

    `overrides`: a folder where `{platform}/screens.toml` replaces the one that came with this release.
    Raises: worker.platforms.rules.BadRulesError.
    """
    if platform != room.RoomAdapter.platform:
        return None
    override = overrides / platform / room.SCREENS.name if overrides else None
    return room.RoomAdapter(load(override if override and override.exists() else room.SCREENS))


async def prepare(context: BrowserContext) -> tuple[Page, str]:
    """The one warm page of a worker, on about:blank, ready for any meeting, and its DevTools id. Idempotent.

    Nobody listens for dialogs here, and so Playwright's driver closes them itself: an alert is dismissed, and
    "leave this page?" is answered with yes. A handler of ours would leave the page stuck whenever we are slow.
    """
    await _add_scripts(context)
    page = context.pages[0] if context.pages else await context.new_page()
    target_id = await _forbid_downloads(context, page)
    if page.url != BLANK:
        await page.goto(BLANK)
    return page, target_id


async def find_again(context: BrowserContext, target_id: str) -> Page | None:
    """The page of that DevTools id as it is, in whatever meeting; None when it was closed."""
    await _add_scripts(context)  # the page has them; one that it navigates to would not
    for page in context.pages:
        if await _forbid_downloads(context, page) == target_id:
            return page
    return None


async def _add_scripts(context: BrowserContext) -> None:
    for script in IN_EVERY_PAGE:
        await context.add_init_script(script)


async def _forbid_downloads(context: BrowserContext, page: Page) -> str:
    """Returns the DevTools id of the page."""
    # The session stays: Chromium forgets what it was told here as soon as that ends.
    session = await context.new_cdp_session(page)
    send = cast("Callable[..., Awaitable[dict[str, Any]]]", session.send)  # pyright: ignore[reportUnknownMemberType]
    target = (await send("Target.getTargetInfo"))["targetInfo"]
    await send("Browser.setDownloadBehavior", {"behavior": "deny", "browserContextId": target["browserContextId"]})
    return str(target["targetId"])
