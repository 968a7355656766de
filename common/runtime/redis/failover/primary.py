"""Connections to the primary of a Redis that fails over.

Each new connection looks the primary up. When the primary has changed, all connections to the old one are closed.
redis-py's pool for Sentinel does the first. The second is needed for an old primary that is cut off from the others but
not from this program, and so does not know that it was replaced.
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
from common.runtime.redis.failover.topology import Topology
from common.runtime.redis.pool import Pool

LOOK_S: Final = 3.0
"""While there are calls, the pool asks this often whether the primary is still the same."""

_ELSEWHERE: Final = (MovedError, AskError, TryAgainError, ClusterDownError, MasterDownError)
"""The answers of a server that is not the key's primary, or cannot take writes now."""

_UNBLOCKED: Final = "UNBLOCKED"
"""The answer to a blocking call whose server became a replica meanwhile."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ToPrimary(SentinelManagedConnection):
    """A connection that is closed when the server says that it is not the primary. The call fails as if the server were
    away.
    """

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)  # pyright: ignore[reportUnknownVariableType]
        except ResponseError as error:
            if not isinstance(error, _ELSEWHERE) and not str(error).startswith(_UNBLOCKED):
                raise
            await self.disconnect()
            raise ConnectionError(f"the server is not the primary: {type(error).__name__} {error}") from error


class PrimaryPool(Pool, SentinelConnectionPool):
    """`looks`: whether to ask every LOOK_S for the primary. A cluster does not need it: there a primary that is cut off
    from most of the others stops taking writes.
    """

    def __init__(self, service: str, topology: Topology, *, looks: bool, **options: Any) -> None:
        super().__init__(service, topology, **options)  # pyright: ignore[reportUnknownMemberType]
        self._topology = topology
        self._looks = looks
        self._looked_at = time.monotonic()
        self._look: asyncio.Task[None] | None = None

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        now = time.monotonic()
        if self._looks and now - self._looked_at > LOOK_S and (self._look is None or self._look.done()):
            self._looked_at = now
            # In a task, because the call must not wait for sentinels. aclose ends it.
            self._look = asyncio.get_running_loop().create_task(self._look_again(), name="is it still the primary?")
        return await super().get_connection(*args, **options)

    async def get_master_address(self) -> Node:
        """The address of the primary. If it has changed, all connections to the old one are closed."""
        found = await self._topology.discover_master()
        before, self.master_address = self.master_address, found
        if before not in (None, found):
            log.warning("redis_primary_changed", before=_text(before), now=_text(found))
            await self.update_active_connections_for_reconnect()
            await self.disconnect(inuse_connections=False)
        return found

    async def _look_again(self) -> None:
        try:
            await self.get_master_address()
        except (RedisError, OSError) as error:  # the primary itself may be all right
            log.warning("redis_primary_unknown", error=str(error)[:200])

    async def aclose(self) -> None:
        if self._look:
            self._look.cancel()
            await asyncio.wait({self._look})
        await super().aclose()
        await self._topology.aclose()


def _text(node: Any) -> str:
    host, port = node
    return f"{host}:{port}"
