"""One way to make a Redis client, and the errors after which a connection is worth trying again."""

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import hiredis
from redis import DriverInfo
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, TimeoutError

from common.config import redis_url
from common.config.redis_url import BadRedisUrlError, Finds, Node, RedisUrl
from common.config.settings import RedisSettings
from common.runtime.redis.pool import Pool
from common.runtime.redis.roundtrip import Confirmation, confirm
from common.wire.keys import WireKeys

if TYPE_CHECKING:
    from common.runtime.redis.failover.topology import Topology

UNAVAILABLE: Final = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, OSError)
"""What Redis does when it is away, loading or failing over. Anything else is a bug or a full server."""


_MOST_CONNECTIONS: Final = 10_000
"""The most connections of one client; Redis accepts as many by default. Other limits bound how much is under way at
once (webhooks.at_once, api.connections). With redis-py's limit of 100, callers would see an outage.
"""


class _Connection(AbstractConnection):
    """A connection on which no cancellation is lost, and which packs commands in C as the synchronous client does.

    The client sends inside asyncio.wait_for, which before Python 3.12 swallows a cancellation that comes in the same
    moment as the result (https://github.com/python/cpython/issues/86296): a loop would then never end. Without a
    timeout of its own it sends plainly, so the deadline is set around it.
    """

    async def connect(self) -> None:
        if not self.is_connected:  # the pool asks before every call
            await super().connect()

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        limit_s, self.socket_timeout = self.socket_timeout, None
        if limit_s is None:  # the caller has set a deadline around it (roundtrip.py)
            await self._send(command, check_health)
            return
        try:
            async with asyncio.timeout(limit_s):
                await self._send(command, check_health)
        finally:
            self.socket_timeout = limit_s

    async def _send(self, command: Any, check_health: bool) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:  # uvloop's message for a connection that was reset a moment ago
            raise ConnectionError(str(error)) from error

    def pack_command(self, *args: Any) -> list[bytes]:
        if " " in args[0]:  # a command of two words, which are sent separately
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
        _pool(settings).make_connection()  # checks every option, and does not connect yet
    except BadRedisUrlError as error:
        return str(error)
    except (ValueError, TypeError):
        return "cannot be read: host, port or an option after ? is none that this program knows"
    return ""


def topology(settings: RedisSettings) -> "Topology | None":
    """What finds the server that takes writes; None if the URL names it. The caller closes it. Raises: ValueError."""
    url = redis_url.read(settings.url)
    if url.finds is Finds.DIRECTLY:
        return None
    from common.runtime.redis.failover.topology import ANSWER_S, AskNode, AskSentinel, Topology  # slow to import

    options = _options(url._replace(plain=url.sentinels or url.plain), settings)
    kind = options.pop("connection_class")
    options |= {"socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S}

    def make_client(node: Node) -> Redis:
        where: dict[str, Any] = {**options, "host": node.host, "port": node.port}
        return Redis.from_pool(Pool(connection_class=_class(kind), **where))

    if url.finds is Finds.IN_A_CLUSTER:
        return Topology("node", url.nodes, AskNode(settings.prefix), make_client)
    return Topology("sentinel", url.nodes, AskSentinel(url.service), make_client)


def _pool(settings: RedisSettings) -> Any:
    """Raises: ValueError, TypeError."""
    url = redis_url.read(settings.url)
    options = _options(url, settings)
    kind = options.pop("connection_class")
    if (finder := topology(settings)) is None:
        return Pool(connection_class=_class(kind), **options)
    from common.runtime.redis.failover.primary import PrimaryPool, ToPrimary  # slow to import

    del options["host"], options["port"]  # of the first node; each connection looks up the primary
    looks = url.finds is Finds.BY_SENTINELS
    return PrimaryPool(url.service, finder, looks=looks, connection_class=_class(ToPrimary, kind), **options)


def _options(url: RedisUrl, settings: RedisSettings) -> dict[str, Any]:
    parsed = cast("dict[str, Any]", parse_url(url.plain))
    ours: dict[str, Any] = {
        "connection_class": Connection,
        "socket_timeout": settings.timeout_s,
        "socket_connect_timeout": settings.timeout_s,
        "health_check_interval": 0,
        "max_connections": _MOST_CONNECTIONS,
        "retry": Retry(NoBackoff(), 0),
        "driver_info": _driver(),
    }
    if url.finds is not Finds.DIRECTLY and parsed.get("connection_class") is not SSLConnection:
        # The options after ? are for sentinels and for Redis. One of the two may be without TLS.
        parsed = {name: value for name, value in parsed.items() if not name.startswith("ssl_")}
    return ours | parsed


@cache
def _driver() -> DriverInfo:
    """What connections call themselves in CLIENT LIST. Each would read it from the installed package's files: half a
    millisecond, in which the loop stands still.
    """
    return DriverInfo()


def _class(*kinds: type[AbstractConnection]) -> Any:
    """The class of connections over TCP, TLS or a Unix socket, as the URL says."""
    return type(kinds[0].__name__, (_Connection, *kinds), {})


def address(settings: RedisSettings) -> str:
    """The address of Redis without its passwords, for logs and messages."""
    parts = urlsplit(settings.url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    where = parts.netloc.rpartition("@")[2] or "127.0.0.1:6379"
    service = parts.path.strip("/").partition("/")[0] if parts.scheme.endswith("+sentinel") else ""
    return f"{parts.scheme}://{where}{'/' if service else ''}{service}"
