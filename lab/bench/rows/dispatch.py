"""The time from LPUSH until the agent has the command: one job at a time, with a warm pool."""

import asyncio
import functools
import json
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from lab.bench import relay
from lab.bench.arrivals import Arrivals
from lab.bench.commands import PEERS_PYTHON, module
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.sample import Contender, Series, ratio, take_turns
from lab.parts import StageError
from lab.parts.stage import Stage

_P50_MS, _P99_MS = 1.2, 4.0  # docs: the budgets
_RELAY_P50_MS = 0.49  # of the bare relay on the machine for which they were set
_PACE_S = 0.02
_JOBS_A_ROUND = 25
_VMS, _MIN_IDLE = 4, 5
_EVERY_OTHER: Final = 2
ROOM_HOST = "127.0.0.1:8090"
PEERS: Final = ("taskiq", "saq", "arq")


class Lane(NamedTuple):
    """One way of a job to its receiver. `arrivals`: when names arrived. `pushed`: when they were handed in, if another
    process does that.
    """

    push: Callable[[list[str]], Awaitable[None]]
    arrivals: Arrivals
    pushed: Arrivals | None = None

    async def hand_in(
        self, stage: Stage, names: list[str], pace_s: float = 0.0
    ) -> tuple[dict[str, int], dict[str, int]]:
        """When each was handed in and when it arrived (monotonic, ns): all at once, or one every `pace_s`."""
        began = time.monotonic()
        handed_in: dict[str, int] = {}
        for number, some in enumerate([[name] for name in names] if pace_s else [names]):
            await asyncio.sleep(began + number * pace_s - time.monotonic())
            handed_in |= dict.fromkeys(some, time.monotonic_ns())
            await self.push(some)
        arrived = await self.arrivals.wait(stage, names, within_s=60.0)
        return (self.pushed.take(names) if self.pushed else None) or handed_in, arrived


class Lanes(NamedTuple):
    """The ways that are compared on one stage."""

    ours: Lane
    named: Lane
    relay: Lane
    peers: dict[str, Lane]


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    ours, named, floor, wake = (
        Series(name, "ms")
        for name in (
            "LPUSH to agent",
            "the same for a job with a bot_id of the client's",
            "bare relay, two hops",
            "one PING at this pace: what waking up costs here",
        )
    )
    peers = {name: Series(f"{name}, one hop, no pool", "ms") for name in PEERS}
    rounds = 3 if quick else 12
    async with Stage("bench", {"pool": {"min_idle": _MIN_IDLE}, "meetings": {"room_hosts": [ROOM_HOST]}}) as stage:
        lanes = await start_lanes(stage, vms=_VMS, vms_a_connection=1, warm_after_s=0.0, stay_s=0.0)
        progress.say("the simulated pool warms up")
        await stage.pool_is(_VMS * _MIN_IDLE)
        contenders = [
            Contender((ours,), lambda: _paced(stage, lanes.ours)),
            Contender((named,), lambda: _paced(stage, lanes.named)),
            Contender((floor,), lambda: _paced(stage, lanes.relay)),
            *(
                Contender((series,), lambda name=name: _paced(stage, lanes.peers[name]), _EVERY_OTHER)
                for name, series in peers.items()
            ),
            Contender((wake,), lambda: _pings(stage)),
        ]
        await take_turns(rounds, contenders, progress.say)
    summary, times = ours.summary(), ratio(ours, floor) or 0.0
    return [
        Measurement(
            "dispatch",
            "LPUSH to the agent holding the command, one job, pool warm",
            summary,
            [series.summary() for series in (floor, *peers.values(), named, wake)],
            times,
            [
                Budget("p50", "ms", summary.p50, _P50_MS),
                Budget("p99", "ms", summary.p99, _P99_MS),
                Budget("ratio to the relay", "x", times, _P50_MS / _RELAY_P50_MS),
            ],
            conditions=f"{rounds} rounds of {_JOBS_A_ROUND} jobs, one every {_PACE_S * 1000:.0f} ms; a real manager, a"
            f" Redis with append-only file, {_VMS} simulated agents that send heartbeats; from just before LPUSH in the"
            " client to the decoded Join in the agent's process. The peers, with all their defaults, take part in every"
            " other round: from just before their client's call to their worker's function.",
            limited_by="waking up: client, Redis, manager and agent stand idle between jobs, and each has to be woken"
            " in turn, Redis and the manager once for every round trip between them (the PING beside it says what one"
            " such round trip costs at this pace). The relay wakes up as often. What the"
            " manager and the script in Redis do for a job comes on top, and takes several times as long as while they"
            " are busy: their code and data have left the processor's caches between two jobs.",
        )
    ]


