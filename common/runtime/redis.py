"""One way to make a Redis client, and the errors after which a connection is worth trying again."""

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import hiredis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, TimeoutError

from common.config import redis_url
from common.config.redis_url import BadRedisUrlError, Finds, Node, RedisUrl
from common.config.settings import RedisSettings
from common.runtime.roundtrip import Confirmation, confirm
from common.wire.keys import WireKeys

if TYPE_CHECKING:
    from common.runtime.failover.witnesses import Witnesses

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
    """A client of the server that takes writes, however `settings.url` finds it. It returns bytes and never retries by
    itself: only the caller knows whether a repeat is safe.

    Every call has a deadline of `settings.timeout_s`; a blocking read must ask for less than that. After a failover
    calls go to the new primary: when one fails, or the old primary says that it is none, or within LOOK_S by asking.
    """
    redis = Redis.from_pool(_pool(settings))
    if settings.wait_replicas:
        within_s = min(settings.wait_s, settings.timeout_s / 2)
        confirm(redis, Confirmation(settings.wait_replicas, within_s, WireKeys(settings.prefix).confirmed))
    return redis


def url_fault(settings: RedisSettings) -> str:
    """Why the URL cannot be used; empty if it can. Quotes nothing of it, because it may hold a password."""
    try:
        _pool(settings).make_connection()  # which connects to nobody yet, but looks at every option
    except BadRedisUrlError as error:
        return str(error)
    except (ValueError, TypeError):
        return "cannot be read: host, port or an option after ? is none that this program knows"
    return ""


def witnesses(settings: RedisSettings) -> "Witnesses | None":
    """Who says which server takes writes; None when the URL names it. To be closed. Raises: ValueError."""
    url = redis_url.read(settings.url)
    if url.finds is Finds.DIRECTLY:
        return None
    from common.runtime.failover.witnesses import ANSWER_S, OfCluster, OfSentinels, Witnesses  # slow to import

    options = _options(url._replace(plain=url.sentinels or url.plain), settings)
    kind = options.pop("connection_class")
    options |= {"socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S}

    def introduce(node: Node) -> Redis:
        where: dict[str, Any] = {**options, "host": node.host, "port": node.port}
        return Redis.from_pool(ConnectionPool(connection_class=_class(kind), **where))

    if url.finds is Finds.IN_A_CLUSTER:
        return Witnesses("node", url.nodes, OfCluster(settings.prefix), introduce)
    return Witnesses("sentinel", url.nodes, OfSentinels(url.service), introduce)


def _pool(settings: RedisSettings) -> Any:
    """Raises: ValueError, TypeError."""
    url = redis_url.read(settings.url)
    options = _options(url, settings)
    kind = options.pop("connection_class")
    if (known := witnesses(settings)) is None:
        return ConnectionPool(connection_class=_class(kind), **options)
    from common.runtime.failover.primary import PrimaryPool, ToPrimary  # slow to import

    del options["host"], options["port"]  # the first to be asked; where the primary is, each connection finds out
    looks = url.finds is Finds.BY_SENTINELS
    return PrimaryPool(url.service, known, looks=looks, connection_class=_class(ToPrimary, kind), **options)


def _options(url: RedisUrl, settings: RedisSettings) -> dict[str, Any]:
    parsed = cast("dict[str, Any]", parse_url(url.plain))
    ours: dict[str, Any] = {
        "connection_class": Connection,
        "socket_timeout": settings.timeout_s,
        "socket_connect_timeout": settings.timeout_s,
        "health_check_interval": 0,
        "max_connections": _MOST_CONNECTIONS,
        "retry": Retry(NoBackoff(), 0),
    }
    if url.finds is not Finds.DIRECTLY and parsed.get("connection_class") is not SSLConnection:
        # Sentinels and Redis share what stands after ?, and one of them may do without TLS.
        parsed = {name: value for name, value in parsed.items() if not name.startswith("ssl_")}
    return ours | parsed


def _class(*kinds: type[AbstractConnection]) -> Any:
    """By the URL: TCP, TLS or a Unix socket."""
    return type(kinds[0].__name__, (_Connection, *kinds), {})


def address(settings: RedisSettings) -> str:
    """Where Redis is, without what lets one in: for logs and messages."""
    parts = urlsplit(settings.url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    where = parts.netloc.rpartition("@")[2] or "127.0.0.1:6379"
    service = parts.path.strip("/").partition("/")[0] if parts.scheme.endswith("+sentinel") else ""
    return f"{parts.scheme}://{where}{'/' if service else ''}{service}"
