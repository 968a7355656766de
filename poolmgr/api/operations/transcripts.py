"""Transcripts, once the bot is out: what the meeting's page wrote down, or what was made of its sound."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from common.jobs.outgoing import BadUrlError, check_url
from common.jobs.record import Record, iso
from common.jobs.warnings import LIVE, named_provider
from common.runtime.recordings import manifests
from common.runtime.recordings.store import StoreError
from common.wire import minutes
from common.wire.minutes import CAPTIONS, SPEAKERS, Minutes, Utterance, Word, named_transcript, transcript_name
from poolmgr.api.errors import ApiError, Message, bad_request, later, not_offered
from poolmgr.api.operation import Answer, Call, Operation, Says
from poolmgr.api.operations.bot_views import UNKNOWN_BOT, find_bot, transcript_id
from poolmgr.api.operations.media import may_come, recorded
from poolmgr.api.operations.shapes import Transcribe, Transcribing, Transcriptions
from poolmgr.store.transcriptions import OF_JOB, PROCESSED, Transcription, Unasked

_T = TypeVar("_T")

_STORE_RETRY_S = 5.0
_PCM_BYTES_PER_S = 2 * 48_000
_STATUS = {"processed": "Success", "skipped": "Failed", "failed": "Failed"}


class WhichSaid(msgspec.Struct):
    """The query of what was written down of a meeting."""

    attempt: (
        Annotated[
            int,
            Meta(ge=1, le=1_000_000, description="Of which attempt; without: the latest in which anybody spoke."),
        ]
        | None
    ) = None


class TranscriptForm(WhichSaid):
    """The query of a transcript."""

    raw: Annotated[bool, Meta(description="With what is known of the whole, too.")] = False


class Said(msgspec.Struct):
    """Times in seconds of the meeting, and absolute ones in ISO 8601. There are `words` where their times are known."""

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
    if (named := named_transcript(name)) is None:
        raise _no_transcript()
    bot_id, number = named
    bot = await find_bot(call._replace(path={"bot_id": bot_id}))
    if number == OF_JOB:
        is_there, attempt = bot.transcript, bot.transcribed_attempt or bot.attempt
        is_coming = is_there and (not bot.is_over or bot.transcript_status == "processing")
        is_coming &= query.attempt is None or query.attempt >= attempt
    else:
        asked = (await call.service.transcriptions.all(bot.bot_id)).get(number)
        is_there = asked is not None
        is_coming = asked is not None and asked.status == "processing" and query.attempt in (None, asked.attempt)
    made = await _find(call, bot, transcript_name(number), query.attempt) if is_there and not is_coming else None
    if made is None:
        if is_coming:
            return Answer(202, Message("Not ready: the meeting goes on, or the transcript is being made."))
        raise _no_transcript()
    said = [_said(utterance, made) for utterance in made.utterances]
    if not query.raw:
        return Answer(200, said)
    text = " ".join(update.transcript for update in said)
    words = [word for update in said for word in update.words]
    sure = [word["confidence"] for word in words if word.get("confidence") is not None]
    confidence = round(sum(sure) / len(sure), 4) if sure else None
    lasts_s = max((update.end_time for update in said), default=0.0)
    return Answer(200, RawTranscript(name, "completed", text, None, None, confidence, lasts_s, True, words, said))


def _no_transcript() -> ApiError:
    return ApiError(404, "There is no such transcript: nothing of this bot's meeting was written down.")


async def transcriptions(call: Call) -> Answer:
    """The bot's transcripts: an empty list (200). Raises: ApiError 403, 404."""
    bot = await find_bot(call)
    known = await call.service.transcriptions.all(bot.bot_id)
    rows: list[dict[str, Any]] = []
    if transcript_id(bot.bot_id, bot):
        of_job = known.get(OF_JOB)
        provider = bot.transcript_by or bot.speech_after or bot.speech_live or CAPTIONS
        if bot.transcript_status == "processing" and of_job:
            provider = of_job.provider
        asked_at = bot.inmeeting_at or bot.created_at
        status, why = _STATUS.get(bot.transcript_status, "Processing"), of_job.why if of_job else ""
        rows.append(_row(call, bot, OF_JOB, provider, status, asked_at, bot.language, why))
    for number, transcription in known.items():
        if number != OF_JOB:
            status = _STATUS.get(transcription.status, "Processing")
            rows.append(
                _row(
                    call,
                    bot,
                    number,
                    transcription.provider,
                    status,
                    transcription.asked_at,
                    transcription.language,
                    transcription.why,
                )
            )
    return Answer(200, Transcriptions(bot.bot_id, rows))


def _row(
    call: Call, bot: Record, number: int, provider: str, status: str, asked_at: str, language: str, why: str
) -> dict[str, Any]:
    name = minutes.transcript_id(bot.bot_id, number)
    here = f"{call.service.scheme}://{call.headers.get('Host', '')}/api/v1/transcript/{name}/get_transcript"
    links = {"raw_transcript": f"{here}?raw=true", "processed_transcript": here}
    is_there = status == "Success" and bot.manifest_status != "expired"
    row: dict[str, Any] = {
        "transcript_id": name,
        "provider": provider,
        "status": status,
        "created_at": asked_at,
        "config": {"language": language} if language else {},
        "download_urls": links if is_there else None,
    }
    return {**row, "reason": why} if why and status != "Success" else row


