"""A Redis client whose connection breaks on demand, after a given number of commands, also in the middle of a batch.
The client does not learn whether the last command was carried out.
"""

from collections.abc import Iterator
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError, ResponseError

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect


class KilledError(Exception):
    """The process with this connection has ended at that moment."""


class Fuse:
    """When a client's connection breaks. `left`: how many commands Redis still carries out; None: it does not break."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.kills = False

    def light(self, left: int, *, kills: bool) -> None:
        self.left, self.kills = left, kills

    def blow(self) -> Exception:
        self.left = None
        return KilledError() if self.kills else ConnectionError("the line broke")


class _Fragile(AbstractConnection):
    """A mixin for the class of a client's connections."""

    fuse: Fuse

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        fuse = self.fuse
        if fuse.left is None:
            await super().send_packed_command(command, check_health)
            return
        single = list(_split(command if isinstance(command, bytes) else b"".join(command)))
        if len(single) < fuse.left:
            fuse.left -= len(single)
            await super().send_packed_command(command, check_health)
            return
        carried_out = single[: fuse.left]
        if carried_out:
            await super().send_packed_command(b"".join(carried_out), check_health)
            for _ in carried_out:
                try:
                    await self.read_response()
                except ResponseError:  # the client would not receive this answer either
                    continue
        await self.disconnect(nowait=True)
        raise fuse.blow()


def fragile(url: str, fuse: Fuse) -> Any:
    """A client like those of the programs, whose connection breaks when `fuse` says so."""
    redis: Any = connect(RedisSettings(url=url))
    kind = redis.connection_pool.connection_class
    redis.connection_pool.connection_class = type("Fragile", (_Fragile, kind), {"fuse": fuse})
    return redis


def _split(packed: bytes) -> Iterator[bytes]:
    """The commands of a batch, each an array of strings (RESP: https://redis.io/docs/latest/develop/reference)."""
    start = 0
    while start < len(packed):
        end = packed.index(b"\r\n", start)
        count, at = int(packed[start + 1 : end]), end + 2
        for _ in range(count):
            end = packed.index(b"\r\n", at)
            at = end + 2 + int(packed[at + 1 : end]) + 2
        yield packed[start:at]
        start = at
