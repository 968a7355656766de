"""Transcripts: what the meeting's page wrote down of what was said, once the bot is out."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from common.jobs.record import Record
from common.runtime.recordings import manifests
from common.runtime.recordings.store import StoreError
from common.wire.minutes import CAPTIONS, SPEAKERS, TRANSCRIPT, Minutes, Utterance
from poolmgr.api.errors import ApiError, Message, later, not_offered
from poolmgr.api.operation import Answer, Call, Operation, Says
from poolmgr.api.operations.bot_views import TRANSCRIPT_PREFIX, UNKNOWN_BOT, find_bot, transcript_id
from poolmgr.api.operations.shapes import Transcriptions

_T = TypeVar("_T")

_STORE_RETRY_S = 5.0
_PCM_BYTES_PER_S = 2 * 48_000
_STATUS = {"processed": "Success", "skipped": "Failed"}


class TranscriptForm(msgspec.Struct):
    """The query of a transcript."""

    raw: Annotated[bool, Meta(description="With what is known of the whole, too.")] = False


class Said(msgspec.Struct):
    """Times in seconds of the meeting, and absolute ones in ISO 8601. Pages tell no times of words."""

    speaker: str
    transcript: str
    start_time: float
    end_time: float
    absolute_start_time: str
    absolute_end_time: str
    words: list[dict[str, Any]] = []


class RawTranscript(msgspec.Struct):
    """A transcript with what is known of the whole."""

    id: str
    status: str
    text: str
    language_code: str | None
    audio_url: str | None
    confidence: float | None
    audio_duration: float
    speaker_labels: bool
    words: list[dict[str, Any]]
    utterances: list[Said]


class SpeakerChunk(msgspec.Struct, rename="camel"):
    """A time in which somebody spoke, and its place in the sound, in bytes of 16-bit PCM of one channel."""

    chunk_index: int
    timestamp: str
    sample_rate: int
    speaker_id: str
    speaker_name: str
    start_byte: int
    end_byte: int


class SpeakerTimeline(msgspec.Struct, rename="camel"):
    """Who spoke when, in order of time."""

    chunks: list[SpeakerChunk]
    last_updated: str | None
    audio_file_path: str
    total_file_size: int


async def transcript(call: Call) -> Answer:
    """The transcript of an id. Raises: ApiError 403, 404, 503."""
    name, query = call.path["transcript_id"], call.query
    assert isinstance(query, TranscriptForm)
    if not name.startswith(TRANSCRIPT_PREFIX):
        raise ApiError(404, "There is no such transcript.")
    bot = await find_bot(call._replace(path={"bot_id": name.removeprefix(TRANSCRIPT_PREFIX)}))
    made = await _find(call, bot, TRANSCRIPT) if bot.transcript else None
    if made is None:
        if bot.transcript and (not bot.is_over or bot.transcript_status == "processing"):
            return Answer(202, Message("Not ready: the meeting goes on, or the transcript is being made."))
        raise ApiError(404, "There is no such transcript: nothing of this bot's meeting was written down.")
    said = [_said(one, made) for one in made.utterances]
    if not query.raw:
        return Answer(200, said)
    text = " ".join(one.transcript for one in said)
    lasts_s = max((one.end_time for one in said), default=0.0)
    return Answer(200, RawTranscript(name, "completed", text, None, None, None, lasts_s, True, [], said))


async def transcriptions(call: Call) -> Answer:
    """The bot's transcripts: an empty list (200). Raises: ApiError 403, 404."""
    bot = await find_bot(call)
    if not (name := transcript_id(bot.bot_id, bot)):
        return Answer(200, Transcriptions(bot.bot_id, []))
    here = f"{call.service.scheme}://{call.headers.get('Host', '')}/api/v1/transcript/{name}/get_transcript"
    links = {"raw_transcript": f"{here}?raw=true", "processed_transcript": here}
    row: dict[str, Any] = {
        "transcript_id": name,
        "provider": CAPTIONS,
        "status": _STATUS.get(bot.transcript_status, "Processing"),
        "created_at": bot.inmeeting_at or bot.created_at,
        "config": {},
        "download_urls": links if bot.has_transcript else None,
    }
    return Answer(200, Transcriptions(bot.bot_id, [row]))


