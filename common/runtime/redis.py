"""One way to make a Redis client, and the errors after which a connection is worth trying again."""

import asyncio
from typing import Any, Final, cast
from urllib.parse import urlsplit

import hiredis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, TimeoutError

from common.config.settings import RedisSettings

UNAVAILABLE: Final = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, OSError)
"""What Redis does when it is away, loading or failing over. Anything else is a bug or a full server."""


_MOST_CONNECTIONS: Final = 10_000
"""Of one client: as many as Redis takes itself by default. How much is under way at once is decided where it is begun
(webhooks.at_once, api.connections); redis-py's own limit of 100 would be met by those as an outage.
"""


class _Connection(AbstractConnection):
    """A connection on which no cancellation is lost, and which packs commands in C as the synchronous client does.

    The client sends inside asyncio.wait_for, which before Python 3.12 swallows a cancellation that comes in the same
    moment as the result (https://github.com/python/cpython/issues/86296): a loop would then never end. Without a
    timeout of its own it sends plainly, so the deadline is set around it.
    """

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        limit_s, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(limit_s):
                await super().send_packed_command(command, check_health)
        except RuntimeError as error:  # uvloop's message for a connection that was reset a moment ago
            raise ConnectionError(str(error)) from error
        finally:
            self.socket_timeout = limit_s

    def pack_command(self, *args: Any) -> list[bytes]:
        if " " in args[0]:  # two words of one command, which must be sent as two
            return super().pack_command(*args)
        return [cast("Any", hiredis).pack_command(args)]


def connect(settings: RedisSettings) -> Redis:
    """A client that returns bytes and never retries by itself: only the caller knows whether a repeat is safe.

    Every call has a deadline of `settings.timeout_s`; a blocking read must ask for less than that.
    """
    return Redis.from_pool(_pool(settings))


def url_fault(settings: RedisSettings) -> str:
    """Why the URL cannot be used; empty if it can. Quotes nothing of it, because it may hold a password."""
    try:
        _pool(settings).make_connection()  # which connects to nobody yet, but looks at every option
        parts = urlsplit(settings.url)
        database = parts.path.strip("/") if parts.scheme != "unix" else ""
    except (ValueError, TypeError):
        return "cannot be read: host, port or an option after ? is none that this program knows"
    if database and not database.isdecimal():
        return "what stands after the host has to be the number of a database"
    return ""


def _pool(settings: RedisSettings) -> Any:
    pool: Any = ConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
        settings.url,
        socket_timeout=settings.timeout_s,
        socket_connect_timeout=settings.timeout_s,
        health_check_interval=0,
        max_connections=_MOST_CONNECTIONS,
        retry=Retry(NoBackoff(), 0),
    )
    kind = pool.connection_class  # by the URL: TCP, TLS or a Unix socket
    pool.connection_class = type(kind.__name__, (_Connection, kind), {})
    return pool


def address(settings: RedisSettings) -> str:
    """Where Redis is, without what lets one in: for logs and messages."""
    parts = urlsplit(settings.url)
    where = (parts.netloc.rpartition("@")[2] or "127.0.0.1:6379") if parts.scheme != "unix" else parts.path
    return f"{parts.scheme}://{where}"
