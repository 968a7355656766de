"""`./dev chaos`: breaks everything that can be broken, at random moments or after every step, and checks from outside
whether the promises were kept. Exit code 0 only if they were.
"""

import asyncio
import random
import shlex
import signal
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import uvloop

from lab.chaos.core.suite import CoreSummary, report_core, run_core
from lab.chaos.faults.catalogue import FAULTS, OF_SENTINELS
from lab.chaos.faults.schedule import Schedule, ScheduleError, read
from lab.chaos.run import OLD_COPY_BACK_AT, ROUND_S, Options, report, run
from lab.chaos.steps import Outcome, choose, try_steps
from lab.chaos.system.machine import Need
from lab.chaos.system.stage import Scale
from lab.parts import StageError

T = TypeVar("T")

_began = time.monotonic()


def say(line: str) -> None:
    print(f"{time.monotonic() - _began:8.2f} s  {line}", flush=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seed", type=int, help="Chooses all that is left to chance; printed, to have a run again.")
@click.option("--minutes", type=float, default=1.0, show_default=True, help="How long; a round begun is finished.")
@click.option("--rounds", type=int, default=0, help="So many rounds, however long they take.")
@click.option("--managers", type=int, default=2, show_default=True)
@click.option("--agents", type=int, default=3, show_default=True)
@click.option("--workers", type=int, default=6, show_default=True, help="At most so many on each agent.")
@click.option("--jobs", type=float, default=2.0, show_default=True, help="Jobs a second, on average.")
@click.option("--faults", type=float, default=1.0, show_default=True, help="Faults a second, on average.")
@click.option(
    "--near-ends",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="How many ends, denials and requests to leave get a kill of their own within 0.8 s. None with --only.",
)
@click.option(
    "--old-copy",
    type=click.FloatRange(5, 60),
    metavar="SECONDS",
    help="In each round Redis comes back once with what it had so many seconds ago (5 to 60).",
)
@click.option(
    "--scene",
    type=click.Choice(["one", "sentinels"]),
    default="one",
    show_default=True,
    help="Redis is one server, or a primary and two replicas that three sentinels watch.",
)
@click.option(
    "--wait-replicas",
    type=click.IntRange(0, 2),
    default=0,
    show_default=True,
    help="With --scene sentinels: so many replicas confirm each write; 0: a failover may lose some.",
)
@click.option("--browser", type=click.Choice(["stand-in", "chromium"]), default="stand-in", show_default=True)
@click.option("--only", default="", metavar="FAULT", help="Only faults whose name holds this; --only list names them.")
@click.option("--steps", is_flag=False, flag_value="all", metavar="[STEP]", help="Instead: kill after each step.")
@click.option("--core", is_flag=True, help="Instead: faults against the pure core and the scripts, without processes.")
@click.option("--faults-in-all", type=int, default=1000, show_default=True, help="With --core: so many, and no time.")
@click.option(
    "--replay", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Instead: that schedule."
)
@click.option(
    "--write-schedules",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write each round down there, to be replayed.",
)
@click.option("--keep-logs", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="A new folder.")
def main(
    seed: int | None,
    minutes: float,
    rounds: int,
    managers: int,
    agents: int,
    workers: int,
    jobs: float,
    faults: float,
    near_ends: float,
    old_copy: float | None,
    scene: str,
    wait_replicas: int,
    browser: str,
    only: str,
    steps: str | None,
    core: bool,
    faults_in_all: int,
    replay: Path | None,
    write_schedules: Path | None,
    keep_logs: Path | None,
) -> None:
    """Break managers, agents, browsers, Redis and the wires between them, and check every promise from outside."""
    if only == "list":
        for fault in (*FAULTS, *OF_SENTINELS):
            click.echo(fault.name)
        return
    if scene == "one" and wait_replicas:
        raise click.UsageError("--wait-replicas goes with --scene sentinels")
    if scene == "sentinels" and (old_copy or core or steps is not None):
        raise click.UsageError("--scene sentinels does not go with --old-copy, --core and --steps")
    round_again = _checked(only, steps, replay)
    if keep_logs:
        keep_logs.mkdir(parents=True)
    if write_schedules:
        write_schedules.mkdir(parents=True, exist_ok=True)
    if seed is None:
        seed = round_again.seed if round_again else random.SystemRandom().randrange(1_000_000)
    say(f"seed {seed}")
    if core:
        _end(_report_core(_carry_out(run_core(seed, faults_in_all, say, rounds))))
    if steps is not None:
        _end(_report_steps(_carry_out(try_steps(choose(steps), seed, say)), seed))
    scale = Scale(
        managers,
        agents,
        workers,
        min(2, workers),
        real_browsers=browser == "chromium",
        sentinels=scene == "sentinels",
        wait_replicas=wait_replicas,
    )
    options = Options(
        seed=seed,
        minutes=minutes,
        rounds=rounds,
        jobs_per_s=jobs,
        faults_per_s=faults,
        near_ends=near_ends,
        old_copy_s=old_copy or 0.0,
        round_s=max(ROUND_S, (old_copy or 0.0) / OLD_COPY_BACK_AT + 1.0),
        only=only,
        scale=round_again.scale if round_again else scale,
        keep_logs=keep_logs and keep_logs.absolute(),
        schedules=write_schedules and write_schedules.absolute(),
        replays=(round_again,) if round_again else (),
        needs=tuple(Need),
    )
    summary = _carry_out(run(options, say))
    for line in report(summary):
        print(line)
    _end({shlex.join(["./dev", "chaos", "--replay", str(broken.written)]) for broken in summary.violations})


def _checked(only: str, steps: str | None, replay: Path | None) -> Schedule | None:
    """The schedule that is to be replayed, if any. Raises: click.UsageError when there is no such thing."""
    if not any(only in fault.name for fault in (*FAULTS, *OF_SENTINELS)):
        raise click.BadParameter(f"no fault's name holds {only!r}; --only list names them", param_hint="--only")
    if steps is not None and not choose(steps):
        raise click.BadParameter(
            f"there is no step {steps!r}; common/runtime/steps.py names them", param_hint="--steps"
        )
    if replay and steps is not None:
        raise click.UsageError("--replay and --steps do not go together")
    try:
        return read(replay) if replay else None
    except ScheduleError as error:
        raise click.BadParameter(str(error), param_hint="--replay") from error


def _carry_out(work: Coroutine[Any, Any, T]) -> T:
    """Run until it is done. Ends the program when it was interrupted, or could not begin."""
    try:
        done = uvloop.run(_until_interrupted(work))
    except StageError as error:
        raise click.ClickException(str(error)) from error
    if done is None:
        say("interrupted; nothing was left running")
        sys.exit(130)
    return done


async def _until_interrupted(work: Coroutine[Any, Any, T]) -> T | None:
    """None when it was."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(work, name="work")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, running.cancel)
        await asyncio.wait({running})
    return None if running.cancelled() else running.result()


def _report_core(summary: CoreSummary) -> set[str]:
    for line in report_core(summary):
        print(line)
    return {f"./dev chaos --core --seed {seed} --rounds 1" for seed in summary.broken}


def _report_steps(outcomes: list[Outcome], seed: int) -> set[str]:
    broken = [outcome for outcome in outcomes if outcome.violations]
    print(f"steps {len(outcomes)}, violations {sum(len(outcome.violations) for outcome in broken)}")
    for outcome in broken:
        kinds = ", ".join(sorted({violation.kind for violation in outcome.violations}))
        print(f"  {outcome.armed}: {kinds}")
    return {f"./dev chaos --seed {seed} --steps {outcome.armed}" for outcome in broken}


def _end(to_repeat: set[str]) -> NoReturn:
    for command in sorted(to_repeat):
        print(f"again: {command}")
    sys.exit(1 if to_repeat else 0)


if __name__ == "__main__":
    main()
