"""What is known of one recording, as a row of entries: what came of the recorder, what was cut from it, what is stored.

Pure. Whoever holds the entries knows all the rest: what is to be cut and stored next, how much waits, which gaps there
are. An agent that takes a recording over reads the entries and goes on.

    Opened, (Part, Chunk...)..., Closed        as the recorder gives them
    Cut after some Chunks, Stored after a Cut  as the agent gets on

Chunks are numbered from 0 without a hole, and belong to the part that began last. A segment is what was cut at a time:
chunks of one part in order.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from common.wire.manifest import VERSION, Audio, Gap, GapCause, Manifest, Part, Segment

SEGMENT_S: Final = 5.0
"""A segment is cut as soon as it is that long: with chunks of a second it has 5 to 6."""
UNNOTED_S: Final = 2.0
"""What is missing at the beginning or end and is shorter is no gap: the recorder takes as long to begin and to end."""


class Entry(msgspec.Struct, frozen=True, tag_field="is", tag=str.lower, omit_defaults=True):
    pass


class Opened(Entry, frozen=True):
    """The bot is in, and is to be recorded from now on."""

    bot_id: str
    attempt: int
    platform: str
    at: float


class Began(Entry, frozen=True):
    """A part. `cause`: of the gap before it."""

    part: int
    at: float
    cause: GapCause | None = None


class Chunk(Entry, frozen=True):
    """`at`: when it was complete. `media_s`: where in its part it begins."""

    seq: int
    at: float
    media_s: float
    bytes: int


class Cut(Entry, frozen=True):
    """All chunks since the last one are a segment."""

    sha256: str


class Stored(Entry, frozen=True):
    sequence: int


class Missed(Entry, frozen=True):
    """Something that is known to be missing within a part."""

    began_at: float
    ended_at: float
    cause: GapCause


class Closed(Entry, frozen=True):
    """Nothing more comes. `cause`: why the end is missing, if it is."""

    at: float
    cause: GapCause = "browser_gone"


AnyEntry = Opened | Began | Chunk | Cut | Stored | Missed | Closed


class DisorderError(ValueError):
    """An entry does not follow from those before it."""


def path_of(sequence: int) -> str:
    return f"segment-{sequence:06d}.webm"


class Ledger:
    """`apply` every entry, in order. Raises: DisorderError from there, and nothing has changed."""

    def __init__(self, opened: Opened, entries: Iterable[AnyEntry] = ()) -> None:
        self.opened = opened
        self.parts: list[Part] = []
        self.segments: list[Segment] = []
        self.pending: list[Chunk] = []  # of the segment that is not cut yet
        self.closed: Closed | None = None
        self.next_seq = 0
        self._unstored: dict[int, Segment] = {}
        self._gaps: list[Gap] = []
        self._heard_until = opened.at
        for entry in entries:
            self.apply(entry)

    def apply(self, entry: AnyEntry) -> None:
        match entry:
            case Began(part=number, at=at, cause=cause):
                _expect(entry, number == len(self.parts) and not self.pending and not self.closed)
                if cause or at - self._heard_until > UNNOTED_S:
                    self._miss(self._heard_until, at, cause or "late")
                self.parts.append(Part(number, at))
                self._heard_until = max(self._heard_until, at)
            case Chunk():
                _expect(entry, bool(self.parts) and entry.seq == self.next_seq and not self.closed)
                self.pending.append(entry)
                self.next_seq += 1
                self._heard_until = max(self._heard_until, entry.at)
            case Cut(sha256=sha256):
                _expect(entry, bool(self.pending))
                segment = self._segment(sha256)
                self.segments.append(segment)
                self._unstored[segment.sequence] = segment
                self.pending = []
            case Stored(sequence=sequence):
                _expect(entry, sequence in self._unstored)
                del self._unstored[sequence]
            case Missed(began_at=began_at, ended_at=ended_at, cause=cause):
                self._miss(began_at, ended_at, cause)
            case Closed():
                _expect(entry, not self.closed)
                if entry.at - self._heard_until > UNNOTED_S:
                    self._miss(self._heard_until, entry.at, entry.cause)
                self.closed = entry
            case _:  # Opened
                raise DisorderError(f"cannot follow anything: {entry}")

    # What is to be done

    @property
    def is_full(self) -> bool:
        """Whether what is pending is to be cut."""
        return bool(self.pending) and self.pending[-1].at - self._begin_of_pending() >= SEGMENT_S

    @property
    def to_store(self) -> Segment | None:
        """What is to be stored next."""
        return next(iter(self._unstored.values()), None)

    @property
    def is_done(self) -> bool:
        """All that came is stored, and nothing more comes."""
        return self.closed is not None and not self.pending and not self._unstored

    @property
    def spooled_bytes(self) -> int:
        """What waits on the disk."""
        return self.pending_bytes + sum(segment.bytes for segment in list(self._unstored.values()))

    @property
    def pending_bytes(self) -> int:
        return sum(chunk.bytes for chunk in list(self.pending))

    @property
    def unstored(self) -> int:
        """How many segments wait."""
        return len(self._unstored)

    # What there is

    @property
    def recorded_s(self) -> float:
        """By the wall clock, gaps left out."""
        return self._heard_until - self.opened.at - sum(gap.ended_at - gap.began_at for gap in self._gaps)

    @property
    def gaps(self) -> list[Gap]:
        return list(self._gaps)

    def manifest(self, audio: Audio | None = None, *, finished: bool = False) -> Manifest:
        return Manifest(
            VERSION,
            self.opened.bot_id,
            self.opened.attempt,
            self.opened.platform,
            self.began_at,
            self.closed.at if self.closed else None,
            finished,
            parts=list(self.parts),
            segments=list(self.segments),
            gaps=list(self._gaps),
            audio=audio,
        )

    @property
    def began_at(self) -> float:
        """Its media time 0: when the bot was in, which is a moment before there is a recorder."""
        return self.opened.at

    def _segment(self, sha256: str) -> Segment:
        sequence, part, first = len(self.segments), self.parts[-1], self.pending[0]
        return Segment(
            sequence,
            part.number,
            path_of(sequence),
            round(part.began_at - self.began_at + first.media_s, 3),
            self._begin_of_pending(),
            self.pending[-1].at,
            self.pending_bytes,
            sha256,
        )

    def _begin_of_pending(self) -> float:
        before = self.segments[-1] if self.segments else None
        part = self.parts[-1]
        return before.ended_at if before and before.part == part.number else part.began_at

    def _miss(self, began_at: float, ended_at: float, cause: GapCause) -> None:
        if ended_at > began_at:
            self._gaps.append(Gap(began_at, ended_at, cause))


def _expect(entry: AnyEntry, follows: bool) -> None:
    if not follows:
        raise DisorderError(f"does not follow: {entry}")
