"""The meeting platforms: one adapter each, which recognises the platform's screens and acts on them.

An adapter decides nothing; `worker.decide.lifecycle` does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from playwright.async_api import BrowserContext, Page

from worker.platforms import addresses, third_party
from worker.platforms.adapter import Adapter
from worker.platforms.page import Address, PageAdapter
from worker.platforms.rules import script

__all__ = [
    "ATTEND", "BLANK", "HIDE_VIDEOS", "SHOW_VIDEOS", "Adapter", "adapter_for", "adapters", "built_in", "find_again",
    "prepare",
]  # fmt: skip

HERE: Final = Path(__file__).parent
BLANK: Final = "about:blank"
IN_EVERY_PAGE: Final = tuple(script(name) for name in ("media.js", "guard.js", "videos.js"))
ATTEND: Final = "(seconds) => globalThis.poolmgrGuard?.attend(seconds)"
"""Tells the page that an agent looks at it. Without this for so many seconds the page leaves its meeting (guard.js)."""
HIDE_VIDEOS: Final = "() => { try { globalThis.poolmgrVideos?.hide(); } catch {} }"
"""From now on the page draws no videos (videos.js). Idempotent; to be repeated, because the page may undo it."""
SHOW_VIDEOS: Final = "async (ms) => { try { await globalThis.poolmgrVideos?.show(ms); } catch {} }"
"""The page draws its videos for so long, whatever it was told before. Returns once they are drawn."""


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
    """The adapters of this release, by platform. Their files are read once a process."""
    return {
        platform: PageAdapter(platform, HERE / platform / "screens.toml", address)
        for platform, address in _ADDRESSES.items()
    }


@cache
def adapters() -> Mapping[str, Adapter]:
    """All adapters, also installed ones, by platform. Raises: worker.platforms.third_party.BadAdapterError."""
    return {**built_in(), **third_party.discover(built_in())}


def adapter_for(platform: str) -> Adapter | None:
    """The adapter for a platform; None when there is none."""
    return adapters().get(platform)


async def prepare(context: BrowserContext) -> tuple[Page, str]:
    """Make the one warm page of a worker ready: it is on about:blank and fits any meeting. Returns the page and its
    DevTools id. Idempotent.

    No handler for dialogs is installed, so Playwright's driver closes them itself: it dismisses alerts, and answers
    "leave this page?" with yes. With a handler the page would wait whenever the agent is slow.
    """
    page = context.pages[0] if context.pages else await context.new_page()
    _, target_id = await asyncio.gather(_add_scripts(context), _forbid_downloads(context, page))
    if page.url != BLANK:
        await page.goto(BLANK)
    return page, target_id


async def find_again(context: BrowserContext, target_id: str) -> Page | None:
    """The page of that DevTools id, unchanged; None when it was closed."""
    await _add_scripts(context)  # for documents that the page navigates to from now on
    for page in context.pages:
        if await _forbid_downloads(context, page) == target_id:
            return page
    return None


async def _add_scripts(context: BrowserContext) -> None:
    for source in IN_EVERY_PAGE:
        await context.add_init_script(source)


async def _forbid_downloads(context: BrowserContext, page: Page) -> str:
    """Deny all downloads. Returns the DevTools id of the page."""
    # The CDP session stays open: Chromium forgets the setting as soon as it is closed.
    session = await context.new_cdp_session(page)
    send = cast("Callable[..., Awaitable[dict[str, Any]]]", session.send)  # pyright: ignore[reportUnknownMemberType]
    target = (await send("Target.getTargetInfo"))["targetInfo"]
    await send("Browser.setDownloadBehavior", {"behavior": "deny", "browserContextId": target["browserContextId"]})
    return str(target["targetId"])
