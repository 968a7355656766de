"""Deletes what the store has of a bot's meetings so that it stays deleted, whoever has something of them still.

A mark in the store says that the bot was deleted. Who deletes puts it first. Who puts something looks for the mark
afterwards, and deletes again if it is there. Whichever of the two is faster, nothing stays.
"""

from common.runtime.recordings.store import AbsentError, Store
from common.wire import manifest


async def delete(store: Store, bot_id: str, now: float) -> int:
    """Mark the bot as deleted at `now` (epoch seconds), and delete all else that the store has of it. Returns how many
    objects that were. Idempotent. Raises: StoreError.
    """
    await store.put(manifest.deleted(bot_id), str(now).encode())
    return await store.delete(bot_id)


async def is_deleted(store: Store, bot_id: str) -> bool:
    """Raises: StoreError."""
    return await store.exists(manifest.deleted(bot_id))


async def marked_at(store: Store, bot_id: str) -> float | None:
    """When the bot was marked as deleted last (epoch seconds). None: it is not marked, or by an earlier release, whose
    marks are empty. Raises: StoreError.
    """
    try:
        return float(await store.get(manifest.deleted(bot_id)))
    except (AbsentError, ValueError):
        return None


async def remove_mark(store: Store, bot_id: str) -> None:
    """Raises: StoreError."""
    await store.remove(manifest.deleted(bot_id))
