"""Finds a bot's recording in the store."""

from common.runtime.recordings.store import AbsentError, Store
from common.wire import manifest, minutes
from common.wire.manifest import FINAL, PROGRESS, Manifest
from common.wire.minutes import Minutes


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


async def find_minutes(store: Store, bot_id: str, name: str, attempt: int | None = None) -> Minutes | None:
    """The file `name` of the attempt's minutes; without `attempt`, of the latest attempt that has it. None: there is
    none.

    Raises: StoreError, ValueError for a damaged file.
    """
    for each in [attempt] if attempt else reversed(await store.attempts(bot_id)):
        try:
            return minutes.decode(await store.get(f"{manifest.folder(bot_id, each)}/{name}"))
        except AbsentError:
            continue
    return None
