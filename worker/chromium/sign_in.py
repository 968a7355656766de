"""Lets a person sign in to an account of `worker.accounts`, in a browser like the workers', and saves the result.

The program types nothing and reads no password. It waits until the person says that they are signed in.
"""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from common.config.settings import AccountSettings, WorkerSettings
from common.errors import AgentError
from worker.chromium.driver import PAGE_ERRORS, Driver, DriverError, one_line
from worker.chromium.process import BrowserError, Launcher, find_chromium
from worker.chromium.profile import Profile

_BEGIN_AT: Final = {
    "google_meet": "https://accounts.google.com/",
    "zoom": "https://zoom.us/signin",
    "teams": "https://teams.microsoft.com/",
    "jitsi": "https://meet.jit.si/",
    "room": "about:blank",
}


class CannotSignInError(AgentError):
    """There is no browser, or no account of that name; the message says what to do."""


def account_named(name: str, settings: WorkerSettings) -> AccountSettings:
    """The account of that name. Raises: CannotSignInError."""
    for account in settings.accounts:
        if account.name == name:
            return account
    names = ", ".join(account.name for account in settings.accounts) or "none"
    raise CannotSignInError(f"there is no account {name!r} in worker.accounts (known: {names})")


async def sign_in(account: AccountSettings, settings: WorkerSettings, is_in: Callable[[], Awaitable[object]]) -> None:
    """Show a browser until `is_in` returns. Then save its cookies and storage in the account's state_file, which only
    the agent's user can read.

    Raises: CannotSignInError.
    """
    driver = Driver()
    try:
        # Not in state_dir: an agent that runs there would end this browser as an orphan.
        with tempfile.TemporaryDirectory(prefix="poolmgr-sign-in-") as folder:
            # A headless shell shows nothing.
            chromium = find_chromium("" if settings.has_headless_shell else settings.chromium)
            profile = Profile.of(chromium, settings)._replace(headless=False)
            launcher = Launcher(profile, Path(folder))
            async with asyncio.timeout(settings.launch_timeout_s):
                await driver.start()
                shown = await launcher.launch("sign-in")
            try:
                browser = await driver.connect(shown.endpoint, shown.folder, settings.launch_timeout_s)
                context = browser.contexts[0]
                await context.pages[0].goto(_BEGIN_AT[account.platform], wait_until="commit")
                await is_in()
                state = cast("dict[str, Any]", await context.storage_state())
            finally:
                await shown.kill()
        await asyncio.to_thread(_write, Path(account.state_file), msgspec.json.encode(state))
    except (BrowserError, DriverError, *PAGE_ERRORS, OSError) as error:
        raise CannotSignInError(
            f"cannot sign in: {one_line(error)}. It needs a display to show the browser on (DISPLAY)"
        ) from error
    finally:
        await driver.stop()


def _write(file: Path, content: bytes) -> None:
    """Write the file atomically, readable only for its owner."""
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)
    unfinished.rename(file)
