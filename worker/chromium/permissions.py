"""Permissions that every page of a worker has without a question: nobody would be there to answer one."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from playwright.async_api import BrowserContext

_SETTINGS: Final = {"microphone": "granted", "camera": "granted", "notifications": "denied", "geolocation": "denied"}
"""The names are those of https://www.w3.org/TR/permissions. Other permissions keep the browser's default."""


async def settle(context: BrowserContext) -> None:
    """Set the permissions. To be called for every new connection: Chromium forgets them with the old one."""
    assert context.browser
    session = await context.browser.new_browser_cdp_session()
    send = cast("Callable[[str, Mapping[str, Any]], Any]", session.send)  # pyright: ignore[reportUnknownMemberType]
    await asyncio.gather(
        *(
            send("Browser.setPermission", {"permission": {"name": name}, "setting": setting})
            for name, setting in _SETTINGS.items()
        )
    )
