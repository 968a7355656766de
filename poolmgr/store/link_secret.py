"""What links to files are signed with: a random value in Redis, so that all managers have the same."""

import secrets
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio import Redis

from poolmgr.store.keys import Keys

KNOWN_FOR_S: Final = 60.0
"""So long a manager uses what it has read: a Redis that lost it has another one."""
UNUSED_LIFE_S: Final = 30 * 86_400
"""Longer than any link lasts."""
_BYTES: Final = 32


class LinkSecret:
    """`steady`: a clock, seconds."""

    def __init__(self, redis: Redis, keys: Keys, steady: Callable[[], float]) -> None:
        self._redis: Any = redis
        self._key = keys.link_secret
        self._steady = steady
        self._known = b""
        self._until = 0.0

    async def get(self) -> bytes:
        """Raises: redis-py's errors."""
        while self._steady() >= self._until:
            found: bytes | None = await self._redis.getex(self._key, ex=UNUSED_LIFE_S)  # also while Redis is full
            if found:
                self._known, self._until = found, self._steady() + KNOWN_FOR_S
            else:
                await self._redis.set(self._key, secrets.token_hex(_BYTES), nx=True, ex=UNUSED_LIFE_S)
        return self._known
