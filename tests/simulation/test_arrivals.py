"""Made-up traffic: as much of it as was asked for, when working people meet, and the same for the same seed."""

from collections import Counter
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.simulation.arrivals import DAY_BEGINS_AT_HOUR, Arrival, Habits, calendar, draw_lognormal, poisson

HABITS = Habits(stay_s=1800.0, ahead_s=60.0)


def is_in_order_and_in_time(arrivals: list[Arrival], hours: float) -> bool:
    times = [arrival.at_s for arrival in arrivals]
    return times == sorted(times) and all(0 <= at_s < hours * 3600 for at_s in times)


@given(st.floats(1, 500), st.floats(0.1, 50), st.integers())
def test_poisson_jobs_are_in_order_and_in_time(jobs_per_hour: float, hours: float, seed: int) -> None:
    assert is_in_order_and_in_time(poisson(jobs_per_hour, hours, HABITS, Random(seed)), hours)


@given(st.floats(1, 5000), st.floats(0.1, 50), st.integers(), st.floats(0.1, 600))
def test_calendar_jobs_are_in_order_and_in_time(per_day: float, hours: float, seed: int, jitter_s: float) -> None:
    assert is_in_order_and_in_time(calendar(per_day, hours, HABITS, Random(seed), jitter_s=jitter_s), hours)


def test_there_are_as_many_jobs_as_were_asked_for() -> None:
    assert len(calendar(3000, 24, HABITS, Random(1))) == 3000
    assert len(poisson(1000, 24, HABITS, Random(1))) == pytest.approx(24_000, rel=0.03)


def test_a_second_day_is_like_the_first() -> None:
    days = Counter(int(arrival.at_s // 86400) for arrival in calendar(5000, 48, HABITS, Random(1)))
    assert days[0] == pytest.approx(days[1], rel=0.1)


def test_most_calendar_jobs_come_within_a_minute_after_the_hour_or_the_half_hour() -> None:
    seconds = [arrival.at_s % 3600 for arrival in calendar(10_000, 24, HABITS, Random(1), jitter_s=10)]
    on_the_hour = sum(second < 60 for second in seconds) / len(seconds)
    at_half_past = sum(1800 <= second < 1860 for second in seconds) / len(seconds)
    assert on_the_hour == pytest.approx(0.55, abs=0.03)
    assert at_half_past == pytest.approx(0.20, abs=0.03)


def test_calendar_jobs_come_when_people_work() -> None:
    hours = Counter(
        (DAY_BEGINS_AT_HOUR + int(arrival.at_s // 3600)) % 24 for arrival in calendar(10_000, 24, HABITS, Random(1))
    )
    assert min(hours[9], hours[14]) > 2 * max(hours[7], hours[18])
    assert hours[12] < min(hours[10], hours[14])


def test_jobs_have_the_habits_that_were_given() -> None:
    arrivals = calendar(20_000, 24, HABITS, Random(1))
    assert fmean(arrival.stay_s for arrival in arrivals) == pytest.approx(1800, rel=0.03)
    assert {arrival.ahead_s for arrival in arrivals} == {60.0}


@given(st.floats(0.001, 1e6), st.floats(0, 2), st.integers())
def test_no_duration_is_negative(mean: float, sigma: float, seed: int) -> None:
    assert draw_lognormal(mean, sigma, Random(seed)) >= 0


@given(st.integers())
def test_the_same_seed_gives_the_same_jobs(seed: int) -> None:
    assert calendar(300, 24, HABITS, Random(seed)) == calendar(300, 24, HABITS, Random(seed))
    assert poisson(10, 24, HABITS, Random(seed)) == poisson(10, 24, HABITS, Random(seed))
