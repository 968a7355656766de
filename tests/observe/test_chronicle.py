"""When durable decisions are logged and counted: after a while without further ones, soon, and at the end."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from common.runtime.clock import Clock
from common.wire.messages import Join
from common.wire.vocabulary import BotState
from poolmgr.core.decisions import Accept, Assign, Decision, EndByForce
from poolmgr.observe import chronicle
from poolmgr.observe.chronicle import LATEST_S, QUIET_S, Chronicle
from poolmgr.observe.metrics import Metrics
from poolmgr.observe.traces import Traces
from tests.collecting import Kept
from tests.core.builders import job
from tests.waiting import wait_until


class StandingClock(Clock):
    def wall(self) -> float:
        return 1_700_000_000.0


def accept(bot_id: str = "b1") -> Accept:
    return Accept(bot_id, job(), BotState.QUEUED, 100.0, 1)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(StandingClock())


@pytest.fixture
def written(metrics: Metrics) -> Chronicle:
    return Chronicle(Traces(Kept()), metrics, StandingClock())


@asynccontextmanager
async def running(written: Chronicle) -> AsyncGenerator[None]:
    task = asyncio.get_running_loop().create_task(written.run(), name="chronicle")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_decisions_are_logged_in_their_order_with_the_time_and_trace_of_each(written: Chronicle) -> None:
    join = Join("w1", "b1", 1, "room", "http://r", "Bot")
    with capture_logs() as lines:
        async with running(written):
            written.put([accept(), Assign("vm1", join, born=0.0, warm=True, waited_s=0.5)])
            assert not lines
            await wait_until(lambda: len(lines) == 2)
    assert [line["event"] for line in lines] == ["job_accepted", "bot_assigned"]
    assert {line["timestamp"] for line in lines} == {"2023-11-14T22:13:20.000000Z"}
    assert len({line["trace_id"] for line in lines}) == 1


async def test_lines_wait_while_there_are_further_decisions_but_not_for_long(written: Chronicle) -> None:
    with capture_logs() as lines:
        async with running(written), asyncio.timeout(60 * LATEST_S):
            loop = asyncio.get_running_loop()
            began = loop.time()
            while not lines:
                written.put([accept()])
                await asyncio.sleep(QUIET_S / 10)
    assert loop.time() - began >= LATEST_S


async def test_what_waits_at_the_end_of_a_term_is_logged(written: Chronicle) -> None:
    with capture_logs() as lines:
        written.put([accept("b1")])
        written.put([accept("b2")])
        written.write()
        written.write()
    assert [line["bot_id"] for line in lines] == ["b1", "b2"]


async def test_what_a_backstop_did_is_logged_at_once(written: Chronicle) -> None:
    forced = EndByForce("vm1", "w1", "b1", 1)
    with capture_logs() as lines:
        written.put([accept()])
        written.write()
        written.put([forced])
    [*_, accepted, overdue] = lines
    assert overdue["event"] == "bot_overdue"
    assert overdue["trace_id"] == accepted["trace_id"]


async def test_no_more_waits_than_the_limit(written: Chronicle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chronicle, "_MOST_WAITING", 3)
    decisions: list[Decision] = [accept(f"b{number}") for number in range(5)]
    with capture_logs() as lines:
        written.put(decisions)
        assert [line["bot_id"] for line in lines] == ["b0", "b1"]
        written.write()
    assert len(lines) == 5


async def test_many_lines_leave_the_other_loops_their_turns(
    written: Chronicle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chronicle, "_BREATH_S", 0.0)
    turns: set[int] = set()
    with capture_logs() as lines:
        written.put([accept(f"b{number}") for number in range(20)])
        async with running(written), asyncio.timeout(60 * LATEST_S):
            while len(lines) < 20:
                turns.add(len(lines))
                await asyncio.sleep(0)
    assert turns == set(range(20))


class SteppedClock(StandingClock):
    now = 100.0

    def steady(self) -> float:
        return self.now


async def test_what_was_durable_is_counted_with_its_line_and_by_the_time_at_which_it_was() -> None:
    clock = SteppedClock()
    metrics = Metrics(clock)
    written = Chronicle(Traces(Kept()), metrics, clock)
    join = Join("w1", "b1", 1, "room", "http://r", "Bot")
    written.put([Accept("b1", job(), BotState.QUEUED, clock.wall() - 2.0, 1)])
    clock.now = 101.0
    written.put([Assign("vm1", join, born=0.0, warm=True, waited_s=0.5)])
    clock.now = 200.0

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    assert value("poolmgr_jobs_accepted_total") == 0
    with capture_logs() as lines:
        written.write()
    assert len(lines) == 2
    assert value("poolmgr_jobs_accepted_total") == 1
    assert value("poolmgr_assignments_total", kind="warm_hit") == 1
    assert value("poolmgr_dispatch_seconds_sum") == 3.0
