"""Receives requests to look at bots, and publishes pictures of them: by Redis' publish and subscribe, on its own
connection.

Nothing is stored. While Redis is away no request arrives; afterwards it subscribes again.
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
    """The requests to look at bots of one VM. The caller closes it."""

    def __init__(self, settings: RedisSettings, vm_id: str) -> None:
        self._redis: Any = connect(settings)  # redis-py leaves half of pubsub untyped
        self._keys = WireKeys(settings.prefix)
        self._vm_id = vm_id

    async def asked(self) -> AsyncGenerator[str]:
        """The id of each bot whose picture is requested, at each request; for as long as the agent lives."""
        delays = backoff(*_RETRY_S)
        while True:
            pubsub: Any = self._redis.pubsub(ignore_subscribe_messages=True)
            try:
                await pubsub.subscribe(self._keys.looks(self._vm_id))
                while True:
                    message = await pubsub.get_message(timeout=_LISTEN_S)
                    delays = backoff(*_RETRY_S)
                    if message:
                        with suppress(msgspec.DecodeError):  # a message of another release
                            yield decode_look(message["data"]).bot_id
            except _TROUBLE as error:
                log.debug("looks_unheard", error=str(error) or type(error).__name__)
                await asyncio.sleep(next(delays))
            finally:
                with suppress(*_TROUBLE):
                    await pubsub.aclose()

    async def show(self, bot_id: str, picture: Picture) -> None:
        """Publish the picture for everybody who looks at the bot at this moment, if anybody does."""
        with suppress(*_TROUBLE):
            await self._redis.publish(self._keys.shown(bot_id), encode(picture))

    async def close(self) -> None:
        await self._redis.aclose()
