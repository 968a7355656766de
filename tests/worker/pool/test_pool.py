"""Workers with real browsers: how each begins and ends, and what is reported in which order."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Container
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Error as PlaywrightError

from common.config.settings import WorkerSettings
from common.wire.messages import BotEnded, Join, JoinRefused, WorkerGone, WorkerReport, WorkerWarm
from common.wire.vocabulary import GoneCause, Reason, RefusalCause, WorkerState
from tests.waiting import wait_until
from tests.worker.conftest import Harness, light_pool, pool_with
from worker.chromium import processes
from worker.chromium.driver import Driver
from worker.link.journal import Stage
from worker.pool.memory import Memory
from worker.pool.watch import LOUD_BYTES, LOUD_LOOKS

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def cold(tmp_path: Path, driver: Driver) -> AsyncGenerator[Harness]:
    """A pool whose browsers start and never answer."""
    mute = tmp_path / "chromium"
    mute.write_text("#!/bin/sh\nsleep 600\n")
    mute.chmod(0o755)
    async with pool_with(tmp_path, WorkerSettings(memory_reserve_mb=0, chromium=str(mute)), driver) as cold:
        yield cold


async def test_a_retired_worker_leaves_nothing(light_harness: Harness) -> None:
    await light_harness.warm()
    assert light_harness.pool.reports() == {"w1": WorkerReport(WorkerState.IDLE)}
    light_harness.pool.warm("w1")  # a second order changes nothing
    assert len(light_harness.browsers()) == 1
    light_harness.pool.retire("w1")
    assert light_harness.notes["w1"].stage is Stage.SPENT, "an agent that is killed now does not take it for idle again"
    assert (await light_harness.gone()).cause is GoneCause.RETIRED
    assert light_harness.pool.reports() == {}
    assert light_harness.notes == {}


async def test_a_worker_can_be_retired_while_it_warms_up(cold: Harness) -> None:
    cold.pool.warm("w1")
    await wait_until(cold.browsers)
    cold.pool.retire("w1")
    assert (await cold.gone()).cause is GoneCause.RETIRED
    assert cold.seen(WorkerWarm) == []


async def test_an_order_that_is_read_again_starts_none_that_is_gone(light_harness: Harness) -> None:
    """As by the next agent, when one died between a browser's start and the deletion of the order."""
    await light_harness.warm()
    light_harness.pool.retire("w1")
    await light_harness.gone()
    light_harness.pool.warm("w1")
    assert light_harness.pool.reports() == {}
    light_harness.pool.warm("w2")
    assert list(light_harness.pool.reports()) == ["w2"]


async def test_an_unknown_worker_is_retired_as_missing(harness: Harness) -> None:
    harness.pool.retire("w9")
    [event] = harness.seen(WorkerGone)
    assert (event.worker_id, event.cause) == ("w9", GoneCause.MISSING)


async def test_an_idle_browser_that_crashes_is_evicted_at_once(light_harness: Harness) -> None:
    await light_harness.warm()
    [leader] = light_harness.browsers()
    os.kill(leader, signal.SIGKILL)
    assert (await light_harness.gone()).cause is GoneCause.CRASHED


async def test_a_browser_that_does_not_come_up_fails_its_warm_up(cold: Harness) -> None:
    cold.pool._warmth._limit_s = 0.3  # pyright: ignore[reportPrivateUsage]
    cold.pool.warm("w1")
    event = await cold.gone()
    assert event.cause is GoneCause.WARMUP_FAILED
    assert event.detail == "cannot warm up: after 0.3 s still without the DevTools port"


async def test_a_warm_up_that_would_touch_the_memory_reserve_is_refused(tmp_path: Path, driver: Driver) -> None:
    async with pool_with(tmp_path, WorkerSettings(memory_reserve_mb=10_000_000), driver) as harness:
        assert harness.pool.room() == 0
        harness.pool.warm("w1")
        assert (await harness.gone()).cause is GoneCause.LOW_MEMORY


async def test_a_worker_that_warms_up_takes_room(cold: Harness) -> None:
    before = cold.pool.room()
    for number in range(3):
        cold.pool.warm(f"w{number}")
    # Other programs take and give memory meanwhile, though not two workers' worth.
    assert cold.pool.room() <= before - 2


