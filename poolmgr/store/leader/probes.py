"""The results of the probes that the leader sends to the meetings of [probes], the latest first.

Each probe of a link has a turn: a number that grows by one every [probes] every_s. One leader begins a turn, once, and
it is concluded once.
"""

from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from common.runtime.redis.lua import Call
from poolmgr.store import scripts
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import run_fenced

KEPT: Final = 200
"""How many results of a link are kept (poolmgr/store/scripts.py)."""


class ProbeRun(msgspec.Struct, frozen=True):
    """One probe that has ended. `outcome`: joined, refused (by host, client or link), failed, rejected (the link is not
    that of a meeting), or unfinished. `way`: each screen with the rule that recognised it, in order, until the bot was
    in. `new_steps`: those of them that no earlier probe of this link saw. `changed`: the page is another than before.
    Times: ISO 8601.
    """

    bot_id: str
    at: str
    platform: str
    outcome: str
    reason: str = ""
    detail: str = ""
    join_s: float | None = None
    way: list[str] = []
    new_steps: list[str] = []
    changed: bool = False


class Begun(msgspec.Struct, frozen=True):
    """The latest turn of a link. `concluded`: its ProbeRun is written."""

    turn: int
    bot_id: str
    concluded: bool


class Probes:
    """Reads under one prefix; writes for the leader of `epoch`, and raises StaleEpochError when that was replaced."""

    def __init__(self, redis: Redis, keys: Keys, epoch: int = 0) -> None:
        self._redis: Any = redis  # its answers are typed as unions of every shape; tests pin the real ones
        self._keys = keys
        self._epoch = epoch

    async def begun(self, name: str) -> Begun | None:
        raw, runs = await self._redis.hget(self._keys.probes, name), await self.history(name, 1)
        if not raw:
            return None
        turn, _, bot_id = raw.decode().partition(" ")
        return Begun(int(turn), bot_id, concluded=bool(runs) and runs[0].bot_id == bot_id)

    async def begin(self, name: str, turn: int, bot_id: str, payload: bytes) -> bool:
        """Begin a turn: put its job on the list. Does nothing if this turn, or a later one, was begun before."""
        call = scripts.begin_probe(
            probes=self._keys.probes, jobs=self._keys.jobs, name=name, turn=turn, bot_id=bot_id, payload=payload
        )
        return await self._run(call)

    async def conclude(self, name: str, run: ProbeRun) -> bool:
        """Put the result first in the history. False: it was there already."""
        call = scripts.conclude_probe(history=self._keys.probe(name), bot_id=run.bot_id, run=msgspec.json.encode(run))
        return await self._run(call)

    async def history(self, name: str, most: int = KEPT) -> list[ProbeRun]:
        """The results of a link. The latest comes first."""
        raws: list[bytes] = await self._redis.lrange(self._keys.probe(name), 0, most - 1)
        return [msgspec.json.decode(raw, type=ProbeRun) for raw in raws]

    async def _run(self, call: Call[bool]) -> bool:
        (answer,) = await run_fenced(self._redis, self._keys.epoch, self._epoch, [call])
        return answer
