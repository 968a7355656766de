"""A simulated fleet that comes and goes: it follows the demand, keeps its limits, and drops no call."""

from random import Random
from typing import Any

import msgspec
import pytest

from common.config.settings import PoolSettings, ScalingSettings
from poolmgr.simulation.arrivals import Arrival, Habits, calendar
from poolmgr.simulation.fleet import FleetModel
from poolmgr.simulation.scaled import ScaledSimulation

POOL = PoolSettings(min_idle=2, max_workers=4)
SCALING = ScalingSettings(min_vms=1, max_vms=8, lead_time_s=300, cool_down_s=900)
BURST = [Arrival(3600.0 + number * 0.5, 1200.0) for number in range(10)]


def scaled(
    arrivals: list[Arrival], hours: float = 3, known: list[Arrival] | None = None, **scaling: Any
) -> ScaledSimulation:
    settings = msgspec.structs.replace(SCALING, **scaling)
    model = FleetModel(vms=0)
    run = ScaledSimulation(POOL, settings, model, arrivals, hours, Random(7), boot_s=60, known=known or [])
    run.advance(hours)
    return run


def test_a_burst_that_is_known_from_last_week_finds_warm_browsers() -> None:
    run = scaled(BURST, known=BURST, headroom=0)
    assert run.outcome().warm_hits == 10
    assert run.cost().peak_vms == 5  # ten at once, at two a VM
    assert run.moments[-1].vms == 1
    assert run.cost().asked == run.cost().given_back == 8  # an hour later it is expected again, and does not come


def test_a_burst_that_nobody_knew_of_waits_for_vms_and_is_served() -> None:
    outcome = scaled(BURST).outcome()
    assert outcome.served == 10
    assert outcome.warm_hits < 5
    assert 60 < (outcome.wait_max_s or 0) < 200


def test_the_burst_of_an_hour_ago_is_expected_again() -> None:
    again = [arrival._replace(at_s=arrival.at_s + 3600) for arrival in BURST]
    outcome = scaled([*BURST, *again], hours=4).outcome()
    assert outcome.served == 20
    assert outcome.warm_hits >= 10


def test_scheduled_bots_are_prepared_for_ahead() -> None:
    ahead = [arrival._replace(ahead_s=1200.0) for arrival in BURST]
    assert scaled(ahead).outcome().warm_hits == 10


@pytest.mark.parametrize("most", [2, 3])
def test_the_ceiling_holds(most: int) -> None:
    run = scaled(BURST, known=BURST, max_vms=most)
    assert run.cost().peak_vms == most


def test_a_fleet_that_nobody_needs_costs_its_floor() -> None:
    assert scaled([], min_vms=2).cost().vm_h == 6.0
    assert scaled([], hours=1).moments[0].vms == 1


def test_every_call_ends_as_it_would_on_a_fixed_fleet() -> None:
    """No worker is gone under its bot: the time that bots are served is that of their meetings."""
    arrivals = calendar(300, 6, Habits(900.0), Random(2), jitter_s=5)
    run = scaled(arrivals, hours=9)
    outcome = run.outcome()
    assert run.cost().given_back > 0
    assert outcome.served == len(arrivals)
    in_meetings_h = sum(arrival.stay_s + 10 for arrival in arrivals) / 3600
    assert outcome.busy_worker_h == pytest.approx(in_meetings_h, rel=0.01)


def test_the_same_seed_gives_the_same_fleet() -> None:
    first, second = scaled(BURST), scaled(BURST)
    assert (first.cost(), first.outcome(), first.moments) == (second.cost(), second.outcome(), second.moments)
