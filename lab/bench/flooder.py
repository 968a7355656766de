"""A client that floods the manager with hostile jobs, whenever it is told to.

python -m lab.bench.flooder API TOKEN REDIS_URL JOBS_KEY     a line on standard input begins a flood, `post` by HTTP,
                                                         `push` by LPUSH; ROUNDS counts those that are answered and read
"""

import asyncio
import itertools
import sys
from contextlib import suppress
from typing import Any, Final

import aiohttp
import uvloop

from common.config.settings import RedisSettings
from common.jobs.job import MAX_JOB_BYTES
from common.runtime.redis.client import connect
from lab.bench import hostile

ROUNDS: Final = "bench:floods"
POSTED: Final = 100  # what a token may send at once by default
PUSHED: Final = 300


async def _flood(api: str, token: str, url: str, jobs: str) -> None:
    redis: Any = connect(RedisSettings(url=url))
    shapes = itertools.cycle([*hostile.jobs(1.0), hostile.odd_keys(MAX_JOB_BYTES)])
    headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
    connections = aiohttp.TCPConnector(limit=POSTED)
    async with aiohttp.ClientSession(f"{api}/api/v1/", headers=headers, connector=connections) as session:

        async def post(body: bytes) -> None:
            # The manager does not read the whole body of a request that it refuses.
            with suppress(aiohttp.ClientError):
                async with session.post("bots/create_bot", data=body) as answer:
                    await answer.read()

        await redis.set(ROUNDS, 0)
        while how := await asyncio.to_thread(sys.stdin.readline):
            if how == "push\n":
                await redis.lpush(jobs, *(next(shapes).payload for _ in range(PUSHED)))
            else:
                async with asyncio.TaskGroup() as group:
                    for number in range(POSTED):
                        group.create_task(post(next(shapes).payload), name=f"post {number}")
            while await redis.exists(jobs, f"{jobs}:taken"):  # noqa: ASYNC110  # another process empties them
                await asyncio.sleep(0.02)
            await redis.incr(ROUNDS)


if __name__ == "__main__":
    uvloop.run(_flood(*sys.argv[1:5]))
