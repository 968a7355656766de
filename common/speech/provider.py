"""The interface of a provider of speech to text. Each provider is in a file of its own; choice.py chooses one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

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
        """Everything that is said, in order. `sound`: an Ogg file of Opus. `language`: as in BCP 47; empty: the
        provider finds out, if it can. Raises: SpeechError, OSError. May be cancelled, and then leaves nothing behind.
        """
        ...


Hears = Callable[[Sequence[Word], bool, bool], None]
"""Gets words by the wall clock; whether they stay (if not, the next ones replace them); whether an utterance ends."""

Fares = Callable[[bool, str], None]
"""Gets whether it listens now, and if not, why, in a few words; at each change."""

RATE: Final = 16_000
"""Samples a second of the sound that listeners take."""


class Listener(Protocol):
    """Makes words of sound while it comes. Call `run` once, `put` with sound at any time, and `end` after the last.
    Only `run` waits.
    """

    dropped: int
    """Pieces of sound that it did not take in time."""

    def put(self, pcm: bytes, at: float) -> None:
        """16 bits a sample, little-endian, one channel, RATE. `at`: when it began, epoch seconds."""
        ...

    def end(self) -> None: ...

    async def run(self) -> None:
        """Listen until `end` was called and the last words came, or their time is over, or there is no hope left. Never
        raises because of the provider.
        """
        ...
