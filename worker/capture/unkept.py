"""In place of a spool where a meeting is only listened to: its numbers go on, and nothing of it is kept."""

from collections.abc import Sequence

from worker.capture.ledger import Began, Chunk, Closed, Missed


class Numbers:
    """What a ledger knows of what nobody keeps. `parts`: numbers of those that began."""

    def __init__(self) -> None:
        self.parts: list[int] = []
        self.next_seq = 0
        self.recorded_s = 0.0
        self.spooled_bytes = 0


class Unkept:
    """As `worker.capture.spool.Spool`, for `worker.capture.recording`. A later agent takes what is there by then."""

    def __init__(self) -> None:
        self.ledger = Numbers()

    def append(self, chunks: Sequence[tuple[Began, Chunk, bytes]]) -> None:
        known = self.ledger
        for began, chunk, _ in chunks:
            known.parts += [] if began.part in known.parts else [began.part]
            known.next_seq = max(known.next_seq, chunk.seq + 1)

    def miss(self, missed: Missed) -> None:
        pass

    def close(self, closed: Closed) -> None:
        pass
