"""One browser a module, and pages that a test writes: under whatever address, the real names of the platforms too."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest_asyncio
from playwright.async_api import Browser, Page, Route, async_playwright

from worker.browser import find_chromium

FLAGS: Final = ("--disable-background-networking", "--disable-component-update", "--no-first-run", "--lang=en-US")

Show = Callable[[str, str], Awaitable[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncGenerator[Browser]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=Path(find_chromium("")), args=[*FLAGS, *sandbox], headless=True
        )
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(browser: Browser) -> AsyncGenerator[Page]:
    context = await browser.new_context(viewport={"width": 1280, "height": 720})
    yield await context.new_page()
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def show(page: Page) -> AsyncGenerator[Show]:
    """Shows a page of that HTML under that address; whatever else is asked for is not there."""
    body = ""

    async def answer(route: Route) -> None:
        if route.request.is_navigation_request() and route.request.frame == page.main_frame:
            await route.fulfill(body=f"<!doctype html>{body}", content_type="text/html; charset=utf-8")
        else:
            await route.fulfill(status=404)

    async def show(url: str, html: str) -> None:
        nonlocal body
        body = html
        if "#" in url:  # to the same page with the same fragment there is nowhere to go
            await page.goto("about:blank")
        await page.goto(url)

    await page.route("**/*", answer)
    yield show
    await page.unroute("**/*")
