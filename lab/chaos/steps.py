"""Tries every step of a job's way, one after the other. For each step a fresh stage is started. One process ends right
after the step, as by kill -9, and is started again. It has to put right what it left half done, and no promise may be
broken.
"""

import asyncio
import random
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from common.runtime.steps import AgentStep, ManagerStep, Step
from lab.chaos.judging.invariants import Violation
from lab.chaos.judging.judge import Judge, Say
from lab.chaos.observers.sidecar import Apart
from lab.chaos.system.load import BAD, Load, draw
from lab.chaos.system.stage import Scale, Spawn, Stage, spawn
from lab.parts import StageError
from poolmgr.core.events import DrainRequested

REACHED_WITHIN_S: Final = 25.0
_SCALE: Final = Scale(managers=1, agents=1, max_workers=5, min_idle=2)
_FULL_WITHIN_S: Final = 30.0
_AGAIN_S: Final = 0.05

_TIMES: Final[dict[Step, Iterable[int]]] = {
    ManagerStep.DECISION_APPLIED: range(1, 25),  # about as many make up a job's whole way
    ManagerStep.EVENTS_READ: (1, 8),
    ManagerStep.EVENTS_APPLIED: (1, 8),
    ManagerStep.EVENTS_ACKNOWLEDGED: (1, 8),
    AgentStep.COMMANDS_READ: (1, 3),
    AgentStep.WORKER_NOTED: (1, 3),
    AgentStep.BROWSER_SPAWNED: (1, 3),
    AgentStep.BROWSER_MARKED: (1, 3),
    AgentStep.WORKER_WARMED: (1, 3),
    AgentStep.COMMANDS_DELETED: (1, 3),
    AgentStep.MOVE_NOTED: (1, 2, 3, 4),
    AgentStep.EVENTS_WRITTEN: (1, 4, 8),
}
"""Which occurrences of a step are tried; only the first if nothing is said."""


class Armed(NamedTuple):
    """A process ends right after the `time`-th occurrence of the step."""

    step: Step
    time: int = 1

    def __str__(self) -> str:
        return f"{self.step}:{self.time}"


class Outcome(NamedTuple):
    armed: Armed
    violations: list[Violation]


def choose(name: str) -> list[Armed]:
    """The steps that `text` chooses: `all`, a step's name, or a name with the number of its occurrence. Empty: there is
    no such step.
    """
    everything = [Armed(step, number) for step in (*ManagerStep, *AgentStep) for number in _TIMES.get(step, (1,))]
    step_name, _, number = name.partition(":")
    if number:
        steps = {str(armed.step): armed.step for armed in everything}
        return [Armed(steps[step_name], int(number))] if step_name in steps and number.isdecimal() else []
    return [armed for armed in everything if name in ("all", str(armed.step))]


async def try_steps(chosen: list[Armed], seed: int, say: Say, spawn: Spawn = spawn) -> list[Outcome]:
    """Try the steps. Raises: StageError when the parts do not start."""
    return [await try_step(armed, seed, say, spawn) for armed in chosen]


async def try_step(armed: Armed, seed: int, say: Say, spawn: Spawn = spawn) -> Outcome:
    say(f"step {armed}")
    name = "manager-1" if isinstance(armed.step, ManagerStep) else "vm-1"
    async with Apart() as apart:
        stage = Stage(apart, _SCALE, seed, armed={name: str(armed)}, spawn=spawn)
        found: list[Violation] = []
        try:
            async with stage:
                load, chance = Load(stage), random.Random(f"{seed} {armed}")
                async with asyncio.TaskGroup() as both:
                    both.create_task(_go_the_way(stage, load, chance), name="the way")
                    reached = both.create_task(_reached(stage, name), name="the step")
                judge = Judge(stage, say)
                judge.take_note(load)
                found = await judge.settle()
                if not reached.result():
                    codes = stage.part(name).codes
                    found.append(Violation("step not reached", f"no process ended after {armed}: exit codes {codes}"))
                    say(f"VIOLATION {found[-1].kind}: {found[-1].sentence}")
        finally:
            if found:
                say(f"logs are in {stage.folder}")
            else:
                stage.remove()
    return Outcome(armed, found)


async def _go_the_way(stage: Stage, load: Load, chance: random.Random) -> None:
    """Go through a job's whole life: warm, join, meet, end; a request to leave; a rejection; drain and serve again."""
    with suppress(StageError):  # if it fails, the judge finds out
        await stage.until("the pool is full", stage.is_full, _FULL_WITHIN_S)
    jobs = (
        ("with bot_id", "ends"),
        ("plain", "ends"),
        ("with bot_id", "is asked to leave"),
        ("bad", chance.choice(list(BAD))),
    )
    await load.run([draw(chance, f"step.{n}", form, meeting) for n, (form, meeting) in enumerate(jobs, 1)])
    for draining in (True, False):
        await _ask(stage, DrainRequested(stage.agents[0], draining))
        await asyncio.sleep(0.5)


async def _ask(stage: Stage, request: DrainRequested) -> None:
    while True:
        try:
            await stage.views.request(request)
        except (RedisError, OSError):
            await asyncio.sleep(_AGAIN_S)
        else:
            return


async def _reached(stage: Stage, name: str) -> bool:
    """Whether the process ended by SIGKILL. Here only an armed step sends it."""
    deadline = time.monotonic() + REACHED_WITHIN_S
    while time.monotonic() < deadline:
        if -signal.SIGKILL in stage.part(name).codes:
            return True
        await asyncio.sleep(_AGAIN_S)
    return False
