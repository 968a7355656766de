"""`./dev bench`: measures the budgets and says which are kept."""

import asyncio
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import click
import redis
import uvloop
from playwright.async_api import Error as PlaywrightError
from rich.console import Console

from lab.bench import report
from lab.bench.limits import judged
from lab.bench.page import PageError
from lab.bench.progress import Progress
from lab.bench.report import Machine, Measurement, Run
from lab.bench.rows import ROWS, calls, chosen, memory
from lab.parts import StageError
from lab.parts.browser import chromium
from lab.parts.stage import ROOT
from worker.chromium.process import BrowserError

LATEST: Final = ROOT / "lab" / "bench" / "results" / "latest.json"
DOCS: Final = ROOT / "docs" / "performance.md"

_LASTING: Final = {"calls": calls.measure, "idle": memory.measure_idle}
"""Rows that last as long as they are told."""
_WIDTH: Final = 160
"""The table's width where there is no terminal."""

_CANNOT: Final = (StageError, PageError, PlaywrightError, BrowserError, redis.RedisError, OSError)
"""Errors after which a row has no numbers. Any other error is a fault of the benchmark."""


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Rows: " + "; ".join(f"{name} ({row.about})" for name, row in ROWS.items()) + ".",
)
@click.argument("rows", nargs=-1, type=click.Choice(list(ROWS)), metavar="[ROW]...")
@click.option("--quick", is_flag=True, help="Fewer samples: a first impression in three minutes.")
@click.option(
    "--minutes", type=click.FloatRange(0.1, 600), default=2.0, show_default=True, help="How long calls and idle last."
)
@click.option("--long", is_flag=True, help="Also what takes many minutes: calls, idle, records, warm_join_idle.")
@click.option(
    "--json",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the results are kept. Without it a full run goes to lab/bench/results/latest.json, no other.",
)
@click.option(
    "--beside",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    metavar="CHECKOUT",
    help="With calls alone: bots of this code beside bots of that checkout's. Nothing is kept.",
)
@click.option("--anew", is_flag=True, help="Put the rows that were measured into the kept results, in place of theirs.")
@click.option("--write-docs", is_flag=True, help="Measure nothing: write docs/performance.md from the kept results.")
def main(
    rows: tuple[str, ...],
    quick: bool,
    minutes: float,
    long: bool,
    file: Path | None,
    beside: Path | None,
    anew: bool,
    write_docs: bool,
) -> None:
    """Measure the budgets, each beside a peer or a bare floor in the same run, taking turns with it.

    All rows without an argument, but for the long ones, in under eight minutes. Nothing else should run on the
    machine. Exit code 0 when all rows were measured, whether or not their budgets were kept; 1 when one could not be.
    """
    if write_docs:
        _write_docs(file or LATEST)
        return
    names = chosen(rows, long=long)
    if beside and (names != ("calls",) or file or anew):
        raise click.UsageError("--beside goes with the row calls alone, and keeps nothing")
    earlier = _kept(file or LATEST) if anew else None
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            run = runner.run(_run(names, console, quick=quick, minutes=minutes, beside=beside))
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("bench: stopped; nothing is kept", err=True)
        sys.exit(130)
    shown = judged(run)
    report.print_table(shown, console)
    failed = any(measurement.why_not for measurement in run.measurements)
    for line in shown.missed:
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    if earlier:
        file, run = file or LATEST, report.merged(earlier, run)
    file = file or (LATEST if set(names) >= set(chosen((), long=False)) and not quick else None)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(report.to_json(run))
        console.print(f"kept in {file}", markup=False, highlight=False, soft_wrap=True)
    if failed:
        sys.exit(1)


def _write_docs(file: Path) -> None:
    DOCS.write_text(report.to_markdown(judged(_kept(file))))
    click.echo(f"{DOCS} written from {file}")


def _kept(file: Path) -> Run:
    if not file.exists():
        raise click.ClickException(f"cannot read {file}: measure first, with ./dev bench")
    return report.from_json(file.read_bytes())


async def _run(names: tuple[str, ...], console: Console, *, quick: bool, minutes: float, beside: Path | None) -> Run:
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # as Ctrl-C does
    progress = Progress(console)
    began, at, load_before = time.monotonic(), datetime.now(UTC), os.getloadavg()[0]
    measurements: list[Measurement] = []
    for name in names:
        with progress.row(name):
            try:
                measure = partial(_LASTING[name], minutes=minutes) if name in _LASTING else ROWS[name].measure
                if beside:
                    measure = partial(calls.measure_beside, checkout=beside)
                measurements += await measure(progress, quick=quick)
            except asyncio.CancelledError:
                # The parts have ended by now. Playwright reports each call that was under way as an error.
                asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
                raise
            except _CANNOT as error:
                why = f"{type(error).__name__}: {error}"
                measurements.append(Measurement(name, ROWS[name].about, why_not=why))
    return Run(
        at.isoformat(timespec="seconds"),
        shlex.join(["./dev", "bench", *sys.argv[1:]]),
        _commit(),
        quick,
        time.monotonic() - began,
        _machine(load_before),
        measurements,
    )


def _commit() -> str:
    """The commit that was measured; `+`: the tree had uncommitted changes."""
    name = _answer("git", "rev-parse", "--short=12", "HEAD") or "unknown"
    return name + ("+" if _answer("git", "status", "--porcelain") else "")


def _machine(load_before: float) -> Machine:
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    server = re.search(r"v=(\S+)", _answer("redis-server", "--version"))
    return Machine(
        processor[1] if processor else platform.machine(),
        len(os.sched_getaffinity(0)),
        memory,
        f"{system}, Linux {platform.release()}",
        platform.python_version(),
        server[1] if server else "unknown",
        _browser(),
        load_before,
        os.getloadavg()[0],
    )


def _browser() -> str:
    try:
        return _answer(str(chromium()), "--version") or "unknown browser"
    except BrowserError:
        return "no browser"


def _answer(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


if __name__ == "__main__":
    main()
