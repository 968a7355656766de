"""A spool that keeps nothing, for a meeting that is sent live and not recorded."""

from collections.abc import Sequence
from typing import Final

from common.wire.manifest import GapCause, Kind, Way
from worker.capture.progress import Began, Chunk, Closed, Missed, Paused, Resumed, Track


class NullProgress:
    """The part of `worker.capture.progress.Progress` that a recording uses."""

    def __init__(self) -> None:
        self.tracks: Final[dict[Kind, Track]] = {}
        self.next_seq: Final = 0
        self.ahead_s: Final[float | None] = None
        self.recorded_s: Final = 0.0
        self.spooled_bytes: Final = 0
        self.way: Final[Way | None] = None  # it is not known of earlier agents
        self.pause_cause: Final[GapCause] = "paused"
        self.paused_by: Final[set[GapCause]] = set()
        self.has_begun = False
        self.closed: Final[Closed | None] = None

    @property
    def is_paused(self) -> bool:
        return bool(self.paused_by)


class NullSpool:
    """The part of `worker.capture.spool.Spool` that a recording uses."""

    def __init__(self) -> None:
        self.progress = NullProgress()
        self.is_told = False

    @property
    def is_awaited(self) -> bool:
        return self.is_told or self.progress.has_begun

    def append(self, chunks: Sequence[tuple[Began, Chunk, bytes]]) -> None:
        self.progress.has_begun |= bool(chunks)

    def miss(self, missed: Missed) -> None:
        pass

    def pause(self, change: Paused | Resumed) -> None:
        if isinstance(change, Paused):
            self.progress.paused_by.add(change.cause)
        else:
            self.progress.paused_by.discard(change.cause)

    def close(self, closed: Closed) -> None:
        pass

    def note_told(self) -> None:
        self.is_told = True

    def note_end(self, at: float) -> float:
        return at

    def release(self) -> None:
        pass

    def remove(self) -> None:
        pass
