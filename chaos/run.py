"""A run: rounds of load and faults on one stage, each followed by quiet and a check. The seed of a round chooses
everything in it, so that a round can be had again by itself.
"""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

from chaos.check import Violation
from chaos.faults import Inflictor, Planned, Target, plan
from chaos.judge import Judge, Say
from chaos.load import Load
from chaos.outside import World
from chaos.stage import Scale, Spawn, Stage, spawn
from chaos.witness import Seen, Witness

FULL_WITHIN_S: Final = 60.0


class Options(NamedTuple):
    """`rounds`: 0 for as many as fit into `minutes`. `only`, `longest_s`: which faults, by name and by length."""

    seed: int
    minutes: float = 1.0
    rounds: int = 0
    round_s: float = 12.0
    jobs_per_s: float = 2.0
    faults_per_s: float = 0.6
    only: str = ""
    longest_s: float = 30.0
    scale: Scale = Scale()
    keep_logs: Path | None = None
    spawn: Spawn = spawn


class Summary:
    """What happened in all rounds together. `violations`: with the seed of the round."""

    def __init__(self) -> None:
        self.rounds = 0
        self.faults: Counter[str] = Counter()
        self.violations: list[tuple[int, Violation]] = []
        self.world: World | None = None


async def run(options: Options, say: Say) -> Summary:
    """Raises: StageError when the parts do not even start."""
    summary = Summary()
    until = time.monotonic() + options.minutes * 60
    async with Witness() as witness:
        stage = Stage(witness, options.scale, options.seed, options.keep_logs, spawn=options.spawn)
        try:
            async with stage:
                await stage.until("the pool is full", stage.is_full, FULL_WITHIN_S)
                say(f"{len(stage.managers)} managers, {len(stage.agents)} agents, all idle; files in {stage.folder}")
                judge = Judge(stage, say)
                goes_on = True
                while goes_on and (summary.rounds < options.rounds if options.rounds else time.monotonic() < until):
                    goes_on = await _round(options, stage, judge, summary, say)
        finally:
            if summary.violations:
                say(f"logs are in {stage.folder}")
            elif options.keep_logs is None:
                stage.remove()
    return summary


async def _round(options: Options, stage: Stage, judge: Judge, summary: Summary, say: Say) -> bool:
    """False when it left something broken, on which nothing more can be built."""

    def note(planned: Planned, target: Target) -> None:
        summary.faults[planned.fault.name] += 1
        lasts = f" for {planned.lasts_s:.1f} s" if planned.lasts_s else ""
        say(f"{planned.fault.name}{lasts}: {target.label}")

    seed = options.seed + summary.rounds
    summary.rounds += 1
    say(f"round {summary.rounds}, seed {seed}")
    load = Load(stage, random.Random(f"{seed} load"), options.jobs_per_s, str(seed))
    inflictor = Inflictor(stage, note)
    chance = random.Random(f"{seed} faults")
    planned = plan(chance, options.round_s, options.faults_per_s, options.only, options.longest_s)
    async with asyncio.TaskGroup() as both:
        both.create_task(load.run(options.round_s), name="load")
        both.create_task(inflictor.run(planned), name="faults")
    judge.take_note(load, inflictor.excuses)
    news = await judge.settle()
    summary.world = judge.world
    summary.violations += [(seed, violation) for violation in news]
    return not any(violation.heals for violation in news)


def report(summary: Summary) -> list[str]:
    """The table at the end of a run."""
    lines = [f"rounds {summary.rounds}, faults {sum(summary.faults.values())}"]
    lines += _table(summary.faults)
    if world := summary.world:
        records = world.records.values()
        again = sum(int(record["attempt"]) > 1 for record in records)
        admissions = sum(mark.seen is Seen.INSIDE for mark in world.marks)
        lines.append(
            f"jobs pushed {len(world.pushes) + len(world.bad)}, bots {len(world.records)}, rejected {len(world.dead)},"
            f" in a meeting {admissions}, sent in again {again}; ended by reason:"
        )
        lines += _table(Counter(record["status_reason"] for record in records))
    lines.append(f"violations {len(summary.violations)}")
    lines += _table(Counter(violation.kind for _, violation in summary.violations))
    return lines


def _table(counts: Counter[str]) -> list[str]:
    return [f"  {count:4}  {name}" for name, count in sorted(counts.items())]
