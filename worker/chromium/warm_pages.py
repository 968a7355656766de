"""Gives every new worker a cache with the platforms' page code, already loaded and compiled.

One browser visits the pages of `worker.warm_pages` in the background and is closed in good order. Its cache is kept in
the state folder and copied into each new profile, also of workers with a display, which only draw otherwise. Cookies
and storage of the visits are not copied. Nobody waits for the cache: without one, or if anything fails, workers start
without. Idle workers that are older than the newest cache are replaced by the manager (`made_at`).
"""

import asyncio
import hashlib
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Self, cast
from urllib.parse import urlsplit

import structlog
from playwright.async_api import Page

from common.config.settings import WorkerSettings
from common.runtime.waiting import pause
from worker.chromium.driver import PAGE_ERRORS, Driver, DriverError, one_line
from worker.chromium.process import BrowserError, Chromium, Launcher

log: structlog.stdlib.BoundLogger = structlog.get_logger()

VISITOR: Final = "warm-pages"
"""The name of the browser that visits the pages, in place of a worker id."""

VISITS: Final = 2  # of each page: V8 keeps the compiled code of a script from the second time on
LOAD_DEADLINE_S: Final = 30.0
SETTLE_S: Final = 2.0  # after the load event, for what a page loads later and for writing the cache
CLOSE_DEADLINE_S: Final = 10.0
JOINS_FIRST_S: Final = 30.0
AGAIN_S: Final = 60.0  # after a failure

_KEPT: Final = ("Cache", "Code Cache")  # below the profile's Default/
_UNFINISHED: Final = ".unfinished"
_TROUBLE: Final = (BrowserError, DriverError, *PAGE_ERRORS, OSError)  # TimeoutError is an OSError


class Pages(NamedTuple):
    """`addresses`: the pages to visit. `refresh_s`: how old the copy may become. `most_mb`: how large it may be.
    `launch_s`: how long the visiting browser may take to start.
    """

    addresses: tuple[str, ...]
    refresh_s: float
    most_mb: int
    launch_s: float

    @classmethod
    def of(cls, settings: WorkerSettings) -> Self:
        return cls(
            tuple(settings.warm_pages),
            settings.warm_pages_refresh_s,
            settings.warm_pages_mb,
            settings.launch_timeout_s,
        )


