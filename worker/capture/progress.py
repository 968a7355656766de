"""How far a recording is, as a list of entries: what the recorder gave, what was cut into segments, what is stored.
Pure.

Everything else follows from the entries: what is to be cut and stored next, how much waits, where the gaps are. An
agent that takes over a recording reads the entries and goes on.

    Opened, (Began, Chunk...)..., Closed       as the recorder gives them
    Cut after some Chunks, Stored after a Cut  as the agent gets on

The numbers of chunks grow; those of tracks are numbered apart. Some are left out: those of a kind that is not kept. A
chunk belongs to the latest part of its kind. A segment has consecutive chunks of one part, and is stored as one file.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final

import msgspec

from common.errors import AgentError
from common.wire.manifest import VERSION, Audio, Gap, GapCause, Kind, Manifest, Part, Segment, SoundTrack, Video, Way

SEGMENT_S: Final = 5.0
"""A segment is cut as soon as it is that long. With chunks of a second it lasts 5 to 6 s."""
SHORTEST_GAP_S: Final = 2.0
"""Less than this at the beginning or the end is no gap: the recorder takes that long to begin and to end."""
_PICTURES: Final[dict[Way, str]] = {"recorder_tab": "ivf", "display": "mkv"}


class Entry(msgspec.Struct, frozen=True, tag_field="is", tag=str.lower, omit_defaults=True):
    pass


class Opened(Entry, frozen=True):
    """The bot is in its meeting, and is recorded from now on. `ahead_s`: how far its clock (clock.py) is
    ahead of the machine's monotonic clock; None in what an older agent began, or another VM.
    """

    bot_id: str
    attempt: int
    platform: str
    at: float
    kinds: tuple[Kind, ...] = ("audio",)
    way: Way = "recorder_tab"
    ahead_s: float | None = None


class Began(Entry, frozen=True):
    """A part began. `cause`: of the gap before it. `way`: how it is recorded. None: as the recording was opened."""

    part: int
    at: float
    cause: GapCause | None = None
    kind: Kind = "audio"
    way: Way | None = None


class Chunk(Entry, frozen=True):
    """`at`: when it was complete. `media_s`: where it begins, counted from the beginning of its part."""

    seq: int
    at: float
    media_s: float
    bytes: int
    kind: Kind = "audio"


class Cut(Entry, frozen=True):
    """All chunks of this kind since the last Cut are a segment."""

    sha256: str
    kind: Kind = "audio"


class Stored(Entry, frozen=True):
    """The store has the segment. Or it never will, because the disk lost it: then whoever makes the file finds it
    missing, as one that the store has lost.
    """

    sequence: int
    kind: Kind = "audio"


class Missed(Entry, frozen=True):
    """Something is missing within a part."""

    began_at: float
    ended_at: float
    cause: GapCause
    kind: Kind = "audio"


class Paused(Entry, frozen=True):
    """Nothing is recorded until the next part begins. `cause`: somebody asked for it, or the meeting does not permit
    recording. Each has its own end.
    """

    at: float
    cause: GapCause = "paused"


class Resumed(Entry, frozen=True):
    at: float
    cause: GapCause = "paused"


class Closed(Entry, frozen=True):
    """The recording is over. `cause`: why its end is missing, if it is."""

    at: float
    cause: GapCause = "browser_gone"


AnyEntry = Opened | Began | Chunk | Cut | Stored | Missed | Paused | Resumed | Closed


class OutOfOrderError(AgentError):
    """An entry that cannot follow those before it."""


def path_of(kind: Kind, sequence: int, way: Way = "recorder_tab") -> str:
    if kind == "audio":
        return f"segment-{sequence:06d}.webm"
    if kind == "tracks":
        return f"packets-{sequence:06d}.jsonl"
    return f"picture-{sequence:06d}.{_PICTURES[way]}"


class Track:
    """One kind of a recording. `pending`: the chunks of the next segment. `arrivals`: for each segment, how many of its
    bytes had arrived at which time. `covered_until`: up to then everything is recorded, or noted as a gap.
    """

    def __init__(self, kind: Kind, opened_at: float, way: Way = "recorder_tab") -> None:
        self.kind: Final[Kind] = kind
        self._way: Final[Way] = way
        self.parts: list[Part] = []
        self.segments: list[Segment] = []
        self.pending: list[Chunk] = []
        self.unstored: dict[int, Segment] = {}
        self.stored = 0  # segments: the first ones
        self.gaps: list[Gap] = []
        self.arrivals: list[list[tuple[int, float]]] = []
        self._opened_at = opened_at
        self._late_s = 0.0  # so much later than it was told to the recorder of the latest part began
        self.covered_until = opened_at

    @property
    def is_full(self) -> bool:
        """Whether the pending chunks are enough for a segment. One alone does not tell when a part's recorder began."""
        if not self.pending or (self._is_played and len(self.pending) == 1 and not self._before_pending()):
            return False
        return self.pending[-1].at - self._begin_of_pending() >= SEGMENT_S

    @property
    def pending_bytes(self) -> int:
        return sum(chunk.bytes for chunk in list(self.pending))

    @property
    def pending_path(self) -> str:
        """The file of the next segment."""
        return path_of(self.kind, len(self.segments), self.way_of(self.parts[-1]) if self.parts else self._way)

    @property
    def recorded_s(self) -> float:
        """By the wall clock, without the gaps."""
        missing = (min(gap.ended_at, self.covered_until) - gap.began_at for gap in self.gaps)
        return self.covered_until - self._opened_at - sum(max(0.0, seconds) for seconds in missing)

    def way_of(self, part: Part) -> Way:
        return part.way or self._way

    def begin(self, entry: Began) -> None:
        if entry.cause or entry.at - self.covered_until > SHORTEST_GAP_S:
            self.miss(self.covered_until, entry.at, entry.cause or "late")
        self.parts.append(Part(entry.part, entry.at, self.kind, None if entry.way == self._way else entry.way))
        self._late_s = 0.0
        self.covered_until = max(self.covered_until, entry.at)

    def add(self, chunk: Chunk) -> None:
        self.pending.append(chunk)
        self.covered_until = max(self.covered_until, chunk.at)

    def cut(self, sha256: str) -> None:
        sequence, part, first = len(self.segments), self.parts[-1], self.pending[0]
        before = self._before_pending()
        if not before and (late_s := self._late_by_pending()):
            self._late_s = late_s
            self.miss(part.began_at, part.began_at + late_s, "late")
        begins_s = self._late_s + first.media_s
        segment = Segment(
            sequence,
            part.number,
            self.pending_path,
            round(part.began_at - self._opened_at + begins_s, 3),
            before.ended_at if before else part.began_at + begins_s,
            self.pending[-1].at,
            self.pending_bytes,
            sha256,
            self.kind,
        )
        self.segments.append(segment)
        ends = accumulate(chunk.bytes for chunk in self.pending)
        self.arrivals.append([(end, chunk.at) for end, chunk in zip(ends, self.pending, strict=True)])
        self.unstored[sequence] = segment
        self.pending = []

    def miss(self, began_at: float, ended_at: float, cause: GapCause) -> None:
        if ended_at > began_at:
            self.gaps.append(Gap(began_at, ended_at, cause, self.kind))

    def close(self, entry: Closed, *, has_begun: bool) -> None:
        """`has_begun`: there is any sound or picture. Else what keeps it from being there keeps the tracks from it."""
        if self.kind == "tracks" and not self.parts:
            self.miss(self.covered_until, entry.at, "refused" if has_begun else entry.cause)
        elif entry.at - self.covered_until > SHORTEST_GAP_S:
            self.miss(self.covered_until, entry.at, entry.cause)

    @property
    def _is_played(self) -> bool:
        """Whether its chunks follow each other in time: those of tracks come when somebody speaks."""
        return self.kind != "tracks"

    def _begin_of_pending(self) -> float:
        before = self._before_pending()
        return before.ended_at if before else self.parts[-1].began_at + self._late_by_pending()

    def _before_pending(self) -> Segment | None:
        """The segment before it in its part."""
        before = self.segments[-1] if self.segments else None
        return before if before and before.part == self.parts[-1].number else None

    def _late_by_pending(self) -> float:
        """A busy machine may begin to record seconds after it was told to. The part's chunk that came soonest tells: it
        was complete where the next one begins.
        """
        if not self._is_played:
            return 0.0
        ends = ((chunk.at, following.media_s) for chunk, following in pairwise(self.pending))
        late_s = min((at - self.parts[-1].began_at - media_s for at, media_s in ends), default=0.0)
        return round(late_s, 3) if late_s > SHORTEST_GAP_S else 0.0


