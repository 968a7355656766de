"""What a recording looks like at a glance, before anybody fetches it: the waveform of its sound, and small pictures of
its video. They are small, so they come from here, also if the recording itself is in an object store.
"""

import msgspec

from common.runtime.recordings.store import Store
from common.wire import manifest
from common.wire.manifest import Kind, Manifest, Peaks, Thumbnails, Waveform
from poolmgr.api.errors import ApiError, Message
from poolmgr.api.operation import Answer, Call, File, Operation, Says
from poolmgr.api.operations.bot_views import find_bot
from poolmgr.api.operations.media import NOT_READY, UNMADE, of_store, recorded, store_away

_MOST_BYTES = 1 << 20
"""Nothing of ours is larger, so what is was put there by somebody else."""


async def waveform(call: Call) -> Answer:
    """The peaks of the meeting's sound (200); 202 while they may still come. Raises: ApiError 403, 404, 503."""
    made, store = await _finished(call, "audio")
    if made is None or store is None:
        return Answer(202, NOT_READY)
    data = await _read(store, made, made.waveform, "waveform")
    try:
        return Answer(200, msgspec.json.decode(data, type=Peaks))
    except msgspec.DecodeError as error:
        raise store_away(error) from error


async def thumbnails(call: Call) -> Answer:
    """Small pictures of the video, side by side (200); 202 while they may come. Raises: ApiError 403, 404, 503."""
    made, store = await _finished(call, "video")
    if made is None or store is None:
        return Answer(202, NOT_READY)
    data = await _read(store, made, made.thumbnails, "strip of thumbnails")
    return Answer(200, File("image/jpeg", f"{made.bot_id}-{made.attempt}-thumbnails.jpg", data))


async def _finished(call: Call, kind: Kind) -> tuple[Manifest | None, Store | None]:
    return await recorded(call, await find_bot(call), kind)


async def _read(store: Store, made: Manifest, file: Waveform | Thumbnails | None, name: str) -> bytes:
    """Raises: ApiError 404, 503."""
    if file is None:
        raise ApiError(404, f"There is none: no {name} could be made of this recording, or its release made none yet.")
    if file.bytes > _MOST_BYTES:
        raise store_away(ValueError("the file that the manifest names is too large"))
    return await of_store(store.get(f"{manifest.folder(made.bot_id, made.attempt)}/{file.path}"))


OPERATIONS = (
    Operation(
        "GET",
        "/bots/{bot_id}/waveform",
        "getWaveform",
        "Where the meeting's sound is loud: the peaks of left and right, at most 800 of each.",
        waveform,
        {200: Says("The peaks.", Peaks), **UNMADE},
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/thumbnails",
        "getThumbnails",
        "What the meeting's picture shows: at most 20 small pictures side by side, a JPEG of at most 200 KB.",
        thumbnails,
        {200: Says("The picture.", Message, "image/jpeg"), **UNMADE},
    ),
)
