"""The fault suite itself, short: one round that a seed chose, and one step. `./dev chaos` is the long one;
tests/manager/test_steps.py goes through the manager's steps.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pytest

from chaos.run import Options, report, run
from chaos.stage import Process, Scale, Spawn, spawn
from chaos.steps import choose, try_steps
from runtime.steps import AgentStep, ManagerStep
from tests.fork_server import Forked, ForkServer

ALL_THE_TIME_S = 3600.0


def say(line: str) -> None:
    print(line)  # which pytest shows when the test fails


class Child:
    """A forked program, as the stage sees a process."""

    def __init__(self, forked: Forked) -> None:
        self._forked = forked

    @property
    def pid(self) -> int:
        return self._forked.pid

    @property
    def returncode(self) -> int | None:
        return self._forked.poll()

    async def wait(self) -> int:
        return await self._forked.ended(ALL_THE_TIME_S)


@pytest.fixture
def fork(fork_server: ForkServer) -> Spawn:
    async def start(command: tuple[str, ...], environment: Mapping[str, str], log: IO[bytes]) -> Process:
        match command:
            case (_, "-m", program, *arguments):
                return Child(fork_server.start(program, *arguments, environment=environment, log=log))
            case _:
                return await spawn(command, environment, log)

    return start


async def test_a_round_of_faults_breaks_no_promise(tmp_path: Path, fork: Spawn) -> None:
    scale = Scale(managers=2, agents=2, max_workers=5, min_idle=2)
    folder = tmp_path / "stage"
    folder.mkdir()
    options = Options(
        seed=1,
        rounds=1,
        round_s=5,
        jobs_per_s=2,
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


async def test_a_process_that_ends_after_a_step_breaks_no_promise(fork: Spawn) -> None:
    [outcome] = await try_steps(choose(AgentStep.JOIN_CLAIMED), seed=1, say=say, spawn=fork)
    assert outcome.violations == []


def test_every_step_can_be_chosen_and_nothing_else() -> None:
    assert {armed.step for armed in choose("all")} == {*ManagerStep, *AgentStep}
    assert [str(armed) for armed in choose("jobs_taken:3")] == ["jobs_taken:3"]
    assert choose("jobs_tuken") == choose("jobs_tuken:3") == choose("jobs_taken:x") == []
