"""Notices when the recorder gives no more chunks of a kind. Pure.

A recorder gives a chunk of each kind a second, also while the meeting is silent and its picture stands still.
"""

from collections.abc import Collection
from typing import Final

from common.wire.manifest import Kind

STALLED_AFTER_S: Final = 10.0
"""Longer than a busy page or a busy machine delays a chunk."""


class StallDetector:
    """Times are monotonic seconds."""

    def __init__(self, kinds: Collection[Kind]) -> None:
        self._kinds = kinds
        self._last_chunk_at: dict[Kind, float] = {}

    def reset(self, now: float) -> None:
        self._last_chunk_at = dict.fromkeys(self._kinds, now)

    def stalled(self, now: float, received: Collection[Kind]) -> Kind | None:
        """The kind that has given no chunk for too long, if any. `received`: the kinds that gave one since the last
        call.
        """
        self._last_chunk_at |= dict.fromkeys(received, now)
        return next((kind for kind, at in self._last_chunk_at.items() if now - at >= STALLED_AFTER_S), None)
