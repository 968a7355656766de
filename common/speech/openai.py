"""The protocol of OpenAI and of most self-hosted Whisper servers: POST /audio/transcriptions, a form with the file.

The answer (`verbose_json`) has words or sentences with their times; that of some servers only a text. Files are cut to
the size that the server accepts.

https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from common.config.settings import TranscriptionSettings
from common.runtime.workshop import workshop
from common.speech import calls
from common.speech.heard import Heard
from common.speech.pieces import Piece, cut
from common.speech.provider import SpeechError

_LOOKED_AHEAD: Final = 4


class SpokenWord(msgspec.Struct):
    word: str
    start: float
    end: float


class Segment(msgspec.Struct):
    """A segment of the answer. Some servers put the words in it."""

    text: str = ""
    start: float = 0.0
    end: float = 0.0
    words: list[SpokenWord] | None = None


class Spoken(msgspec.Struct):
    text: str
    words: list[SpokenWord] | None = None
    segments: list[Segment] | None = None


class OpenAi:
    def __init__(self, settings: TranscriptionSettings) -> None:
        self._settings = settings

    async def transcribe(self, sound: Path, language: str) -> list[Heard]:
        found: list[Heard] = []
        with workshop() as folder:
            most = self._settings.openai_most_mb * 1024 * 1024
            for piece in await asyncio.to_thread(cut, sound, folder, most):
                found += await self._ask(piece, language)
        return found

    async def _ask(self, piece: Piece, language: str) -> list[Heard]:
        """Raises: SpeechError."""
        settings = self._settings
        key = calls.key_in(settings.openai_key_file)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"{settings.openai_url.rstrip('/')}/audio/transcriptions"
        with piece.path.open("rb") as file:  # aiohttp reads the file in a thread

            def form() -> Any:
                asked = aiohttp.FormData()
                asked.add_field("model", settings.openai_model)
                asked.add_field("response_format", "verbose_json")
                asked.add_field("temperature", "0")
                for kind in ("word", "segment"):
                    asked.add_field("timestamp_granularities[]", kind)
                if language:
                    asked.add_field("language", language.partition("-")[0].lower())
                asked.add_field("file", file, filename="sound.ogg", content_type="audio/ogg")
                return asked

            answer = await calls.post(settings, url, {}, headers, form)
        try:
            return list(words_of(msgspec.json.decode(answer, type=Spoken), piece.begins_s, piece.ends_s))
        except msgspec.DecodeError as error:
            raise SpeechError("bad_answer", lasts=True) from error


def words_of(answer: Spoken, since_s: float, until_s: float) -> Iterator[Heard]:
    """The words, with the punctuation of the text; sentences if the server gives no times of words; the text as one
    sentence, which lasts from `since_s` until `until_s`, if it gives no times at all.
    """
    segments = answer.segments or []
    words = answer.words or [word for segment in segments for word in segment.words or ()]
    if not words:
        timed = [segment for segment in segments if segment.text.strip()]
        for sentence in timed or [Segment(answer.text, 0.0, until_s - since_s)]:
            if text := sentence.text.strip():
                yield Heard(text, since_s + sentence.start, since_s + sentence.end, is_whole=True)
        return
    text = (answer.text or " ".join(segment.text for segment in segments)).split()
    at = 0
    for word in words:
        bare = word.word.strip()
        place = _place(bare, text, at)
        at = at if place is None else place + 1
        written = "" if place is None or text[place] == bare else text[place]
        if bare:
            yield Heard(bare, since_s + word.start, since_s + word.end, written)


def _place(word: str, text: Sequence[str], at: int) -> int | None:
    """The place of the word in the text, at that index or soon after it."""
    plain = _plain(word)
    ahead = enumerate(text[at : at + _LOOKED_AHEAD], at)
    return next((place for place, token in ahead if _plain(token) == plain), None)


def _plain(word: str) -> str:
    return word.strip(".,;:!?\"'()-…“”‘’¿¡").casefold()
