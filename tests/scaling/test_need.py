"""How many VMs a demand needs, as a table."""

import pytest

from common.config.settings import PoolSettings, ScalingSettings
from poolmgr.scaling.history import NOBODY, Expected
from poolmgr.scaling.need import Because, Demand, Need, need_of

POOL = PoolSettings(min_idle=5, max_workers=12)
ROOM, WARM_SUPPLY = Because.ROOM, Because.WARM_SUPPLY


@pytest.mark.parametrize(
    ("demand", "expected", "need"),
    [
        (Demand(0, 0, 0), NOBODY, (1, ROOM)),  # min_idle browsers for whoever comes
        (Demand(7, 0, 0), NOBODY, (1, ROOM)),
        (Demand(8, 0, 0), NOBODY, (2, ROOM)),
        (Demand(5, 40, 0), NOBODY, (5, ROOM)),
        (Demand(5, 0, 31), NOBODY, (3, ROOM)),
        (Demand(20, 0, 0), Expected(40, 10), (6, ROOM)),  # 20 + 40 and a quarter
        (Demand(0, 0, 0), Expected(40, 40), (10, WARM_SUPPLY)),  # 50 at once, 5 a VM
        (Demand(0, 0, 40), Expected(40, 40), (5, ROOM)),  # 40 of them are scheduled: 50 in all, 10 at once
    ],
)
def test_what_is_needed(demand: Demand, expected: Expected, need: tuple[int, Because]) -> None:
    assert need_of(demand, expected, POOL, ScalingSettings(headroom=0.25)) == need


def test_idle_workers_of_both_kinds_are_one_supply_because_any_of_them_takes_any_bot() -> None:
    pool, scaling = PoolSettings(min_idle=3, min_idle_display=2, max_workers=12), ScalingSettings(headroom=0)
    assert need_of(Demand(0, 0, 0), Expected(60, 60), pool, scaling) == Need(20, WARM_SUPPLY)
    assert need_of(Demand(0, 0, 0), Expected(60, 60), pool, scaling, displays=True) == Need(12, WARM_SUPPLY)


def test_without_warm_browsers_there_is_no_supply_to_keep() -> None:
    pool = PoolSettings(min_idle=0, max_workers=12)
    assert need_of(Demand(0, 0, 0), NOBODY, pool, ScalingSettings()) == Need(0, ROOM)
    assert need_of(Demand(0, 0, 0), Expected(40, 40), pool, ScalingSettings(headroom=0)) == Need(4, ROOM)
