"""A peer for the dispatch: a worker of the queue library saq, which notes that it has its job.

python -m bench.peer REDIS_URL ARRIVALS_FILE
"""

import sys
from typing import Any, Final

import uvloop
from saq import Queue, Worker

from bench.stage import note_arrivals

QUEUE: Final = "bench"
FUNCTION: Final = "arrive"


async def _work(url: str, arrivals: str) -> None:
    note = note_arrivals(arrivals)

    async def arrive(_context: Any, *, name: str) -> None:
        note([name])

    worker: Worker[Any] = Worker(Queue.from_url(url, name=QUEUE), functions=[(FUNCTION, arrive)])
    await worker.start()


if __name__ == "__main__":
    uvloop.run(_work(*sys.argv[1:]))