class WarmPages:
    """`has_room`: whether the VM bears one more browser. `nobody_joins` is set while no bot is joining."""

    def __init__(
        self,
        pages: Pages,
        launcher: Launcher,
        driver: Driver,
        nobody_joins: asyncio.Event,
        has_room: Callable[[], bool],
    ) -> None:
        self._pages = pages
        self._launcher = launcher
        self._driver = driver
        self._nobody_joins = nobody_joins
        self._has_room = has_room
        self._folder = launcher.state_dir / VISITOR
        self._current: Path | None = None
        self.made_at = 0.0
        """When the copy that fresh workers get was made, epoch seconds; 0: there is none."""
        self._failing: set[str] = set()
        if pages.addresses:
            self._take_up()  # at once, for the first workers

    async def keep(self) -> None:
        """Keep the cache fresh, for as long as the agent lives. Returns at once when there are no pages."""
        if not self._pages.addresses:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            return
        await asyncio.to_thread(self._keep_only, {self._current})
        wait_s = max(0.0, self.made_at + self._pages.refresh_s - time.time())
        while True:
            await asyncio.sleep(wait_s)
            await pause(self._nobody_joins, JOINS_FIRST_S)
            wait_s = AGAIN_S
            if self._has_room():
                try:
                    await self._make()
                    wait_s = self._pages.refresh_s
                except _TROUBLE as error:
                    log.warning("warm_pages_failed", why=one_line(error), again_in_s=wait_s)

    def copy_cache(self, profile: Path) -> None:
        """Copy the cache, if there is one, into a new profile. Blocks; never raises."""
        if self._current:
            try:
                for name in _KEPT:
                    shutil.copytree(self._current / name, profile / "Default" / name)
            except OSError as error:
                log.warning("warm_pages_failed", why=str(error))
                shutil.rmtree(profile / "Default", ignore_errors=True)

    # Caches: a folder each, named by the profile, the pages, and the time of the visit (epoch seconds)

    @property
    def _name(self) -> str:
        what = "\0".join([self._launcher.profile.name, *self._pages.addresses])
        return hashlib.sha256(what.encode()).hexdigest()[:16]

    def _take_up(self) -> None:
        """Use the cache that an earlier agent made for this profile and these pages, if there is one."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            name, _, when = path.name.partition("-")
            if name == self._name and when.isdecimal() and int(when) > self.made_at:
                self._current, self.made_at = path, int(when)

    def _keep_only(self, kept: set[Path | None]) -> None:
        for path in self._folder.iterdir():
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def _take(self, chromium: Chromium) -> float:
        """Use the cache of a browser that has ended. Returns its size in MB. Raises: OSError when it cannot be used."""
        unfinished = self._folder / _UNFINISHED
        shutil.rmtree(unfinished, ignore_errors=True)
        for name in _KEPT:
            shutil.copytree(chromium.folder / "profile" / "Default" / name, unfinished / name)
        held_mb = sum(file.stat().st_size for file in unfinished.rglob("*") if file.is_file()) / 2**20
        if held_mb > self._pages.most_mb:
            shutil.rmtree(unfinished)
            raise OSError(f"the pages take {held_mb:.0f} MB, more than worker.warm_pages_mb")
        made_at = time.time()
        before, self._current = self._current, unfinished.rename(self._folder / f"{self._name}-{made_at:.0f}")
        self.made_at = made_at
        self._keep_only({before, self._current})  # a launch may be copying the cache before this one
        return held_mb

    # Visits

    async def _make(self) -> None:
        began = time.monotonic()
        limit_s = self._pages.launch_s
        async with asyncio.timeout(limit_s):
            chromium = await self._launcher.launch(VISITOR)
        try:
            browser = await self._driver.connect(chromium.endpoint, chromium.folder, limit_s)
            page = browser.contexts[0].pages[0]
            loaded = [await self._visit(page, address) for address in self._pages.addresses]
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                session = await browser.new_browser_cdp_session()
                send = cast("Callable[[str], Awaitable[object]]", session.send)  # pyright: ignore[reportUnknownMemberType]
                with suppress(*PAGE_ERRORS):  # the browser may be gone before it answers
                    await send("Browser.close")
                await chromium.exited()
            held_mb = await asyncio.to_thread(self._take, chromium)
        finally:
            await chromium.kill()
        took_s = round(time.monotonic() - began, 1)
        log.info("warm_pages_made", pages=sum(loaded), held_mb=round(held_mb, 1), took_s=took_s)

    async def _visit(self, page: Page, address: str) -> bool:
        """Visit one page. Returns whether it loaded. Failures of one page are logged once, until it loads again."""
        try:
            for _ in range(VISITS):
                async with asyncio.timeout(LOAD_DEADLINE_S):
                    response = await page.goto(address, wait_until="load", timeout=0)
                    if response is None:  # nothing is loaded if the address differs only in its fragment
                        response = await page.reload(wait_until="load", timeout=0)
                if response and not response.ok:
                    raise OSError(f"HTTP {response.status}")
                await asyncio.sleep(SETTLE_S)
        except _TROUBLE as error:
            if address not in self._failing:
                host = urlsplit(address).hostname
                log.warning("warm_page_failed", host=host, why=_why(error))
            self._failing.add(address)
            return False
        self._failing.discard(address)
        return True


def _why(error: Exception) -> str:
    """The kind of the error. Its text may quote an address with a meeting in it, and is left out."""
    text = str(error)
    return text if text.startswith("HTTP ") else type(error).__name__
