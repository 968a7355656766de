"""Whether what is recorded is silent while the meeting is not. Pure.

Silence alone says nothing: nobody may be speaking. It is a fault only while the meeting's connections receive a voice.
"""

from typing import Final

SILENT_LEVEL: Final = 0.0003
"""-70 dBFS, root mean square: below the comfort noise of a muted line, above the recorder's own."""
BELIEVED_S: Final = 8.0
"""A voice that is received is recorded within a second; a look may be seconds old."""


class Watch:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self.silent_since: float | None = None

    def look(self, now: float, level: float, voice_at: float | None) -> bool:
        """`level`: of what was recorded since the last look. `voice_at`: when a voice was received for the last time.

        True when nothing but silence has been recorded for a while, and somebody spoke in it, early and late.
        """
        if level >= SILENT_LEVEL:
            self.silent_since = None
            return False
        if self.silent_since is None:
            self.silent_since = now
        return (
            now - self.silent_since >= BELIEVED_S
            and voice_at is not None
            and voice_at - self.silent_since >= BELIEVED_S / 2
        )

    def begin_anew(self) -> None:
        self.silent_since = None
