# pyright: basic, reportMissingImports=false
"""The peers of a dispatch: queue libraries on Redis, each with one worker, which notes that it has its job, and one
client, which notes when it hands jobs in. All defaults, as their manuals start them; a process each, on uvloop.

    python -m lab.bench.peer worker PEER REDIS_URL ARRIVALS_FILE
    python -m lab.bench.peer client PEER REDIS_URL PUSHED_FILE   (each line of standard input: names to hand in at once)

They run in an environment of their own (requirements/peers.in). So nothing of the project is imported here but what
needs only the standard library, and of the peers only the one that is asked for.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable

import uvloop

from lab.bench.arrivals import note_arrivals

Push = Callable[[str], Awaitable[object]]
Note = Callable[[list[str]], None]


class Saq:
    async def work(self, url: str, note: Note) -> None:
        from saq import Queue, Worker

        async def arrive(_context: object, *, name: str) -> None:
            note([name])

        await Worker(Queue.from_url(url, name="bench-saq"), functions=[("arrive", arrive)]).start()

    async def client(self, url: str) -> Push:
        from saq import Queue

        queue = Queue.from_url(url, name="bench-saq")
        await queue.connect()
        return lambda name: queue.enqueue("arrive", name=name)


class Taskiq:
    async def work(self, url: str, note: Note) -> None:
        from taskiq.api import run_receiver_task
        from taskiq_redis import ListQueueBroker

        async def arrive(name: str) -> None:
            note([name])

        broker = ListQueueBroker(url, queue_name="bench-taskiq")
        broker.register_task(arrive, task_name="arrive")
        await run_receiver_task(broker, run_startup=True)

    async def client(self, url: str) -> Push:
        from taskiq.kicker import AsyncKicker
        from taskiq_redis import ListQueueBroker

        broker = ListQueueBroker(url, queue_name="bench-taskiq")
        await broker.startup()
        return lambda name: AsyncKicker("arrive", broker, {}).kiq(name)


class Arq:
    async def work(self, url: str, note: Note) -> None:
        from arq import Worker, func
        from arq.connections import RedisSettings

        async def arrive(_context: object, name: str) -> None:
            note([name])

        functions = [func(arrive, name="arrive")]
        worker = Worker(
            functions, redis_settings=RedisSettings.from_dsn(url), queue_name="bench-arq", handle_signals=False
        )
        await worker.async_run()

    async def client(self, url: str) -> Push:
        from arq import create_pool
        from arq.connections import RedisSettings

        pool = await create_pool(RedisSettings.from_dsn(url))
        return lambda name: pool.enqueue_job("arrive", name, _queue_name="bench-arq")


_PEERS = {"saq": Saq, "taskiq": Taskiq, "arq": Arq}


async def _hand_in(push: Push, note: Note) -> None:
    """Hand jobs in until standard input ends. All names of a line are handed in at once, and noted just before."""
    lines = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        names = line.decode().split()
        note(names)
        await asyncio.gather(*(push(name) for name in names))


async def _main(role: str, peer: str, url: str, file: str) -> None:
    note = note_arrivals(file)
    if role == "worker":
        await _PEERS[peer]().work(url, note)
    else:
        await _hand_in(await _PEERS[peer]().client(url), note)


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
