"""Extends the life of keys that are in use, and removes expired bots from the indexes."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from redis.asyncio import Redis

from common.config.settings import RetentionSettings
from common.wire.vocabulary import BotState
from poolmgr.store import scripts
from poolmgr.store.forgetting import forget
from poolmgr.store.keys import Keys
from poolmgr.store.lives import JOB_STREAM_LIFE_S, STREAM_LIFE_S

_ORPHANS_AT_ONCE: Final = 100  # the rest is dropped the next time
_FORGOTTEN_AT_ONCE: Final = 5000
_UNOWNED_AT_ONCE: Final = 200
"""Bots in one script, which holds Redis meanwhile."""


class Upkeep:
    """The leader calls these methods at intervals. Every call may be repeated."""

    def __init__(self, redis: Redis, keys: Keys, retention: RetentionSettings) -> None:
        self._redis: Any = redis  # redis-py types answers as unions of all shapes
        self._keys = keys
        self._retention = retention

    async def memory(self) -> tuple[int, int]:
        """The bytes that Redis uses, and its limit; 0: no limit. Raises: Redis' errors, also if it refuses INFO."""
        said: dict[str, Any] = await self._redis.info("memory")
        return int(said.get("used_memory", 0)), int(said.get("maxmemory", 0))

    async def renew(self, vm_ids: Iterable[str]) -> None:
        """Extend the expiry of the keys of these VMs, which are in use, and of this leader's streams."""
        life_s = int(self._retention.vm_s)
        pipeline = self._redis.pipeline(transaction=False)
        for vm_id in vm_ids:
            pipeline.expire(self._keys.vm(vm_id), life_s)
            pipeline.expire(self._keys.workers(vm_id), life_s)
        pipeline.expire(self._keys.vms, life_s)
        pipeline.expire(self._keys.events, STREAM_LIFE_S)
        pipeline.expire(self._keys.control, STREAM_LIFE_S)
        pipeline.expire(self._keys.outbox, STREAM_LIFE_S)
        pipeline.expire(self._keys.job_stream, JOB_STREAM_LIFE_S)
        await pipeline.execute()

    async def forget_orphans(self, in_pool: Collection[str]) -> list[str]:
        """Remove bots from the index of live bots whose record has ended or is gone, except those `in_pool`. Returns
        their ids.
        """
        live: list[bytes] = await self._redis.zrange(self._keys.live, 0, -1)
        unknown = [bot_id for raw in live if (bot_id := raw.decode()) not in in_pool][:_ORPHANS_AT_ONCE]
        pipeline = self._redis.pipeline(transaction=False)
        for bot_id in unknown:
            pipeline.hget(self._keys.bot(bot_id), "state")
        states: list[bytes | None] = await pipeline.execute() if unknown else []
        over = (None, BotState.STOPPED.encode())
        orphans = [bot_id for bot_id, state in zip(unknown, states, strict=True) if state in over]
        if orphans:
            await self._redis.zrem(self._keys.live, *orphans)
        return orphans

    async def forget_ended(self, now: float) -> int:
        """Delete bots whose retention is over at `now` (epoch seconds), some thousands at most. Returns how many."""
        over: list[bytes] = await self._redis.zrange(
            self._keys.ended, "-inf", now - self._retention.bot_s, byscore=True, offset=0, num=_FORGOTTEN_AT_ONCE
        )
        for bot_id in over:
            await forget(self._redis, self._keys, bot_id.decode())
        return len(over)

    async def forget_unowned(self, owners: Iterable[str], in_pool: Collection[str]) -> list[str]:
        """Remove bots from the quotas of `owners` that have ended or never existed. Returns their ids.

        A bot that is not `in_pool` is removed if Redis has neither a live record nor a submitted entry of it.
        """
        given_up: list[str] = []
        for owner in owners:
            members: set[bytes] = await self._redis.smembers(self._keys.owned(owner))
            unknown = sorted({raw.decode() for raw in members} - set(in_pool))
            for first in range(0, len(unknown), _UNOWNED_AT_ONCE):
                some = unknown[first : first + _UNOWNED_AT_ONCE]
                call = scripts.disown(
                    owned=self._keys.owned(owner),
                    bots=[self._keys.bot(bot_id) for bot_id in some],
                    submitted=[self._keys.submitted(bot_id) for bot_id in some],
                    bot_ids=some,
                )
                given_up += [raw.decode() for raw in await call.run(self._redis)]
        return given_up
