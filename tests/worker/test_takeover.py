"""After the driver failed, workers and meetings are connected to again. What outlives the agent is in test_agent.py."""

import signal
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.waiting import wait_until
from tests.worker.conftest import Harness, pool_with_own_driver
from wire.messages import BotEnded, BotMoved, WorkerGone
from wire.settings import WorkerSettings
from wire.vocabulary import Reason

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def harness(tmp_path: Path, room: str, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Harness]:
    """Whose driver is asked often whether it still answers."""
    monkeypatch.setattr("worker.driver.CHECK_S", 0.5)
    monkeypatch.setattr("worker.driver.ANSWER_DEADLINE_S", 1.0)
    async with pool_with_own_driver(tmp_path, WorkerSettings(memory_reserve_mb=0)) as harness:
        harness.meeting = room
        yield harness


def _signal_driver(harness: Harness, number: signal.Signals) -> None:
    signal.pidfd_send_signal(harness.driver._pidfd, number)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
async def test_after_the_driver_failed_idle_workers_serve_again(harness: Harness, fault: signal.Signals) -> None:
    await harness.warm()
    _signal_driver(harness, fault)
    worker = harness.pool._workers["w1"]  # pyright: ignore[reportPrivateUsage]
    page = worker.page
    await wait_until(lambda: worker.page not in (None, page))
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(getattr(event, "state", "") == "in_meeting" for event in harness.events))
    assert harness.seen(WorkerGone) == []


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
async def test_a_meeting_outlives_the_driver(harness: Harness, fault: signal.Signals) -> None:
    await harness.warm()
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(getattr(event, "state", "") == "in_meeting" for event in harness.events))
    browsers = harness.browsers()
    worker = harness.pool._workers["w1"]  # pyright: ignore[reportPrivateUsage]
    page = worker.page
    _signal_driver(harness, fault)
    await wait_until(lambda: worker.page not in (None, page))
    harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    await harness.gone()
    [ended] = harness.seen(BotEnded)
    assert (ended.reason, ended.detail) == (Reason.USER_REQUESTED, "")
    assert [move.state for move in harness.seen(BotMoved)] == ["joining", "in_meeting", "leaving"]
    assert len(browsers) == 1


async def test_a_bot_that_is_on_its_way_when_the_driver_dies_arrives(harness: Harness) -> None:
    await harness.warm()
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(isinstance(event, BotMoved) for event in harness.events))
    _signal_driver(harness, signal.SIGKILL)
    await wait_until(lambda: any(getattr(event, "state", "") == "in_meeting" for event in harness.events))
    assert harness.seen(BotEnded) == []
