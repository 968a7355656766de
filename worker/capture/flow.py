"""Whether something comes of each kind that is recorded. Pure.

A recorder gives a chunk of each a second, also where the meeting is silent and its picture stands still.
"""

from collections.abc import Collection
from typing import Final

from common.wire.manifest import Kind

BELIEVED_S: Final = 10.0
"""A page that is busy, or a machine, gives chunks seconds late."""


class Flow:
    """Times are monotonic seconds."""

    def __init__(self, kinds: Collection[Kind]) -> None:
        self._kinds = kinds
        self._came_at: dict[Kind, float] = {}

    def begin_anew(self, now: float) -> None:
        self._came_at = dict.fromkeys(self._kinds, now)

    def look(self, now: float, came: Collection[Kind]) -> Kind | None:
        """`came`: of which kinds there is more since the last look. The kind of which nothing has come for too long."""
        self._came_at |= dict.fromkeys(came, now)
        return next((kind for kind, at in self._came_at.items() if now - at >= BELIEVED_S), None)
