"""Sends many commands to Redis in one round trip, and can wait until replicas confirm them.

It is faster than a pipeline of redis-py, which sets a deadline for every answer and checks each three times. Here the
whole round trip has one deadline, and the parser's answers are returned as they are.
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
    """How many replicas must have a write (redis.wait_replicas), and how soon (redis.wait_s). `mark`: a key that is
    written with each batch.
    """

    replicas: int
    within_s: float
    mark: str


class UnconfirmedError(PoolmgrError, TimeoutError):
    """The primary carried out the commands, but too few replicas confirmed them in time. A failover may undo them, so
    the caller must not act on them: it is treated as an outage, and the commands are repeated later.
    """


def confirm(redis: Redis, confirmation: Confirmation) -> None:
    """From now on this client's writes need this confirmation."""
    setattr(redis.connection_pool, _OF_POOL, confirmation)


async def ask(redis: Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send all commands and return their answers, in order. For a command that Redis refused, the answer is its
    ResponseError; it is not raised. No command is ever sent twice.

    Raises: redis-py's errors when Redis is away, and TimeoutError when an answer is late. Then any of the commands may
    have been carried out.
    """
    pool: Any = redis.connection_pool
    connection: Any = await pool.get_connection()
    limit_s, connection.socket_timeout = connection.socket_timeout, None  # the whole has one deadline, its parts none
    try:
        packed = b"".join([part for command in commands for part in connection.pack_command(*command)])
        async with asyncio.timeout(limit_s):
            await connection.send_packed_command(packed)
            return [await _answer(connection) for _ in commands]
    finally:
        connection.socket_timeout = limit_s
        await pool.release(connection)


async def confirmed(redis: Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Like `ask`, and then wait until enough replicas confirm. Raises: UnconfirmedError, too.

    WAIT counts what its own connection wrote before (https://redis.io/docs/latest/commands/wait/), so it is sent on the
    same connection. A repeated batch may change nothing, because all of it was done before on another connection. So a
    mark is written, too: a replica that has the mark has everything before it.
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
    """Send one command, with confirmation. Raises: ResponseError too, if Redis refused it."""
    (answer,) = await confirmed(redis, [command])
    if isinstance(answer, ResponseError):
        raise answer
    return answer


async def read(redis: Redis, *commands: tuple[Any, ...]) -> list[Any]:
    """Like `ask`, for commands that change nothing. Raises: ResponseError too, if Redis refused one of them."""
    answers = await ask(redis, commands) if commands else []
    if refused := next((answer for answer in answers if isinstance(answer, ResponseError)), None):
        raise refused
    return answers


async def _answer(connection: Any) -> Any:
    try:
        return await connection.read_response(timeout=math.inf)
    except ResponseError as error:
        return error
