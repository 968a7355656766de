"""From LPUSH to the agent that holds the command: one job at a time, the pool warm."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

from saq import Queue

from bench import peer, relay
from bench.progress import Progress
from bench.report import Budget, Measurement
from bench.sample import Contender, Series, ratio, take_turns
from bench.stage import Arrivals, Stage, module

_P50_MS, _P99_MS = 1.2, 4.0  # docs: the budgets
_RELAY_P50_MS = 0.49  # of the bare relay on the machine for which they were set
_PACE_S = 0.02
_JOBS_A_ROUND = 25
_VMS, _MIN_IDLE = 4, 5
ROOM_HOST = "127.0.0.1:8090"


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    ours, named, floor, theirs, wake = (
        Series(name, "ms")
        for name in (
            "LPUSH to agent",
            "the same for a job with a bot_id of the client's",
            "bare relay, two hops",
            "saq, one hop, no pool",
            "one PING at this pace: what waking up costs here",
        )
    )
    rounds = 3 if quick else 12
    async with Stage({"pool": {"min_idle": _MIN_IDLE}, "meetings": {"room_hosts": [ROOM_HOST]}}) as stage:
        parts = await start_parts(stage, vms=_VMS, vms_a_connection=1, warm_after_s=0.0, stay_s=0.0)
        progress.say("the simulated pool warms up")
        await stage.pool_is(_VMS * _MIN_IDLE)
        contenders = [
            Contender((ours,), lambda: _paced(stage, parts.agents, lambda name: push_jobs(stage, [name]))),
            Contender((named,), lambda: _paced(stage, parts.agents, lambda name: push_jobs(stage, [name], named=True))),
            Contender((floor,), lambda: _paced(stage, parts.relayed, lambda name: push_to_relay(stage, [name]))),
            Contender((theirs,), lambda: _paced(stage, parts.peers, lambda name: parts.enqueue([name]))),
            Contender((wake,), lambda: _pings(stage)),
        ]
        await take_turns(rounds, contenders, progress.say)
        await parts.queue.disconnect()
    summary, times = ours.summary(), ratio(ours, floor) or 0.0
    return [
        Measurement(
            "dispatch",
            "LPUSH to the agent holding the command, one job, pool warm",
            summary,
            [one.summary() for one in (floor, theirs, named, wake)],
            times,
            [
                Budget("p50", "ms", summary.p50, _P50_MS),
                Budget("p99", "ms", summary.p99, _P99_MS),
                Budget("ratio to the relay", "x", times, _P50_MS / _RELAY_P50_MS),
            ],
            conditions=f"{rounds} rounds of {_JOBS_A_ROUND} jobs, one every {_PACE_S * 1000:.0f} ms; a real manager, a"
            f" Redis with append-only file, {_VMS} simulated agents that send heartbeats; from just before LPUSH in the"
            " client to the decoded Join in the agent's process.",
            limited_by="waking up: client, Redis, manager and agent stand idle between jobs, and each has to be woken"
            " in turn, Redis and the manager once for every round trip between them (the PING beside it says what one"
            " such round trip costs at this pace). The manager's own work for a job is a fraction of a millisecond.",
        )
    ]


class Parts:
    """What stands beside each other on a stage: agents, relay and peer, each with the list of who arrived there."""

    def __init__(self, stage: Stage) -> None:
        self.agents = Arrivals(stage.folder / "agents.arrivals")
        self.relayed = Arrivals(stage.folder / "relay.arrivals")
        self.peers = Arrivals(stage.folder / "peer.arrivals")
        self.queue = Queue.from_url(stage.redis_url, name=peer.QUEUE)

    async def enqueue(self, names: list[str]) -> None:
        await asyncio.gather(*(self.queue.enqueue(peer.FUNCTION, name=name) for name in names))


async def start_parts(stage: Stage, *, vms: int, vms_a_connection: int, warm_after_s: float, stay_s: float) -> Parts:
    parts = Parts(stage)
    await stage.start_manager()
    url = stage.redis_url
    stage.start("agents", *module("simulate", url, vms, vms_a_connection, warm_after_s, stay_s, parts.agents.path))
    stage.start("relay", *module("relay", "relay", url))
    stage.start("reader", *module("relay", "reader", url, parts.relayed.path))
    stage.start("peer", *module("peer", url, parts.peers.path))
    return parts


async def push_jobs(stage: Stage, names: list[str], *, named: bool = False) -> None:
    """Hand in jobs by one LPUSH, each for the meeting of that name. `named`: it is to be the bot_id, too."""
    jobs = [{"meeting_link": f"http://{ROOM_HOST}/r/{name}", "bot_name": "Bench"} for name in names]
    if named:
        jobs = [{**job, "bot_id": name} for name, job in zip(names, jobs, strict=True)]
    stage.client.lpush(stage.keys.jobs, *map(json.dumps, jobs))


async def push_to_relay(stage: Stage, names: list[str]) -> None:
    stage.client.lpush(relay.IN, *names)


async def _paced(stage: Stage, arrivals: Arrivals, push: Callable[[str], Awaitable[None]]) -> list[tuple[float]]:
    """One round of jobs; the milliseconds from each one's push to its arrival."""
    began = time.monotonic()
    pushed: dict[str, int] = {}
    for number in range(_JOBS_A_ROUND):
        await asyncio.sleep(began + number * _PACE_S - time.monotonic())
        name = f"job-{time.monotonic_ns()}"
        pushed[name] = time.monotonic_ns()
        await push(name)
    arrived = await arrivals.wait(stage, list(pushed))
    return [((arrived[name] - at) / 1e6,) for name, at in pushed.items()]


async def _pings(stage: Stage) -> list[tuple[float]]:
    """One round of round trips to Redis, from this process, at the same pace."""
    times: list[tuple[float]] = []
    for _ in range(_JOBS_A_ROUND):
        await asyncio.sleep(_PACE_S)
        began = time.monotonic_ns()
        stage.client.ping()  # pyright: ignore[reportUnknownMemberType]
        times.append(((time.monotonic_ns() - began) / 1e6,))
    return times
