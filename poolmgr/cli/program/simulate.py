"""`simulate`: computes how a fleet with these or other settings would serve a day's traffic."""

import gc
import json
import math
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import click
import msgspec
from click.core import ParameterSource

from common.config.settings import BadSettingsError, PoolSettings, ScalingSettings, Settings, parse
from common.runtime.cli.session import Session, fail, say, with_session
from common.runtime.cli.text import count, duration, literal
from common.runtime.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from common.wire.labels import MOST_LABELS, LabelName, LabelValue
from poolmgr.cli.program.simulate_output import (
    Traffic,
    Tried,
    headline,
    labelled_by,
    points,
    put_costs,
    put_runs_json,
    put_runs_text,
)
from poolmgr.cli.program.simulate_scaling import OPTIONS as SCALING_OPTIONS
from poolmgr.cli.program.simulate_scaling import (
    Row,
    fixed_cost,
    fixed_sizes,
    put_scaled_json,
    put_scaled_text,
    scaling_options,
)
from poolmgr.core.model import Labels, labels_of
from poolmgr.simulation.arrivals import Arrival, Habits, calendar, poisson, recorded, requiring
from poolmgr.simulation.cost import Trial, bots_borne, cost, mix, trials
from poolmgr.simulation.fleet import FleetModel, Labelled
from poolmgr.simulation.plot import MOST_POINTS, svg
from poolmgr.simulation.report import Outcome
from poolmgr.simulation.run import Simulation
from poolmgr.simulation.scaled import ScaledSimulation
from poolmgr.simulation.timeline import timeline
from poolmgr.simulation.trace import BadTraceError, read_trace

_SWEPT: Final[dict[str, type[int] | type[float]]] = {"min_idle": int, "idle_ttl_s": float}
_JOBS_PER_DAY: Final = 2000.0
_HOURS: Final = 24.0
_WEEK_H: Final = 7 * 24.0
_BOOT_S: Final = 90.0
_MADE_UP: Final = ("calendar", "poisson")
_FLEETS: Final = ("scaled", "fixed, same peak", "fixed, same cost")
_MOST_HOURS: Final = 31 * 24
_SLICES_AN_HOUR: Final = 12
_SHOW_PROGRESS_AFTER_S: Final = 2.0
_LINE_EVERY_S: Final = 10.0
_FAULTS_SHOWN: Final = 10