class Progress:
    """Call `apply` with every entry, in order. OutOfOrderError: an entry cannot follow; then nothing has changed."""

    def __init__(self, opened: Opened, entries: Iterable[AnyEntry] = ()) -> None:
        self.opened = opened
        self.tracks: dict[Kind, Track] = {kind: Track(kind, opened.at, opened.way) for kind in opened.kinds}
        self.closed: Closed | None = None
        self.paused_by: set[GapCause] = set()
        self.way: Way = opened.way  # of the latest part
        self.pause_cause: GapCause = "paused"  # of the gap of the latest pause: of several causes the refusal
        self._next_seqs = {"tracks": 0, "others": 0}
        for entry in entries:
            self.apply(entry)

    def apply(self, entry: AnyEntry) -> None:
        match entry:
            case Opened():
                raise OutOfOrderError(f"cannot follow anything: {entry}")
            case Closed():
                _expect(entry, not self.closed)
                known = msgspec.structs.replace(entry, cause=self.pause_cause) if self.is_paused else entry
                for track in self.tracks.values():
                    track.close(known, has_begun=self.has_begun)
                self.closed = entry
            case Paused(cause=cause):
                _expect(entry, not self.closed)
                if not self.paused_by or cause == "refused":
                    self.pause_cause = cause
                self.paused_by.add(cause)
            case Resumed(cause=cause):
                _expect(entry, not self.closed)
                self.paused_by.discard(cause)
            case _:
                _expect(entry, entry.kind in self.tracks)
                self._apply_to(self.tracks[entry.kind], entry)

    def _apply_to(self, track: Track, entry: Began | Chunk | Cut | Stored | Missed) -> None:
        match entry:
            case Began():
                _expect(entry, entry.part == len(track.parts) and not track.pending and not self.closed)
                track.begin(entry)
                self.way = self.way if entry.kind == "tracks" else track.way_of(track.parts[-1])
            case Chunk():
                _expect(entry, bool(track.parts) and entry.seq >= self.next_of(entry.kind) and not self.closed)
                track.add(entry)
                self._next_seqs[_numbered_with(entry.kind)] = entry.seq + 1
            case Cut(sha256=sha256):
                _expect(entry, bool(track.pending))
                track.cut(sha256)
            case Stored(sequence=sequence):
                _expect(entry, sequence in track.unstored)
                del track.unstored[sequence]
                track.stored += 1
            case _:  # Missed
                track.miss(entry.began_at, entry.ended_at, entry.cause)

    # What is still to be done

    @property
    def is_paused(self) -> bool:
        return bool(self.paused_by)

    @property
    def ahead_s(self) -> float | None:
        return self.opened.ahead_s

    @property
    def next_seq(self) -> int:
        """The number of the next chunk of sound or picture."""
        return self.next_of("audio")

    def next_of(self, kind: Kind) -> int:
        """The number of the next chunk of that kind."""
        return self._next_seqs[_numbered_with(kind)]

    @property
    def to_store(self) -> Segment | None:
        """The segment to store next: the oldest."""
        waiting = (next(iter(track.unstored.values()), None) for track in self._tracks())
        return min(filter(None, waiting), key=lambda segment: segment.ended_at, default=None)

    @property
    def is_done(self) -> bool:
        """Whether all of it is stored, and the recording is over."""
        return self.closed is not None and not any(track.pending or track.unstored for track in self._tracks())

    @property
    def spooled_bytes(self) -> int:
        """How much waits on the disk."""
        return sum(
            track.pending_bytes + sum(segment.bytes for segment in list(track.unstored.values()))
            for track in self._tracks()
        )

    @property
    def unstored(self) -> int:
        """How many segments are cut and not stored."""
        return sum(len(track.unstored) for track in self._tracks())

    # What is recorded

    @property
    def has_begun(self) -> bool:
        """Whether there is any sound or picture."""
        return any(track.parts for track in self._tracks() if track.kind != "tracks")

    @property
    def recorded_s(self) -> float:
        """Of the longest kind."""
        return max(track.recorded_s for track in self._tracks())

    @property
    def covered_until(self) -> float:
        return max(track.covered_until for track in self._tracks())

    @property
    def gaps(self) -> list[Gap]:
        return sorted((gap for track in self._tracks() for gap in track.gaps), key=lambda gap: gap.began_at)

    @property
    def segments(self) -> list[Segment]:
        """In the order in which they ended."""
        found = (segment for track in self._tracks() for segment in list(track.segments))
        return sorted(found, key=lambda segment: segment.ended_at)

    @property
    def stored(self) -> dict[Kind, int]:
        """How many segments of each kind are stored."""
        return {track.kind: track.stored for track in self._tracks()}

    def manifest_between(self, before: Mapping[Kind, int], until: Mapping[Kind, int]) -> Manifest:
        """The manifest, with those segments only that were stored between two values of `stored`."""
        found = [
            segment
            for track in self._tracks()
            for segment in track.segments[before.get(track.kind, 0) : until[track.kind]]
        ]
        return self._manifest(sorted(found, key=lambda segment: segment.ended_at))

    def manifest(
        self,
        audio: Audio | None = None,
        video: Video | None = None,
        tracks: Sequence[SoundTrack] = (),
        *,
        finished: bool = False,
    ) -> Manifest:
        made = self._manifest(self.segments)
        return msgspec.structs.replace(made, audio=audio, video=video, tracks=[*tracks], finished=finished)

    def _manifest(self, segments: list[Segment]) -> Manifest:
        return Manifest(
            VERSION,
            self.opened.bot_id,
            self.opened.attempt,
            self.opened.platform,
            self.began_at,
            self.closed.at if self.closed else None,
            finished=False,
            way=self.opened.way,
            kinds=self.opened.kinds,
            parts=[part for track in self._tracks() for part in track.parts],
            segments=segments,
            gaps=self.gaps,
        )

    @property
    def began_at(self) -> float:
        """Media time 0: when the bot was in. The recorder begins a moment later."""
        return self.opened.at

    def _tracks(self) -> list[Track]:
        return list(self.tracks.values())


