"""Notices when the recording is silent although somebody speaks in the meeting. Pure.

Silence alone is no fault: perhaps nobody speaks. It is a fault while the meeting's connections receive a voice.
"""

from typing import Final

SILENT_LEVEL: Final = 0.0003
"""-70 dBFS, root mean square: below the comfort noise of a muted line, above the recorder's own noise."""
SILENT_AFTER_S: Final = 8.0
"""A received voice is in the recording within a second, but the last look at the page may be seconds old."""


class SilenceDetector:
    """Times are monotonic seconds. `sound_s`: how long the sound is that a level is of, at least.

    What is recorded is looked at late on a busy machine. So silence counts from the last look that heard something: at
    most `sound_s` early, and never later for a late look.
    """

    def __init__(self, sound_s: float) -> None:
        self._sound_s = sound_s
        self._heard_at: float | None = None
        self.silent_since: float | None = None

    def is_wrongly_silent(self, now: float, level: float, voice_at: float | None) -> bool:
        """True when only silence was recorded for SILENT_AFTER_S, and somebody spoke in the second half of that time.

        `level`: of what was recorded since the last call. `voice_at`: when a voice was last received.
        """
        if level >= SILENT_LEVEL:
            self._heard_at, self.silent_since = now, None
            return False
        if self.silent_since is None:
            self.silent_since = (now if self._heard_at is None else self._heard_at) - self._sound_s
        return (
            now - self.silent_since >= SILENT_AFTER_S
            and voice_at is not None
            and voice_at - self.silent_since >= SILENT_AFTER_S / 2
        )

    def reset(self) -> None:
        self._heard_at = self.silent_since = None
