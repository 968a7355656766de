"""One way to make a Redis client, and the errors after which a connection is worth trying again."""

from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, TimeoutError

from wire.settings import RedisSettings

UNAVAILABLE: Final = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, OSError)
"""What Redis does when it is away, loading or failing over. Anything else is a bug or a full server."""


def connect(settings: RedisSettings) -> Redis:
    """A client that answers bytes and never retries by itself: whoever calls knows whether a repeat is safe.

    Every call has a deadline of `settings.timeout_s`; a blocking read must ask for less than that.
    """
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        settings.url,
        socket_timeout=settings.timeout_s,
        socket_connect_timeout=settings.timeout_s,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
    )
