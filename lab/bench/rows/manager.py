"""The processor time and memory of a manager that handles heartbeats only."""

from typing import Final

from lab.bench.arrivals import Arrivals
from lab.bench.commands import module
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.sample import Series, ratio
from lab.bench.usage import TICKS_A_SECOND, cpu_percents, pss_mb
from lab.parts.stage import Stage

_MOST_CPU: Final = 15.0  # percent of one core; docs: the budgets
_MOST_MB: Final = 150.0
_VMS, _MIN_IDLE = 1000, 5
_AT_ONCE: Final = 1  # heartbeats come one by one, as those of many hosts do


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    intervals, interval_s = (3, 4.0) if quick else (4, 6.0)
    ours, floor = Series("manager", "% of a core"), Series("a bare reader of the same heartbeats", "% of a core")
    memory, reader = Series("manager", "MB"), Series("a bare reader of the same heartbeats", "MB")
    async with Stage("bench", {"pool": {"min_idle": _MIN_IDLE}}) as stage:
        arrivals = Arrivals(stage.folder / "agents.arrivals")
        await stage.start_manager()
        stage.start("agents", *module("simulate", stage.redis_url, _VMS, 50, 0.5, 0.0, arrivals.path, _AT_ONCE))
        progress.say(f"{_VMS:,} simulated VMs warm {_VMS * _MIN_IDLE:,} workers")
        await stage.pool_is(_VMS * _MIN_IDLE, within_s=120.0)
        stage.start("listener", *module("relay", "listener", stage.redis_url, stage.keys.events))
        pids = [stage.pid("manager"), stage.pid("listener")]
        for number in range(-1, intervals):
            progress.say(f"processor time, {number + 1} of {intervals} times {interval_s:.0f} s")
            manager_cpu, listener_cpu = await cpu_percents(pids, interval_s)
            stage.check()
            if number >= 0:  # before, it settles
                ours.add([manager_cpu])
                floor.add([listener_cpu])
                memory.add([pss_mb([pids[0]])])
                reader.add([pss_mb([pids[1]])])
    cpu, mb = ours.summary(), memory.summary()
    what = f"manager idle, {_VMS:,} VMs heartbeating every 2 s"
    conditions = (
        f"{_VMS:,} simulated agents write heartbeats that list {_MIN_IDLE} idle workers each, with the real agent's"
        f" script, one every {2000 / _VMS:.0f} ms; {intervals} times {interval_s:.0f} s."
    )
    beside = (
        " Beside it in the same seconds a process that reads the same stream through a group of its own, decodes and"
        " acknowledges, and does nothing else."
    )
    return [
        Measurement(
            "manager",
            f"{what}: processor time",
            cpu,
            [floor.summary()],
            ratio(ours, floor),
            [Budget("mean", "%", cpu.mean, _MOST_CPU)],
            conditions=f"{conditions}{beside} A tick is {1000 / TICKS_A_SECOND:.0f} ms.",
            limited_by=f"{_VMS // 2} heartbeats a second: waking up, reading and acknowledging, which the bare reader"
            " does for each and the manager every 50 ms, and matching each with what the pool knows.",
        ),
        Measurement(
            "manager",
            f"{what}: memory (PSS)",
            mb,
            [reader.summary()],
            ratio(memory, reader),
            [Budget("p50", "MB", mb.p50, _MOST_MB)],
            conditions=conditions,
            limited_by="Python and its libraries; a VM with five workers is a few kilobytes.",
        ),
    ]
