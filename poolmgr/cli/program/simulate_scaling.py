"""`simulate --scaling`: a fleet whose VMs come and go, beside two fixed fleets: of its peak, and of its cost."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import click
import msgspec

from common.config.settings import PoolSettings, ScalingSettings
from common.runtime.cli.session import put_json
from common.runtime.cli.text import duration
from poolmgr.cli.tables import console, table
from poolmgr.cli.text import NOTHING
from poolmgr.simulation.report import Outcome
from poolmgr.simulation.scaled import Cost, Moment

OPTIONS: Final = ("min_vms", "max_vms", "lead_time_s", "cool_down_s", "headroom")
"""Options that stand in place of keys of [scaling]."""

_NUMBERS: Final = (
    *("VM\nHOURS", "PEAK\nVMS", "ASKED\nFOR", "GIVEN\nBACK"),
    *("WARM\nHITS", "WAIT\nP50", "WAIT\nP99", "WAIT\nMAX", "NEVER\nSERVED"),
)


class Row(NamedTuple):
    fleet: str
    cost: Cost
    outcome: Outcome


def scaling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of --scaling to the command."""
    limits: dict[str, tuple[click.ParamType[Any], str]] = {
        "min_vms": (click.IntRange(0, 10_000), "N"),
        "max_vms": (click.IntRange(1, 10_000), "N"),
        "lead_time_s": (click.FloatRange(0, 86_400, min_open=True), "S"),
        "cool_down_s": (click.FloatRange(0, 604_800, min_open=True), "S"),
        "headroom": (click.FloatRange(0, 10), "SHARE"),
    }
    boot = click.option(
        "--boot-s",
        type=click.FloatRange(0, 86_400, min_open=True),
        metavar="S",
        help="--scaling: from asking for a VM to its first report, on average.  [default: 90]",
    )
    command = boot(command)
    for key in reversed(OPTIONS):
        kind, metavar = limits[key]
        help_ = f"--scaling: in place of {key} of [scaling]."
        command = click.option(f"--{key.replace('_', '-')}", type=kind, metavar=metavar, help=help_)(command)
    is_scaled = click.option("--scaling", is_flag=True, help="VMs come and go; beside fixed fleets (docs/scaling.md).")
    return is_scaled(command)


def fixed_sizes(cost: Cost, hours: float) -> tuple[int, int]:
    """VMs of a fixed fleet with the same peak, and of one with the same cost (at least one VM)."""
    return cost.peak_vms, max(1, round(cost.vm_h / hours))


def fixed_cost(vms: int, hours: float) -> Cost:
    return Cost(round(vms * hours, 3), vms, 0, 0)


def put_scaled_json(
    pool: PoolSettings, scaling: ScalingSettings, facts: dict[str, Any], rows: Sequence[Row], moments: Sequence[Moment]
) -> None:
    """The looks are given where the number of VMs changed."""
    to_json = msgspec.to_builtins
    changes = [
        now for now, before in zip(moments, [None, *moments], strict=False) if not before or now.vms != before.vms
    ]
    fleets = [{"fleet": row.fleet, **to_json(row.cost), **to_json(row.outcome)} for row in rows]
    put_json({
        **facts,
        "settings": to_json(pool),
        "scaling": to_json(scaling),
        "fleets": fleets,
        "vms": [[round(moment.hour, 4), moment.vms] for moment in changes],
    })  # fmt: skip


def put_scaled_text(headline: str, rows: Sequence[Row]) -> None:
    out = console()
    out.print(headline, soft_wrap=True)
    out.print()
    grid = table("FLEET", *_NUMBERS, right=_NUMBERS, whole=("FLEET", *_NUMBERS), gap=1)
    for row in rows:
        outcome = row.outcome
        waits_s = (outcome.wait_p50_s, outcome.wait_p99_s, outcome.wait_max_s)
        grid.add_row(
            row.fleet,
            f"{row.cost.vm_h:,.0f}",
            f"{row.cost.peak_vms:,}",
            f"{row.cost.asked:,}",
            f"{row.cost.given_back:,}",
            _percent(outcome.warm_hit_rate),
            *(NOTHING if wait_s is None else duration(wait_s) for wait_s in waits_s),
            _percent(outcome.never_served_share),
        )
    out.print(grid)
    out.print()
    scaled, same_peak = rows[0].cost.vm_h, rows[1].cost.vm_h
    out.print(
        f"{math.floor(100 - 100 * scaled / same_peak)} % fewer VM hours than a fixed fleet of its peak", soft_wrap=True
    )


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{share * 100:.2f}%"
