"""A run's results: as a table on the terminal, as JSON for later, as docs/performance.md. Measures nothing."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from lab.bench.sample import Summary


class Budget(msgspec.Struct, frozen=True):
    """One limit and what was measured.

    `limit` None: there is none, and the value is only shown. `used`: how much of the budget is used; above 1 it is
    missed. It is measured / limit, or limit / measured if the limit is a minimum. It follows from the others, and is a
    field so that the stored results have it.
    """

    what: str
    unit: str
    measured: float
    limit: float | None = None
    at_least: bool = False
    judged: bool = True
    used: float | None = None

    def __post_init__(self) -> None:
        if self.limit:
            used = self.measured / self.limit
            msgspec.structs.force_setattr(self, "used", (1 / used if used else None) if self.at_least else used)

    @property
    def kept(self) -> bool | None:
        """Whether the budget was kept; None: it has no limit."""
        if self.limit is None or not self.judged:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def verdict(self) -> str:
        return {True: "kept", False: "MISSED", None: "not judged"}[self.kept]

    @property
    def rule(self) -> str:
        if self.limit is None:
            return self.what
        return f"{self.what} {'≥' if self.at_least else '≤'} {number(self.limit)} {self.unit}".rstrip()


class Measurement(msgspec.Struct, frozen=True):
    """One line of the budgets. `beside`: the floor first, then peers; `ratio`: subject to floor, round by round.
    `why_not`: why there are no numbers; empty if there are. `anew`: the later run that the row is from, if it replaced
    a row of an earlier run; else empty.
    """

    row: str
    what: str
    subject: Summary | None = None
    beside: list[Summary] = []
    ratio: float | None = None
    budgets: list[Budget] = []
    conditions: str = ""
    limited_by: str = ""
    why_not: str = ""
    anew: str = ""


class Machine(msgspec.Struct, frozen=True):
    processor: str
    cores: int
    memory_mb: int
    system: str
    python: str
    redis: str
    chromium: str
    load_before: float
    load_after: float


class Run(msgspec.Struct, frozen=True):
    """`at`: ISO 8601; `commit` ends in `+` when the tree held changes that were not committed."""

    at: str
    command: str
    commit: str
    quick: bool
    took_s: float
    machine: Machine
    measurements: list[Measurement]

    @property
    def missed(self) -> list[str]:
        """A sentence for each budget that was missed, and for each row without numbers."""
        found = [
            f"{measurement.row}: {measurement.why_not}" for measurement in self.measurements if measurement.why_not
        ]
        for measurement in self.measurements:
            found += [
                f"{measurement.row}: {measurement.what}: {budget.rule}, "
                f"measured {number(budget.measured)} {budget.unit}".rstrip()
                for budget in measurement.budgets
                if budget.kept is False
            ]
        return found


def merged(run: Run, later: Run) -> Run:
    """`run`, with the rows of `later` in place of its own. Each such row names its later run."""
    load = f"load average {later.machine.load_before:.2f} before, {later.machine.load_after:.2f} after"
    elsewhere = later.machine.processor != run.machine.processor
    machine = f", on {later.machine.processor}, {later.machine.cores} cores" if elsewhere else ""
    anew = f"{later.at}, commit `{later.commit}`, `{later.command}`, {load}{machine}"
    rows = {measurement.row for measurement in later.measurements}
    kept = [measurement for measurement in run.measurements if measurement.row not in rows]
    place = next(
        (n for n, measurement in enumerate(run.measurements) if measurement.row in rows), len(run.measurements)
    )
    measured = [msgspec.structs.replace(measurement, anew=anew) for measurement in later.measurements]
    return msgspec.structs.replace(run, measurements=[*kept[:place], *measured, *kept[place:]])


def number(value: float) -> str:
    """Three significant digits, without superfluous zeros."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def to_json(run: Run) -> bytes:
    return msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n"


def from_json(text: bytes) -> Run:
    """Read results. Raises: msgspec.DecodeError."""
    return msgspec.json.decode(text, type=Run)


