"""A bot whose time was too long ago is not sent in any more, whatever kept it."""

import pytest

from common.wire.vocabulary import BotState, GoneCause, Reason
from poolmgr.core.decisions import Accept, Assign, End, Reschedule
from poolmgr.core.events import RescheduleRequested, Tick
from tests.core.builders import IDLE, RESERVED, Scenario, full, of_type, scenario

SIX_HOURS = 6 * 3600.0


def ends(sc: Scenario, bot_id: str) -> Reason | None:
    end = sc.end_of(bot_id)
    return end.reason if end else None


def test_a_job_that_comes_too_late_ends_at_once_and_one_that_is_just_in_time_is_sent_in() -> None:
    sc = full(min_idle=2)
    accept, end = sc.submit("late", join_in=-SIX_HOURS - 1)
    assert isinstance(accept, Accept)
    assert end == End("late", 0, Reason.MISSED_START, "it was to join 21601 s ago (join_late_limit)")
    assert of_type(sc.submit("in time", join_in=-SIX_HOURS), Assign)


def test_a_jobs_own_limit_goes_before_that_of_the_settings() -> None:
    sc = full(min_idle=2)
    sc.submit("hasty", join_in=-61, join_late_limit_s=60)
    sc.submit("patient", join_in=-2 * SIX_HOURS, join_late_limit_s=3 * SIX_HOURS)
    assert ends(sc, "hasty") is Reason.MISSED_START
    assert sc.bot("patient").state is BotState.ASSIGNED


@pytest.mark.parametrize(("away_s", "reason"), [(SIX_HOURS, Reason.MISSED_START), (SIX_HOURS - 1, None)])
def test_a_scheduled_bot_whose_time_passed_while_nobody_led_is_not_sent_in_too_late(
    away_s: float, reason: Reason | None
) -> None:
    sc = full(min_idle=1)
    sc.submit("b", join_in=1000)
    sc.now += 1000 + away_s
    sc.fail_over()
    sc.step(Tick(sc.wall))
    assert ends(sc, "b") is reason


def test_a_bot_that_waits_for_a_worker_ends_when_it_would_be_too_late() -> None:
    sc = scenario(min_idle=0, queue_timeout_s=100_000)
    sc.submit("b", join_in=10, join_late_limit_s=60)
    sc.wait(10)
    assert sc.bot("b").state is BotState.QUEUED
    assert of_type(sc.wait(59), End) == []
    assert of_type(sc.wait(1), End) == [End("b", 0, Reason.MISSED_START, "it was to join 60 s ago (join_late_limit)")]


def test_a_bot_that_waited_while_nobody_led_is_not_sent_in_by_the_next_leader() -> None:
    sc = full(min_idle=0, queue_timeout_s=100_000)
    sc.submit("b", join_in=0, join_late_limit_s=60)
    sc.submit("now")
    sc.now += 60
    sc.fail_over()
    assert ends(sc, "b") is Reason.MISSED_START
    assert sc.bot("now").state is BotState.QUEUED, "who has no time is never late"


def test_the_worker_that_was_put_aside_for_it_is_free_again() -> None:
    sc = full(min_idle=1)
    sc.submit("b", join_in=60, join_late_limit_s=60)
    sc.wait(0)
    (worker,) = sc.names(RESERVED)
    sc.step(Tick(sc.wall + 120))
    assert ends(sc, "b") is Reason.MISSED_START
    assert worker in sc.names(IDLE)


def test_a_bot_that_was_sent_in_in_time_is_sent_in_again_later() -> None:
    sc = full(min_idle=1)
    sc.submit("b", join_in=0, join_late_limit_s=60)
    sc.gone(sc.bot("b").worker_id, GoneCause.CRASHED)
    assert sc.bot("b").state is BotState.QUEUED
    sc.wait(61)
    assert ends(sc, "b") is None


def test_a_bot_that_is_moved_to_a_moment_ago_joins_now_and_to_long_ago_not_at_all() -> None:
    sc = full(min_idle=2)
    sc.submit("a", "b", join_in=1000)
    assert sc.step(RescheduleRequested("a", sc.wall - 1)) == [Reschedule("a", sc.wall - 1)]
    sc.step(RescheduleRequested("b", sc.wall - SIX_HOURS))
    assert [assign.join.bot_id for assign in of_type(sc.wait(0), Assign)] == ["a"]
    assert ends(sc, "b") is Reason.MISSED_START
