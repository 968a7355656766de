"""The platforms' page code in the cache of fresh workers: one visit for all of them, and nothing but the code stays."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from common.config.settings import CaptureSettings, WorkerSettings
from common.wire.messages import WorkerGone, WorkerWarm
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.conftest import Harness, light_pool, pool_with
from worker.chromium import warm_pages
from worker.chromium.display import RECORDING_PROGRAMS
from worker.chromium.driver import Driver
from worker.chromium.process import Launcher, find_chromium, sweep
from worker.chromium.profile import Profile

pytestmark = pytest.mark.asyncio(loop_scope="session")

_HTML = """<!doctype html><title>page</title><link rel="icon" href="data:,">
<script src="/code.js"></script><script>localStorage.visited ??= "once"</script>"""
_CODE = "".join(f"function f{number}(x) {{ return x + {number}; }} f{number}(1);\n" for number in range(2000))


class Site:
    """A page with code that may be cached; it sets cookies and keeps storage. `may_answer`: clear it, and it waits."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.requests: list[web.Request] = []
        self.address = ""
        self.status = 200

    def asked(self, path: str) -> int:
        return sum(request.path == path for request in self.requests)

    async def page(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        await self.may_answer.wait()
        headers = {"Set-Cookie": "page=1; Max-Age=9999", "Cache-Control": "no-cache"}
        return web.Response(status=self.status, text=_HTML, content_type="text/html", headers=headers)

    async def code(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        headers = {"Set-Cookie": "code=1; Max-Age=9999", "Cache-Control": "public, max-age=86400"}
        return web.Response(text=_CODE, content_type="text/javascript", headers=headers)


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncGenerator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_get("/", site.page)
    app.router.add_get("/code.js", site.code)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.address = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield site
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_pages, "SETTLE_S", 0.3)
    monkeypatch.setattr(warm_pages, "AGAIN_S", 0.2)


@asynccontextmanager
async def kept_warm(
    tmp_path: Path,
    driver: Driver,
    *pages: str,
    most_mb: int = 200,
    refresh_s: float = 600,
    capture: CaptureSettings | None = None,
) -> AsyncGenerator[Harness]:
    settings = WorkerSettings(
        memory_reserve_mb=0, warm_pages=[*pages], warm_pages_mb=most_mb, warm_pages_refresh_s=refresh_s
    )
    async with pool_with(tmp_path, settings, driver, capture=capture) as harness, asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(harness.pool.keep_pages_warm(), name="warm pages")
        yield harness
        keeping.cancel()


def copies(tmp_path: Path) -> list[Path]:
    folder = tmp_path / warm_pages.VISITOR
    return [path for path in folder.iterdir() if path.name[-1].isdecimal()] if folder.exists() else []


async def test_a_fresh_worker_of_this_agent_and_the_next_has_the_code_and_nothing_else_of_the_visit(
    tmp_path: Path, driver: Driver, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / warm_pages.VISITOR / f"0123456789abcdef-{time.time():.0f}"
    other.mkdir(parents=True)  # for another profile
    assert Profile(find_chromium("")).name != Profile(find_chromium(""), devices="fake").name
    monkeypatch.setattr(warm_pages, "LOAD_DEADLINE_S", PATIENCE_S)
    site.may_answer.clear()
    async with kept_warm(tmp_path, driver, site.address) as harness:
        await harness.warm("w0")
        await wait_until(lambda: not other.exists())
        assert (copies(tmp_path), harness.pool.reports()["w0"].outdated) == ([], False), "it did not wait for the copy"
        site.may_answer.set()
        await wait_until(lambda: copies(tmp_path))
        await wait_until(lambda: harness.pool.reports()["w0"].outdated)
        harness.pool.retire("w0")
        await wait_until(lambda: harness.seen(WorkerGone))
        harness.events.clear()
        assert (site.asked("/"), site.asked("/code.js")) == (warm_pages.VISITS, 1)
        [copy] = copies(tmp_path)
        assert any((copy / "Code Cache" / "js").glob("*_0")), "what V8 compiled"
        await harness.warm()
        assert not harness.pool.reports()["w1"].outdated
        page = harness.pool._workers["w1"].page  # pyright: ignore[reportPrivateUsage]
        assert page
        await page.goto(site.address)
        assert site.asked("/code.js") == 1, "the worker has it"
        assert site.requests[-1].path == "/"
        assert site.requests[-1].cookies == {}
        assert [cookie.get("name") for cookie in await page.context.cookies()] == ["page"], "of this visit"
        await wait_until(lambda: len(harness.browsers()) == 1)
    # The next agent of this state folder need not visit anything, not for workers with a display either.
    site.requests.clear()
    can_show = all(map(shutil.which, RECORDING_PROGRAMS))
    capture = CaptureSettings(store=str(tmp_path / "store"), video="display") if can_show else None
    async with kept_warm(tmp_path, driver, site.address, capture=capture) as harness:
        await harness.warm()
        assert harness.pool.reports()["w1"].display == can_show
        assert copies(tmp_path) == [copy]
        assert site.requests == []
        page = harness.pool._workers["w1"].page  # pyright: ignore[reportPrivateUsage]
        assert page
        await page.goto(site.address)
        assert [request.path for request in site.requests] == ["/"]
        # A copy that is half gone is none.
        (copy / "Code Cache").rename(tmp_path / "elsewhere")
        harness.pool._warm_pages.copy_cache(tmp_path / "profile")  # pyright: ignore[reportPrivateUsage]
        assert not (tmp_path / "profile" / "Default").exists()


@pytest.mark.long
async def test_a_page_that_cannot_be_loaded_is_said_once_keeps_nobody_from_being_warm_and_is_visited_anew(
    tmp_path: Path, driver: Driver, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.status = 503
    # Some clients live behind a fragment, and are loaded as often for all that.
    async with kept_warm(tmp_path, driver, f"{site.address}#/client", refresh_s=0.1) as harness:
        harness.pool.warm("w1")
        await wait_until(lambda: site.asked("/") >= 2 and harness.seen(WorkerWarm))
        site.status = 200
        site.requests.clear()
        await wait_until(lambda: site.asked("/") >= warm_pages.VISITS and site.asked("/code.js"))
        before = copies(tmp_path)
        await wait_until(lambda: any(copy not in before for copy in copies(tmp_path)))
        await wait_until(lambda: len(copies(tmp_path)) <= 2)
    said = capsys.readouterr().out
    assert said.count("warm_page_failed") == 1
    assert "HTTP 503" in said
    assert site.address not in said


async def test_a_cache_that_is_too_large_is_not_used(
    tmp_path: Path, driver: Driver, site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_pages, "VISITS", 1)
    async with kept_warm(tmp_path, driver, site.address, most_mb=0):
        await wait_until(lambda: "more than worker.warm_pages_mb" in capsys.readouterr().out)
    assert copies(tmp_path) == []


async def test_a_visitor_is_no_orphan_while_its_agent_lives_and_is_one_afterwards(
    tmp_path: Path, driver: Driver
) -> None:
    async with light_pool(tmp_path, driver, WorkerSettings()) as harness:
        launcher = Launcher(Profile(tmp_path / "stand-in"), tmp_path)
        chromium = await launcher.launch(warm_pages.VISITOR)
        assert await harness.pool.sweep(3) == []
        os.kill(chromium.leader.pid, 0)
    assert sweep(tmp_path) == [warm_pages.VISITOR]
