"""Pages that a test writes, under whatever address: the real names of the platforms, too."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final
from urllib.parse import urldefrag

import pytest_asyncio
from playwright.async_api import Page, Route

from tests.worker.conftest import Lender
from worker.platforms import BLANK

Show = Callable[[str, str], Awaitable[None]]

WRITE: Final = """(html) => {
  delete globalThis.APP;
  document.open();
  document.write(html);
  document.close();
}"""


async def rewrite(page: Page, html: str) -> None:
    """Another document under the same address, in a tenth of the time that it takes to go to one. The window is the
    same: what scripts declare in it is not to be declared again.
    """
    await page.evaluate(WRITE, f"<!doctype html>{html}")


@pytest_asyncio.fixture(loop_scope="session")
async def page(lender: Lender) -> AsyncGenerator[Page]:
    """As the test before left it: each goes somewhere first."""
    page = await lender.lend(empty=False)
    yield page
    await lender.take_back(page, empty=False)


@pytest_asyncio.fixture(loop_scope="session")
async def show(page: Page) -> Show:
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
        if "#" in url and urldefrag(url).url == urldefrag(page.url).url:  # to a fragment one goes without a request
            await page.goto(BLANK)
        await page.goto(url)

    await page.route("**/*", answer)
    return show
