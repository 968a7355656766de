"""What is known of one recording, as a row of entries: what came of the recorder, what was cut from it, what is stored.

Pure. Whoever holds the entries knows all the rest: what is to be cut and stored next, how much waits, which gaps there
are. An agent that takes a recording over reads the entries and goes on.

    Opened, (Part, Chunk...)..., Closed        as the recorder gives them
    Cut after some Chunks, Stored after a Cut  as the agent gets on

Numbers of chunks grow, with holes where one was of a kind that is not kept; a chunk belongs to the part of its kind
that began last. A segment is what was cut at a time: chunks of one part in order.
"""

from collections.abc import Iterable
from itertools import accumulate
from typing import Final

import msgspec

from common.wire.manifest import VERSION, Audio, Gap, GapCause, Kind, Manifest, Part, Segment, Video

SEGMENT_S: Final = 5.0
"""A segment is cut as soon as it is that long: with chunks of a second it has 5 to 6."""
UNNOTED_S: Final = 2.0
"""What is missing at the beginning or end and is shorter is no gap: the recorder takes as long to begin and to end."""
_NAMES: Final[dict[Kind, str]] = {"audio": "segment-{:06d}.webm", "video": "picture-{:06d}.ivf"}


class Entry(msgspec.Struct, frozen=True, tag_field="is", tag=str.lower, omit_defaults=True):
    pass


class Opened(Entry, frozen=True):
    """The bot is in, and is to be recorded from now on."""

    bot_id: str
    attempt: int
    platform: str
    at: float
    kinds: tuple[Kind, ...] = ("audio",)


class Began(Entry, frozen=True):
    """A part. `cause`: of the gap before it."""

    part: int
    at: float
    cause: GapCause | None = None
    kind: Kind = "audio"


class Chunk(Entry, frozen=True):
    """`at`: when it was complete. `media_s`: where in its part it begins."""

    seq: int
    at: float
    media_s: float
    bytes: int
    kind: Kind = "audio"


class Cut(Entry, frozen=True):
    """All chunks of its kind since the last one are a segment."""

    sha256: str
    kind: Kind = "audio"


class Stored(Entry, frozen=True):
    sequence: int
    kind: Kind = "audio"


class Missed(Entry, frozen=True):
    """Something that is known to be missing within a part."""

    began_at: float
    ended_at: float
    cause: GapCause
    kind: Kind = "audio"


class Paused(Entry, frozen=True):
    """Nothing is to be recorded, until a part begins again."""

    at: float


class Resumed(Entry, frozen=True):
    at: float


class Closed(Entry, frozen=True):
    """Nothing more comes. `cause`: why the end is missing, if it is."""

    at: float
    cause: GapCause = "browser_gone"


AnyEntry = Opened | Began | Chunk | Cut | Stored | Missed | Paused | Resumed | Closed


class DisorderError(ValueError):
    """An entry does not follow from those before it."""


def path_of(kind: Kind, sequence: int) -> str:
    return _NAMES[kind].format(sequence)


class Track:
    """What is known of one kind. `pending`: the chunks of the segment that is not cut yet. `came`: of each segment, up
    to which byte of it had come, and when.
    """

    def __init__(self, kind: Kind, opened_at: float) -> None:
        self.kind: Final[Kind] = kind
        self.parts: list[Part] = []
        self.segments: list[Segment] = []
        self.pending: list[Chunk] = []
        self.unstored: dict[int, Segment] = {}
        self.gaps: list[Gap] = []
        self.came: list[list[tuple[int, float]]] = []
        self._opened_at = opened_at
        self.known_until = opened_at

    @property
    def is_full(self) -> bool:
        """Whether what is pending is to be cut."""
        return bool(self.pending) and self.pending[-1].at - self._begin_of_pending() >= SEGMENT_S

    @property
    def pending_bytes(self) -> int:
        return sum(chunk.bytes for chunk in list(self.pending))

    @property
    def pending_path(self) -> str:
        """Of the segment that it will be."""
        return path_of(self.kind, len(self.segments))

    @property
    def recorded_s(self) -> float:
        """By the wall clock, gaps left out."""
        missing = (min(gap.ended_at, self.known_until) - gap.began_at for gap in self.gaps)
        return self.known_until - self._opened_at - sum(max(0.0, seconds) for seconds in missing)

    def begin(self, entry: Began) -> None:
        if entry.cause or entry.at - self.known_until > UNNOTED_S:
            self.miss(self.known_until, entry.at, entry.cause or "late")
        self.parts.append(Part(entry.part, entry.at, self.kind))
        self.known_until = max(self.known_until, entry.at)

    def add(self, chunk: Chunk) -> None:
        self.pending.append(chunk)
        self.known_until = max(self.known_until, chunk.at)

    def cut(self, sha256: str) -> None:
        sequence, part, first = len(self.segments), self.parts[-1], self.pending[0]
        segment = Segment(
            sequence,
            part.number,
            self.pending_path,
            round(part.began_at - self._opened_at + first.media_s, 3),
            self._begin_of_pending(),
            self.pending[-1].at,
            self.pending_bytes,
            sha256,
            self.kind,
        )
        self.segments.append(segment)
        ends = accumulate(chunk.bytes for chunk in self.pending)
        self.came.append([(end, chunk.at) for end, chunk in zip(ends, self.pending, strict=True)])
        self.unstored[sequence] = segment
        self.pending = []

    def miss(self, began_at: float, ended_at: float, cause: GapCause) -> None:
        if ended_at > began_at:
            self.gaps.append(Gap(began_at, ended_at, cause, self.kind))

    def close(self, entry: Closed) -> None:
        if entry.at - self.known_until > UNNOTED_S:
            self.miss(self.known_until, entry.at, entry.cause)

    def _begin_of_pending(self) -> float:
        before = self.segments[-1] if self.segments else None
        part = self.parts[-1]
        return before.ended_at if before and before.part == part.number else part.began_at


