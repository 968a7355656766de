"""A page on its way to its meeting, before and without a session."""

import asyncio

import pytest
from playwright.async_api import Error, Page

from tests.worker.visits import Site
from worker.meeting.opening import Opening

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_it_comes_and_tells_when_it_was_asked_for_also_who_calls_later(page: Page, site: Site) -> None:
    opening, times = Opening(page), list[float]()
    async with asyncio.TaskGroup() as tasks:
        assert not await opening.comes(), "nobody sent it"
        opening.begin(tasks, site.page(""))
        assert await opening.comes()
        assert opening.is_requested
        opening.call(times.append)
        response = await opening.answer()
    assert (response and response.status, len(times), opening.is_begun) == (200, 1, False)
    opening.close()


async def test_who_calls_before_hears_of_it_once(page: Page, site: Site) -> None:
    opening, times = Opening(page), list[float]()
    opening.call(times.append)
    for _ in range(2):
        await page.goto(site.page(""))
    assert len(times) == 1
    later = Opening(page, is_requested=True)
    later.call(times.append)
    await page.goto(site.page(""))
    assert len(times) == 1


async def test_a_page_that_is_not_there_does_not_come(page: Page) -> None:
    opening = Opening(page)
    async with asyncio.TaskGroup() as tasks:
        opening.begin(tasks, "http://127.0.0.1:1/r/nobody")
        assert not await opening.comes()
        with pytest.raises(Error, match=r"net::ERR_"):
            await opening.answer()
    opening.close()


async def test_what_is_given_up_holds_nobody_up(page: Page, site: Site) -> None:
    opening = Opening(page)
    async with asyncio.TaskGroup() as tasks:
        opening.begin(tasks, f"{site.address}/r/silent")
        waiting = tasks.create_task(opening.comes(), name="wait for it")
        await site.asked_for.wait()
        opening.close()
        assert not await waiting
    assert not opening.is_begun
