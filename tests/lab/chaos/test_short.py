"""The fault suite itself, short: one round that a seed chose, one step, and the rounds in which promises were broken
once (`replays/`). `./dev chaos` is the long one;
tests/manager/test_steps.py goes through the manager's steps.
"""

import random
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from common.runtime.steps import AgentStep, ManagerStep
from lab.chaos.faults.catalogue import BY_NAME, OLD_COPY
from lab.chaos.faults.injection import Blow
from lab.chaos.faults.poisoned import MOST_ENDS
from lab.chaos.faults.schedule import FORMAT, Schedule, read
from lab.chaos.run import Options, report, run
from lab.chaos.steps import choose, try_steps
from lab.chaos.system import load
from lab.chaos.system.machine import Need, allows
from lab.chaos.system.stage import Scale, Spawn

REPLAYS = [read(path) for path in sorted((Path(__file__).parent / "replays").glob("*.json"))]
STAGES = list(dict.fromkeys(schedule.scale for schedule in REPLAYS))


def say(line: str) -> None:
    print(line)  # which pytest shows when the test fails


@pytest.mark.long
async def test_a_round_of_faults_breaks_no_promise(tmp_path: Path, fork: Spawn) -> None:
    scale = Scale(managers=2, agents=2, max_workers=4, min_idle=1)
    folder = tmp_path / "stage"
    folder.mkdir()
    options = Options(
        seed=1,
        rounds=1,
        round_s=5,
        jobs_per_s=1.5,
        faults_per_s=1.2,
        longest_s=6,
        scale=scale,
        keep_logs=folder,
        spawn=fork,
    )
    summary = await run(options, say)
    print("\n".join(report(summary)))
    assert summary.violations == []
    assert summary.world
    assert len(summary.world.records) > 5
    assert sum(summary.faults.values()) > 2
    assert 0 < summary.process_faults <= sum(summary.faults.values())
    written = read(folder / "schedule-1.json")
    assert len(written.jobs) == len(summary.world.pushes) + len(summary.world.bad)
    assert Counter(blow.fault for blow in written.faults) == summary.faults


@pytest.mark.long
@pytest.mark.parametrize("stage", STAGES, ids=lambda scale: f"{scale.managers}-{scale.agents}")
async def test_what_broke_a_promise_once_breaks_none_any_more(stage: Scale, fork: Spawn, tmp_path: Path) -> None:
    """One round after the other, on one stage for all that ask for the same."""
    schedules = [schedule for schedule in REPLAYS if schedule.scale == stage]
    needs = {need for schedule in schedules for need in wanted(schedule)}
    lacking = {need for need in needs if not allows(need, tmp_path)}
    replays = [named(number, each) for number, each in enumerate(schedules) if not wanted(each) & lacking]
    options = Options(1, scale=stage, replays=replays, needs=tuple(needs - lacking), spawn=fork)
    summary = await run(options, say)
    assert [broken.violation.sentence for broken in summary.violations] == []
    assert summary.world
    assert summary.rounds == len(replays)
    faults = [blow.fault for replay in replays for blow in replay.faults]
    assert summary.faults == Counter(faults)
    jobs = [job for replay in replays for job in replay.jobs if job.form != "bad"]
    assert len(summary.world.records) == len(jobs) or OLD_COPY.name in faults
    if lacking:
        pytest.skip(f"the others passed; for want of {', '.join(lacking)}")


def wanted(schedule: Schedule) -> set[Need]:
    return {need for blow in schedule.faults if (need := BY_NAME[blow.fault].needs)}


def named(number: int, schedule: Schedule) -> Schedule:
    """With names for its jobs that no other round has."""
    jobs = [replace(job, tag=f"{number}.{job.tag}") for job in schedule.jobs]
    faults = [replace(blow, job=blow.job and f"{number}.{blow.job}") for blow in schedule.faults]
    return replace(schedule, jobs=jobs, faults=faults)


@pytest.mark.long
async def test_a_job_over_which_managers_end_is_set_aside(fork: Spawn) -> None:
    scale = Scale(managers=2, agents=1, max_workers=4, min_idle=1)
    blow = Blow(0.5, "job over which managers end", target="redis")
    replay = Schedule(FORMAT, 1, scale, load.plan(random.Random(1), 3, 1, "1"), [blow])
    summary = await run(Options(1, scale=scale, replays=[replay], spawn=fork), say)
    assert [broken.violation.sentence for broken in summary.violations] == []
    assert summary.world
    [poison] = summary.world.poisons
    assert (poison.taken, 0 < poison.ends <= MOST_ENDS, poison.reasons) == (True, True, ["poisonous"])


@pytest.mark.long
@pytest.mark.parametrize("wait_replicas", [0, 1])
async def test_primaries_that_go_away_break_no_promise(wait_replicas: int, fork: Spawn) -> None:
    scale = Scale(managers=2, agents=1, max_workers=4, min_idle=1, sentinels=True, wait_replicas=wait_replicas)
    faults = [Blow(1.0, "primary killed", 4.0), Blow(20.0, "primary cut off", 4.0)]
    jobs = load.plan(random.Random(1), 12, 1, f"{wait_replicas}")
    summary = await run(Options(1, scale=scale, replays=[Schedule(FORMAT, 1, scale, jobs, faults)], spawn=fork), say)
    assert [broken.violation.sentence for broken in summary.violations] == []
    assert summary.faults["primary killed"] == 1
    assert summary.world
    assert bool(summary.world.rollbacks) == (wait_replicas == 0)


@pytest.mark.long
async def test_a_process_that_ends_after_a_step_breaks_no_promise(fork: Spawn) -> None:
    [outcome] = await try_steps(choose(AgentStep.JOIN_CLAIMED), seed=1, say=say, spawn=fork)
    assert outcome.violations == []


def test_every_step_can_be_chosen_and_nothing_else() -> None:
    assert {armed.step for armed in choose("all")} == {*ManagerStep, *AgentStep}
    assert [str(armed) for armed in choose("jobs_taken:3")] == ["jobs_taken:3"]
    assert choose("jobs_tuken") == choose("jobs_tuken:3") == choose("jobs_taken:x") == []