async def start_lanes(stage: Stage, *, vms: int, vms_a_connection: int, warm_after_s: float, stay_s: float) -> Lanes:
    """Raises: StageError, also where the peers are not installed."""
    if not PEERS_PYTHON.exists():
        raise StageError(f"the peers have no environment ({PEERS_PYTHON}): ./dev bench makes it")
    await stage.start_manager()
    url = stage.redis_url
    agents, relayed = Arrivals(stage.folder / "agents.arrivals"), Arrivals(stage.folder / "relay.arrivals")
    stage.start("agents", *module("simulate", url, vms, vms_a_connection, warm_after_s, stay_s, agents.path))
    stage.start("relay", *module("relay", "relay", url))
    stage.start("reader", *module("relay", "reader", url, relayed.path))

    async def push_jobs(names: list[str], *, named: bool = False) -> None:
        jobs = [{"meeting_link": f"http://{ROOM_HOST}/r/{name}", "bot_name": "Bench"} for name in names]
        if named:
            jobs = [{**job, "bot_id": name} for name, job in zip(names, jobs, strict=True)]
        stage.client.lpush(stage.keys.jobs, *map(json.dumps, jobs))

    async def push_to_relay(names: list[str]) -> None:
        stage.client.lpush(relay.IN, *names)

    return Lanes(
        Lane(push_jobs, agents),
        Lane(functools.partial(push_jobs, named=True), agents),
        Lane(push_to_relay, relayed),
        {name: _start_peer(stage, name) for name in PEERS},
    )


def _start_peer(stage: Stage, name: str) -> Lane:
    arrived, pushed = Arrivals(stage.folder / f"{name}.arrivals"), Arrivals(stage.folder / f"{name}.pushed")
    worker = module("peer", "worker", name, stage.redis_url, arrived.path, python=PEERS_PYTHON)
    client = module("peer", "client", name, stage.redis_url, pushed.path, python=PEERS_PYTHON)
    stage.start(f"{name}'s worker", *worker)
    stage.start(f"{name}'s client", *client, listens=True)

    async def push(names: list[str]) -> None:
        stage.tell(f"{name}'s client", " ".join(names))

    return Lane(push, arrived, pushed)


async def _paced(stage: Stage, lane: Lane) -> list[tuple[float]]:
    """One round of jobs: for each the milliseconds from its push to its arrival."""
    began = time.monotonic_ns()
    handed_in, arrived = await lane.hand_in(
        stage, [f"job-{began + number}" for number in range(_JOBS_A_ROUND)], _PACE_S
    )
    return [((arrived[name] - at) / 1e6,) for name, at in handed_in.items()]


async def _pings(stage: Stage) -> list[tuple[float]]:
    """One round of round trips to Redis, from this process, at the same pace."""
    times: list[tuple[float]] = []
    for _ in range(_JOBS_A_ROUND):
        await asyncio.sleep(_PACE_S)
        began = time.monotonic_ns()
        stage.client.ping()  # pyright: ignore[reportUnknownMemberType]
        times.append(((time.monotonic_ns() - began) / 1e6,))
    return times
