"""The lease of the leader: one key with a short life, and an epoch that grows with every new leader."""

from redis.asyncio import Redis

from common.runtime.redis.scripts import resign
from poolmgr.store.keys import Keys
from poolmgr.store.scripts import lead


class Lease:
    """`holder`: a name that no other process has. `ttl_s`: how long the lease lasts without a renewal."""

    def __init__(self, redis: Redis, keys: Keys, holder: str, ttl_s: float) -> None:
        self._redis = redis
        self._keys = keys
        self._holder = holder
        self._ttl_ms = int(ttl_s * 1000)
        self._epoch = 0

    async def take(self) -> int:
        """Take the lease if it is free. Returns the epoch; 0: another process leads."""
        self._epoch = await self._call(0)
        return self._epoch

    async def renew(self) -> bool:
        """Renew the lease. Returns False when it was lost: then every write of this process is refused."""
        return self._epoch != 0 and await self._call(self._epoch) != 0

    async def resign(self) -> None:
        """Give the lease back, so that another manager leads at once."""
        await resign(name=self._keys.leader, holder=self._holder).run(self._redis)

    async def _call(self, epoch: int) -> int:
        k = self._keys
        call = lead(epoch=k.epoch, leader=k.leader, holder=self._holder, lease_ms=self._ttl_ms, renewed=epoch)
        return await call.run(self._redis)
