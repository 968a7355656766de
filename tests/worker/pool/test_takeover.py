"""After the driver failed, workers and meetings are connected to again. What outlives the agent is in test_agent.py."""

import asyncio
import gc
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from common.config.settings import WorkerSettings
from common.wire.messages import BotEnded, BotMoved, Join, JoinRefused, WorkerGone, WorkerWarm
from common.wire.vocabulary import BotState, Reason, RefusalCause
from tests.waiting import wait_until
from tests.worker.conftest import Harness, pool_with, stand_ins
from worker.chromium.driver import Driver, DriverError

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def driver() -> AsyncGenerator[Driver]:
    """One for all tests here: those that end it wait for the next."""
    driver = Driver()
    await driver.start()
    yield driver
    await driver.stop()


@asynccontextmanager
async def pool_that_asks_often(
    folder: Path, settings: WorkerSettings, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Harness]:
    """It asks its driver whether that still answers. Nobody complains in the log of what came of its death."""
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    monkeypatch.setattr("worker.chromium.driver.CHECK_S", 0.5)
    monkeypatch.setattr("worker.chromium.driver.ANSWER_DEADLINE_S", 1.0)
    async with pool_with(folder, settings, driver) as harness, asyncio.TaskGroup() as tasks:
        tending = tasks.create_task(driver.tend(harness.pool.reconnect), name="tend the driver")
        yield harness
        await wait_until(lambda: not driver._gone.is_set())  # pyright: ignore[reportPrivateUsage]
        tending.cancel()
    gc.collect()
    loop.set_exception_handler(None)
    assert complaints == []


@pytest_asyncio.fixture(loop_scope="session")
async def harness(
    tmp_path: Path, driver: Driver, room: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Harness]:
    async with pool_that_asks_often(tmp_path, WorkerSettings(memory_reserve_mb=0), driver, monkeypatch) as harness:
        harness.meeting = room
        yield harness


@pytest_asyncio.fixture(loop_scope="session")
async def light_harness(tmp_path: Path, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Harness]:
    async with (
        stand_ins(tmp_path, WorkerSettings()) as (settings, meeting),
        pool_that_asks_often(tmp_path, settings, driver, monkeypatch) as harness,
    ):
        harness.meeting = meeting
        yield harness


MICROPHONE: Final = "navigator.permissions.query({ name: 'microphone' }).then((one) => one.state)"


def _signal_driver(harness: Harness, number: signal.Signals) -> None:
    signal.pidfd_send_signal(harness.driver._pidfd, number)  # pyright: ignore[reportPrivateUsage]


def _are_in(harness: Harness) -> set[str]:
    return {event.bot_id for event in harness.seen(BotMoved) if event.state is BotState.IN_MEETING}


async def test_a_meeting_outlives_the_driver(light_harness: Harness) -> None:
    await light_harness.warm()
    light_harness.pool.begin(light_harness.join())
    await wait_until(lambda: _are_in(light_harness) == {"b1"})
    browsers = light_harness.browsers()
    await _connected_anew_after(light_harness, signal.SIGKILL)
    assert light_harness.browsers() == browsers
    light_harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    await light_harness.gone()
    [ended] = light_harness.seen(BotEnded)
    assert (ended.reason, ended.detail) == (Reason.USER_REQUESTED, "")


@pytest.mark.long
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGKILL, signal.SIGSTOP),
        (signal.SIGSTOP, signal.SIGKILL),
    ],
    ids=["dies and hangs", "hangs and dies"],
)
async def test_a_meeting_outlives_the_driver_and_idle_workers_serve_again(
    harness: Harness, first: signal.Signals, second: signal.Signals
) -> None:
    for worker_id in ("w1", "w2"):
        harness.pool.warm(worker_id)
    await wait_until(lambda: len(harness.seen(WorkerWarm)) == 2)
    harness.pool.begin(harness.join())
    await wait_until(lambda: _are_in(harness) == {"b1"})
    browsers = harness.browsers()
    await _connected_anew_after(harness, first)
    page = harness.pool._workers["w1"].page  # pyright: ignore[reportPrivateUsage]
    assert page
    assert await page.evaluate(MICROPHONE) == "granted", "what the last driver had settled went with it"
    harness.pool.begin(Join("w2", "b2", 1, "room", harness.meeting, "Bot"))
    await wait_until(lambda: _told_of(harness, "b2"))
    assert "in_meeting" not in _told_of(harness, "b2"), "it is on its way"
    await _connected_anew_after(harness, second)
    await wait_until(lambda: _are_in(harness) == {"b1", "b2"})
    assert harness.seen(BotEnded) == []
    assert harness.browsers() == browsers
    harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    await wait_until(lambda: harness.seen(WorkerGone))
    [ended] = harness.seen(BotEnded)
    assert (ended.bot_id, ended.reason, ended.detail) == ("b1", Reason.USER_REQUESTED, "")
    assert _told_of(harness, "b1") == ["joining", "in_meeting", "leaving"]


