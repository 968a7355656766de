"""The event loop is watched: how late it is, and which step of ours made it late."""

import asyncio
import inspect
import time

import pytest
from structlog.testing import capture_logs

from common.jobs import job
from common.runtime.clock import Clock
from common.runtime.loop.lag import HELD_S, Beat, HeldLog, watched, where
from poolmgr.observe.metrics import Metrics
from tests.waiting import wait_until


def work(seconds: float) -> None:
    """Of processor time, however busy the machine is."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_a_step_that_holds_the_loop_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the function of ours that works, though what it calls is somebody else's."""

    def read_slowly(*_: object, **_options: object) -> None:
        work(0.3)

    monkeypatch.setattr(job, "_decode", read_slowly)
    beats: list[Beat] = []
    async with watched(beats.append, beat_s=0.01):
        await wait_until(lambda: beats)
        with pytest.raises(job.BadJobError):
            job.parse_job(b"{}", 0.0, job.JobRules())
        await wait_until(lambda: [beat for beat in beats if beat.is_held])
    held = max(beats, key=lambda beat: beat.busy_s)
    assert held.busy_s >= 0.3
    assert held.lag_s >= 0.29
    assert held.step.startswith("common.jobs.job._read_object < common.jobs.job.parse_job")


async def test_a_process_that_merely_waits_for_its_turn_is_not_blamed() -> None:
    beats: list[Beat] = []
    async with watched(beats.append, beat_s=0.01):
        await wait_until(lambda: beats)
        time.sleep(0.1)  # noqa: ASYNC251  # as a machine does that lets others run
        await wait_until(lambda: max(beat.lag_s for beat in beats) > 2 * HELD_S)
    late = max(beats, key=lambda beat: beat.lag_s)
    assert not late.is_held


async def test_nothing_is_watched_any_more_when_it_is_over() -> None:
    beats: list[Beat] = []
    async with watched(beats.append, beat_s=0.001):
        await wait_until(lambda: beats)
    seen = len(beats)
    await asyncio.sleep(0.02)
    assert len(beats) == seen


def test_where_nobody_of_ours_is_the_innermost_function_is_named() -> None:
    assert where(inspect.currentframe()).startswith("tests.common.runtime.loop.test_lag.test_where")
    assert where(None) == ""


def test_what_holds_it_again_and_again_is_said_now_and_then_with_how_often() -> None:
    say, held = HeldLog(), Beat(0.03, 0.03, "here")
    with capture_logs() as lines:
        say(Beat(0.03, 0.0), 100.0)
        for now in (101.0, 102.0, 103.0, 112.0):
            say(held, now)
    facts = {"event": "loop_held", "log_level": "warning", "lag_s": 0.03, "busy_s": 0.03, "step": "here"}
    assert lines == [{**facts, "unsaid": 0}, {**facts, "unsaid": 2}]


def test_the_worst_of_the_last_minute_is_forgotten_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    metrics = Metrics(clock)
    for now, lag_s, worst in ((0, 0.5, 0.5), (30, 0.2, 0.5), (59, 0.3, 0.5), (61, 0.0, 0.3), (130, 0.1, 0.1)):
        monkeypatch.setattr(clock, "steady", lambda now=now: float(now))
        metrics.loop.beat(Beat(lag_s, lag_s))
        assert metrics.registry.get_sample_value("poolmgr_loop_lag_worst_seconds") == worst
    assert metrics.registry.get_sample_value("poolmgr_loop_lag_seconds_count") == 5
    assert metrics.registry.get_sample_value("poolmgr_loop_held_total") == 4