class _Number(click.FloatRange):
    """A range of numbers; NaN is in no range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


class _LabelSet(NamedTuple):
    labels: Labels
    vms: int
    share: float


def _label_sets(_: click.Context, __: click.Parameter, said: tuple[str, ...]) -> list[_LabelSet]:
    """Each as `region=eu:5:0.3`: labels, how many VMs have them, and which share of the jobs requires them."""
    made: list[_LabelSet] = []
    for text in said:
        try:
            names, vms, share = text.rsplit(":", 2)
            found = dict(pair.split("=", 1) for pair in names.split(","))
            labels = labels_of(msgspec.convert(found, dict[LabelName, LabelValue]))
            made.append(_LabelSet(labels, int(vms), float(share)))
        except (ValueError, msgspec.ValidationError) as error:
            wanted = "write NAME=VALUE,...:VMS:SHARE, for example region=eu:5:0.3"
            raise click.BadParameter(f"{literal(text)}: {wanted}") from error
        if not (len(found) <= MOST_LABELS and made[-1].vms >= 0 and 0 <= made[-1].share <= 1):
            wanted = f"a number of VMs and a share of 0 to 1, of at most {MOST_LABELS} labels"
            raise click.BadParameter(f"{literal(text)}: write {wanted}")
    return made


@click.command
@click.option(
    "--vms", type=click.IntRange(1, 100_000), default=20, show_default=True, metavar="N", help="How many VMs."
)
@click.option("--min-idle", type=int, metavar="N", help="In place of min_idle of [pool].")
@click.option("--max-workers", type=int, metavar="N", help="In place of max_workers of [pool].")
@click.option(
    "--idle-ttl-s", type=_Number(0, 10_000_000, min_open=True), metavar="S", help="In place of idle_ttl_s of [pool]."
)
@click.option("--trace", default="calendar", show_default=True, metavar="calendar|poisson|FILE", help="When jobs come.")
@click.option(
    "--jobs-per-day", type=_Number(0, 10_000_000, min_open=True), metavar="N", help="On average.  [default: 2000]"
)
@click.option(
    "--jobs-per-hour",
    type=_Number(0, 1_000_000, min_open=True),
    metavar="N",
    help="The same, as jobs per hour on average.",
)
@click.option(
    "--hours", type=_Number(0, _MOST_HOURS, min_open=True), metavar="H", help="How long.  [default: 24, or all of FILE]"
)
@click.option(
    "--meeting-minutes",
    type=_Number(0, 10_000, min_open=True),
    default=30.0,
    show_default=True,
    metavar="M",
    help="How long a bot is in its meeting, on average.",
)
@click.option(
    "--ahead-minutes",
    type=_Number(0, 1440),
    default=0.0,
    show_default=True,
    metavar="M",
    help="Jobs are handed in so long before their join_at; 0: when they are due.",
)
@click.option(
    "--jitter-s",
    type=_Number(0, 3600, min_open=True),
    default=5.0,
    show_default=True,
    metavar="S",
    help="calendar: how long after the full hour a job comes, on average.",
)
@click.option(
    "--warmup-s",
    type=_Number(0, 3600, min_open=True),
    default=2.0,
    show_default=True,
    metavar="S",
    help="How long a warm-up takes, on average.",
)
@click.option(
    "--failing-warmups",
    type=_Number(0, 1),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Warm-ups that come to nothing; 0.02: 2 of 100.",
)
@click.option(
    "--processors",
    type=_Number(0, 1024),
    default=0.0,
    show_default=True,
    metavar="N",
    help="Of each VM: with a recording on it, bots take no more than cpu_limit of [pool] says. 0: they limit nothing.",
)
@click.option(
    "--sound", type=_Number(0, 1), default=0.0, show_default=True, metavar="SHARE", help="Jobs whose sound is recorded."
)
@click.option(
    "--pictures", type=_Number(0, 1), default=0.0, show_default=True, metavar="SHARE", help="... and their picture."
)
@click.option(
    "--displays",
    is_flag=True,
    help="VMs keep workers with a display for pictures, min_idle_display of [pool], beside min_idle others.",
)
@click.option(
    "--canaries",
    type=click.IntRange(0, 1_000),
    default=0,
    show_default=True,
    metavar="N",
    help="So many of the VMs are canaries, which get canary_share of the jobs.",
)
@click.option(
    "--failing-joins",
    type=_Number(0, 1),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Joins that fail by our doing.",
)
@click.option(
    "--canarys-failing-joins",
    type=_Number(0, 1),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="... on canaries.",
)
@click.option(
    "--labelled",
    callback=_label_sets,
    multiple=True,
    metavar="NAME=VALUE,...:VMS:SHARE",
    help="So many of the VMs have these labels, and this share of the jobs requires them.",
)
@click.option("--seed", type=int, default=1, show_default=True, metavar="N", help="Same seed, same result.")
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="KEY=A,B,...",
    help="Run once for each value of min_idle or idle_ttl_s; given twice, for each pair.",
)
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.svg", help="Draw it, for a browser."
)
@click.option(
    "--cost",
    "price",
    type=_Number(0, 1_000_000, min_open=True),
    metavar="PRICE",
    help="Of a VM for an hour: what a day costs, and what fewer VMs and other settings would save.",
)
@scaling_options
@with_session
def simulate(
    session: Session, *, vms: int, trace: str, plot: Path | None, seed: int, price: float | None, **options: Any
) -> None:
    """Run the pool on a virtual clock, with simulated VMs and traffic, and print how long bots waited and what it cost.

    It is the manager's own pool with the settings of --config and the environment; only time, VMs and jobs are made
    up. Redis is not asked. Results:

    \b
      WARM HITS      jobs that found a warm browser idle, of all jobs
      WAIT           from when a job is due until it has a browser, of the jobs served
      NEVER SERVED   jobs that ended as no_capacity, of all jobs
      IDLE HOURS     worker-hours of browsers that stood ready for a bot
      IDLE A BOT     the same, divided by the bots served
      PEAK           most browsers at one time; --json has more
      LOAD           with --processors: the most that bots were expected to take at one time of what they may take

    calendar is a working day from 06:00 to 06:00: of an hour's jobs 55 % come at :00, 20 % at :30, 5 % at :15 and :45,
    each --jitter-s late; the rest at any minute. poisson is the same rate all day. FILE holds recorded jobs, as
    `poolmgr bots --json` prints them (docs/simulation.md). Meetings and warm-ups are lognormal around their means.

    Not simulated: faults of VMs, agents and Redis, memory, bots that are not let in. VMs beat once, when they come up,
    and never fall silent: heartbeat_timeout_s and lost_after_s have no effect.

    \b
    Examples:
      poolmgr simulate
      poolmgr simulate --sweep min_idle=0,1,2,3,5,8 --plot sweep.svg
      poolmgr simulate --sweep min_idle=1,2,5 --sweep idle_ttl_s=60,900 --failing-warmups 0.05
      poolmgr simulate --processors 4 --sound 0.8 --pictures 0.1
      poolmgr simulate --sound 0.8 --pictures 0.1 --displays
      poolmgr simulate --canaries 1 --failing-joins 0.02 --canarys-failing-joins 0.3
      poolmgr simulate --labelled region=eu:5:0.3 --labelled region=us:2:0.1
      poolmgr simulate --vms 20 --jobs-per-day 2000 --cost 0.20
      poolmgr simulate --vms 200 --jobs-per-day 20000 --warmup-s 6 --config /etc/poolmgr/config.toml
      poolmgr bots --limit 100000 --json > jobs.json && poolmgr simulate --trace jobs.json
      poolmgr simulate --scaling --hours 168 --max-vms 30 --plot week.svg
    """
    if (sound := options["sound"]) + (pictures := options["pictures"]) > 1:
        raise click.UsageError("--sound and --pictures are shares of the same jobs: together they are more than 1")
    labelled: list[_LabelSet] = options["labelled"]
    _refuse_what_does_not_go_together(options)
    _check_labelled(labelled, vms)
    traffic = _traffic(trace, _random("traffic", seed), options)
    arrivals = recorded(traffic.arrivals, sound, pictures, _random("recorded", seed))
    if labelled:
        shares = [(each.labels, each.share) for each in labelled]
        arrivals = requiring(arrivals, shares, _random("requiring", seed))
    traffic = traffic._replace(arrivals=arrivals)
    likes = (options[key] for key in ("processors", "canaries", "failing_joins", "canarys_failing_joins"))
    sets = tuple(Labelled(each.labels, each.vms) for each in labelled)
    more = {"labelled": sets, "displays": options["displays"]}
    model = FleetModel(vms, options["warmup_s"], options["failing_warmups"], *likes, **more)
    runs = _grid(session.settings, options)
    if model.warmup_s >= min(run.warmup_timeout_s for run in runs):
        limit = f"{runs[0].warmup_timeout_s:g} s (pool.warmup_timeout_s)"
        fail(f"cannot warm anything: --warmup-s has to be less than {limit}, or every warm-up is given up", EXIT_USAGE)
    if price is not None and (len(runs) > 1 or options["scaling"]):
        wrong = "--scaling says what it costs" if options["scaling"] else "--cost tries other settings"
        raise click.UsageError(f"{wrong} by itself: leave {'--cost' if options['scaling'] else '--sweep'} out")
    if options["scaling"]:
        _scaled(session, runs[0], model, traffic, seed, plot, options)
        return
    outcomes = _run(runs, model, traffic, seed)
    costs = [] if price is None else _costs(price, session.settings, runs[0], outcomes[0], model, traffic, seed)
    if plot:
        heading = f"{headline(vms, traffic)}; the numbers are values of {labelled_by(runs)}"
        _write(plot, svg(points(runs, outcomes), heading))
    if session.as_json:
        put_runs_json(vms, seed, traffic, runs, outcomes, costs)
    else:
        put_runs_text(vms, traffic, runs, outcomes, displays=model.displays)
        if costs:
            put_costs(costs)


def _check_labelled(labelled: Sequence[_LabelSet], vms: int) -> None:
    if sum(each.vms for each in labelled) > vms:
        raise click.UsageError(f"--labelled gives labels to more VMs than there are: --vms is {vms}")
    if sum(each.share for each in labelled) > 1:
        raise click.UsageError("--labelled has shares of the same jobs: together they are more than 1")


def _refuse_what_does_not_go_together(options: dict[str, Any]) -> None:
    context = click.get_current_context()
    if options["scaling"]:
        if options["labelled"]:
            raise click.UsageError("--labelled does not go with --scaling, which makes VMs of one kind")
        if options["sweeps"] or context.get_parameter_source("vms") is ParameterSource.COMMANDLINE:
            raise click.UsageError("--scaling goes neither with --sweep nor with --vms: it says how many VMs there are")
    elif said := [key for key in (*SCALING_OPTIONS, "boot_s") if options[key] is not None]:
        raise click.UsageError(f"--{said[0].replace('_', '-')} goes with --scaling")


def _scaled(
    session: Session,
    settings: PoolSettings,
    model: FleetModel,
    traffic: Traffic,
    seed: int,
    plot: Path | None,
    options: dict[str, Any],
) -> None:
    """One run with VMs that come and go, and two with fixed ones."""
    try:
        scaling = _scaling_of(session.settings, options)
    except BadSettingsError as error:
        for fault in error.faults:
            say(fault)
        raise SystemExit(EXIT_USAGE) from error
    known: list[Arrival] = []
    if traffic.what in _MADE_UP:
        # Drawn like the traffic itself, by another chance: what the scaling knows is not what comes.
        known = _traffic(traffic.what, _random("week before", seed), options | {"hours": _WEEK_H}).arrivals
    chance = (traffic.arrivals, traffic.hours, _random("fleet", seed))
    boot_s = options["boot_s"] or _BOOT_S
    scaled = ScaledSimulation(settings, scaling, model, *chance, boot_s=boot_s, known=known)
    ended = _finish([scaled], traffic.hours, of=3)
    cost = scaled.cost()
    sizes = fixed_sizes(cost, traffic.hours)
    fixed = [
        Simulation(settings, msgspec.structs.replace(model, vms=vms), *chance[:2], _random("fleet", seed))
        for vms in sizes
    ]
    ended += _finish(fixed, traffic.hours, of=3, done=1)
    costs = (cost, *(fixed_cost(vms, traffic.hours) for vms in sizes))
    rows = [Row(name, *each) for name, each in zip(_FLEETS, zip(costs, ended, strict=True), strict=True)]
    heading = headline(None, traffic)
    if plot:
        _write(plot, timeline(scaled.moments, traffic.hours, *sizes, heading))
    if session.as_json:
        facts = {"trace": traffic.what, "hours": traffic.hours, "seed": seed, "boot_s": boot_s}
        put_scaled_json(settings, scaling, facts, rows, scaled.moments)
    else:
        put_scaled_text(heading, rows)


def _random(what: str, seed: int) -> Random:
    """A random generator for each part, so that other traffic does not change the warm-ups."""
    return Random(f"{what} {seed}")  # noqa: S311  # it has to come out the same again, and guards nothing


def _traffic(trace: str, random: Random, options: dict[str, Any]) -> Traffic:
    habits = Habits(options["meeting_minutes"] * 60, options["ahead_minutes"] * 60)
    per_day, per_hour, hours = options["jobs_per_day"], options["jobs_per_hour"], options["hours"]
    if per_day is not None and per_hour is not None:
        raise click.UsageError("--jobs-per-day and --jobs-per-hour are two ways to say the same: give one of them")
    if trace not in _MADE_UP:
        if per_day is not None or per_hour is not None:
            raise click.UsageError("--jobs-per-day and --jobs-per-hour are for made-up jobs: FILE has its own")
        return _recorded(Path(trace), habits.stay_s, hours, random)
    jobs_per_day = per_day or 24 * (per_hour or _JOBS_PER_DAY / 24)
    hours = hours or _HOURS
    if trace == "poisson":
        arrivals = poisson(jobs_per_day / 24, hours, habits, random)
    else:
        arrivals = calendar(jobs_per_day, hours, habits, random, jitter_s=options["jitter_s"])
    if not arrivals:
        raise click.UsageError("there is no job in that time: give more --hours or --jobs-per-day")
    return Traffic(arrivals, hours, trace)


def _recorded(path: Path, mean_stay_s: float, hours: float | None, random: Random) -> Traffic:
    try:
        read = read_trace(path.read_text(encoding="utf-8"), mean_stay_s, random)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        fail(f"cannot read the trace {path}: {reason} (--trace takes calendar, poisson or a file)", EXIT_USAGE)
    except BadTraceError as error:
        for fault in error.faults[:_FAULTS_SHOWN]:
            say(f"{path}: {fault}")
        if (left := len(error.faults) - _FAULTS_SHOWN) > 0:
            say(f"{path}: and {count(left, 'further fault')}")
        raise SystemExit(EXIT_USAGE) from error
    if not hours and read.hours > _MOST_HOURS:
        fail(f"{path}: its jobs lie {read.hours:,.0f} hours apart: say how many of them with --hours", EXIT_USAGE)
    hours = min(hours or read.hours, read.hours)
    return Traffic([arrival for arrival in read.arrivals if arrival.at_s < hours * 3600], hours, path.name)


def _grid(settings: Settings, options: dict[str, Any]) -> list[PoolSettings]:
    """The settings of each run. Ends the program when they break the rules of the configuration."""
    said = {key: options[key] for key in ("min_idle", "max_workers", "idle_ttl_s") if options[key] is not None}
    swept = dict(_swept(sweep) for sweep in options["sweeps"])
    if len(swept) < len(options["sweeps"]):
        raise click.UsageError("--sweep names one key twice: give all its values in one, as in min_idle=1,2,5")
    if both := sorted(said.keys() & swept.keys()):
        raise click.UsageError(f"{both[0]} is both swept and set: leave one of them out")
    faults: dict[str, None] = {}
    runs: list[PoolSettings] = []
    for values in product(*swept.values()):
        try:
            runs.append(_overridden(settings, said | dict(zip(swept, values, strict=True))))
        except BadSettingsError as error:
            faults |= dict.fromkeys(error.faults)
    if len(runs) + len(faults) > MOST_POINTS:
        raise click.UsageError(f"--sweep makes {len(runs)} runs: at most {MOST_POINTS} fit into one table and plot")
    for fault in faults:
        say(fault)
    if faults:
        raise SystemExit(EXIT_USAGE)
    return runs


def _swept(text: str) -> tuple[str, list[float]]:
    key, _, listed = text.partition("=")
    if key not in _SWEPT:
        raise click.UsageError(f"--sweep {literal(text)}: write KEY=A,B,... with {' or '.join(_SWEPT)} as KEY")
    kind = _SWEPT[key]
    try:
        values = [kind(value) for value in listed.split(",")]
        if not all(map(math.isfinite, values)):
            raise ValueError(listed)
    except ValueError as error:
        wanted = "whole numbers" if kind is int else "numbers of seconds"
        raise click.UsageError(f"--sweep {literal(text)}: write {wanted} separated by commas") from error
    return key, list(dict.fromkeys(values))


def _scaling_of(settings: Settings, options: dict[str, Any]) -> ScalingSettings:
    """As _overridden, of [scaling]."""
    said = {key: options[key] for key in SCALING_OPTIONS if options[key] is not None}
    scaling = msgspec.structs.asdict(settings.scaling) | said
    hours = scaling.pop("hours")  # the values below are numbers and texts; the hours stay as they are
    return msgspec.structs.replace(_checked({"scaling": scaling}).scaling, hours=hours)


def _overridden(settings: Settings, said: dict[str, float]) -> PoolSettings:
    """The settings with these values, checked like a configuration file. Raises: BadSettingsError."""
    pool = msgspec.structs.asdict(settings.pool) | said
    return _checked({"pool": pool, "worker": {"heartbeat_s": settings.worker.heartbeat_s}}).pool


def _checked(sections: dict[str, dict[str, Any]]) -> Settings:
    lines: list[str] = []
    for section, keys in sections.items():
        # JSON numbers, booleans and strings are valid TOML.
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return parse("\n".join(lines))


class _Progress:
    """Shows the progress on standard error, after a while: on a terminal in one line that is overwritten, otherwise in
    a new line for every so many seconds of processor time.
    """

    def __init__(self, runs: int, hours: float) -> None:
        self._runs = runs
        self._hours = hours
        self._began = time.monotonic()
        self._shown = ""
        self._line_at = time.process_time() + _LINE_EVERY_S

    def show(self, run: int, hour: float) -> None:
        passed_s = time.monotonic() - self._began
        on_terminal = sys.stderr.isatty()
        if passed_s < _SHOW_PROGRESS_AFTER_S or (not on_terminal and time.process_time() < self._line_at):
            return
        done = (run + hour / self._hours) / self._runs
        left = f", {duration(passed_s * (1 - done) / done)} left" if done > 0.02 else ""
        which = f"run {run + 1} of {self._runs}, " if self._runs > 1 else ""
        line = f"simulating: {which}hour {hour:.1f} of {self._hours:g}{left}"
        if on_terminal:
            self._put(line)
        else:
            say(line)
            self._line_at = time.process_time() + _LINE_EVERY_S

    def clear(self) -> None:
        if self._shown:
            self._put("")
            click.echo("\r", nl=False, err=True)

    def _put(self, line: str) -> None:
        click.echo("\r" + line.ljust(len(self._shown)), nl=False, err=True)
        self._shown = line


def _run(runs: Sequence[PoolSettings], model: FleetModel, traffic: Traffic, seed: int) -> list[Outcome]:
    made = (Simulation(run, model, traffic.arrivals, traffic.hours, _random("fleet", seed)) for run in runs)
    return _finish(made, traffic.hours, of=len(runs))


def _finish(
    simulations: Iterable[Simulation | ScaledSimulation], hours: float, *, of: int, done: int = 0
) -> list[Outcome]:
    """Run them one after the other, and show how far `of` runs are, of which `done` are done already."""
    progress = _Progress(of, hours)
    outcomes: list[Outcome] = []
    # A simulation makes no reference cycles, and looking for them would take a tenth of its time.
    gc.disable()
    try:
        for number, simulation in enumerate(simulations, done):
            for piece in range(math.ceil(hours * _SLICES_AN_HOUR) + 1):
                simulation.advance(piece / _SLICES_AN_HOUR)
                progress.show(number, min(piece / _SLICES_AN_HOUR, hours))
            outcomes.append(simulation.outcome())
    except KeyboardInterrupt:
        progress.clear()
        fail("stopped before the end: there is no result", EXIT_INTERRUPTED)
    finally:
        gc.enable()
    progress.clear()
    return outcomes


def _costs(
    price: float,
    settings: Settings,
    pool: PoolSettings,
    outcome: Outcome,
    model: FleetModel,
    traffic: Traffic,
    seed: int,
) -> list[Tried]:
    """The fleet that was asked about, and each that is tried beside it."""
    worker = settings.worker
    mixed = mix((arrival.kind for arrival in traffic.arrivals), pool, worker.display_memory_mb * model.displays)
    borne = bots_borne(model.processors, mixed, pool)
    tried = [(Trial("as it is", model.vms, pool), outcome)]
    for trial in trials(model.vms, pool, outcome.busy_peak, borne):
        say(f"trying {trial.change} on {count(trial.vms, 'VM')}")
        [came] = _run([trial.settings], msgspec.structs.replace(model, vms=trial.vms), traffic, seed)
        tried.append((trial, came))
    reserve_mb = worker.memory_reserve_mb
    return [Tried(trial, came, cost(trial, came, traffic.hours, price, reserve_mb, mixed)) for trial, came in tried]


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"cannot write the plot {path}: {error.strerror}", EXIT_FAILED)
    say(f"plot written to {path}")
