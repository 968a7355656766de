"""How many VMs the demand needs: the bots of now and of the next lead time, and a warm browser for each."""

import math
from enum import StrEnum
from typing import NamedTuple

from common.config.settings import PoolSettings, ScalingSettings
from poolmgr.scaling.history import Expected


class Demand(NamedTuple):
    """Bots that have a worker, that wait for one, and scheduled ones that are due within the lead time."""

    bots: int
    waiting: int
    due: int


class Because(StrEnum):
    """What needs the most VMs."""

    ROOM = "room"  # all these bots, at max_workers a VM
    WARM_SUPPLY = "warm_supply"  # a burst that is to find warm browsers, at so many idle ones a VM
    FLOOR = "floor"
    CEILING = "ceiling"


class Need(NamedTuple):
    vms: int
    because: Because


def need_of(
    demand: Demand, expected: Expected, pool: PoolSettings, scaling: ScalingSettings, *, displays: bool = False
) -> Need:
    """The VMs that are needed, whatever the limits say. `displays`: they make workers with a display.

    Room: for every bot, and for those that may come: the scheduled ones, the expected ones with `headroom`, or the idle
    workers of a VM, whichever are most. Warm supply: the busiest five minutes find a browser each; scheduled bots have
    theirs put aside. A bot takes an idle worker of either kind, so the two kinds are one supply.
    """
    idle = pool.idle_target(displays=displays)
    with_headroom = 1 + scaling.headroom
    may_come = max(demand.due, math.ceil(expected.total * with_headroom), idle)
    room = math.ceil((demand.bots + demand.waiting + may_come) / pool.max_workers)
    burst = max(0, math.ceil(expected.busiest * with_headroom) - demand.due)
    warm_supply = math.ceil(burst / idle) if idle else 0
    return Need(warm_supply, Because.WARM_SUPPLY) if warm_supply > room else Need(room, Because.ROOM)
