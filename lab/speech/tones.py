"""A language of eight words, a tone each, and a recogniser for it. What it answers depends only on the sound. Pure."""

import array
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

RATE: Final = 16_000
BLOCK_S: Final = 0.05
_BLOCK: Final = round(RATE * BLOCK_S)
_SILENT: Final = 0.004
"""The level below which it is silence, as root mean square: -48 dBFS."""
_PURE: Final = 0.5
"""The share of a block's power that a tone must have."""
_SHORTEST_BLOCKS: Final = 3

PITCHES: Final = {
    "alpha": 600, "bravo": 740, "charlie": 900, "delta": 1120, "echo": 1380, "foxtrot": 1700, "golf": 2100,
    "hotel": 2600,
}  # fmt: skip
"""The frequency of each word, in Hz."""
HIGH: Final = ("echo", "foxtrot", "golf", "hotel")
"""Words that the second of two voices says."""


class Tone(NamedTuple):
    """A word that was heard, in seconds of the sound."""

    word: str
    begins_s: float
    ends_s: float

    @property
    def voice(self) -> int:
        return int(self.word in HIGH)


def sound(words: Iterable[tuple[str, float, float]], lasts_s: float, rate: int = RATE) -> bytes:
    """PCM, 16 bits, one channel. `words`: the word, when it begins, and how long it lasts, in seconds."""
    samples = array.array("h", bytes(2 * round(lasts_s * rate)))
    for word, begins_s, word_s in words:
        first = round(begins_s * rate)
        for at in range(min(round(word_s * rate), len(samples) - first)):
            samples[first + at] = round(8000 * math.sin(2 * math.pi * PITCHES[word] * at / rate))
    return samples.tobytes()


_WAVES: Final = {
    word: tuple([part(2 * math.pi * hz * at / RATE) for at in range(_BLOCK)] for part in (math.sin, math.cos))
    for word, hz in PITCHES.items()
}


def _word_in(block: Sequence[float]) -> str:
    """The word of a block; empty: silence, or no word."""
    power = sum(sample * sample for sample in block) / len(block)
    if math.sqrt(power) < _SILENT:
        return ""
    for word, waves in _WAVES.items():
        share = sum(sum(map(float.__mul__, block, wave)) ** 2 for wave in waves) * 2 / len(block) ** 2
        if share > _PURE * power:
            return word
    return ""


class Recogniser:
    """Takes PCM (16 bits, one channel, RATE) as it comes, and gives each word when it has ended. `under_way`: the word
    that is being said.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._blocks = 0
        self._word = ""
        self._begins_s = 0.0

    @property
    def heard_s(self) -> float:
        return self._blocks * BLOCK_S

    @property
    def under_way(self) -> Tone | None:
        long_enough = self.heard_s - self._begins_s >= BLOCK_S * _SHORTEST_BLOCKS - BLOCK_S / 2
        return Tone(self._word, self._begins_s, self.heard_s) if self._word and long_enough else None

    def take(self, pcm: bytes) -> list[Tone]:
        self._rest += pcm
        found: list[Tone] = []
        size = 2 * _BLOCK
        while len(self._rest) >= size:
            samples = array.array("h", self._rest[:size])
            if sys.byteorder == "big":
                samples.byteswap()
            self._rest = self._rest[size:]
            found += self._look(_word_in([sample / 32768 for sample in samples]))
        return found

    def end(self) -> list[Tone]:
        return self._look("")

    def _look(self, word: str) -> list[Tone]:
        over = self.under_way if word != self._word else None
        if word != self._word:
            self._word, self._begins_s = word, self.heard_s
        self._blocks += 1
        return [over] if over else []
