"""What becomes of what a recorder still has when its bot is out, and its worker ends. The pool and the recordings are
real; browser and recorder are stand-ins.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from common.config.settings import WorkerSettings
from common.wire.messages import BotEnded, BotMoved
from common.wire.vocabulary import BotState, Reason
from tests.waiting import wait_until
from tests.worker.capture.conftest import Recorded
from tests.worker.capture.scene import StandIn
from tests.worker.conftest import Harness, pool_with, stand_ins
from worker.capture.spool import Spool
from worker.capture.way import MOST_AT_ONCE
from worker.chromium.driver import Driver
from worker.pool import pool

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()

    def way(_instead: str) -> StandIn:
        return stand_in

    monkeypatch.setattr("worker.capture.recordings.TabWay", way)
    return stand_in


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


@pytest.fixture
def was_closed(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the recording was whenever an account was given back."""
    was_closed: list[bool] = []

    @asynccontextmanager
    async def held(*_: object) -> AsyncGenerator[None]:
        yield
        spool = recorded.active.spool
        was_closed.append(spool is None or spool.progress.closed is not None)

    monkeypatch.setattr("worker.chromium.accounts.Accounts.held", held)
    return was_closed


@pytest_asyncio.fixture(loop_scope="session")
async def in_meeting(
    tmp_path: Path, driver: Driver, recorded: Recorded, stand_in: StandIn, was_closed: list[bool]
) -> AsyncGenerator[Harness]:
    """A bot that is recorded, of whose recorder nothing was fetched for a while."""
    async with (
        stand_ins(tmp_path, WorkerSettings()) as (settings, meeting),
        pool_with(recorded.folder.parent, settings, driver, recorded.recordings.record) as harness,
    ):
        harness.meeting = meeting
        await harness.warm()
        harness.pool.begin(harness.join())
        await wait_until(lambda: any(move.state is BotState.IN_MEETING for move in harness.seen(BotMoved)))
        await wait_until(lambda: recorded.parts)
        for _ in range(4 * MOST_AT_ONCE):
            await stand_in.pull(0, 0, None)
        yield harness


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes more than a second for what the recorder has. A fifth of what a worker waits is far more than that."""

    def slowly(_: int) -> None:
        time.sleep(0.003)

    monkeypatch.setattr("worker.pool.pool.WIND_UP_S", pool.WIND_UP_S / 5)
    monkeypatch.setattr("os.fdatasync", slowly)


async def test_a_worker_does_not_end_before_its_recorder_has_given_all_and_its_account_is_free_before_that(
    in_meeting: Harness,
    recorded: Recorded,
    stand_in: StandIn,
    was_closed: list[bool],
    slow_disk: None,
) -> None:
    in_meeting.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    await in_meeting.gone()
    progress = Spool.find(recorded.folder / "b1@1").progress
    assert (progress.next_seq, progress.closed is not None) == (stand_in.seq, True)
    assert was_closed == [False]


async def test_a_worker_that_is_abandoned_does_and_it_is_known_when_its_bot_was_out(
    in_meeting: Harness, recorded: Recorded, stand_in: StandIn, slow_disk: None
) -> None:
    in_meeting.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    await wait_until(lambda: in_meeting.seen(BotEnded))
    in_meeting.pool.abandon()
    await in_meeting.gone()
    await wait_until(lambda: not recorded.recordings._active)  # pyright: ignore[reportPrivateUsage]
    spool = Spool.find(recorded.folder / "b1@1")
    assert (spool.progress.next_seq < stand_in.seq, spool.progress.closed) == (True, None)
    assert spool.ended_at
