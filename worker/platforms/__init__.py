"""The meeting platforms: one package each, which recognises the platform's screens and acts on them. An adapter
decides nothing; `worker.decide.lifecycle` does.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from playwright.async_api import BrowserContext, Page

from worker.platforms import addresses, third_party
from worker.platforms.adapter import Adapter
from worker.platforms.page import Address, PageAdapter

__all__ = ["ATTEND", "BLANK", "Adapter", "adapter_for", "adapters", "built_in", "find_again", "prepare"]

HERE: Final = Path(__file__).parent
BLANK: Final = "about:blank"
IN_EVERY_PAGE: Final = tuple((HERE / name).read_text(encoding="utf-8") for name in ("media.js", "guard.js"))
ATTEND: Final = "(seconds) => globalThis.poolmgrGuard?.attend(seconds)"
"""Tells the page that it is attended to: without this for so many seconds, it leaves its meeting by itself."""


def _by(make: Callable[..., str]) -> Address:
    return lambda join: make(join.meeting_url, join.bot_name, signed_in=bool(join.account))


_ADDRESSES: Final[dict[str, Address]] = {
    "google_meet": _by(addresses.google_meet),
    "zoom": _by(addresses.zoom),
    "teams": _by(addresses.teams),
    "jitsi": _by(addresses.jitsi),
    "room": lambda join: join.meeting_url,
}


@cache
def built_in() -> Mapping[str, PageAdapter]:
    """The adapters that come with this release, by platform. Reads their files once a process."""
    return {
        platform: PageAdapter(platform, HERE / platform / "screens.toml", address)
        for platform, address in _ADDRESSES.items()
    }


@cache
def adapters() -> Mapping[str, Adapter]:
    """All there are, by platform. Raises: worker.platforms.third_party.BadAdapterError."""
    return {**built_in(), **third_party.discover(built_in())}


def adapter_for(platform: str) -> Adapter | None:
    """The adapter for a platform, None when there is none."""
    return adapters().get(platform)


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
