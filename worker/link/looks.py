"""Hears which bots somebody looks at, and shows them: by Redis' publish and subscribe, on a connection of its own.

Nothing of it is written down. While Redis is away nobody looks; afterwards it listens again.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog
from redis.exceptions import RedisError

from common.config.settings import RedisSettings
from common.runtime.redis.client import UNAVAILABLE, connect
from common.runtime.waiting import backoff
from common.wire.keys import WireKeys
from common.wire.looks import Picture, decode_look, encode

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_LISTEN_S: Final = 1.0
_RETRY_S: Final = (0.5, 10.0)
_TROUBLE: Final = (*UNAVAILABLE, RedisError)


class Looks:
    """The looks at the bots of one VM. The caller closes it."""

    def __init__(self, settings: RedisSettings, vm_id: str) -> None:
        self._redis: Any = connect(settings)  # redis-py leaves half of pubsub untyped
        self._keys = WireKeys(settings.prefix)
        self._vm_id = vm_id

    async def asked(self) -> AsyncGenerator[str]:
        """The id of each bot that is to be shown, each time that somebody asks; for as long as the agent lives."""
        delays = backoff(*_RETRY_S)
        while True:
            pubsub: Any = self._redis.pubsub(ignore_subscribe_messages=True)
            try:
                await pubsub.subscribe(self._keys.looks(self._vm_id))
                while True:
                    message = await pubsub.get_message(timeout=_LISTEN_S)
                    delays = backoff(*_RETRY_S)
                    if message:
                        with suppress(msgspec.DecodeError):  # of another release
                            yield decode_look(message["data"]).bot_id
            except _TROUBLE as error:
                log.debug("looks_unheard", error=str(error) or type(error).__name__)
                await asyncio.sleep(next(delays))
            finally:
                with suppress(*_TROUBLE):
                    await pubsub.aclose()

    async def show(self, bot_id: str, picture: Picture) -> None:
        """Give it to whoever looks at the bot at this moment, or to nobody."""
        with suppress(*_TROUBLE):
            await self._redis.publish(self._keys.shown(bot_id), encode(picture))

    async def close(self) -> None:
        await self._redis.aclose()
