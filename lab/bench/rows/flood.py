"""How one client's flood affects the others: how long their calls take, and how late the manager answers /healthz."""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from common.jobs.job import MAX_JOB_BYTES
from lab.bench.commands import module
from lab.bench.flooder import POSTED, PUSHED, ROUNDS
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.sample import Contender, Series, percentile, ratio, take_turns
from lab.parts.stage import Stage

_FLOOD: Final = "pm_" + "flood" * 6
_OTHER: Final = "pm_" + "other" * 6
_ALONE_S: Final = 3.0
_HEALTH_EVERY_S: Final = 0.05
_MOST: Final = 2.0
_HEALTH_MS: Final = 100.0
_LEASE_S: Final = 3.0
_WITHIN_S: Final = 60.0


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    rounds = 3 if quick else 10
    posts, pushes, floor = (Series(name, "ms") for name in ("beside POSTs", "beside LPUSHes", "alone"))
    health = Series("/healthz beside a flood", "ms")
    async with _manager() as flooded:

        async def beside(how: str) -> list[tuple[float]]:
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(flooded.health(health), name="health")
                flood = group.create_task(flooded.flood(how), name="flood")
                samples = await flooded.calls(flood.done)
                looking.cancel()
            return samples

        async def alone() -> list[tuple[float]]:
            until = time.perf_counter() + _ALONE_S
            return await flooded.calls(lambda: time.perf_counter() > until)

        contenders = [
            Contender((posts,), lambda: beside("post")),
            Contender((pushes,), lambda: beside("push")),
            Contender((floor,), alone),
        ]
        await take_turns(rounds, contenders, progress.say)
        terms = int(flooded.client.get(flooded.stage.keys.epoch))
    p99 = percentile(health.samples, 0.99)
    return [
        Measurement(
            "flood",
            "GET status of a bot by one token, beside the flood of another",
            posts.summary(),
            [floor.summary(), pushes.summary()],
            ratio(posts, floor),
            [
                Budget("p50 / p50 alone", "x", posts.summary().p50 / floor.summary().p50, _MOST),
                Budget("p99 of /healthz", "ms", p99, _HEALTH_MS),
                Budget("terms of leadership", "", terms, 1),
            ],
            conditions=f"{rounds} rounds; in each, {POSTED} POSTs of hostile jobs (lab/bench/hostile.py, up to"
            f" {MAX_JOB_BYTES >> 10} KiB) at once by a token with the default rate, and another time {PUSHED} of them"
            " by LPUSH. Until all is answered and read, another token calls one by one, and /healthz is asked every"
            f" {_HEALTH_EVERY_S * 1000:g} ms. The lease is {_LEASE_S:g} s.",
            limited_by="two cores for the manager, Redis, the flood's own client and the one that measures.",
        )
    ]


class _Flooded:
    def __init__(self, stage: Stage, other: aiohttp.ClientSession) -> None:
        self.stage = stage
        self.client: Any = stage.client
        self._other = other

    async def calls(self, done: Callable[[], bool]) -> list[tuple[float]]:
        """Make calls one after the other until `until`; the milliseconds of each."""
        samples: list[tuple[float]] = []
        while not done():
            samples.append((await _took_ms(self._other, "bots/nobody/status"),))
            await asyncio.sleep(0.005)
        return samples

    async def health(self, series: Series) -> None:
        """Ask for /healthz until it is cancelled."""
        samples: list[float] = []
        series.rounds.append(samples)
        while True:
            samples.append(await _took_ms(self._other, f"{self.stage.api}/healthz"))
            await asyncio.sleep(_HEALTH_EVERY_S)

    async def flood(self, how: str) -> None:
        """Let the client flood, and wait until all of it is answered and read."""
        count = await self._floods()
        self.stage.tell("flooder", how)

        async def is_over() -> bool:
            return await self._floods() > count

        await self.stage.until("the flood is over", is_over, _WITHIN_S)

    async def _floods(self) -> int:
        redis: Any = self.stage.redis
        return int(await redis.get(ROUNDS) or 0)


async def _took_ms(session: aiohttp.ClientSession, path: str) -> float:
    began = time.perf_counter()
    async with session.get(path) as answer:
        await answer.read()
    return (time.perf_counter() - began) * 1000


@asynccontextmanager
async def _manager() -> AsyncGenerator[_Flooded]:
    tokens = [{"name": name, "sha256": hashlib.sha256(secret.encode()).hexdigest(), **more} for name, secret, more in (
        ("flood", _FLOOD, {}), ("other", _OTHER, {"requests_per_s": 10_000.0}),
    )]  # fmt: skip
    async with Stage("bench", {"api": {"tokens": tokens}, "lease": {"ttl_s": _LEASE_S}}) as stage:
        await stage.start_manager()
        stage.start("flooder", *module("flooder", stage.api, _FLOOD, stage.redis_url, stage.keys.jobs), listens=True)
        headers = {"Authorization": f"Token {_OTHER}"}
        async with aiohttp.ClientSession(f"{stage.api}/api/v1/", headers=headers) as other:
            flooded = _Flooded(stage, other)
            await stage.until("the flooder is there", lambda: _is_there(stage), _WITHIN_S)
            yield flooded


async def _is_there(stage: Stage) -> bool:
    return bool(await stage.redis.exists(ROUNDS))