async def test_joins_that_cannot_be_are_refused_with_the_cause_and_the_worker_stays_idle(
    light_harness: Harness,
) -> None:
    light_harness.pool.begin(light_harness.join())
    await light_harness.warm()
    light_harness.pool.begin(light_harness.join(platform="carrier_pigeon"))
    light_harness.pool._memory = Memory(10_000_000, 1)  # pyright: ignore[reportPrivateUsage]
    light_harness.pool.begin(light_harness.join())
    light_harness.pool.stopping = True
    light_harness.pool.begin(light_harness.join())
    assert [event.cause for event in light_harness.seen(JoinRefused)] == [
        RefusalCause.NO_SUCH_WORKER,
        RefusalCause.UNKNOWN_PLATFORM,
        RefusalCause.LOW_MEMORY,
        RefusalCause.STOPPING,
    ]
    assert light_harness.pool.reports() == {"w1": WorkerReport(WorkerState.IDLE)}


@pytest.mark.long
async def test_a_worker_that_holds_too_much_ends_alone_with_the_reason(harness: Harness) -> None:
    await harness.warm("w1")
    harness.pool.warm("w2")
    await wait_until(lambda: len(harness.seen(WorkerWarm)) == 2)
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(getattr(event, "state", "") == "in_meeting" for event in harness.events))
    harness.pool.watch.end_those_too_large()
    page = harness.pool._workers["w1"].page  # pyright: ignore[reportPrivateUsage]
    assert page
    await page.evaluate("globalThis.hoard = new Uint8Array(400 << 20).fill(1); 0")
    harness.pool.watch._limit_mb = 400  # pyright: ignore[reportPrivateUsage]
    harness.pool.watch.end_those_too_large()
    await wait_until(lambda: harness.seen(WorkerGone))
    [ended], [gone] = harness.seen(BotEnded), harness.seen(WorkerGone)
    assert (ended.reason, gone.worker_id) == (Reason.MEMORY_LIMIT, "w1")
    assert "more than worker.memory_limit_mb (400)" in ended.detail
    assert harness.pool.reports() == {"w2": WorkerReport(WorkerState.IDLE)}


async def test_a_page_that_crashes_of_its_own_hoard_ends_for_that_reason(harness: Harness) -> None:
    """Chromium may give a page less than `worker.memory_limit_mb`."""
    await harness.warm("w1")
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(getattr(event, "state", "") == "in_meeting" for event in harness.events))
    worker = harness.pool._workers["w1"]  # pyright: ignore[reportPrivateUsage]
    now = time.monotonic()
    worker.memory.note(100, now - 10)
    worker.memory.note(1200, now)
    assert worker.page
    with suppress(PlaywrightError):
        await worker.page.goto("chrome://crash")
    await harness.gone()
    [ended] = harness.seen(BotEnded)
    assert ended.reason is Reason.MEMORY_LIMIT
    assert ended.detail == "the page crashed: it grew from 100 to 1200 MB in 10 s"


