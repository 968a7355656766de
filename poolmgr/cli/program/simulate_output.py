"""What `simulate` found, as text and as JSON."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from rich.table import Table

from common.config.settings import PoolSettings
from common.runtime.cli.session import put_json
from common.runtime.cli.text import count, duration, literal
from poolmgr.cli.tables import console, table
from poolmgr.cli.text import NOTHING
from poolmgr.simulation.arrivals import Arrival
from poolmgr.simulation.cost import Cost, Trial
from poolmgr.simulation.plot import Point, letter, terminal_plot
from poolmgr.simulation.report import Outcome, pareto

_NUMBERS: Final = (
    *("MIN\nIDLE", "IDLE\nTTL S", "WARM\nHITS", "WAIT\nP50", "WAIT\nP90", "WAIT\nP99", "WAIT\nMAX"),
    *("NEVER\nSERVED", "IDLE\nHOURS", "IDLE\nA BOT", "PEAK"),
)
_COSTS: Final = (
    *("VMS", "COSTS\nA DAY", "SAVES\nA DAY", "IDLE", "BUSY", "WARM\nHITS", "WAIT\nP99"),
    *("NEVER\nSERVED", "GB\nA VM", "CPUS\nA VM"),
)


class Traffic(NamedTuple):
    """`what`: where it is from, a made-up day or a file."""

    arrivals: list[Arrival]
    hours: float
    what: str


class Tried(NamedTuple):
    """One fleet of those that are compared by what they cost. The first is the fleet as it is."""

    trial: Trial
    outcome: Outcome
    cost: Cost


def put_runs_json(
    vms: int,
    seed: int,
    traffic: Traffic,
    runs: Sequence[PoolSettings],
    outcomes: Sequence[Outcome],
    costs: Sequence[Tried],
) -> None:
    found = [
        {"settings": msgspec.to_builtins(run), "pareto": best, **msgspec.to_builtins(outcome)}
        for run, best, outcome in zip(runs, pareto(outcomes), outcomes, strict=True)
    ]
    shown: dict[str, Any] = {"vms": vms, "trace": traffic.what, "hours": traffic.hours, "seed": seed, "runs": found}
    if costs:
        shown["costs"] = [
            {
                "change": trial.change,
                "vms": trial.vms,
                "settings": msgspec.to_builtins(trial.settings),
                **msgspec.to_builtins(cost),
                **msgspec.to_builtins(outcome),
            }
            for trial, outcome, cost in costs
        ]
    put_json(shown)


def put_costs(costs: Sequence[Tried]) -> None:
    """A table of what each fleet costs, compared with the first."""
    grid = table("", *_COSTS, right=_COSTS, whole=("", *_COSTS), gap=2)
    for trial, outcome, each in costs:
        grid.add_row(
            trial.change,
            f"{trial.vms:,}",
            f"{each.per_day:,.2f}",
            f"{costs[0].cost.per_day - each.per_day:,.2f}",
            _percent(each.idle_share),
            _percent(each.busy_share),
            _percent(outcome.warm_hit_rate),
            NOTHING if outcome.wait_p99_s is None else duration(outcome.wait_p99_s),
            _percent(outcome.never_served_share),
            f"{each.vm_memory_mb / 1024:.1f}",
            f"{each.vm_processors:.1f}",
        )
    out = console()
    out.print()
    out.print(grid)
    out.print()
    out.print(
        "IDLE, BUSY: of the hours of all places for a browser. GB, CPUS: with a bot at every place. Every row was"
        " simulated.",
        soft_wrap=True,
    )


def put_runs_text(
    vms: int, traffic: Traffic, runs: Sequence[PoolSettings], outcomes: Sequence[Outcome], *, displays: bool
) -> None:
    out = console()
    out.print(headline(vms, traffic), soft_wrap=True)
    out.print()
    out.print(_table(runs, outcomes))
    out.print()
    for outcome in outcomes:
        out.print(_canaries(outcome), end="", soft_wrap=True)
        if displays:
            out.print(_displays(outcome), soft_wrap=True)
    for number, outcome in enumerate(outcomes):
        out.print(_required(outcome, letter(number) if len(outcomes) > 1 else ""), end="", soft_wrap=True)
    if len(runs) == 1:
        out.print(_advice(runs[0], outcomes[0]), soft_wrap=True)
        return
    out.print("* no other run has at least as many warm hits for at most as much idle time", soft_wrap=True)
    out.print()
    out.print(terminal_plot(points(runs, outcomes)), soft_wrap=True)


def _canaries(outcome: Outcome) -> str:
    """What canaries got, and which were taken out; empty: there was nothing for them."""
    if not outcome.canary_jobs:
        return ""
    lines = [f"Canaries got {outcome.canary_jobs:,} of {outcome.served:,} jobs."]
    lines += [f"{out.vm_id} was taken out after {out.after_h:.1f} hours: {out.why}." for out in outcome.taken_out]
    return "".join(f"{line}\n" for line in lines) + "\n"


def _required(outcome: Outcome, run: str) -> str:
    """What became of the jobs that require labels, and of the others; empty: none requires any."""
    lines = list[str]()
    for each in outcome.required:
        jobs = each.served + each.never_served
        wait = NOTHING if each.wait_p99_s is None else duration(each.wait_p99_s)
        lines.append(
            f"{f'{run}: ' if run else ''}{each.labels or 'no label'}: {count(jobs, 'job')},"
            f" {_percent(each.warm_hits / jobs if jobs else None)} warm hits, wait P99 {wait},"
            f" {each.never_served:,} never served\n"
        )
    return f"{''.join(lines)}\n" if lines else ""


def _displays(outcome: Outcome) -> str:
    others = outcome.pictures - outcome.on_display
    line = f"Of {outcome.pictures:,} jobs with a picture {outcome.on_display:,} got a worker with a display"
    return f"{line}; of {others:,} a tab records it.\n"


def _table(runs: Sequence[PoolSettings], outcomes: Sequence[Outcome]) -> Table:
    """The results as a table. With several runs each has a letter for the plot, and a star if no other run beats it."""
    several = len(runs) > 1
    numbers = (*_NUMBERS, "LOAD") if any(outcome.load_peak is not None for outcome in outcomes) else _NUMBERS
    grid = table(*[""] * several, *numbers, right=numbers, whole=("", *numbers), gap=1)
    for number, (run, best, outcome) in enumerate(zip(runs, pareto(outcomes), outcomes, strict=True)):
        waits_s = (outcome.wait_p50_s, outcome.wait_p90_s, outcome.wait_p99_s, outcome.wait_max_s)
        cells = (
            str(run.min_idle),
            f"{run.idle_ttl_s:g}",
            _percent(outcome.warm_hit_rate),
            *(NOTHING if wait_s is None else duration(wait_s) for wait_s in waits_s),
            _percent(outcome.never_served_share),
            f"{outcome.idle_worker_h:,.0f}",
            NOTHING if outcome.idle_s_per_bot is None else duration(outcome.idle_s_per_bot),
            f"{outcome.peak_workers:,}",
            *([] if numbers is _NUMBERS else [_percent(outcome.load_peak)]),
        )
        grid.add_row(*[f"{letter(number)}{'*' if best else ' '}"] * several, *cells)
    return grid


def headline(vms: int | None, traffic: Traffic) -> str:
    hours, jobs = traffic.hours, len(traffic.arrivals)
    lasting = f"{hours:g} hour{'' if hours == 1 else 's'}, {jobs:,} job{'' if jobs == 1 else 's'}"
    fleet = "VMs that come and go" if vms is None else count(vms, "VM")
    return f"{fleet}, {lasting} ({literal(traffic.what)})"


def _advice(settings: PoolSettings, outcome: Outcome) -> str:
    """A sentence that says what to try next."""
    around = sorted({max(0, min(settings.max_workers, settings.min_idle + more)) for more in (-4, -3, -2, -1, 0, 2)})
    sweep = f"Add --sweep min_idle={','.join(map(str, around))}"
    if outcome.warm_hits == outcome.jobs:
        return f"Every job found a warm browser. Would fewer do? {sweep}"
    if outcome.never_served or outcome.still_waiting:
        return (
            "Some jobs found no browser at all. What would help? More --vms, --max-workers or --processors, or faster"
            " warm-ups"
        )
    return f"{outcome.jobs - outcome.warm_hits:,} jobs had to wait for a browser. What would spare them? {sweep}"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{share * 100:.2f}%"


def points(runs: Sequence[PoolSettings], outcomes: Sequence[Outcome]) -> list[Point]:
    label = labelled_by(runs)
    other = "idle_ttl_s" if label == "min_idle" else "min_idle"
    return [
        Point(
            series=f"{other} {getattr(run, other):g}",
            label=f"{getattr(run, label):g}",
            idle_worker_h=outcome.idle_worker_h,
            warm_hit_rate=outcome.warm_hit_rate or 0.0,
            wait_p99_s=outcome.wait_p99_s or 0.0,
            is_best=best,
        )
        for run, best, outcome in zip(runs, pareto(outcomes), outcomes, strict=True)
    ]


def labelled_by(runs: Sequence[PoolSettings]) -> str:
    """The setting by which points of the same colour differ."""
    only_ttl = len({run.min_idle for run in runs}) == 1 and len({run.idle_ttl_s for run in runs}) > 1
    return "idle_ttl_s" if only_ttl else "min_idle"
