"""A run: rounds of load and faults on one stage, each followed by quiet and a check.

A round's seed chooses everything in it. What happened can be written down as a schedule, and a schedule can be played
instead of a seed.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from lab.chaos.faults import catalogue, schedule
from lab.chaos.faults.catalogue import BY_NAME, FAULTS, OLD_COPY, Aim, Planned, Target
from lab.chaos.faults.injection import Blow
from lab.chaos.faults.injector import Inflictor
from lab.chaos.faults.near_ends import NearEnds
from lab.chaos.faults.schedule import Schedule
from lab.chaos.judging.invariants import Violation
from lab.chaos.judging.judge import Judge, Say
from lab.chaos.judging.outside import World
from lab.chaos.observers.sidecar import Apart
from lab.chaos.observers.witness import Seen
from lab.chaos.system import load
from lab.chaos.system.load import Load
from lab.chaos.system.machine import Need
from lab.chaos.system.stage import Scale, Spawn, Stage, spawn

FULL_WITHIN_S: Final = 60.0
ROUND_S: Final = 45.0
_ABOVE_THE_AGENTS: Final = (Aim.LEADER, Aim.MANAGER, Aim.REDIS, Aim.PRIMARY)
OLD_COPY_BACK_AT: Final = 0.7  # when in the round, so that its consequences still come under load


class Options(NamedTuple):
    """`rounds`: how many; 0: as many as fit into `minutes`. `only`, `longest_s`: which faults, by name and by length.
    `near_ends`: the share of ends, denials and requests to leave that get a kill, 0 to 1; none if `only` chooses the
    faults. `old_copy_s`: in each round Redis comes back once with a copy that is this old; 0: never. `replays`: play
    these rounds, all on one stage. `schedules`: a folder into which each round is written. `needs`: what faults may use
    of the machine.
    """

    seed: int
    minutes: float = 1.0
    rounds: int = 0
    round_s: float = ROUND_S
    jobs_per_s: float = 2.0
    faults_per_s: float = 1.0
    near_ends: float = 0.5
    only: str = ""
    longest_s: float = 30.0
    old_copy_s: float = 0.0
    scale: Scale = Scale()
    keep_logs: Path | None = None
    schedules: Path | None = None
    replays: Sequence[Schedule] = ()
    needs: Collection[Need] = ()
    spawn: Spawn = spawn


class Broken(NamedTuple):
    """A violation, the seed of its round, and the file of that round."""

    seed: int
    violation: Violation
    written: Path


class Summary:
    """What happened in all rounds."""

    def __init__(self) -> None:
        self.rounds = 0
        self.faults: Counter[str] = Counter()
        self.violations: list[Broken] = []
        self.world: World | None = None
        self.starved_s = 0.0

    @property
    def process_faults(self) -> int:
        """How many of the faults killed, ended or froze a process."""
        return sum(count for name, count in self.faults.items() if BY_NAME[name].is_of_a_process)


async def run(options: Options, say: Say) -> Summary:
    """Run the rounds. Raises: StageError when the parts do not start."""
    summary = Summary()
    until = time.monotonic() + options.minutes * 60
    async with Apart() as apart:
        stage = Stage(apart, options.scale, options.seed, options.keep_logs, spawn=options.spawn, needs=options.needs)
        try:
            async with stage:
                await stage.until("the pool is full", stage.is_full, FULL_WITHIN_S)
                say(f"{len(stage.managers)} managers, {len(stage.agents)} agents, all idle; files in {stage.folder}")
                for need in options.needs:
                    if need not in stage.fit:
                        names = ", ".join(fault.name for fault in FAULTS if fault.needs is need)
                        say(f"left out, for want of {need}: {names}")
                judge = Judge(stage, say)
                goes_on, most = True, len(options.replays) or options.rounds
                while goes_on and (summary.rounds < most if most else time.monotonic() < until):
                    goes_on = await _round(options, stage, judge, summary, say)
        finally:
            if summary.violations:
                say(f"logs are in {stage.folder}")
            elif options.keep_logs is None:
                stage.remove()
    return summary


async def _round(options: Options, stage: Stage, judge: Judge, summary: Summary, say: Say) -> bool:
    """Run one round. Returns False when it left something broken, so that no further round makes sense."""

    def note(blow: Blow, target: Target) -> None:
        summary.faults[blow.fault] += 1
        lasts = f" for {blow.lasts_s:.1f} s" if blow.lasts_s else ""
        near = f", {blow.at_s:.2f} s after {blow.job} was {blow.after}" if blow.after else ""
        say(f"{blow.fault}{lasts}: {target.label}{near}")

    seed = options.seed + summary.rounds
    replay = options.replays[summary.rounds] if options.replays else None
    summary.rounds += 1
    say(f"round {summary.rounds}, seed {seed}")
    if replay:
        stage.seed(replay.seed)
    jobs = replay.jobs if replay else _jobs(options, seed)
    near_ends = None if replay or options.only else NearEnds(seed, options.near_ends)
    inflictor = Inflictor(stage, note, {job.tag: job.meeting for job in jobs}, near_ends)
    clients = Load(stage, inflictor.note_asked)
    epoch, rollbacks = await stage.epoch(), len(stage.rollbacks)
    stage.witness.on_mark = inflictor.see
    async with asyncio.TaskGroup() as both:
        both.create_task(clients.run(jobs), name="load")
        if replay:
            both.create_task(inflictor.play(replay.faults), name="faults")
        else:
            chance = random.Random(f"{seed} faults")
            sentinels = options.scale.sentinels
            possible = catalogue.chosen(options.only, options.longest_s, stage.fit, sentinels=sentinels)
            planned = catalogue.plan(chance, options.round_s, options.faults_per_s, possible)
            if age_s := options.old_copy_s:
                at_s = max(0.0, options.round_s * OLD_COPY_BACK_AT - age_s)
                planned = sorted([*planned, Planned(at_s, OLD_COPY, age_s, 0.0)], key=lambda blow: blow.at_s)
            both.create_task(inflictor.run(planned, options.round_s), name="faults")
    if lost := stage.rollbacks[rollbacks:]:
        await clients.ask_again(min(back.copied_at for back in lost))
    for blow in inflictor.missed if replay else ():
        say(f"did not come to be: {blow.fault}")
    judge.take_note(clients, inflictor.excuses, inflictor.stood_still)
    if _is_only_flooded(inflictor.dealt):
        judge.note_flooded(epoch, await stage.epoch())
    news = await judge.settle()
    summary.world, summary.starved_s = judge.world, judge.starved_s
    if news or options.keep_logs or options.schedules:
        about = f"round {summary.rounds}: {', '.join(sorted({violation.kind for violation in news})) or 'no violation'}"
        done = Schedule(schedule.FORMAT, seed, options.scale, jobs, inflictor.dealt, about)
        written = schedule.write(done, (options.schedules or stage.folder) / f"schedule-{seed}.json")
        say(f"the round is written down in {written}")
        summary.violations += [Broken(seed, violation, written) for violation in news]
    return not any(violation.heals for violation in news)


def _is_only_flooded(blows: Sequence[Blow]) -> bool:
    """Whether floods were the only faults of managers and Redis."""
    above = [BY_NAME[blow.fault] for blow in blows if BY_NAME[blow.fault].aim in _ABOVE_THE_AGENTS]
    return bool(above) and all(fault.is_a_flood for fault in above)


def _jobs(options: Options, seed: int) -> list[load.Job]:
    chance, real = random.Random(f"{seed} load"), options.scale.real_browsers
    return load.plan(chance, options.round_s, options.jobs_per_s, str(seed), real=real)


def report(summary: Summary) -> list[str]:
    """Print the table at the end of a run."""
    count, of_processes = sum(summary.faults.values()), summary.process_faults
    lines = [f"rounds {summary.rounds}, faults {count}, of them process faults {of_processes}"]
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
    lines.append(f"parts waited {summary.starved_s:.0f} s for a processor")
    lines.append(f"violations {len(summary.violations)}")
    lines += _table(Counter(broken.violation.kind for broken in summary.violations))
    return lines


def _table(counts: Counter[str]) -> list[str]:
    return [f"  {count:4}  {name}" for name, count in sorted(counts.items())]