async def transcribe(call: Call) -> Answer:
    """Ask for another transcript of the bot's recording; the request is durable when this returns (200).

    Raises: ApiError 400, 403, 404 where there is no recording, 409 while the meeting or another one goes on, or the
    recording may still come, 501 where nobody can be asked, 503.
    """
    bot = await find_bot(call)
    service, form = call.service, call.body
    assert isinstance(form, Transcribe)
    settings = service.transcription
    offered = [name for name in settings.offered if name not in LIVE]
    if not offered:
        raise not_offered(
            "Nobody makes words of recordings here: [transcription] of the configuration names no provider."
        )
    provider = named_provider(form.provider)
    name = provider.name or settings.after or offered[0]
    if name not in offered:
        raise bad_request(f"provider: this one is not offered; {', '.join(offered)} can be asked")
    if form.callback_url:
        try:
            check_url(form.callback_url, service.rules.outgoing)
        except BadUrlError as error:
            raise bad_request(f"callback_url: {error}") from error
    if bot.manifest_status == "expired":
        raise ApiError(404, "This bot's recording was deleted: its time was over.")
    now, attempt = service.wall(), await _attempt_to_transcribe(call, bot, form.attempt)
    asked = Transcription(name, iso(now), language=provider.language, attempt=attempt, callback=form.callback_url or "")
    number = await service.transcriptions.ask(bot.bot_id, asked, now, call.by)
    if isinstance(number, Unasked):
        raise ApiError(409, _UNASKED[number.why])
    made = Transcribing(bot.bot_id, minutes.transcript_id(bot.bot_id, number), name, "The recording is transcribed.")
    return Answer(200, made)


async def _attempt_to_transcribe(call: Call, bot: Record, wanted: int | None) -> int:
    """The attempt of which the recording is transcribed: as for get_audio. Raises: ApiError 404, 409, 503."""
    is_latest = wanted in (None, bot.recorded_attempt)
    if not bot.is_over or (is_latest and bot.audio_status in ("recording", PROCESSED)):
        return wanted or bot.recorded_attempt
    made, _ = await recorded(call, bot, "audio", wanted)
    if made is None:
        raise ApiError(409, "The recording is not there yet.")
    return made.attempt


_UNASKED = {
    "not_ended": "This bot has not stopped yet: its recording is transcribed afterwards.",
    "under_way": "Another transcript of this recording is being made.",
    "too_many": "There are as many transcripts of this recording as are made of one.",
}


async def speakers(call: Call) -> Answer:
    """Who spoke when (200); 202 while it may still come. Raises: ApiError 403, 404, 503."""
    bot = await find_bot(call)
    query: WhichSaid = call.query
    made = await _find(call, bot, SPEAKERS, query.attempt)
    if made is None:
        is_kept = call.service.store is not None and not bot.is_probe and (bot.transcript or not bot.no_audio)
        if not bot.is_over or (is_kept and may_come(call, bot)):
            return Answer(202, Message("Not ready: the meeting goes on, or the list of speakers is being made."))
        raise ApiError(404, "There is none: nothing of its meeting is kept, or its time is over.")
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


async def _find(call: Call, bot: Record, name: str, attempt: int | None) -> Minutes | None:
    """Raises: ApiError 503."""
    try:
        store = call.service.store
    except StoreError as error:
        raise _store_away(error) from error
    return await _of_store(manifests.find_minutes(store, bot.bot_id, name, attempt)) if store else None


async def _of_store(question: Awaitable[_T]) -> _T:
    try:
        return await question
    except (StoreError, ValueError) as error:
        raise _store_away(error) from error


def _store_away(error: Exception) -> ApiError:
    return later(503, f"The store of recordings does not answer as it should: {error}", _STORE_RETRY_S)


def _said(utterance: Utterance, made: Minutes) -> Said:
    return Said(
        utterance.speaker,
        utterance.text,
        round(utterance.began_at - made.began_at, 3),
        round(utterance.ended_at - made.began_at, 3),
        _iso(utterance.began_at),
        _iso(utterance.ended_at),
        [_word(word, made.began_at) for word in utterance.words],
    )


def _word(word: Word, since: float) -> dict[str, Any]:
    said: dict[str, Any] = {
        "word": word.word,
        "punctuated_word": word.text,
        "start": round(word.began_at - since, 3),
        "end": round(word.ended_at - since, 3),
        "confidence": word.confidence,
    }
    return said if word.voice is None else {**said, "speaker": word.voice}


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _byte(seconds: float) -> int:
    return max(0, round(seconds * 48_000)) * (_PCM_BYTES_PER_S // 48_000)


OPERATIONS = (
    Operation(
        "GET",
        "/transcript/{transcript_id}/get_transcript",
        "getTranscript",
        "What was said, by whom and when: of captions, or of the meeting's sound.",
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
        "The bot's transcripts: that of its job, and those that were asked for afterwards.",
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
            202: Says("Not yet: it has not ended, or the list is being made.", Message),
            404: Says("There is no such bot, or nothing of it is kept."),
        },
        query=WhichSaid,
    ),
    Operation(
        "POST",
        "/bots/{bot_id}/transcribe",
        "transcribe",
        "Have another transcript made of the bot's recording, by the provider that is named.",
        transcribe,
        {
            200: Says("It is being made.", Transcribing),
            404: Says("There is no such bot, or no recording of its meeting."),
            409: Says(
                "The bot has not stopped, its recording is not there yet, another transcript is being made, or there"
                " are too many."
            ),
            501: Says("Nobody can be asked."),
        },
        body=Transcribe,
    ),
)