def print_table(run: Run, console: Console) -> None:
    """Print each subject with its budgets on a line, and its floor and peers below it."""
    table = Table(title=f"{run.command}, commit {run.commit}", title_justify="left", pad_edge=False)
    for heading in ("row", "what", "unit", "n", "p50", "p99", "ratio", "budget", "verdict"):
        table.add_column(heading, justify="right" if heading in ("n", "p50", "p99", "ratio") else "left")
    for measurement in run.measurements:
        if measurement.subject is None:
            table.add_row(
                measurement.row, measurement.what, "", "", "", "", "", measurement.why_not, "[yellow]not measured[/]"
            )
            continue
        verdicts = "\n".join(_coloured(budget) for budget in measurement.budgets)
        rules = "\n".join(_with_value(budget) for budget in measurement.budgets)
        ratio = f"{measurement.ratio:.2f}" if measurement.ratio is not None else ""
        table.add_row(
            measurement.row, measurement.what, *_numbers(measurement.subject), ratio, rules, verdicts, style="bold"
        )
        for other in measurement.beside:
            table.add_row("", f"  beside: {other.name}", *_numbers(other), style="dim")
        table.add_section()
    console.print(table)


def _numbers(summary: Summary) -> tuple[str, str, str, str]:
    return summary.unit, str(summary.count), number(summary.p50), number(summary.p99)


def _coloured(budget: Budget) -> str:
    style = {True: "green", False: "red", None: "dim"}[budget.kept]
    return f"[{style}]{budget.verdict}[/]"


def _with_value(budget: Budget) -> str:
    return f"{budget.rule}: {number(budget.measured)}{_used(budget, before=', used ')}"


def _used(budget: Budget, *, before: str = "") -> str:
    return f"{before}{budget.used:.2f}" if budget.used is not None else ""


_INTRODUCTION: Final = """\
# Performance

Written by `./dev bench --write-docs` from `lab/bench/results/latest.json`; change that, not this.

Every number stands beside something that was measured in the same run, taking turns with it, because the speed of a
machine drifts. The ratio is the median over the rounds of (ours / the first line beside it); percentiles are over all
samples, nearest rank; one round before the first is not counted. `used` is the share of a budget that is used up:
above 1 it is missed. A budget that begins with `design:` is what the design allows; the others notice when a row gets
worse. Measure again with `./dev bench`; `--quick` gives a first impression in three minutes, `--long`
adds what takes more than ten.
"""


def to_markdown(run: Run) -> str:
    machine = run.machine
    facts = [
        ("command", f"`{run.command}`, {run.took_s:.0f} s"),
        ("date", run.at),
        ("commit", f"`{run.commit}`"),
        ("machine", f"{machine.processor}, {machine.cores} cores, {machine.memory_mb:,} MB, {machine.system}"),
        ("programs", f"Python {machine.python}, Redis {machine.redis}, {machine.chromium}"),
        ("load average", f"{machine.load_before:.2f} before, {machine.load_after:.2f} after"),
    ]
    parts = [_INTRODUCTION, _table(("run", ""), facts)]
    budgets = [
        (
            measurement.row,
            measurement.what,
            budget.rule,
            f"{number(budget.measured)} {budget.unit}".rstrip(),
            _used(budget),
            budget.verdict,
        )
        for measurement in run.measurements
        for budget in measurement.budgets
    ]
    parts += ["## Budgets\n", _table(("row", "what", "budget", "measured", "used", "verdict"), budgets)]
    parts += [_chapter(measurement) for measurement in run.measurements]
    return "\n".join(parts)


def _chapter(measurement: Measurement) -> str:
    lines = [f"## {measurement.row}: {measurement.what}\n"]
    if measurement.anew:
        lines.append(f"Measured anew, after the run above: {measurement.anew}.\n")
    if measurement.subject is None:
        return "\n".join([*lines, f"Not measured: {measurement.why_not}\n"])
    heads = ("", "unit", "n", "best", "p50", "p90", "p99", "worst", "ratio")
    rows = [_cells(measurement.subject, measurement.ratio), *(_cells(other, None) for other in measurement.beside)]
    lines.append(_table(heads, rows))
    if measurement.conditions:
        lines.append(f"How: {measurement.conditions}\n")
    if measurement.limited_by:
        lines.append(f"What limits it: {measurement.limited_by}\n")
    return "\n".join(lines)


def _cells(summary: Summary, ratio: float | None) -> tuple[str, ...]:
    values = (summary.best, summary.p50, summary.p90, summary.p99, summary.worst)
    last = f"{ratio:.2f}" if ratio is not None else ""
    return (summary.name, summary.unit, str(summary.count), *(number(value) for value in values), last)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    line: Callable[[Iterable[str]], str] = lambda cells: f"| {' | '.join(cells)} |"  # noqa: E731
    return "\n".join([line(heads), line("---" for _ in heads), *(line(row) for row in rows)]) + "\n"