def without_tail(found: Manifest, kind: Kind) -> Manifest:
    """Without the last segment of that kind."""
    last = max(each.sequence for each in found.segments if each.kind == kind)
    segments = [each for each in found.segments if (each.kind, each.sequence) != (kind, last)]
    return msgspec.structs.replace(found, segments=segments)


def entries_of(found: Manifest, ended_at: float) -> list[AnyEntry]:
    """The entries of a recording of which only a manifest is left: all its segments are stored, and what came after
    them is lost. Of each segment only the end is known, so it is one chunk. `ended_at`: the bot's end by the wall
    clock.
    """
    opened = Opened(found.bot_id, found.attempt, found.platform, found.began_at, found.kinds, found.way)
    progress, entries = Progress(opened), list[AnyEntry]([opened])

    def add(*following: AnyEntry) -> None:
        for entry in following:
            progress.apply(entry)
            entries.append(entry)

    for kind in found.kinds:
        causes: dict[float, GapCause] = {gap.ended_at: gap.cause for gap in found.gaps if gap.kind == kind}
        for part in (each for each in found.parts if each.kind == kind):
            add(Began(part.number, part.began_at, causes.get(part.began_at), kind, part.way))
            for segment in found.segments:
                if (segment.kind, segment.part) == (kind, part.number):
                    media_s = round(segment.media_s - (part.began_at - found.began_at), 3)
                    add(
                        Chunk(progress.next_of(kind), segment.ended_at, media_s, segment.bytes, kind),
                        Cut(segment.sha256, kind),
                        Stored(segment.sequence, kind),
                    )
    at_end = [gap for gap in found.gaps if gap.ended_at == found.ended_at]  # Closed tells them
    known = [*progress.gaps, *at_end]
    add(*(Missed(gap.began_at, gap.ended_at, gap.cause, gap.kind) for gap in found.gaps if gap not in known))
    is_whole = all(gap.began_at == progress.tracks[gap.kind].covered_until for gap in at_end)
    told: list[GapCause] = [gap.cause for gap in at_end if gap.kind != "tracks" and is_whole]
    # Where it was over, it is known by its own clock when: the bot's end is told later, and by a clock that may be set.
    at = ended_at - found.wall_ahead_s if found.ended_at is None else found.ended_at
    add(Closed(max(at, progress.covered_until), told[0] if told else "vm_lost"))
    return entries


def _numbered_with(kind: Kind) -> str:
    return "tracks" if kind == "tracks" else "others"


def _expect(entry: AnyEntry, follows: bool) -> None:
    if not follows:
        raise OutOfOrderError(f"does not follow: {entry}")
