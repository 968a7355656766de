"""What every page of a worker may do without a question, which nobody would be there to answer."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from playwright.async_api import BrowserContext

_SETTINGS: Final = {"microphone": "granted", "camera": "granted", "notifications": "denied", "geolocation": "denied"}
"""By their names in https://www.w3.org/TR/permissions. All others are as the browser has them."""


async def settle(context: BrowserContext) -> None:
    """Afterwards none of these is asked for. To be done with every new connection: they are forgotten with the last."""
    assert context.browser
    session = await context.browser.new_browser_cdp_session()
    send = cast("Callable[[str, Mapping[str, Any]], Any]", session.send)  # pyright: ignore[reportUnknownMemberType]
    await asyncio.gather(
        *(
            send("Browser.setPermission", {"permission": {"name": name}, "setting": setting})
            for name, setting in _SETTINGS.items()
        )
    )
