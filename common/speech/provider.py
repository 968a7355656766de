"""The interface of a provider of speech to text. Each provider is in a file of its own; choice.py chooses one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from common.errors import PoolmgrError
from common.speech.heard import Heard
from common.wire.minutes import Word


class SpeechError(PoolmgrError):
    """A provider did not transcribe. `reason`: one or a few words of a closed set, without secrets and without what was
    said. `lasts`: another try would not help.
    """

    def __init__(self, reason: str, *, lasts: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lasts = lasts


class Transcriber(Protocol):
    """Transcribes a recording that is over."""

    async def transcribe(self, sound: Path, language: str) -> list[Heard]:
        """All words, in order. `sound`: an Ogg file of Opus. `language`: as in BCP 47; empty: the provider detects it,
        if it can. Raises: SpeechError, OSError. May be cancelled, and then leaves nothing behind.
        """
        ...


Hears = Callable[[Sequence[Word], bool, bool], None]
"""Called with words with wall-clock times; whether they are final (if not, the next words replace them); whether an
utterance ends.
"""

Fares = Callable[[bool, str], None]
"""Called at each change with whether the provider listens now, and if not, why, in a few words."""

RATE: Final = 16_000
"""Sample rate of the sound that listeners take, in Hz."""


class Listener(Protocol):
    """Transcribes sound while it comes. Call `run` once, `put` with sound at any time, and `end` after the last. Only
    `run` waits.
    """

    dropped: int
    """How many pieces of sound it dropped because it could not send them in time."""

    def put(self, pcm: bytes, at: float) -> None:
        """Take a piece of sound: 16 bits a sample, little-endian, one channel, RATE. `at`: when it began, epoch
        seconds.
        """
        ...

    def end(self) -> None: ...

    async def run(self) -> None:
        """Listen until `end` was called and the last words came, their deadline passed, or further tries are useless.
        Never raises because of the provider.
        """
        ...
