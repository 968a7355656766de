"""`./dev run python -m lab.failover`: Redis fails over during a burst of jobs and calls; prints what followed."""

import logging
import sys
from typing import cast, get_args

import click
import structlog
import uvloop

from lab.failover.scene import How, Kind
from lab.failover.trial import Outcome, Plan, run
from lab.parts import StageError


@click.command
@click.option("--redis", "kinds", type=click.Choice(get_args(Kind)), multiple=True, help="[default: both]")
@click.option("--how", "hows", type=click.Choice(get_args(How)), multiple=True, help="[default: each]")
@click.option("--wait-replicas", "waits", type=click.IntRange(0, 1), multiple=True, help="[default: 0 and 1]")
@click.option("--jobs", type=click.IntRange(2, 2000), default=40, show_default=True, help="In the burst.")
@click.option("--calls", type=click.IntRange(1, 30), default=8, show_default=True, help="Under way before it.")
@click.option(
    "--silent-s",
    type=click.FloatRange(0.2, 60),
    default=1.0,
    show_default=True,
    help="down-after-milliseconds of the sentinels, cluster-node-timeout of the cluster; in seconds.",
)
def main(
    kinds: tuple[str, ...],
    hows: tuple[str, ...],
    waits: tuple[int, ...],
    *,
    jobs: int,
    calls: int,
    silent_s: float,
) -> None:
    """Have Redis fail over under two managers and four agents without browsers, and look from outside.

    \b
    kill    the primary is killed, and is back later on its data
    pause   it stands still, and goes on later
    cut     nobody reaches it, nor it anybody
    split   programs reach it, and it reaches no replica, and no sentinel it: what it takes then is undone later

    Exit code 1 when a bot was in a meeting twice, did not end once, or was lost although it was to be on a replica.
    Without --wait-replicas 1 a split may do that, and only that: docs/operations.md, Redis that fails over.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    plans = [
        Plan(cast("Kind", kind), cast("How", how), wait, jobs, calls, silent_s)
        for kind in kinds or get_args(Kind)
        for how in hows or get_args(How)
        for wait in waits or (0, 1)
    ]
    rows: list[str] = []
    broken = False
    for plan in plans:
        click.echo(f"{plan.kind}, {plan.how}, redis.wait_replicas {plan.wait_replicas}", err=True)
        try:
            outcome = uvloop.run(run(plan, lambda text: click.echo(f"  {text}", err=True)))
        except StageError as error:
            raise click.ClickException(str(error)) from error
        rows.append(_row(plan, outcome))
        broken |= _is_broken(plan, outcome)
        for line in (*outcome.doubles, *outcome.wrong, *(f"{bot_id} was lost" for bot_id in outcome.lost)):
            click.echo(f"  {line}", err=True)
    click.echo("redis     fault  wait_replicas  takes writes  is led  serves  pushed  lost  twice in a meeting  wrong")
    click.echo("\n".join(rows))
    sys.exit(1 if broken else 0)


def _is_broken(plan: Plan, outcome: Outcome) -> bool:
    if plan.wait_replicas:
        return bool(outcome.lost or outcome.doubles or outcome.wrong)
    return plan.how != "split" and bool(outcome.doubles or outcome.wrong)


def _row(plan: Plan, outcome: Outcome) -> str:
    times = f"{outcome.promoted_s:10.2f} s{outcome.led_s:6.2f} s{outcome.served_s:6.2f} s"
    counts = f"{outcome.pushed:8}{len(outcome.lost):6}{len(outcome.doubles):20}{len(outcome.wrong):7}"
    return f"{plan.kind:<10}{plan.how:<7}{plan.wait_replicas:13}{times}{counts}"


if __name__ == "__main__":
    main()
