"""What a recording looks like at a glance, before anybody fetches it: the waveform of its sound, small pictures of its
video, screenshots. Waveform and small pictures come from here, also if the recording itself is in an object store.
"""

import base64
from typing import Annotated

import msgspec
from msgspec import Meta

from common.jobs.record import iso
from common.runtime.recordings.store import Store
from common.wire.manifest import Kind, Manifest, Peaks, Thumbnails, Waveform
from poolmgr.api.errors import ApiError, Message
from poolmgr.api.operation import Answer, Call, File, Operation, Says
from poolmgr.api.operations.bot_views import find_bot
from poolmgr.api.operations.media import (
    NOT_READY,
    UNMADE,
    WhichAttempt,
    address,
    ended_lately,
    local,
    of_store,
    path_of,
    recorded,
    store_away,
)
from poolmgr.store.reading.evidence import pictures

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


class Shot(msgspec.Struct):
    """A picture of the meeting's page: taken when an attempt failed, or of a screen that a probe saw, or out of the
    recording of its picture.
    """

    name: str
    attempt: int
    timestamp: str
    content_type: str
    data: Annotated[str, Meta(description="The picture, in base64; empty if there is a url instead.")] = ""
    url: Annotated[
        str,
        Meta(
            description="Of a recording: signed, valid for capture.link_s, and needs no token. Of a folder's file, an"
            " address here."
        ),
    ] = ""


class Screenshots(msgspec.Struct):
    """The pictures of the latest attempts, oldest first, then those of the recording."""

    bot_id: str
    screenshots_count: int
    screenshots: list[Shot]


class WhichScreenshot(WhichAttempt, kw_only=True):
    """The query of one screenshot of a recording."""

    number: Annotated[int, Meta(ge=0, le=999, description="Its place among those of the recording, from 0.")]


async def screenshots(call: Call) -> Answer:
    """The pictures in the evidence, and those of the recording (200); 202 while there may still be some.

    Raises: ApiError 403, 404, 503.
    """
    bot, evidence = await find_bot(call), call.service.evidence
    which: WhichAttempt = call.query
    found: list[Shot] = []
    kept = [one for one in await evidence.kept_of(bot) if which.attempt in (None, one)]
    for attempt in kept[-_SHOWN_ATTEMPTS:]:
        if bundle := await evidence.bundle(bot.bot_id, attempt):
            found += [
                Shot(picture.name, picture.attempt, picture.at, "image/jpeg", base64.b64encode(picture.data).decode())
                for picture in pictures(bundle)
            ]
    is_on_its_way = bool(bot.evidence) and not kept and ended_lately(call, bot)
    may_come = not bot.is_over or is_on_its_way
    if bot.video:
        try:
            made, store = await recorded(call, bot, "video", which.attempt)
            may_come |= made is None
            found += await _of_recording(call, store, made) if made and store else []
        except ApiError as error:
            if error.status != 404 and not found:  # what is there is given, whatever is not
                raise
    if found:
        return Answer(200, Screenshots(bot.bot_id, len(found), found))
    if may_come:
        return Answer(202, Message(f"There is none yet. {_TAKEN_OF}"))
    raise ApiError(404, f"There is none. {_TAKEN_OF}")


async def _of_recording(call: Call, store: Store, made: Manifest) -> list[Shot]:
    """Raises: ApiError 503."""
    return [
        Shot(
            shot.path,
            made.attempt,
            iso(made.began_at + shot.at_s),
            "image/jpeg",
            url=await address(call, store, made, path_of(made, shot), "screenshot", {"number": str(number)}),
        )
        for number, shot in enumerate(made.screenshots)
    ]


async def screenshot_file(call: Call) -> Answer:
    """One screenshot of the recording (200); 202 while it may still come. Raises: ApiError 403, 404, 503."""
    query: WhichScreenshot = call.query
    made, store = await recorded(call, await find_bot(call), "video", query.attempt)
    if made is None or store is None:
        return Answer(202, NOT_READY)
    if query.number >= len(made.screenshots):
        raise ApiError(404, f"There is no such screenshot: of this recording there are {len(made.screenshots)}.")
    shot = made.screenshots[query.number]
    name = f"{made.bot_id}-{made.attempt}-{shot.path}"
    return Answer(200, File("image/jpeg", name, local(store, path_of(made, shot))))


async def _finished(call: Call, kind: Kind) -> tuple[Manifest | None, Store | None]:
    which: WhichAttempt = call.query
    return await recorded(call, await find_bot(call), kind, which.attempt)


async def _read(store: Store, made: Manifest, file: Waveform | Thumbnails | None, name: str) -> bytes:
    """Raises: ApiError 404, 503."""
    if file is None:
        raise ApiError(404, f"There is none: no {name} could be made of this recording, or its release made none yet.")
    if file.bytes > _MOST_BYTES:
        raise store_away(ValueError("the file that the manifest names is too large"))
    return await of_store(store.get(path_of(made, file)))


_SHOWN_ATTEMPTS = 5
_TAKEN_OF = "Screenshots are taken of what failed, of probes, and, when they are over, of recordings with a picture."

OPERATIONS = (
    Operation(
        "GET",
        "/bots/{bot_id}/get_screenshots",
        "getScreenshots",
        "Pictures of the page: where an attempt failed, of each screen that a probe saw, and of a recorded picture "
        "one a minute, at most 30 of these.",
        screenshots,
        {
            200: Says("The pictures of the latest five attempts, in order, and of the latest recording.", Screenshots),
            202: Says("None yet: it has not ended, or what they are in is on its way.", Message),
            404: Says("There is no such bot, or it has ended and there is none."),
        },
        query=WhichAttempt,
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/screenshot",
        "getScreenshotFile",
        "One screenshot of the recording: the file itself, a JPEG.",
        screenshot_file,
        {200: Says("The picture.", Message, "image/jpeg"), **UNMADE},
        query=WhichScreenshot,
        linked=True,
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/waveform",
        "getWaveform",
        "Where the meeting's sound is loud: the peaks of left and right, at most 800 of each.",
        waveform,
        {200: Says("The peaks.", Peaks), **UNMADE},
        query=WhichAttempt,
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/thumbnails",
        "getThumbnails",
        "What the meeting's picture shows: at most 20 small pictures side by side, a JPEG of at most 200 KB.",
        thumbnails,
        {200: Says("The picture.", Message, "image/jpeg"), **UNMADE},
        query=WhichAttempt,
    ),
)
