"""What a finished file sounds like, found out as by ear: decoded, and its tones measured."""

import array
import math
from operator import mul
from pathlib import Path
from typing import Final, NamedTuple

import av

RATE: Final = 48_000
BLOCK: Final = RATE // 20
_STEP: Final = 6


class Heard(NamedTuple):
    """Both sides, samples from -1 to 1."""

    left: list[float]
    right: list[float]

    @property
    def duration_s(self) -> float:
        return len(self.left) / RATE

    def clearest(self, left_hz: float, right_hz: float) -> int:
        """The sample from which on a twentieth of a second has most of both tones: a busy machine leaves holes."""

        def how_clear(at: int) -> float:  # found out with every sixth sample: tones of up to 2 kHz are plain there, too
            left, right = (side[at : at + BLOCK : _STEP] for side in self)
            return tone(left, left_hz, RATE / _STEP) + tone(right, right_hz, RATE / _STEP)

        return max(range(0, len(self.left) - BLOCK, BLOCK), key=how_clear)

    def tones(self, hz: float, at: int) -> tuple[float, float]:
        """How loud a tone is left and right in the twentieth of a second from sample `at`, dB."""
        return tone(self.left[at : at + BLOCK], hz), tone(self.right[at : at + BLOCK], hz)


def listen(path: Path) -> Heard:
    """Decodes all of it. Raises: av.error.FFmpegError."""
    sides = (array.array("h"), array.array("h"))
    resampler = av.AudioResampler(format="s16p", layout="stereo", rate=RATE)
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            for part in resampler.resample(frame):
                for side, plane in zip(sides, part.planes, strict=True):
                    side.frombytes(bytes(plane)[: part.samples * 2])
    return Heard(*([sample / 32768 for sample in side] for side in sides))


def level(samples: list[float]) -> float:
    """Root mean square."""
    return math.sqrt(sum(map(mul, samples, samples)) / len(samples))


def tone(samples: list[float], hz: float, rate: float = RATE) -> float:
    """Goertzel: the amplitude at one frequency, dB."""
    step = 2 * math.cos(2 * math.pi * hz / rate)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + step * last - before
    power = max(last * last + before * before - step * last * before, 0.0)
    return 20 * math.log10(max(math.sqrt(power) * 2 / len(samples), 1e-9))
