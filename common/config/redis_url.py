"""Reads `redis.url`, which names one server, the sentinels of a service, or the nodes of a cluster. Pure.

    redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE][?OPTIONS]                  rediss:// with TLS
    unix://[USER:PASSWORD@]/PATH[?OPTIONS]
    redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT]/SERVICE[/DATABASE][?OPTIONS]
    redis+cluster://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT][/0][?OPTIONS]

With `rediss+sentinel://` and `rediss+cluster://` all of them are called by TLS. User and password are for Redis.
Sentinels have their own: the options `sentinel_username` and `sentinel_password`; without these they are called without
a password. `sentinel_ssl=false`: the sentinels have no TLS although Redis has; `sentinel_ssl=true`: the reverse.
"""

from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from common.errors import PoolmgrError

SENTINEL_PORT: Final = 26379
REDIS_PORT: Final = 6379
_FOR_SENTINELS: Final = ("sentinel_username", "sentinel_password", "sentinel_ssl")
_SWITCH: Final = {"true": "rediss", "yes": "rediss", "1": "rediss", "false": "redis", "no": "redis", "0": "redis"}


class Finds(StrEnum):
    """How the server is found that takes writes."""

    DIRECTLY = ""
    BY_SENTINELS = "sentinel"
    IN_A_CLUSTER = "cluster"


class Node(NamedTuple):
    host: str
    port: int


class BadRedisUrlError(PoolmgrError, ValueError):
    """The URL cannot be used. The message quotes nothing of it, because a password may be anywhere in it."""


class RedisUrl(NamedTuple):
    """`plain`: a URL that redis-py can read, of the first node, with user, password, database and options. `nodes`: the
    sentinels or nodes to ask; none if the URL names the server itself. `service`: its name at the sentinels.
    `sentinels`: a URL of the first sentinel that redis-py can read.
    """

    finds: Finds
    plain: str
    nodes: tuple[Node, ...] = ()
    service: str = ""
    sentinels: str = ""


def finds(url: str) -> Finds:
    _, plus, how = url.partition("://")[0].partition("+")
    return Finds(how) if plus else Finds.DIRECTLY


def read(url: str) -> RedisUrl:
    """Read the URL. Raises: BadRedisUrlError, or another ValueError if it is no URL at all."""
    how = finds(url)
    parts = urlsplit(url)
    login, at, names = parts.netloc.rpartition("@")
    if how is Finds.DIRECTLY:
        if "," in names:
            raise BadRedisUrlError("names several servers: that is for redis+sentinel:// or redis+cluster://")
        if parts.scheme != "unix":
            _check_database(parts.path.strip("/"))
        return RedisUrl(how, url)
    nodes = _nodes(names, SENTINEL_PORT if how is Finds.BY_SENTINELS else REDIS_PORT)
    scheme = parts.scheme.partition("+")[0]
    options = parse_qsl(parts.query, keep_blank_values=True)
    service, database = _place(how, parts.path)
    theirs = {name: value for name, value in options if name in _FOR_SENTINELS}
    options = [(name, value) for name, value in options if name not in _FOR_SENTINELS]
    plain = _plain(scheme, f"{login}{at}", nodes[0], database, options)
    if how is Finds.IN_A_CLUSTER:
        if theirs:
            raise BadRedisUrlError("has an option for sentinels, and a cluster has none")
        return RedisUrl(how, plain, nodes)
    return RedisUrl(how, plain, nodes, service, _of_sentinels(theirs, scheme, nodes[0], options))


def has_hash_tag(prefix: str) -> bool:
    """Whether Redis Cluster keeps all keys that begin so in one slot: that of what the first { and the next } enclose.
    https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
    """
    _, _, after = prefix.partition("{")
    tag, closed, _ = after.partition("}")
    return bool(tag and closed)


def _nodes(names: str, port: int) -> tuple[Node, ...]:
    nodes: list[Node] = []
    for name in names.split(","):
        node = urlsplit(f"redis://{name}")
        if not node.hostname:
            raise BadRedisUrlError("names no host, or has a comma too many")
        nodes.append(Node(node.hostname, node.port or port))
    return tuple(nodes)


def _place(how: Finds, path: str) -> tuple[str, str]:
    """The service and the database in the URL's path."""
    places = [unquote(place) for place in path.strip("/").split("/")]
    if how is Finds.IN_A_CLUSTER:
        if places not in ([""], ["0"]):
            raise BadRedisUrlError("names a database, and a cluster has only 0: leave it out")
        return "", "0"
    service, *rest = places
    if not service or len(rest) > 1:
        raise BadRedisUrlError("names no service: it is redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE")
    return service, _check_database(rest[0] if rest else "0")


def _check_database(database: str) -> str:
    if database and not database.isdecimal():
        raise BadRedisUrlError("what stands after the host has to be the number of a database")
    return database


def _of_sentinels(theirs: dict[str, str], scheme: str, node: Node, options: list[tuple[str, str]]) -> str:
    wish = theirs.get("sentinel_ssl", "").lower()
    if wish and wish not in _SWITCH:
        raise BadRedisUrlError("has sentinel_ssl, which is true or false")
    username, password = theirs.get("sentinel_username", ""), theirs.get("sentinel_password", "")
    if username and not password:
        raise BadRedisUrlError("has sentinel_username without sentinel_password")
    login = f"{quote(username, safe='')}:{quote(password, safe='')}@" if password else ""
    return _plain(_SWITCH.get(wish, scheme), login, node, "0", options)


def _plain(scheme: str, login: str, node: Node, database: str, options: list[tuple[str, str]]) -> str:
    host = f"[{node.host}]" if ":" in node.host else node.host
    return f"{scheme}://{login}{host}:{node.port}/{database}{'?' if options else ''}{urlencode(options)}"
