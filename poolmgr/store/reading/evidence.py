"""Reads the bundles of evidence that agents keep of failed attempts."""

import io
import zipfile
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from common.jobs.record import Record
from poolmgr.store.keys import Keys

MOST_ATTEMPTS: Final = 100
"""How many of a bot's latest attempts are looked at."""

_LARGEST_MEMBER: Final = 16 * 1024 * 1024


class Bundle(NamedTuple):
    """A bundle. `data`: the zip file."""

    name: str
    attempt: int
    data: bytes


class Picture(NamedTuple):
    """A picture in a bundle. `name`: of its file. `at`: when it was taken, or the bundle packed (ISO 8601)."""

    name: str
    attempt: int
    at: str
    data: bytes


def attempts_of(record: Record) -> range:
    """The attempts of a bot that may have a bundle."""
    return range(max(1, record.attempt - MOST_ATTEMPTS + 1), record.attempt + 1)


def keys_of(keys: Keys, record: Record) -> list[str]:
    """The keys of all bundles that the bot may have, whether they exist or not."""
    return [keys.evidence(record.bot_id, attempt) for attempt in attempts_of(record)]


class Evidence:
    """Reads under one prefix. It has no state."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis
        self._keys = keys

    async def kept_of(self, record: Record) -> list[int]:
        """The attempts of the bot whose bundle is in Redis."""
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys_of(self._keys, record):
            pipeline.exists(key)
        there: list[int] = await pipeline.execute()
        return [attempt for attempt, is_there in zip(attempts_of(record), there, strict=True) if is_there]

    async def bundle(self, bot_id: str, attempt: int) -> Bundle | None:
        data: bytes | None = await self._redis.get(self._keys.evidence(bot_id, attempt))
        return Bundle(f"{bot_id}-{attempt}", attempt, data) if data else None


def pictures(bundle: Bundle) -> Iterator[Picture]:
    """The pictures in a bundle, in the order in which they were taken; empty for an unreadable bundle."""
    try:
        with zipfile.ZipFile(io.BytesIO(bundle.data)) as packed:
            for member in packed.infolist():
                if member.filename.endswith(".jpg") and member.file_size <= _LARGEST_MEMBER:
                    at = member.comment.decode("ascii", "replace")
                    yield Picture(member.filename, bundle.attempt, at, packed.read(member))
    except (zipfile.BadZipFile, NotImplementedError, EOFError):  # NotImplementedError: an unknown compression
        return
