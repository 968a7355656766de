"""The stand-in beside the real Playwright, driven as the agent drives a Chromium: what it plays has to be believed."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, Playwright, async_playwright

from common.wire.messages import Join
from lab.chaos.observers.witness import Seen, Witness
from lab.chaos.stand_in.chromium import write_program
from tests.waiting import wait_until
from worker.decide.words import PageAction, Screen
from worker.decide.words import Seen as Shown
from worker.platforms import ATTEND, Adapter, adapter_for
from worker.platforms.rules import NOTHING

pytestmark = pytest.mark.asyncio(loop_scope="module")  # that of the one driver

ADAPTER_TIMEOUT_S = 30.0
JOIN = Join("w-1", "b-1", 1, "room", "http://room/r/chaos", "Bot")


class StandIn:
    """A running one, in a folder of its own."""

    def __init__(self, process: asyncio.subprocess.Process, profile: Path) -> None:
        self.process = process
        self._port_file = profile / "DevToolsActivePort"

    def is_ready(self) -> bool:
        return self._port_file.exists() and self._port_file.read_text().count("\n") == 1

    @property
    def endpoint(self) -> str:
        port, path = self._port_file.read_text().split("\n")
        return f"ws://127.0.0.1:{port}{path}"


@pytest_asyncio.fixture(loop_scope="module")
async def witness() -> AsyncGenerator[Witness]:
    async with Witness() as witness:
        yield witness


@pytest_asyncio.fixture(loop_scope="module")
async def browser(tmp_path: Path, witness: Witness) -> AsyncGenerator[StandIn]:
    program = write_program(tmp_path / "browser", witness.address)
    profile = tmp_path / "profile"
    profile.mkdir()
    process = await asyncio.create_subprocess_exec(
        program, "--headless=new", f"--user-data-dir={profile}", "about:blank"
    )
    browser = StandIn(process, profile)
    await wait_until(browser.is_ready)
    yield browser
    if process.returncode is None:
        process.kill()
    await process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def playwright() -> AsyncGenerator[Playwright]:
    async with async_playwright() as playwright:
        yield playwright


@pytest.fixture
def adapter() -> Adapter:
    adapter = adapter_for("room")
    assert adapter
    return adapter


@asynccontextmanager
async def connected(playwright: Playwright, endpoint: str) -> AsyncGenerator[Page]:
    """The page that is there; afterwards the connection is gone, and the browser is not."""
    browser = await playwright.chromium.connect_over_cdp(endpoint, is_local=True)
    yield browser.contexts[0].pages[0]
    await browser.close()


async def target_of(page: Page) -> str:
    session: Any = await page.context.new_cdp_session(page)
    info = await session.send("Target.getTargetInfo")
    return info["targetInfo"]["targetId"]


def link(witness: Witness, query: str) -> str:
    return f"http://{witness.address}/r/chaos?tag=t&{query}"


async def until_it_shows(page: Page, adapter: Adapter, screen: Screen) -> None:
    async def shown() -> bool:
        seen = await adapter.observe(page, ADAPTER_TIMEOUT_S, NOTHING)
        return isinstance(seen, Shown) and seen.screen is screen

    await wait_until(shown)


async def join(page: Page, adapter: Adapter) -> None:
    await adapter.act(page, PageAction.FILL_NAME_AND_JOIN, JOIN, ADAPTER_TIMEOUT_S)


async def test_the_agents_own_adapter_takes_it_from_the_link_to_the_end(
    playwright: Playwright, browser: StandIn, witness: Witness, adapter: Adapter
) -> None:
    async with connected(playwright, browser.endpoint) as page:
        assert await page.evaluate("1") == 1
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        url = link(witness, "lobby_s=600")
        answer = await page.goto(url, wait_until="commit")
        assert answer
        assert (answer.status, requests, page.url) == (200, [url], url)
        await until_it_shows(page, adapter, Screen.NAME_PROMPT)
        await join(page, adapter)
        await until_it_shows(page, adapter, Screen.WAITING_ROOM)
        await page.goto(link(witness, "lobby_s=0.1&stay_s=0.1"), wait_until="commit")
        await until_it_shows(page, adapter, Screen.NAME_PROMPT)
        await join(page, adapter)
        await until_it_shows(page, adapter, Screen.ENDED)
        await page.goto("about:blank")
        assert page.url == "about:blank"
    await wait_until(lambda: not witness.present)
    way = [Seen.LOBBY, Seen.LEFT, Seen.LOBBY, Seen.INSIDE, Seen.LEFT]
    assert [mark.seen for mark in witness.marks] == way
    assert {(mark.tag, mark.pid) for mark in witness.marks} == {("t", browser.process.pid)}


@pytest.mark.parametrize(
    ("query", "screen"),
    [
        ("deny=1", Screen.DENIED),
        ("stay_s=0.1&end=removed", Screen.REMOVED),
        pytest.param("stay_s=0.1&end=full", Screen.FULL, marks=pytest.mark.long),
    ],
)
async def test_the_link_says_how_the_meeting_ends(
    playwright: Playwright, browser: StandIn, witness: Witness, adapter: Adapter, query: str, screen: Screen
) -> None:
    async with connected(playwright, browser.endpoint) as page:
        await page.goto(link(witness, query), wait_until="commit")
        await join(page, adapter)
        await until_it_shows(page, adapter, screen)


async def test_the_next_driver_finds_the_page_where_it_was_and_can_leave(
    playwright: Playwright, browser: StandIn, witness: Witness, adapter: Adapter
) -> None:
    url = link(witness, "lobby_s=0.2")
    async with connected(playwright, browser.endpoint) as page:
        before = await target_of(page)
        await page.goto(url, wait_until="commit")
        await join(page, adapter)
    await wait_until(witness.inside)  # which happens while nobody drives it
    async with connected(playwright, browser.endpoint) as page:
        assert (page.url, await target_of(page)) == (url, before)
        await until_it_shows(page, adapter, Screen.IN_MEETING)
        await adapter.act(page, PageAction.LEAVE_MEETING, JOIN, ADAPTER_TIMEOUT_S)
        await until_it_shows(page, adapter, Screen.LEFT)
    await wait_until(lambda: witness.marks[-1].seen is Seen.LEFT)


@pytest.mark.long
async def test_a_browser_that_dies_is_gone_to_its_witness(
    playwright: Playwright, browser: StandIn, witness: Witness, adapter: Adapter
) -> None:
    async with connected(playwright, browser.endpoint) as page:
        await page.goto(link(witness, "crash_s=1"), wait_until="commit")
        await join(page, adapter)
        assert await browser.process.wait() == -signal.SIGKILL
    await wait_until(lambda: not witness.present)
    assert [mark.seen for mark in witness.marks] == [Seen.INSIDE, Seen.GONE]


async def test_a_page_that_hangs_answers_nobody_until_it_is_left(
    playwright: Playwright, browser: StandIn, witness: Witness, adapter: Adapter
) -> None:
    async with connected(playwright, browser.endpoint) as page:
        await page.goto(link(witness, "hang_s=1"), wait_until="commit")
        await join(page, adapter)
        await wait_until(witness.inside)

        async def hangs() -> bool:
            try:
                await adapter.observe(page, 0.1, NOTHING)
            except TimeoutError:
                return True
            return False

        await wait_until(hangs)
        await page.goto("about:blank")
        assert await page.evaluate("1") == 1


async def test_a_page_that_nobody_attends_to_leaves_by_itself(
    playwright: Playwright, browser: StandIn, witness: Witness, adapter: Adapter
) -> None:
    async with connected(playwright, browser.endpoint) as page:
        await page.goto(link(witness, ""), wait_until="commit")
        await join(page, adapter)
        await page.evaluate(ATTEND, 0.3)
        await wait_until(lambda: page.url == "about:blank")
        await wait_until(lambda: not witness.present)
    assert [mark.seen for mark in witness.marks] == [Seen.INSIDE, Seen.LEFT]
