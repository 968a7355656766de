"""Ready to join: what a page finds in a worker that has just become warm."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Page

from common.config.settings import WorkerSettings
from tests.waiting import PATIENCE_S
from tests.worker.conftest import Harness, light_pool, pool_with
from worker.chromium import processes
from worker.chromium.driver import Driver

pytestmark = pytest.mark.asyncio(loop_scope="session")

_ASK = """async () => {
  const state = async (name) => (await navigator.permissions.query({ name })).state;
  const names = ["microphone", "camera", "notifications", "geolocation"];
  const opened = new AudioContext();
  await opened.resume();
  return {
    permissions: Object.fromEntries(await Promise.all(names.map(async (name) => [name, await state(name)]))),
    languages: navigator.languages,
    audio: opened.state,
    devices: (await navigator.mediaDevices.enumerateDevices()).map((device) => device.kind),
    media: await navigator.mediaDevices.getUserMedia({ audio: true, video: true }).then(
      (stream) => stream.getTracks().map((track) => track.kind).sort(), (error) => error.name),
  };
}"""


@asynccontextmanager
async def site() -> AsyncGenerator[tuple[str, list[web.Request]]]:
    """The address of a page, and who asked for it."""
    requests: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append(request)
        return web.Response(text="<!doctype html><title>page</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/", requests
    await runner.cleanup()


def page_of(harness: Harness) -> Page:
    page = harness.pool._workers["w1"].page  # pyright: ignore[reportPrivateUsage]
    assert page
    return page


@pytest.mark.parametrize(
    ("devices", "kinds", "media"),
    [
        pytest.param("none", set[str](), "NotFoundError", marks=pytest.mark.long),
        ("fake", {"audioinput", "videoinput", "audiooutput"}, ["audio", "video"]),
    ],
)
async def test_a_page_in_a_warm_worker_finds_all_settled(
    tmp_path: Path, driver: Driver, devices: Any, kinds: set[str], media: object
) -> None:
    async with pool_with(tmp_path, WorkerSettings(memory_reserve_mb=0, devices=devices), driver) as harness:
        await harness.warm()
        async with site() as (address, requests):
            page = page_of(harness)
            await page.goto(address)
            async with asyncio.timeout(PATIENCE_S):
                found: dict[str, Any] = await page.evaluate(_ASK)
            assert requests[0].headers["Accept-Language"] == "en-US,en;q=0.9"
            assert found["permissions"] == {
                "microphone": "granted",
                "camera": "granted",
                "notifications": "denied",
                "geolocation": "denied",
            }
            assert found["languages"] == ["en-US", "en"]
            assert found["audio"] == "running"
            assert set(found["devices"]) == kinds
            assert found["media"] == media
            [leader] = harness.browsers()
            lines = [processes.command_line(each.pid) for each in processes.scan() if each.group == leader]
            assert len(lines) > 3
            services = ("AudioService", "NetworkService")
            types = [line.partition("--utility-sub-type=")[2].partition(" ")[0] for line in lines]
            assert not [each for each in types if any(service in each for service in services)]


async def test_further_switches_reach_the_browser(tmp_path: Path, driver: Driver) -> None:
    """A real one heeds them in tests/worker/platforms/test_sites.py."""
    features = ["--disable-features=Prerender2", "--enable-features=Prerender2Fallback"]
    switches = ["--host-resolver-rules=MAP meet.test 127.0.0.1", *features]
    async with light_pool(tmp_path, driver, WorkerSettings(chromium_arguments=switches)) as harness:
        await harness.warm()
        line = processes.command_line(harness.browsers()[0])
        assert "--host-resolver-rules=MAP meet.test 127.0.0.1" in line
        assert line.count("--disable-features=") == 1
        assert line.count("--enable-features=") == 1
        assert "AudioServiceOutOfProcess,Prerender2" in line
        assert "NetworkServiceInProcess2,Prerender2Fallback" in line
