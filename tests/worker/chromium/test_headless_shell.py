"""Chromium's headless shell in place of a whole Chromium, where one is installed."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.waiting import PATIENCE_S
from worker.chromium import permissions, processes
from worker.chromium.driver import Driver
from worker.chromium.process import Chromium, Launcher, sweep
from worker.chromium.profile import Profile
from worker.platforms import prepare


def found() -> Path | None:
    """Debian's, or Playwright's own by its name of today or the one before."""
    builds = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or "~/.cache/ms-playwright").expanduser()
    names = ("chrome-headless-shell", "headless_shell")
    of_playwright = (path for name in names for path in builds.glob(f"chromium_headless_shell-*/*/{name}"))
    known = Path("/usr/lib/chromium/chromium-headless-shell")
    return next((path for path in (known, *of_playwright) if path.exists()), None)


@pytest.fixture
async def chromium(tmp_path: Path) -> AsyncGenerator[Chromium]:
    program = found()
    if program is None:
        pytest.skip("no headless shell is installed")
    async with asyncio.timeout(PATIENCE_S):
        chromium = await Launcher(Profile(program, devices="fake"), tmp_path).launch("w1")
    yield chromium
    await chromium.kill()


@pytest.fixture
async def page(chromium: Chromium, tmp_path: Path) -> AsyncGenerator[Page]:
    driver = Driver()
    await driver.start()
    browser = await driver.connect(chromium.endpoint, tmp_path, PATIENCE_S)
    await permissions.settle(browser.contexts[0])
    yield (await prepare(browser.contexts[0]))[0]
    await driver.stop()


async def test_its_page_is_ready_to_join(page: Page) -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        await page.goto(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        media = await page.evaluate(
            "async () => (await navigator.mediaDevices.getUserMedia({ audio: true, video: true })).getTracks().length"
        )
        sounds = await page.evaluate("async () => { const c = new AudioContext(); await c.resume(); return c.state; }")
        asked = await page.evaluate(
            "navigator.permissions.query({ name: 'notifications' }).then((found) => found.state)"
        )
    assert (media, sounds, asked) == (2, "running", "denied")
    assert b"Accept-Language: en-US,en" in heads[0]
    assert await page.evaluate("navigator.languages") == ["en-US", "en"]


def group(leader: int) -> list[int]:
    return [process.pid for process in processes.scan() if process.group == leader]


async def test_it_leaves_no_process_and_no_folder(chromium: Chromium) -> None:
    await chromium.kill()
    assert group(chromium.leader.pid) == []
    assert not chromium.folder.exists()


async def test_what_outlived_its_first_process_is_found_without_its_folder(chromium: Chromium, tmp_path: Path) -> None:
    for pid in group(chromium.leader.pid):
        with suppress(ProcessLookupError):  # one that was needed for the start only
            os.kill(pid, signal.SIGSTOP)  # so that they do not leave by themselves
    os.kill(chromium.leader.pid, signal.SIGKILL)
    await chromium.exited()
    assert group(chromium.leader.pid)
    shutil.rmtree(chromium.folder)
    assert await asyncio.to_thread(sweep, tmp_path) == ["w1"]
    assert group(chromium.leader.pid) == []