@pytest.mark.long
@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
async def test_a_bot_that_is_given_out_while_there_is_no_driver_waits_for_the_next_one(
    light_harness: Harness, fault: signal.Signals
) -> None:
    """Its browser has no fault. Refused three times so, the bot would be lost."""
    await light_harness.warm()
    browsers = light_harness.browsers()
    _signal_driver(light_harness, fault)
    light_harness.pool.begin(light_harness.join())
    await wait_until(lambda: _are_in(light_harness) == {"b1"} or light_harness.seen(WorkerGone))
    assert (light_harness.seen(JoinRefused), light_harness.seen(WorkerGone)) == ([], [])
    assert light_harness.browsers() == browsers


@pytest.mark.parametrize(
    "is_connecting", [False, pytest.param(True, marks=pytest.mark.long)], ids=["before", "meanwhile"]
)
async def test_a_worker_that_is_warmed_while_the_driver_dies_becomes_warm_by_the_next_one(
    light_harness: Harness, monkeypatch: pytest.MonkeyPatch, *, is_connecting: bool
) -> None:
    """As a failure it would count against the VM, whose next warm-ups the manager puts off ever longer."""
    connect = light_harness.driver.connect
    asked = 0

    async def dying(endpoint: str, folder: Path, deadline_s: float) -> Browser:
        nonlocal asked
        asked += 1
        if asked == 1:
            _signal_driver(light_harness, signal.SIGKILL)
            if not is_connecting:
                await light_harness.driver._gone.wait()  # pyright: ignore[reportPrivateUsage]
        return await connect(endpoint, folder, deadline_s)

    monkeypatch.setattr(light_harness.driver, "connect", dying)
    light_harness.pool.warm("w1")
    await wait_until(lambda: light_harness.seen(WorkerWarm) or light_harness.seen(WorkerGone))
    assert light_harness.seen(WorkerGone) == []
    assert asked > 1


async def test_a_warm_up_that_finds_no_driver_in_time_says_so(
    light_harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_away(*_: object) -> bool:
        raise DriverError("it is being started anew")

    async def silent() -> bool:
        return False

    light_harness.pool._warmth._limit_s = 6.0  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(light_harness.driver, "connect", is_away)
    monkeypatch.setattr(light_harness.driver, "answers", silent)
    light_harness.pool.warm("w1")
    assert (await light_harness.gone()).detail == "cannot warm up: after 6 s still without a Playwright driver"


@pytest.mark.long
async def test_a_bot_whose_browser_is_not_connected_to_again_in_time_is_refused_and_that_browser_ended(
    light_harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.pool.serving.REATTACHED_S", 0.0)
    for worker_id in ("w1", "w2"):
        light_harness.pool.warm(worker_id)
    await wait_until(lambda: len(light_harness.seen(WorkerWarm)) == 2)
    other = light_harness.pool._workers["w2"]  # pyright: ignore[reportPrivateUsage]
    before = other.page
    _signal_driver(light_harness, signal.SIGKILL)
    light_harness.pool.begin(light_harness.join())
    await wait_until(lambda: light_harness.seen(WorkerGone))
    assert [refused.cause for refused in light_harness.seen(JoinRefused)] == [RefusalCause.BROWSER_DEAD]
    await wait_until(lambda: other.page not in (None, before))
    assert len(light_harness.browsers()) == 1


def _told_of(harness: Harness, bot_id: str) -> list[str]:
    return [move.state for move in harness.seen(BotMoved) if move.bot_id == bot_id]


async def _connected_anew_after(harness: Harness, fault: signal.Signals) -> None:
    """The driver has the fault, and all workers have a page that another one drives."""
    workers = harness.pool._workers  # pyright: ignore[reportPrivateUsage]
    before = [None, *(worker.page for worker in workers.values())]
    _signal_driver(harness, fault)
    await wait_until(lambda: not any(worker.page in before for worker in workers.values()))
