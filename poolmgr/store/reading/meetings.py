"""Reads what is kept of a bot's meeting: the participants and the chat."""

from typing import Any

import msgspec
from redis.asyncio import Redis

from poolmgr.store.keys import Keys


class Attendance(msgspec.Struct, frozen=True):
    """A participant. `joined_at`, `left_at`: ISO 8601. `left_at`: empty while they are there."""

    id: str
    name: str = ""
    joined_at: str = ""
    left_at: str = ""


class KeptLine(msgspec.Struct, frozen=True):
    """A message of the chat. `at`: when the bot saw it, ISO 8601."""

    id: str
    sender_id: str = ""
    sender_name: str = ""
    text: str = ""
    at: str = ""


class Meetings:
    """Reads under one prefix. It has no state. The scripts limit how much is kept of a meeting."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis  # redis-py types answers as unions of all shapes
        self._keys = keys

    async def participants(self, bot_id: str) -> list[Attendance]:
        """The participants, in the order in which they joined."""
        raw: list[bytes] = await self._redis.hvals(self._keys.participants(bot_id))
        found = [msgspec.json.decode(entry, type=Attendance) for entry in raw]
        return sorted(found, key=lambda person: (person.joined_at, person.id))

    async def chat(self, bot_id: str) -> list[KeptLine]:
        """The chat's messages, oldest first."""
        raw: list[bytes] = await self._redis.lrange(self._keys.chats(bot_id), 0, -1)
        return [msgspec.json.decode(entry, type=KeptLine) for entry in raw]
