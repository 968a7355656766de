"""Deepgram's protocol for recordings: POST /v1/listen with the file; the answer has all words.

https://developers.deepgram.com/reference/speech-to-text/listen-pre-recorded
"""

from pathlib import Path
from typing import Final

import msgspec

from common.config.settings import TranscriptionSettings
from common.speech import calls
from common.speech.heard import Heard
from common.speech.provider import SpeechError

LISTEN: Final = "/v1/listen"


class Said(msgspec.Struct):
    """A word. `speaker`: the number that `diarize` gave to the voice."""

    word: str = ""
    start: float = 0.0
    end: float = 0.0
    confidence: float | None = None
    punctuated_word: str | None = None
    speaker: int | None = None

    @property
    def heard(self) -> Heard:
        return Heard(self.word, self.start, self.end, self.punctuated_word or "", self.confidence, self.speaker)


class Alternative(msgspec.Struct):
    words: list[Said] = []


class Channel(msgspec.Struct):
    alternatives: list[Alternative] = []

    @property
    def words(self) -> list[Heard]:
        """The words of the most likely alternative."""
        best = self.alternatives[0].words if self.alternatives else []
        return [said.heard for said in best if said.word]


class _Results(msgspec.Struct):
    channels: list[Channel] = []


class _Answer(msgspec.Struct):
    results: _Results


def query_of(settings: TranscriptionSettings, language: str) -> dict[str, str]:
    """The query options that both protocols use."""
    said = {"model": settings.deepgram_model, "smart_format": "true", "punctuate": "true", "diarize": "true"}
    return {**said, "language": language} if language else said


def headers_of(settings: TranscriptionSettings) -> dict[str, str]:
    """Raises: SpeechError when the key cannot be read."""
    key = calls.key_in(settings.deepgram_key_file)
    return {"Authorization": f"Token {key}"} if key else {}


class Deepgram:
    def __init__(self, settings: TranscriptionSettings) -> None:
        self._settings = settings

    async def transcribe(self, sound: Path, language: str) -> list[Heard]:
        settings = self._settings
        query = query_of(settings, language)
        query |= {} if language else {"detect_language": "true"}
        headers = {**headers_of(settings), "Content-Type": "audio/ogg"}
        url = f"{settings.deepgram_url.rstrip('/')}{LISTEN}"
        with sound.open("rb") as file:  # aiohttp reads the file in a thread
            answer = await calls.post(settings, url, query, headers, lambda: file)
        try:
            found = msgspec.json.decode(answer, type=_Answer)
        except msgspec.DecodeError as error:
            raise SpeechError("bad_answer", lasts=True) from error
        return [word for channel in found.results.channels[:1] for word in channel.words]
