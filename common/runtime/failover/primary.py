"""Connections to whichever server is the primary: looked up for each, and given up once it is another one.

redis-py's pool for Sentinel does the one; the other is for a primary that was replaced and does not know it, as one
that is cut off from the rest and not from us.
"""

import asyncio
import time
from typing import Any, Final

import structlog
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedConnection
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    MovedError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from common.config.redis_url import Node
from common.runtime.failover.witnesses import Witnesses

LOOK_S: Final = 3.0
"""How often it is asked whether the primary is still the same, while there are calls."""

_ELSEWHERE: Final = (MovedError, AskError, TryAgainError, ClusterDownError, MasterDownError)
"""What a server answers that is not the primary of the key, or cannot be at the moment."""

_UNBLOCKED: Final = "UNBLOCKED"
"""What a blocking call is answered when the server becomes a replica meanwhile."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ToPrimary(SentinelManagedConnection):
    """A server that says it is not the primary is left, and the call has failed as for one that is away."""

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)  # pyright: ignore[reportUnknownVariableType]
        except ResponseError as error:
            if not isinstance(error, _ELSEWHERE) and not str(error).startswith(_UNBLOCKED):
                raise
            await self.disconnect()
            raise ConnectionError(f"the server is not the primary: {type(error).__name__} {error}") from error


class PrimaryPool(SentinelConnectionPool):
    """`looks`: whether to ask again and again. In a cluster nobody has to: a primary that is cut off from most of the
    others stops by itself.
    """

    def __init__(self, service: str, witnesses: Witnesses, *, looks: bool, **options: Any) -> None:
        super().__init__(service, witnesses, **options)  # pyright: ignore[reportUnknownMemberType]
        self._witnesses = witnesses
        self._looks = looks
        self._looked_at = time.monotonic()
        self._look: asyncio.Task[None] | None = None

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        now = time.monotonic()
        if self._looks and now - self._looked_at > LOOK_S and (self._look is None or self._look.done()):
            self._looked_at = now
            # Beside the call, which must not wait for sentinels; ended by aclose.
            self._look = asyncio.get_running_loop().create_task(self._look_again(), name="is it still the primary?")
        return await super().get_connection(*args, **options)

    async def get_master_address(self) -> Node:
        """Where the primary is. When it is another one than before, all connections to that are given up."""
        found = await self._witnesses.discover_master()
        before, self.master_address = self.master_address, found
        if before not in (None, found):
            log.warning("redis_primary_changed", before=_text(before), now=_text(found))
            await self.update_active_connections_for_reconnect()
            await self.disconnect(inuse_connections=False)
        return found

    async def _look_again(self) -> None:
        try:
            await self.get_master_address()
        except (RedisError, OSError) as error:  # the primary may be well all the same
            log.warning("redis_primary_unknown", error=str(error)[:200])

    async def aclose(self) -> None:
        if self._look:
            self._look.cancel()
            await asyncio.wait({self._look})
        await super().aclose()
        await self._witnesses.aclose()


def _text(node: Any) -> str:
    host, port = node
    return f"{host}:{port}"
