"""Floor and ceiling by the hour of the week."""

from typing import Any

import pytest

from common.config.settings import ScalingHours, ScalingSettings
from poolmgr.scaling.limits import MINUTES_A_DAY, Limits, limits_at

WORKING = ScalingHours(begin="08:00", end="18:30", min_vms=5, max_vms=40, days=["mon", "fri"])
NIGHT = ScalingHours(begin="22:00", end="06:00", min_vms=0, max_vms=2, days=["fri"])
SETTINGS = ScalingSettings(min_vms=1, max_vms=20, hours=[WORKING, NIGHT])
MON, TUE, FRI, SAT = (day * MINUTES_A_DAY for day in (0, 1, 4, 5))


@pytest.mark.parametrize(
    ("minute", "limits"),
    [
        (MON + 8 * 60 - 1, (1, 20)),
        (MON + 8 * 60, (5, 40)),
        (MON + 18 * 60 + 29, (5, 40)),
        (MON + 18 * 60 + 30, (1, 20)),
        (TUE + 12 * 60, (1, 20)),
        (FRI + 5 * 60, (1, 20)),  # the night of Thursday is not listed
        (FRI + 22 * 60, (0, 2)),
        (SAT + 6 * 60 - 1, (0, 2)),
        (SAT + 6 * 60, (1, 20)),
    ],
)
def test_the_hours_say_the_limits(minute: int, limits: tuple[int, int]) -> None:
    assert limits_at(minute, SETTINGS) == limits


def test_a_night_of_sunday_lasts_into_monday() -> None:
    night: dict[str, Any] = {"begin": "23:00", "end": "01:00", "min_vms": 3, "max_vms": 3}
    settings = ScalingSettings(hours=[ScalingHours(**night, days=["sun"])])
    assert limits_at(MON + 30, settings) == (3, 3)
    assert limits_at(TUE + 30, settings) == (1, 20)


def test_hours_without_days_are_those_of_every_day_and_the_first_that_fits_counts() -> None:
    daily = ScalingHours(begin="00:00", end="23:59", min_vms=2, max_vms=3)
    settings = ScalingSettings(hours=[WORKING, daily])
    assert limits_at(MON + 9 * 60, settings) == (5, 40)
    assert limits_at(TUE + 9 * 60, settings) == (2, 3)


def test_a_number_is_held_between_them() -> None:
    assert [Limits(2, 4).hold(vms) for vms in (0, 3, 9)] == [2, 3, 4]
