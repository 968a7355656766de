"""Finds a bot's recording in the store."""

from common.runtime.store import AbsentError, Store
from common.wire import manifest
from common.wire.manifest import FINAL, PROGRESS, Manifest


async def find(store: Store, bot_id: str, attempt: int | None = None) -> Manifest | None:
    """The manifest of the attempt; without `attempt`, of the latest attempt with one. While the recording is not
    finished, it says what there is so far. None: there is none.

    Raises: StoreError, ValueError for a damaged manifest.
    """
    for number in [attempt] if attempt else reversed(await store.attempts(bot_id)):
        for name in (FINAL, PROGRESS):
            try:
                return manifest.decode(await store.get(f"{manifest.folder(bot_id, number)}/{name}"))
            except AbsentError:
                continue
    return None
