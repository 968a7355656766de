"""A pool of connections to Redis."""

from typing import Any

from redis.asyncio import ConnectionPool


class Pool(ConnectionPool):
    """redis-py's pool without its counts of connections for OpenTelemetry, which nothing here reads: they take longer
    than the rest of a call's way through the pool.
    """

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        """A connection that is open and has no data left from before. Raises: redis-py's errors when Redis is away."""
        connection = self.get_available_connection()
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: Any) -> None:
        """Give it back; it is closed first if it leads to a server that is no longer the primary."""
        self._in_use_connections.remove(connection)
        if connection.should_reconnect():
            await connection.disconnect()
        self._available_connections.append(connection)
