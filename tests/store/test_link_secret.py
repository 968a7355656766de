"""The secret of links: one for all managers, and a new one if Redis has lost it."""

from typing import Any

from redis.asyncio import Redis

from poolmgr.store.keys import Keys
from poolmgr.store.link_secret import KNOWN_FOR_S, UNUSED_LIFE_S, LinkSecret


async def test_all_managers_have_the_same_secret_which_ends_when_nobody_uses_it(redis: Redis, keys: Keys) -> None:
    now = [0.0]
    client: Any = redis
    one, other = (LinkSecret(redis, keys, lambda: now[0]) for _ in range(2))
    secret = await one.get()
    assert len(secret) == 64
    assert await other.get() == secret
    assert 0 < await client.ttl(keys.link_secret) <= UNUSED_LIFE_S

    await client.delete(keys.link_secret)
    assert await one.get() == secret, "what it has read is used for a while"
    now[0] += KNOWN_FOR_S
    assert await one.get() == await LinkSecret(redis, keys, lambda: now[0]).get() != secret
