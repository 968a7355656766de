"""Many jobs at once over a large fleet: how many are assigned a second, all of them durable."""

import asyncio
import time
from typing import Final

from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.rows.dispatch import PEERS, ROOM_HOST, Lane, start_lanes
from lab.bench.sample import Contender, Series, ratio, take_turns
from lab.parts.stage import Stage

_AT_LEAST: Final = 4000.0  # assigned a second; docs: the budgets
_JOBS: Final = 2000
_WARM_AFTER_S: Final = 0.5  # the time that a browser takes to start; before it replacements send no events
_STAY_S: Final = 3.0  # longer than a burst
_PEERS_EVERY: Final = 3


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    vms, min_idle, rounds = (200, 10, 2) if quick else (1000, 5, 5)
    ours, floor = (Series(name, "jobs/s", more_is_better=True) for name in ("poolmgr", "bare relay, un-batched"))
    peers = {name: Series(f"{name}, no pool", "jobs/s", more_is_better=True) for name in PEERS}
    pool = {"min_idle": min_idle, "max_workers": 2 * min_idle + 2}
    async with Stage("bench", {"pool": pool, "meetings": {"room_hosts": [ROOM_HOST]}}) as stage:
        lanes = await start_lanes(stage, vms=vms, vms_a_connection=50, warm_after_s=_WARM_AFTER_S, stay_s=_STAY_S)

        async def burst() -> list[tuple[float]]:
            await stage.pool_is(vms * min_idle)
            rate = await _rate(stage, lanes.ours)
            await asyncio.sleep(_STAY_S)
            await stage.pool_is(vms * min_idle)
            return rate

        contenders = [
            Contender((ours,), burst),
            Contender((floor,), lambda: _rate(stage, lanes.relay)),
            *(
                Contender((series,), lambda name=name: _rate(stage, lanes.peers[name]), _PEERS_EVERY)
                for name, series in peers.items()
            ),
        ]
        progress.say(f"{vms} simulated VMs warm {vms * min_idle} workers")
        await take_turns(rounds, contenders, progress.say)
    summary = ours.summary()
    return [
        Measurement(
            "burst",
            f"{_JOBS:,} jobs at once, {vms:,} VMs, all durable",
            summary,
            [floor.summary(), *(peer.summary() for peer in peers.values())],
            ratio(ours, floor),
            [Budget("p50", "assigned/s", summary.p50, _AT_LEAST, at_least=True)],
            conditions=f"{rounds} bursts, pushed by one LPUSH; from just before it to the last Join read by its agent;"
            f" {vms:,} simulated agents with {min_idle} idle workers each send heartbeats every 2 s meanwhile, and"
            " replacements are ordered in the same tick. The peers' jobs are handed in one by one, as their clients do,"
            f" side by side; they take part in every {_PEERS_EVERY}rd round.",
            limited_by="two cores for five programs. Most of a job is the manager's (read, check, decide, write; it"
            " logs later) and Redis' (one script: the bot, its assignment, its replacement, two entries of the status"
            " stream), about as much each; the rest is the client's, the claims' and the simulated agents'. The relay"
            " neither checks nor runs a script.",
        )
    ]


async def _rate(stage: Stage, lane: Lane) -> list[tuple[float]]:
    handed_in, arrived = await lane.hand_in(stage, [f"burst-{time.monotonic_ns()}-{number}" for number in range(_JOBS)])
    return [(_JOBS / ((max(arrived.values()) - min(handed_in.values())) / 1e9),)]
