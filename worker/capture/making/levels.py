"""How loud decoded sound is, in steps of 0.1 s."""

import math
from typing import Any, Final

import av

from worker.capture.making.sound import RATE
from worker.transcript.whose_track import SILENCE, STEP_S, level_of

_STEP_SAMPLES: Final = round(STEP_S * RATE)
_EVERY: Final = 16
"""Of so many samples one is looked at: 300 a step and side tell how loud it is, and cost next to nothing."""


class Levels:
    """Call `put` with each frame, in order."""

    def __init__(self) -> None:
        self._resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE)
        self._energy: list[float] = []  # of each step
        self._samples = 0

    def put(self, frame: Any) -> None:
        """Raises: av.error.FFmpegError."""
        for part in self._resampler.resample(frame):
            step = self._samples // _STEP_SAMPLES
            self._energy.extend([0.0] * (step + 1 - len(self._energy)))
            for side in part.planes:
                self._energy[step] += sum(x * x for x in memoryview(side).cast("f")[: part.samples : _EVERY])
            self._samples += part.samples

    @property
    def levels(self) -> bytes:
        """As worker/transcript/whose_track.py takes them."""
        looked_at = 2 * _STEP_SAMPLES / _EVERY
        return bytes(
            level_of(10 * math.log10(energy / looked_at)) if energy > 0 else SILENCE for energy in self._energy
        )
