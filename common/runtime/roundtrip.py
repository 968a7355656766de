"""Many commands in one round trip, for whoever has hundreds of them: packed and read with nothing in between. And
writes that count only once replicas have them.

A pipeline of redis-py sets a deadline for every answer and looks at each three times; here the round trip has one
deadline, and an answer is what the parser says.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError, TimeoutError

from common.errors import PoolmgrError

_OF_POOL: Final = "poolmgr_confirmation"
_MARK_LIFE_S: Final = 60


class Confirmation(NamedTuple):
    """How many replicas have to have a write (redis.wait_replicas), and how soon (redis.wait_s). `mark`: a key that is
    written for it.
    """

    replicas: int
    within_s: float
    mark: str


class UnconfirmedError(PoolmgrError, TimeoutError):
    """The primary carried it out, and too few replicas said in time that they have it, too. A failover may undo it, so
    nobody may act on it: it counts as an outage, and all that is written can be repeated.
    """


def confirm(redis: Redis, confirmation: Confirmation) -> None:
    """From now on this client's writes need it."""
    setattr(redis.connection_pool, _OF_POOL, confirmation)


async def ask(redis: Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The answers in the order of `commands`; what Redis refused is answered by its ResponseError, not raised.

    Raises: as redis-py does when Redis is away, and TimeoutError when not all was answered in time. It is not known
    then which commands were carried out. Never repeats one.
    """
    pool: Any = redis.connection_pool
    connection: Any = await pool.get_connection()
    try:
        packed = b"".join([part for command in commands for part in connection.pack_command(*command)])
        async with asyncio.timeout(connection.socket_timeout):
            await connection.send_packed_command(packed)
            return [await _answer(connection) for _ in commands]
    finally:
        await pool.release(connection)


async def confirmed(redis: Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """As `ask`, and as many replicas have it as this client's writes need. Raises: UnconfirmedError, too.

    WAIT is about the connection's own past (https://redis.io/docs/latest/commands/wait/), so it goes the same way, and
    in Valkey 9 about its own writes alone. A repeat may find all of it done, on another connection, and write nothing:
    so a mark is written with it, and a replica that has the mark has all that was before.
    """
    confirmation: Confirmation | None = getattr(redis.connection_pool, _OF_POOL, None)
    if confirmation is None:
        return await ask(redis, commands)
    replicas, within_s, mark = confirmation
    wait = (("SET", mark, "", "EX", _MARK_LIFE_S), ("WAIT", replicas, max(1, int(within_s * 1000))))
    *answers, marked, have_it = await ask(redis, [*commands, *wait])
    if all(isinstance(answer, ResponseError) for answer in answers):
        return answers  # nothing was done
    for refused in (marked, have_it):
        if isinstance(refused, ResponseError):
            raise refused
    if have_it < replicas:
        raise UnconfirmedError(f"{have_it} of {replicas} replicas had it within {within_s:g} s (redis.wait_replicas)")
    return answers


async def carry_out(redis: Redis, *command: Any) -> Any:
    """One command, confirmed likewise. Raises: what Redis refused, too."""
    (answer,) = await confirmed(redis, [command])
    if isinstance(answer, ResponseError):
        raise answer
    return answer


async def _answer(connection: Any) -> Any:
    try:
        return await connection.read_response(timeout=math.inf)
    except ResponseError as error:
        return error
