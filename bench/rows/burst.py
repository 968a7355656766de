"""Many jobs at once over a large fleet: how many are assigned a second, all of them durable."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from bench.progress import Progress
from bench.report import Budget, Measurement
from bench.rows.dispatch import ROOM_HOST, push_jobs, push_to_relay, start_parts
from bench.sample import Contender, Series, ratio, take_turns
from bench.stage import Arrivals, Stage

_AT_LEAST: Final = 4000.0  # assigned a second; docs: the budgets
_JOBS: Final = 2000
_WARM_AFTER_S: Final = 0.5  # what a browser takes; before that there is no news from the replacements
_STAY_S: Final = 3.0  # longer than a burst


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    vms, min_idle, rounds = (200, 10, 2) if quick else (1000, 5, 5)
    ours, floor, theirs = (
        Series(name, "jobs/s", more_is_better=True) for name in ("poolmgr", "bare relay, un-batched", "saq, no pool")
    )
    pool = {"min_idle": min_idle, "max_workers": 2 * min_idle + 2}
    async with Stage({"pool": pool, "meetings": {"room_hosts": [ROOM_HOST]}}) as stage:
        parts = await start_parts(stage, vms=vms, vms_a_connection=50, warm_after_s=_WARM_AFTER_S, stay_s=_STAY_S)

        async def burst() -> list[tuple[float]]:
            await stage.pool_is(vms * min_idle)
            rate = await _rate(stage, parts.agents, lambda names: push_jobs(stage, names))
            await asyncio.sleep(_STAY_S)
            await stage.pool_is(vms * min_idle)
            return rate

        contenders = [
            Contender((ours,), burst),
            Contender((floor,), lambda: _rate(stage, parts.relayed, lambda names: push_to_relay(stage, names))),
            Contender((theirs,), lambda: _rate(stage, parts.peers, parts.enqueue)),
        ]
        progress.say(f"{vms} simulated VMs warm {vms * min_idle} workers")
        await take_turns(rounds, contenders, progress.say)
        await parts.queue.disconnect()
    summary = ours.summary()
    return [
        Measurement(
            "burst",
            f"{_JOBS:,} jobs at once, {vms:,} VMs, all durable",
            summary,
            [floor.summary(), theirs.summary()],
            ratio(ours, floor),
            [Budget("p50", "assigned/s", summary.p50, _AT_LEAST, at_least=True)],
            conditions=f"{rounds} bursts, pushed by one LPUSH; from just before it to the last Join read by its agent;"
            f" {vms:,} simulated agents with {min_idle} idle workers each send heartbeats every 2 s meanwhile, and"
            " replacements are ordered in the same tick. saq's jobs are enqueued one by one, as its clients do.",
            limited_by="one core of the manager's and one of Redis', which mostly take turns: a job is read, checked,"
            " decided upon and written as commands by the one, and made durable by several scripts (accept, assign, the"
            " order for its replacement) in the other. Client and agents need the rest of two cores meanwhile.",
        )
    ]


async def _rate(stage: Stage, arrivals: Arrivals, push: Callable[[list[str]], Awaitable[None]]) -> list[tuple[float]]:
    names = [f"burst-{time.monotonic_ns()}-{number}" for number in range(_JOBS)]
    began = time.monotonic_ns()
    await push(names)
    arrived = await arrivals.wait(stage, names, within_s=60.0)
    return [(_JOBS / ((max(arrived.values()) - began) / 1e9),)]
