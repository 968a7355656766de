"""In place of a spool where a meeting is only listened to: nothing of it is kept."""

from collections.abc import Sequence
from typing import Final

from common.wire.manifest import Kind
from worker.capture.ledger import Began, Chunk, Closed, Missed, Paused, Resumed, Track


class Nothing:
    """As `worker.capture.ledger.Ledger`, of what nobody keeps."""

    def __init__(self) -> None:
        self.tracks: Final[dict[Kind, Track]] = {}
        self.next_seq: Final = 0
        self.recorded_s: Final = 0.0
        self.spooled_bytes: Final = 0
        self.has_begun = False
        self.is_paused = False


class Unkept:
    """As `worker.capture.spool.Spool`, for `worker.capture.recording`. A later agent takes what is there by then."""

    def __init__(self) -> None:
        self.ledger = Nothing()

    def append(self, chunks: Sequence[tuple[Began, Chunk, bytes]]) -> None:
        self.ledger.has_begun |= bool(chunks)

    def miss(self, missed: Missed) -> None:
        pass

    def pause(self, change: Paused | Resumed) -> None:
        self.ledger.is_paused = isinstance(change, Paused)

    def close(self, closed: Closed) -> None:
        pass
