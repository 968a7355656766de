"""Many commands in one round trip, for whoever has hundreds of them: packed and read with nothing in between.

A pipeline of redis-py sets a deadline for every answer and looks at each three times; here the round trip has one
deadline, and an answer is what the parser says.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError


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


async def _answer(connection: Any) -> Any:
    try:
        return await connection.read_response(timeout=math.inf)
    except ResponseError as error:
        return error
