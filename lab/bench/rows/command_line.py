"""The start-up cost of a command, beside the bare import of what it needs."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from lab.bench.arrivals import Arrivals
from lab.bench.commands import module
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.sample import Contender, Series, ratio, take_turns
from lab.parts import StageError
from lab.parts.environment import without_settings
from lab.parts.stage import ROOT, Stage

_MOST: Final = 1.5  # times; docs: the budgets
_VMS, _MIN_IDLE, _BOTS = 5, 5, 20
_ROOM_HOST: Final = "127.0.0.1:8090"
_STAY_S: Final = 3600.0
_FLOOR: Final = (sys.executable, "-c", "import redis, click")
_COMMANDS: Final = ("--help", "fleet", "bots")


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    rounds, starts = (4, 3) if quick else (12, 5)
    floor = Series("python -c 'import redis, click'", "ms")
    ours = {words: Series(f"poolmgr {words}", "ms") for words in _COMMANDS}
    async with Stage("bench", {"pool": {"min_idle": _MIN_IDLE}, "meetings": {"room_hosts": [_ROOM_HOST]}}) as stage:
        await _fill(stage, progress)
        # Compiled files are written where they are missing, as an installation does: the first round, not counted.
        environment = {name: text for name, text in without_settings().items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["POOLMGR_CONFIG"] = str(stage.config)

        async def start(*command: str) -> list[tuple[float]]:
            return [(await asyncio.to_thread(_processor_ms, command, environment),) for _ in range(starts)]

        contenders = [
            Contender((series,), lambda words=words: start(sys.executable, "-m", "poolmgr", words))
            for words, series in ours.items()
        ]
        await take_turns(rounds, [Contender((floor,), lambda: start(*_FLOOR)), *contenders], progress.say)
    return [_measurement(series, floor, rounds * starts) for series in ours.values()]


async def _fill(stage: Stage, progress: Progress) -> None:
    """Write VMs and bots into Redis, so that the command has something to show."""
    arrivals = Arrivals(stage.folder / "agents.arrivals")
    await stage.start_manager()
    stage.start("agents", *module("simulate", stage.redis_url, _VMS, _VMS, 0.0, _STAY_S, arrivals.path))
    progress.say("the simulated pool warms up")
    await stage.pool_is(_VMS * _MIN_IDLE)
    jobs = [{"meeting_link": f"http://{_ROOM_HOST}/r/bench-{n}", "bot_name": f"Bench {n}"} for n in range(_BOTS)]
    stage.client.lpush(stage.keys.jobs, *map(json.dumps, jobs))

    async def all_assigned() -> bool:
        return (await stage.workers()).get("busy") == _BOTS

    await stage.until(f"{_BOTS} bots have a worker each", all_assigned, 60.0)


def _processor_ms(command: tuple[str, ...], environment: Mapping[str, str]) -> float:
    """User and system time of a process from its start to its end. Raises: StageError."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr
    with process.stderr as said:
        complaint = said.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        words = " ".join(command[1:])
        raise StageError(f"{words} ended with exit code {process.returncode}: {complaint.decode(errors='replace')}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def _measurement(ours: Series, floor: Series, starts: int) -> Measurement:
    times = ratio(ours, floor) or 0.0
    return Measurement(
        "command_line",
        f"{ours.name}: processor time of a call",
        ours.summary(),
        [floor.summary()],
        times,
        [Budget("ratio of p50s", "x", times, _MOST)],
        conditions=f"{starts} calls, each a process from its start to its end (user and system time), compiled files"
        f" there; a Redis in which {_VMS} VMs with {_MIN_IDLE} idle workers each and {_BOTS} bots stand.",
        limited_by="Python's own start and the import of redis; then that of rich, which draws the tables."
        if ours.name != "poolmgr --help"
        else "Python's own start and the import of click.",
    )
