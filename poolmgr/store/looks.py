"""A look at a live bot's page: asks its agent for pictures while somebody looks, and passes them on.

Pictures are published, and stored nowhere. Before the first one, the log of actions gets an entry.
"""

import time
from collections.abc import AsyncGenerator
from typing import Any, Final

from redis.asyncio import Redis

from common.wire.looks import ASKED_EVERY_S, Look, Picture, decode_picture, encode
from poolmgr.store import scripts
from poolmgr.store.actions import By, Verb, fields_of
from poolmgr.store.keys import Keys

_NOBODY: Final = "its agent shows no pictures: it is away, or its worker.look is off"


class Looks:
    """Redis' errors are raised to the caller."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis
        self._keys = keys

    async def note(self, bot_id: str, by: By) -> None:
        """Write down who begins to look."""
        action = fields_of(by, Verb.LOOK, bot_id)
        await scripts.act(actions=self._keys.actions, action=action).run(self._redis)

    async def pictures(self, vm_id: str, bot_id: str) -> AsyncGenerator[Picture | None]:
        """Pictures as they come. None: there was none for a while, and the agent is asked again. The caller closes the
        generator; the agent stops taking pictures LOOKED_AT_S later.
        """
        pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(self._keys.shown(bot_id))
            until = 0.0
            while True:
                if (left_s := until - time.monotonic()) <= 0:
                    heard = await self._redis.publish(self._keys.looks(vm_id), encode(Look(bot_id)))
                    yield None if heard else Picture(0.0, why=_NOBODY)
                    until = time.monotonic() + ASKED_EVERY_S
                elif message := await pubsub.get_message(timeout=left_s):
                    yield decode_picture(message["data"])
        finally:
            await pubsub.aclose()
