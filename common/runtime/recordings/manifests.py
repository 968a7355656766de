"""Finds a bot's recording in the store, and what was said in it; and puts the latter there."""

from contextlib import suppress

from msgspec.structs import replace

from common.runtime.recordings.store import AbsentError, Store, TakenError
from common.wire import manifest, minutes
from common.wire.manifest import FINAL, PROGRESS, Manifest, progress_after
from common.wire.minutes import TRANSCRIPT, Minutes


async def find(store: Store, bot_id: str, attempt: int | None = None, *, whole: bool = False) -> Manifest | None:
    """The manifest of the attempt; without `attempt`, of the latest attempt with one. While the recording is not
    finished, it says what there is so far: up to a tenth of it, or a minute, less than there is, unless it is to be the
    `whole`. None: there is none.

    Raises: StoreError, ValueError for a damaged manifest.
    """
    for number in [attempt] if attempt else reversed(await store.attempts(bot_id)):
        folder = manifest.folder(bot_id, number)
        with suppress(AbsentError):
            return manifest.decode(await store.get(f"{folder}/{FINAL}"))
        with suppress(AbsentError):
            return await so_far(store, folder) if whole else manifest.decode(await store.get(f"{folder}/{PROGRESS}"))
    return None


async def so_far(store: Store, folder: str) -> Manifest:
    """All that the store says to have of a recording that is not finished: the manifest so far, and what is new since
    that was written. Raises: StoreError, AbsentError, ValueError for a damaged manifest.
    """
    found = manifest.decode(await store.get(f"{folder}/{PROGRESS}"))
    with suppress(AbsentError):
        while True:
            name = progress_after(len(found.segments))
            following = manifest.decode(await store.get(f"{folder}/{name}"))
            if not following.segments:
                raise ValueError(f"{name} has no segments")
            found = joined(found, following)
    return found


def joined(found: Manifest, following: Manifest) -> Manifest:
    """`following`: with the segments alone that came after those of `found`."""
    return replace(following, segments=[*found.segments, *following.segments])


async def find_minutes(store: Store, bot_id: str, name: str, attempt: int | None = None) -> Minutes | None:
    """The file `name` of the attempt's minutes; without `attempt`, of the latest attempt in which anybody spoke, or of
    the latest that has it. None: there is none.

    Raises: StoreError, ValueError for a damaged file.
    """
    latest: Minutes | None = None
    for each in [attempt] if attempt else reversed(await store.attempts(bot_id)):
        with suppress(AbsentError):
            found = minutes.decode(await store.get(f"{manifest.folder(bot_id, each)}/{name}"))
            if found.utterances or found.turns:
                return found
            latest = latest or found
    return latest


async def put_transcript(store: Store, made: Minutes) -> Minutes:
    """Put the transcript of a bot's job, unless there is one with words: of agents that have some, and a provider that
    is asked where they had none, the first counts. Returns: the one that is there now. Raises: StoreError.
    """
    path, content = f"{manifest.folder(made.bot_id, made.attempt)}/{TRANSCRIPT}", minutes.encode(made)
    try:
        await store.put(path, content, once=True, content_type="application/json")
    except TakenError:
        with suppress(AbsentError, ValueError):  # it was deleted just now; or nobody can read it
            there = minutes.decode(await store.get(path))
            if there.utterances:
                return there
        await store.put(path, content, content_type="application/json")
    return made
