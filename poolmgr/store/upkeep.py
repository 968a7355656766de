"""Gives an end to what Redis does not end by itself: the index entries of bots whose records have expired."""

from typing import Any

from redis.asyncio import Redis

from poolmgr.store.keys import Keys


async def forget_ended(redis: Redis, keys: Keys, before: float) -> int:
    """Drop from the index the bots that ended before `before` (epoch seconds). Returns how many."""
    client: Any = redis
    return int(await client.zremrangebyscore(keys.ended, "-inf", before))
