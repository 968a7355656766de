"""What the scaling keeps for its next look and the next leader: its state and history, and what its last look found."""

from typing import Any

import msgspec
from redis.asyncio import Redis

from poolmgr.scaling.history import History
from poolmgr.scaling.steps import Shown, Standing
from poolmgr.store import scripts
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import run_fenced


class KeptScaling:
    """Reads under one prefix; writes for the leader of `epoch`, and raises StaleEpochError when that was replaced."""

    def __init__(self, redis: Redis, keys: Keys, epoch: int = 0) -> None:
        self._redis: Any = redis  # its answers are typed as unions of every shape; tests pin the real ones
        self._keys = keys
        self._epoch = epoch

    async def load(self) -> tuple[Standing, History]:
        """What an earlier leader kept. Entries that cannot be read, because another release wrote them, are ignored."""
        standing, counts = await self._redis.hmget(self._keys.scaling, "standing", "history")
        try:
            return (
                msgspec.json.decode(standing, type=Standing) if standing else Standing(),
                History(msgspec.json.decode(counts, type=dict[int, int]) if counts else None),
            )
        except msgspec.MsgspecError:
            return Standing(), History()

    async def keep(self, standing: Standing, history: History, shown: Shown) -> None:
        encode = msgspec.json.encode
        fields = {"standing": encode(standing), "history": encode(history.counts), "shown": encode(shown)}
        call = scripts.keep_scaling(scaling=self._keys.scaling, fields=fields)
        await run_fenced(self._redis, self._keys.epoch, self._epoch, [call])
