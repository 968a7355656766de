"""What a fleet costs a day, and what it would cost with other settings.

A VM is paid by the hour, whatever is on it. So a setting saves money if fewer VMs suffice for the busiest moment. This
file chooses which settings to try. Their results are simulated, not calculated.
"""

import math
from typing import Final, NamedTuple

import msgspec

from common.config.settings import PoolSettings
from poolmgr.simulation.report import Outcome

# Measured, PSS in MB: docs/performance.md, memory ("the agent and its driver") and calls ("one of 8 bots in one room").
AGENT_MB: Final = 181
IN_CALL_MB: Final = 168

_MORE_WORKERS: Final = 4
_HOURS_A_DAY: Final = 24


class Trial(NamedTuple):
    """A further fleet to simulate, for comparison with the requested one."""

    change: str
    vms: int
    settings: PoolSettings


class Cost(msgspec.Struct, frozen=True):
    """`per_day`: in the currency of the price. Shares: of the hours of all places for a worker (`max_workers` of each
    VM), 0 to 1. `vm_memory_mb`: what a VM needs with a bot in a call at every place, the reserve included.
    """

    per_day: float
    idle_share: float
    busy_share: float
    vm_memory_mb: int


def cost(trial: Trial, outcome: Outcome, hours: float, price_per_vm_h: float, reserve_mb: int) -> Cost:
    places_h = trial.vms * trial.settings.max_workers * hours
    return Cost(
        per_day=trial.vms * _HOURS_A_DAY * price_per_vm_h,
        idle_share=outcome.idle_worker_h / places_h,
        busy_share=outcome.busy_worker_h / places_h,
        vm_memory_mb=reserve_mb + AGENT_MB + trial.settings.max_workers * IN_CALL_MB,
    )


def vms_needed(busy_peak: int, settings: PoolSettings) -> int:
    """The fewest VMs for so many bots at once, with min_idle idle browsers beside them. If min_idle leaves no place for
    a bot, one place a VM is assumed.
    """
    return max(1, math.ceil(busy_peak / max(1, settings.max_workers - settings.min_idle)))


def trials(vms: int, settings: PoolSettings, busy_peak: int) -> list[Trial]:
    """Fewer VMs alone, where they would do; then one setting changed in each, on as many VMs as it needs, but no more
    than `vms`. `busy_peak`: the most bots at one time.
    """
    changes = [("fewer VMs", settings)] if vms_needed(busy_peak, settings) < vms else []
    if settings.min_idle:
        fewer = settings.min_idle - 1
        changes.append((f"min_idle {fewer}", msgspec.structs.replace(settings, min_idle=fewer)))
    sooner = settings.idle_ttl_s / 2
    changes.append((f"idle_ttl_s {sooner:g}", msgspec.structs.replace(settings, idle_ttl_s=sooner)))
    more = settings.max_workers + _MORE_WORKERS
    changes.append((f"max_workers {more}", msgspec.structs.replace(settings, max_workers=more)))
    return [Trial(change, min(vms, vms_needed(busy_peak, changed)), changed) for change, changed in changes]
