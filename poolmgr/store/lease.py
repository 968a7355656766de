"""Who leads: one key with a short life, and a number that grows with every new leader."""

from redis.asyncio import Redis

from common.runtime.scripts import resign
from poolmgr.store.keys import Keys
from poolmgr.store.scripts import lead


class Lease:
    """`holder`: a name no other process has. `ttl_s`: how long silence is leadership."""

    def __init__(self, redis: Redis, keys: Keys, holder: str, ttl_s: float) -> None:
        self._redis = redis
        self._keys = keys
        self._holder = holder
        self._ttl_ms = int(ttl_s * 1000)
        self._epoch = 0

    async def take(self) -> int:
        """The epoch if this process now leads, 0 if another one does."""
        self._epoch = await self._call(0)
        return self._epoch

    async def renew(self) -> bool:
        """False when the lease was lost: every later write of this process will be refused."""
        return self._epoch != 0 and await self._call(self._epoch) != 0

    async def resign(self) -> None:
        """Let the next one lead at once."""
        await resign(name=self._keys.leader, holder=self._holder).run(self._redis)

    async def _call(self, epoch: int) -> int:
        k = self._keys
        call = lead(epoch=k.epoch, leader=k.leader, holder=self._holder, lease_ms=self._ttl_ms, renewed=epoch)
        return await call.run(self._redis)
