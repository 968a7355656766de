"""A spool that keeps nothing, for a meeting that is sent live and not recorded."""

from collections.abc import Sequence
from typing import Final

from common.wire.manifest import Kind
from worker.capture.progress import Began, Chunk, Closed, Missed, Paused, Resumed, Track


class NullProgress:
    """The part of `worker.capture.progress.Progress` that a recording uses."""

    def __init__(self) -> None:
        self.tracks: Final[dict[Kind, Track]] = {}
        self.next_seq: Final = 0
        self.recorded_s: Final = 0.0
        self.spooled_bytes: Final = 0
        self.has_begun = False
        self.is_paused = False


class NullSpool:
    """The part of `worker.capture.spool.Spool` that a recording uses."""

    def __init__(self) -> None:
        self.progress = NullProgress()

    def append(self, chunks: Sequence[tuple[Began, Chunk, bytes]]) -> None:
        self.progress.has_begun |= bool(chunks)

    def miss(self, missed: Missed) -> None:
        pass

    def pause(self, change: Paused | Resumed) -> None:
        self.progress.is_paused = isinstance(change, Paused)

    def close(self, closed: Closed) -> None:
        pass