async def test_the_page_that_floods_the_driver_ends_alone(
    light_harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for worker_id in ("w1", "w2"):
        light_harness.pool.warm(worker_id)
    await wait_until(lambda: len(light_harness.seen(WorkerWarm)) == 2)
    light_harness.pool.begin(light_harness.join())
    light_harness.pool.begin(Join("w2", "b2", 1, "room", light_harness.meeting, "Drowned out"))
    await wait_until(lambda: sum(getattr(event, "state", "") == "in_meeting" for event in light_harness.events) == 2)
    workers = light_harness.pool._workers  # pyright: ignore[reportPrivateUsage]
    [loudest, loud] = [value.chromium.port for value in workers.values() if value.chromium]
    flood, calm = {loudest: LOUD_BYTES + 2, loud: LOUD_BYTES + 1}, {loudest: 0, loud: LOUD_BYTES}
    unread = iter([*[flood] * (LOUD_LOOKS - 1), calm, *[flood] * (LOUD_LOOKS + 1)])

    def read(_: Container[int]) -> dict[int, int]:
        return next(unread)

    monkeypatch.setattr(processes, "unread_bytes", read)
    for _ in range(2 * LOUD_LOOKS - 1):
        await light_harness.pool.watch.end_those_too_loud()
    assert all(value.session and not value.status.is_ending for value in workers.values())
    await light_harness.pool.watch.end_those_too_loud()
    await wait_until(lambda: light_harness.seen(WorkerGone))
    [ended] = light_harness.seen(BotEnded)
    assert (ended.bot_id, ended.reason) == ("b1", Reason.BROWSER_HUNG)
    assert "more events than the driver" in ended.detail
    assert light_harness.pool.reports()["w2"].state is WorkerState.BUSY


async def test_only_bots_that_are_sent_in_again_leave_when_their_vm_is_cut_off(light_harness: Harness) -> None:
    for worker_id in ("w1", "w2"):
        light_harness.pool.warm(worker_id)
    await wait_until(lambda: len(light_harness.seen(WorkerWarm)) == 2)
    light_harness.pool.begin(light_harness.join("stays"))
    goes = Join("w2", "goes", 1, "room", light_harness.meeting, "Bot", leave_when_cut_off_s=30.0)
    light_harness.pool.begin(goes)
    await wait_until(lambda: sum(getattr(event, "state", "") == "in_meeting" for event in light_harness.events) == 2)
    await light_harness.pool.watch.leave_if_cut_off(29.0)
    await light_harness.pool.watch.leave_if_cut_off(31.0)
    await wait_until(lambda: light_harness.seen(BotEnded))
    [ended] = light_harness.seen(BotEnded)
    assert (ended.bot_id, ended.reason) == ("goes", Reason.CUT_OFF)
    await wait_until(lambda: list(light_harness.pool.reports()) == ["w1"])


async def test_a_browser_that_hangs_does_not_outstay_the_time_that_its_vm_may_be_cut_off(
    tmp_path: Path, driver: Driver
) -> None:
    settings = WorkerSettings(leave_timeout_s=200, page_timeout_s=200)
    async with light_pool(tmp_path, driver, settings) as harness:
        await harness.warm()
        harness.pool.begin(Join("w1", "hangs", 1, "room", harness.meeting, "Bot", leave_when_cut_off_s=30.0))
        await wait_until(lambda: "in_meeting" in [getattr(event, "state", "") for event in harness.events])
        [leader] = harness.browsers()
        os.killpg(leader, signal.SIGSTOP)
        await harness.pool.watch.leave_if_cut_off(44.0)
        assert harness.browsers() == [leader], "it may still leave by its page's own button"
        await harness.pool.watch.leave_if_cut_off(46.0)
        await harness.pool.watch.leave_if_cut_off(47.0)
        await harness.gone()
        assert harness.browsers() == []
        assert [(ended.bot_id, ended.reason) for ended in harness.seen(BotEnded)] == [("hangs", Reason.CUT_OFF)]


async def test_stopping_ends_the_idle_and_those_that_warm_up(light_harness: Harness) -> None:
    await light_harness.warm("w1")
    light_harness.pool.warm("w2")
    light_harness.pool.refuse_work()
    light_harness.pool.warm("w3")
    await light_harness.pool.empty.wait()
    causes = {event.worker_id: event.cause for event in light_harness.seen(WorkerGone)}
    assert causes == dict.fromkeys(("w1", "w2", "w3"), GoneCause.AGENT_STOPPED)
    assert light_harness.browsers() == []


async def test_the_files_that_are_read_are_the_newest_idle_browsers(
    tmp_path: Path, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def note(group: int) -> set[Path]:
        asked.append(group)
        return set()

    monkeypatch.setattr(processes, "mapped_files", note)
    async with light_pool(tmp_path, driver, WorkerSettings(warm_files_refresh_s=0.01)) as harness:
        await harness.warm("w1")
        [oldest] = harness.browsers()
        harness.pool.warm("w2")
        await wait_until(lambda: len(harness.seen(WorkerWarm)) == 2)
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(harness.pool.keep_files_warm(), name="warm files")
            await wait_until(lambda: len(asked) > 1)
            keeping.cancel()
        assert {oldest, *asked} == set(harness.browsers())
        assert oldest not in asked