class Ledger:
    """`apply` every entry, in order. Raises: DisorderError from there, and nothing has changed."""

    def __init__(self, opened: Opened, entries: Iterable[AnyEntry] = ()) -> None:
        self.opened = opened
        self.tracks: dict[Kind, Track] = {kind: Track(kind, opened.at) for kind in opened.kinds}
        self.closed: Closed | None = None
        self.is_paused = False
        self.next_seq = 0
        for entry in entries:
            self.apply(entry)

    def apply(self, entry: AnyEntry) -> None:
        match entry:
            case Opened():
                raise DisorderError(f"cannot follow anything: {entry}")
            case Closed():
                _expect(entry, not self.closed)
                for track in self.tracks.values():
                    track.close(msgspec.structs.replace(entry, cause="paused") if self.is_paused else entry)
                self.closed = entry
            case Paused() | Resumed():
                _expect(entry, not self.closed)
                self.is_paused = isinstance(entry, Paused)
            case _:
                _expect(entry, entry.kind in self.tracks)
                self._apply_to(self.tracks[entry.kind], entry)

    def _apply_to(self, track: Track, entry: Began | Chunk | Cut | Stored | Missed) -> None:
        match entry:
            case Began():
                _expect(entry, entry.part == len(track.parts) and not track.pending and not self.closed)
                track.begin(entry)
            case Chunk():
                _expect(entry, bool(track.parts) and entry.seq >= self.next_seq and not self.closed)
                track.add(entry)
                self.next_seq = entry.seq + 1
            case Cut(sha256=sha256):
                _expect(entry, bool(track.pending))
                track.cut(sha256)
            case Stored(sequence=sequence):
                _expect(entry, sequence in track.unstored)
                del track.unstored[sequence]
            case _:  # Missed
                track.miss(entry.began_at, entry.ended_at, entry.cause)

    # What is to be done

    @property
    def to_store(self) -> Segment | None:
        """What is to be stored next: the oldest."""
        waiting = (next(iter(track.unstored.values()), None) for track in self._tracks())
        return min(filter(None, waiting), key=lambda segment: segment.ended_at, default=None)

    @property
    def is_done(self) -> bool:
        """All that came is stored, and nothing more comes."""
        return self.closed is not None and not any(track.pending or track.unstored for track in self._tracks())

    @property
    def spooled_bytes(self) -> int:
        """What waits on the disk."""
        return sum(
            track.pending_bytes + sum(segment.bytes for segment in list(track.unstored.values()))
            for track in self._tracks()
        )

    @property
    def unstored(self) -> int:
        """How many segments wait."""
        return sum(len(track.unstored) for track in self._tracks())

    # What there is

    @property
    def has_begun(self) -> bool:
        return any(track.parts for track in self._tracks())

    @property
    def recorded_s(self) -> float:
        """Of the kind of which there is most."""
        return max(track.recorded_s for track in self._tracks())

    @property
    def known_until(self) -> float:
        return max(track.known_until for track in self._tracks())

    @property
    def gaps(self) -> list[Gap]:
        return sorted((gap for track in self._tracks() for gap in track.gaps), key=lambda gap: gap.began_at)

    @property
    def segments(self) -> list[Segment]:
        """In the order in which they were complete."""
        return sorted((one for track in self._tracks() for one in list(track.segments)), key=lambda one: one.ended_at)

    def manifest(self, audio: Audio | None = None, video: Video | None = None, *, finished: bool = False) -> Manifest:
        return Manifest(
            VERSION,
            self.opened.bot_id,
            self.opened.attempt,
            self.opened.platform,
            self.began_at,
            self.closed.at if self.closed else None,
            finished,
            kinds=self.opened.kinds,
            parts=[part for track in self._tracks() for part in track.parts],
            segments=self.segments,
            gaps=self.gaps,
            audio=audio,
            video=video,
        )

    @property
    def began_at(self) -> float:
        """Its media time 0: when the bot was in, which is a moment before there is a recorder."""
        return self.opened.at

    def _tracks(self) -> list[Track]:
        return list(self.tracks.values())


def _expect(entry: AnyEntry, follows: bool) -> None:
    if not follows:
        raise DisorderError(f"does not follow: {entry}")