async def transcribe(call: Call) -> Answer:
    """Not offered. Raises: ApiError 403, 404, 501."""
    await find_bot(call)
    raise not_offered("This release of poolmgr transcribes no recording; ask for a transcript when the bot is made.")


async def speakers(call: Call) -> Answer:
    bot = await find_bot(call)
    made = await _find(call, bot, SPEAKERS)
    if made is None:
        if not bot.is_over:
            return Answer(202, Message("Not ready: the meeting goes on."))
        raise ApiError(404, "There is none, and there never will be: nothing of its meeting was kept.")
    store = call.service.store
    assert store
    sound = await _of_store(manifests.find(store, bot.bot_id, made.attempt))
    began_at = sound.began_at if sound else made.began_at
    chunks = [
        SpeakerChunk(
            place,
            _iso(turn.began_at),
            48_000,
            turn.speaker_id,
            turn.speaker,
            _byte(turn.began_at - began_at),
            _byte(turn.ended_at - began_at),
        )
        for place, turn in enumerate(made.turns)
    ]
    audio = sound.audio if sound else None
    updated = _iso(made.turns[-1].ended_at) if made.turns else None
    path = f"{bot.bot_id}/{made.attempt}/{audio.path}" if audio else ""
    return Answer(200, SpeakerTimeline(chunks, updated, path, audio.bytes if audio else 0))


async def _find(call: Call, bot: Record, name: str) -> Minutes | None:
    """Raises: ApiError 503."""
    try:
        store = call.service.store
    except StoreError as error:
        raise _store_away(error) from error
    return await _of_store(manifests.find_minutes(store, bot.bot_id, name)) if store else None


async def _of_store(question: Awaitable[_T]) -> _T:
    try:
        return await question
    except (StoreError, ValueError) as error:
        raise _store_away(error) from error


def _store_away(error: Exception) -> ApiError:
    return later(503, f"The store of recordings does not answer as it should: {error}", _STORE_RETRY_S)


def _said(one: Utterance, made: Minutes) -> Said:
    return Said(
        one.speaker,
        one.text,
        round(one.began_at - made.began_at, 3),
        round(one.ended_at - made.began_at, 3),
        _iso(one.began_at),
        _iso(one.ended_at),
    )


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _byte(seconds: float) -> int:
    return max(0, round(seconds * 48_000)) * (_PCM_BYTES_PER_S // 48_000)


OPERATIONS = (
    Operation(
        "GET",
        "/transcript/{transcript_id}/get_transcript",
        "getTranscript",
        "What was said, by whom and when: of the captions of the meeting's page.",
        transcript,
        {
            200: Says("An entry an utterance, in order; with `raw` an object that holds them.", list[Said]),
            202: Says("Not yet: the meeting goes on, or it is being made.", Message),
            404: Says("There is no such transcript."),
        },
        query=TranscriptForm,
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/transcriptions",
        "listTranscriptions",
        "The bot's transcripts: one, if it was asked for.",
        transcriptions,
        {200: Says("The transcripts.", Transcriptions), **UNKNOWN_BOT},
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/get_speaker_timeline",
        "getSpeakerTimeline",
        "Who spoke when, by whom the meeting's page marked as speaking.",
        speakers,
        {
            200: Says("The turns, in order.", SpeakerTimeline),
            202: Says("Not yet: it has not ended.", Message),
            404: Says("There is no such bot, or nothing of it is kept."),
        },
    ),
    Operation(
        "POST",
        "/bots/{bot_id}/transcribe",
        "transcribe",
        "Transcribe the bot's recording. Not in this release.",
        transcribe,
        {**UNKNOWN_BOT, 501: Says("Nothing is transcribed.")},
    ),
)
