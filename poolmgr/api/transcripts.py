"""Transcripts. This release makes none, and answers so in the words that the clients expect."""

from typing import Annotated

import msgspec
from msgspec import Meta

from poolmgr.api.bot_views import UNKNOWN_BOT, find_bot
from poolmgr.api.errors import ApiError, not_offered
from poolmgr.api.operation import Answer, Call, Operation, Says
from poolmgr.api.shapes import Transcriptions


class TranscriptForm(msgspec.Struct):
    """The query of a transcript."""

    raw: Annotated[bool, Meta(description="As the provider gave it.")] = False


async def transcript(_: Call) -> Answer:
    """No transcript exists. Raises: ApiError 404."""
    raise ApiError(404, "There is no such transcript: this release of poolmgr makes none.")


async def transcriptions(call: Call) -> Answer:
    """The bot's transcripts: an empty list (200). Raises: ApiError 403, 404."""
    bot = await find_bot(call)
    return Answer(200, Transcriptions(bot.bot_id, []))


async def transcribe(call: Call) -> Answer:
    """Not offered. Raises: ApiError 403, 404, 501."""
    await find_bot(call)
    raise not_offered("This release of poolmgr transcribes nothing.")


OPERATIONS = (
    Operation(
        "GET",
        "/transcript/{transcript_id}/get_transcript",
        "getTranscript",
        "A transcript. This release makes none.",
        transcript,
        {404: Says("There is no such transcript.")},
        query=TranscriptForm,
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/transcriptions",
        "listTranscriptions",
        "The bot's transcripts. This release makes none.",
        transcriptions,
        {200: Says("None.", Transcriptions), **UNKNOWN_BOT},
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
