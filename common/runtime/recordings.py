"""A bot's recording as the store has it."""

from common.runtime.store import AbsentError, Store
from common.wire import manifest
from common.wire.manifest import FINAL, PROGRESS, Manifest


async def find(store: Store, bot_id: str, attempt: int | None = None) -> Manifest | None:
    """That of the attempt, of the latest that there is without; while it is not finished, what there is so far.

    Raises: StoreError, ValueError for a manifest that is none.
    """
    for number in [attempt] if attempt else reversed(await store.attempts(bot_id)):
        for name in (FINAL, PROGRESS):
            try:
                return manifest.decode(await store.get(f"{manifest.folder(bot_id, number)}/{name}"))
            except AbsentError:
                continue
    return None
