"""The floor of a dispatch: LPUSH -> BLMOVE -> XADD -> XREAD in two processes, one job at a time, no state, no checks.

python -m bench.relay relay REDIS_URL
python -m bench.relay reader REDIS_URL ARRIVALS_FILE
"""

import sys
from typing import Any, Final

import uvloop

from bench.stage import note_arrivals
from poolmgr.store.inbox import entries_of
from runtime.redis import connect
from wire.settings import RedisSettings

IN: Final = "bench:relay:in"
_TAKEN: Final = "bench:relay:taken"
_OUT: Final = "bench:relay:out"


async def _relay(url: str) -> None:
    redis: Any = connect(RedisSettings(url=url))
    while True:
        if job := await redis.blmove(IN, _TAKEN, 1.0, "RIGHT", "LEFT"):
            await redis.xadd(_OUT, {"m": job})


async def _read(url: str, arrivals: str) -> None:
    redis: Any = connect(RedisSettings(url=url))
    note, after = note_arrivals(arrivals), b"0"
    while True:
        if entries := entries_of(await redis.xread({_OUT: after}, count=500, block=1000)):
            note([entry.fields[b"m"].decode() for entry in entries])
            after = entries[-1].entry_id


if __name__ == "__main__":
    uvloop.run({"relay": _relay, "reader": _read}[sys.argv[1]](*sys.argv[2:]))
