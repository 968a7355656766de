"""Which fleets are worth a try, and what they cost."""

import pytest

from common.config.settings import PoolSettings
from poolmgr.simulation.arrivals import Arrival
from poolmgr.simulation.cost import AGENT_MB, IN_CALL_MB, Trial, cost, trials, vms_needed
from poolmgr.simulation.fleet import FleetModel
from tests.simulation.test_run import outcome_of


@pytest.mark.parametrize(
    ("busy_peak", "min_idle", "max_workers", "needed"),
    [
        (0, 5, 12, 1),
        (7, 5, 12, 1),
        (8, 5, 12, 2),
        (36, 0, 12, 3),
        (3, 4, 4, 3),  # min_idle leaves no place
    ],
)
def test_so_many_vms_hold_the_busiest_moment(busy_peak: int, min_idle: int, max_workers: int, needed: int) -> None:
    assert vms_needed(busy_peak, PoolSettings(min_idle=min_idle, max_workers=max_workers)) == needed


def test_one_thing_is_changed_at_a_time_on_as_many_vms_as_it_needs() -> None:
    pool = PoolSettings(min_idle=5, max_workers=12, idle_ttl_s=900)
    tried = trials(20, pool, busy_peak=70)
    assert [(trial.change, trial.vms) for trial in tried] == [
        ("fewer VMs", 10),
        ("min_idle 4", 9),
        ("idle_ttl_s 450", 10),
        ("max_workers 16", 7),
    ]
    assert [trial.settings.min_idle for trial in tried] == [5, 4, 5, 5]
    assert [trial.settings.idle_ttl_s for trial in tried] == [900, 900, 450, 900]


def test_no_more_vms_than_there_are_and_no_fewer_browsers_than_none() -> None:
    tried = trials(2, PoolSettings(min_idle=0), busy_peak=99)
    assert [(trial.change, trial.vms) for trial in tried] == [("idle_ttl_s 450", 2), ("max_workers 16", 2)]


def test_a_day_costs_its_vms_whatever_is_on_them() -> None:
    """Two VMs for two hours: one bot for one of them, three browsers kept warm."""
    pool = PoolSettings(min_idle=3, max_workers=8, max_age_s=1e6)
    outcome = outcome_of(pool, [Arrival(100.0, 3600.0)], hours=2, model=FleetModel(vms=2))
    found = cost(Trial("as it is", 2, pool), outcome, 2.0, 0.25, 1024)
    assert outcome.busy_peak == 1
    assert found.per_day == 12.0
    assert found.busy_share == pytest.approx(1 / 32, abs=0.001)
    assert found.idle_share == pytest.approx(12 / 32, abs=0.001)
    assert found.vm_memory_mb == 1024 + AGENT_MB + 8 * IN_CALL_MB
