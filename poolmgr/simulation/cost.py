"""What a fleet costs a day, and what it would cost with other settings.

A VM is paid by the hour, whatever is on it. So a setting saves money if fewer VMs suffice for the busiest moment. This
file chooses which settings to try. Their results are simulated, not calculated.
"""

import math
import statistics
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from common.config.settings import PoolSettings
from poolmgr.core import load
from poolmgr.core.load import JobKind
from poolmgr.simulation.report import Outcome

AGENT_MB: Final = 177
"""PSS: docs/performance.md, memory, "the agent and its driver, one for all"."""
IN_CALL_MB: Final = 180
"""PSS of a bot of which nothing is recorded: docs/performance.md, the larger of calls ("one bot") and capture ("records
nothing").
"""

_MORE_WORKERS: Final = 4
_HOURS_A_DAY: Final = 24


class Trial(NamedTuple):
    """A further fleet to simulate, for comparison with the requested one."""

    change: str
    vms: int
    settings: PoolSettings


class Cost(msgspec.Struct, frozen=True):
    """`per_day`: in the currency of the price. Shares: of the hours of all places for a worker (`max_workers` of each
    VM), 0 to 1. `vm_memory_mb`, `vm_processors`: what a VM needs with a bot in a call at every place, of which as much
    is recorded as of all together; the memory with the reserve.
    """

    per_day: float
    idle_share: float
    busy_share: float
    vm_memory_mb: int
    vm_processors: float


class Mix(NamedTuple):
    """What a bot takes on average, by what is recorded: processors, and memory beyond that of one that only listens."""

    cpu_share: float
    memory_mb: float


def mix(kinds: Iterable[JobKind], settings: PoolSettings, display_mb: int) -> Mix:
    """Of jobs of these kinds, at least one. `display_mb`: what a display takes of a worker that has one; 0: there are
    none.
    """
    costs = [(load.cost(kind, settings), display_mb * load.wants_display(kind)) for kind in kinds]
    return Mix(
        statistics.fmean(each.cpu_share for each, _ in costs),
        statistics.fmean(each.memory_mb + display for each, display in costs),
    )


def cost(trial: Trial, outcome: Outcome, hours: float, price_per_vm_h: float, reserve_mb: int, mixed: Mix) -> Cost:
    places = trial.settings.max_workers
    places_h = trial.vms * places * hours
    return Cost(
        per_day=trial.vms * _HOURS_A_DAY * price_per_vm_h,
        idle_share=outcome.idle_worker_h / places_h,
        busy_share=outcome.busy_worker_h / places_h,
        vm_memory_mb=reserve_mb + AGENT_MB + round(places * (IN_CALL_MB + mixed.memory_mb)),
        vm_processors=round(places * mixed.cpu_share / (trial.settings.cpu_limit or 1.0), 2),
    )


def bots_borne(processors: float, mixed: Mix, settings: PoolSettings) -> float:
    """How many such bots a VM of so many processors bears; infinity if it is unknown, or nothing limits them."""
    return processors * settings.cpu_limit / mixed.cpu_share or math.inf


def vms_needed(busy_peak: int, settings: PoolSettings, borne: float = math.inf) -> int:
    """The fewest VMs for so many bots at once, with min_idle idle browsers beside them. If min_idle leaves no place for
    a bot, one place a VM is assumed. `borne`: how many bots the processors of a VM bear.
    """
    places = max(1, settings.max_workers - settings.min_idle)
    return max(1, math.ceil(busy_peak / min(places, borne)))


def trials(vms: int, settings: PoolSettings, busy_peak: int, borne: float = math.inf) -> list[Trial]:
    """Fewer VMs alone, where they would do; then one setting changed in each, on as many VMs as it needs, but no more
    than `vms`. `busy_peak`: the most bots at one time. `borne`: as for `vms_needed`; more places than that are not
    tried.
    """
    changes = [("fewer VMs", settings)] if vms_needed(busy_peak, settings, borne) < vms else []
    if settings.min_idle:
        fewer = settings.min_idle - 1
        changes.append((f"min_idle {fewer}", msgspec.structs.replace(settings, min_idle=fewer)))
    sooner = settings.idle_ttl_s / 2
    changes.append((f"idle_ttl_s {sooner:g}", msgspec.structs.replace(settings, idle_ttl_s=sooner)))
    more = settings.max_workers + _MORE_WORKERS
    if more <= borne:
        changes.append((f"max_workers {more}", msgspec.structs.replace(settings, max_workers=more)))
    return [Trial(change, min(vms, vms_needed(busy_peak, changed, borne)), changed) for change, changed in changes]
