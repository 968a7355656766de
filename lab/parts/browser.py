"""Browsers that the product does not start: those of people in a meeting, and those that the product is compared
with.
"""

import functools
import os
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, Playwright

from lab.parts.environment import CHROMIUM
from worker.chromium.process import find_chromium

QUIET: Final = (
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--disable-quic",
)  # fmt: skip
"""Switches with which a browser makes no calls of its own."""


@functools.cache
def chromium() -> Path:
    """The browser that the agent uses. Raises: worker.chromium.process.BrowserError."""
    return find_chromium(os.environ.get(CHROMIUM, ""))


def no_sandbox() -> list[str]:
    """The switch for root, for whom Chromium's sandbox does not work."""
    return ["--no-sandbox"] if os.geteuid() == 0 else []


async def launch(playwright: Playwright, *switches: str, **options: Any) -> Browser:
    """Start a browser as any Playwright program does. `options`: Playwright's."""
    switches = (*QUIET, *no_sandbox(), *switches)
    return await playwright.chromium.launch(executable_path=chromium(), args=switches, **options)
