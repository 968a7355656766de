"""The interface of whoever makes words of sound, and which of them there are. What one does is in a file of its own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from common.config.settings import TranscriptionSettings
from common.errors import PoolmgrError
from common.speech.heard import Heard
from common.wire.minutes import Word


class SpeechError(PoolmgrError):
    """A provider does not do what it is asked for. `reason`: a word or a few of a closed set, without what was said and
    without secrets. `lasts`: asking again would not help.
    """

    def __init__(self, reason: str, *, lasts: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lasts = lasts


class Transcriber(Protocol):
    """Makes words of a recording that is over."""

    async def transcribe(self, sound: Path, language: str) -> list[Heard]:
        """All of them, in order. `sound`: an Ogg file of Opus. `language`: as in BCP 47; empty: it finds out by itself,
        if it can. Raises: SpeechError, OSError. May be cancelled, and then leaves nothing behind.
        """
        ...


Hears = Callable[[Sequence[Word], bool, bool], None]
"""Words by the clock of the wall; whether they stay (if not, the next ones replace them); whether an utterance ends."""

Fares = Callable[[bool, str], None]
"""Whether it listens, and why not, in a word or a few; at each change."""

RATE: Final = 16_000
"""Of the sound that listeners take, samples a second."""


class Listener(Protocol):
    """Makes words of sound while it is heard: `run` once, `put` sound at any time, `end` when nothing more comes. None
    but `run` waits.
    """

    dropped: int
    """Pieces of sound that it did not take in time."""

    def put(self, pcm: bytes, at: float) -> None:
        """16 bits a sample, little-endian, one channel, RATE. `at`: when it began, epoch seconds."""
        ...

    def end(self) -> None: ...

    async def run(self) -> None:
        """Until it has ended, and the last words came, or not in time; or for as long as there is hope. Never raises
        for what a provider does.
        """
        ...


def transcriber(name: str, settings: TranscriptionSettings) -> Transcriber:
    """The transcriber with that name, if the settings offer it. Raises: SpeechError if they do not."""
    if name not in settings.offered:
        raise SpeechError("not_configured", lasts=True)
    # None is imported before it is asked: an HTTP client and a decoder take 25 MB.
    match name:
        case "deepgram":
            from common.speech.deepgram import Deepgram

            return Deepgram(settings)
        case "openai":
            from common.speech.openai import OpenAi

            return OpenAi(settings)
        case _:
            from common.speech.whisper import Whisper

            return Whisper(settings)
