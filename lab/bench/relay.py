"""The floors: what the same messages cost where nobody keeps a state or checks anything.

python -m lab.bench.relay relay REDIS_URL                   LPUSH -> BLMOVE -> XADD, one job at a time
python -m lab.bench.relay reader REDIS_URL ARRIVALS_FILE    -> XREAD, in another process
python -m lab.bench.relay listener REDIS_URL STREAM         the agents' events, decoded and acknowledged
"""

import sys
from typing import Any, Final

import uvloop

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect
from common.wire import codec
from lab.bench.arrivals import note_arrivals
from poolmgr.store.answers import entries_of

IN: Final = "bench:relay:in"
_TAKEN: Final = "bench:relay:taken"
_OUT: Final = "bench:relay:out"
_GROUP: Final = "bench"


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


async def _listen(url: str, stream: str) -> None:
    redis: Any = connect(RedisSettings(url=url))
    await redis.xgroup_create(stream, _GROUP, id="$")
    while True:
        if entries := entries_of(await redis.xreadgroup(_GROUP, "one", {stream: ">"}, count=500, block=1000)):
            for entry in entries:
                codec.decode_event(entry.fields[codec.FIELD.encode()])
            await redis.xack(stream, _GROUP, *(entry.entry_id for entry in entries))


if __name__ == "__main__":
    uvloop.run({"relay": _relay, "reader": _read, "listener": _listen}[sys.argv[1]](*sys.argv[2:]))
