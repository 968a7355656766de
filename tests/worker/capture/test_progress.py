"""The entries of a recording say what is to be done next, and afterwards what there is, in whatever order they come."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given, seed
from hypothesis import strategies as st
from msgspec.structs import replace

from common.runtime.recordings.manifests import joined
from common.wire.manifest import Gap, GapCause, Kind, Way
from worker.capture.progress import (
    SEGMENT_S,
    SHORTEST_GAP_S,
    AnyEntry,
    Began,
    Chunk,
    Closed,
    Cut,
    Missed,
    Opened,
    OutOfOrderError,
    Paused,
    Progress,
    Resumed,
    Stored,
    entries_of,
    without_tail,
)
from worker.capture.spool import Spool

OPENED: Final = Opened("b1", 1, "room", 1000.0)
BEGAN: Final = Began(0, 1000.5)


def chunk(seq: int, at: float, media_s: float = 0.0, size: int = 100) -> Chunk:
    return Chunk(seq, at, media_s, size)


def test_what_came_is_cut_after_some_seconds_stored_and_done_when_it_is_closed() -> None:
    progress = Progress(OPENED, [BEGAN, *(chunk(n, 1001.5 + n, float(n)) for n in range(5))])
    sound = progress.tracks["audio"]
    assert (progress.next_seq, sound.is_full, sound.pending_bytes, progress.to_store) == (5, True, 500, None)
    progress.apply(Cut("aa"))
    segment = progress.to_store
    assert segment
    assert (segment.sequence, segment.part, segment.path) == (0, 0, "segment-000000.webm")
    assert (segment.media_s, segment.began_at, segment.ended_at, segment.bytes) == (0.5, 1000.5, 1005.5, 500)
    assert (sound.is_full, progress.spooled_bytes, progress.unstored) == (False, 500, 1)
    progress.apply(chunk(5, 1006.5, 5.0))
    progress.apply(Closed(1006.9))
    assert not progress.is_done
    progress.apply(Cut("bb"))
    progress.apply(Stored(1))
    assert not progress.is_done
    progress.apply(Stored(0))
    assert (progress.is_done, progress.spooled_bytes, progress.gaps) == (True, 0, [])
    made = progress.manifest(finished=True)
    assert (made.began_at, made.ended_at, made.finished) == (1000.0, 1006.9, True)
    assert [(segment.media_s, segment.began_at, segment.sha256) for segment in made.segments] == [
        (0.5, 1000.5, "aa"),
        (5.5, 1005.5, "bb"),
    ]
    assert progress.recorded_s == pytest.approx(6.5)


@pytest.mark.parametrize(
    ("entries", "gaps"),
    [
        ([], []),
        ([Began(0, 1000 + SHORTEST_GAP_S)], []),
        ([Began(0, 1003)], [Gap(1000, 1003, "late")]),
        ([BEGAN, chunk(0, 1001), Cut(""), Began(1, 1001.1, "agent_away")], [Gap(1001, 1001.1, "agent_away")]),
        ([BEGAN, chunk(0, 1001), Cut(""), Began(1, 1004)], [Gap(1001, 1004, "late")]),
        ([BEGAN, chunk(0, 1001), Cut(""), Began(1, 1000.9, "tab_lost")], []),
        ([BEGAN, chunk(0, 1001), Closed(1003)], []),
        ([BEGAN, chunk(0, 1001), Closed(1003.1)], [Gap(1001, 1003.1, "browser_gone")]),
        ([Closed(1009, "recorder_lost")], [Gap(1000, 1009, "recorder_lost")]),
        ([BEGAN, Missed(1000.6, 1000.9, "silent")], [Gap(1000.6, 1000.9, "silent")]),
        ([Closed(1000)], []),
    ],
)
def test_each_gap_has_its_cause(entries: list[AnyEntry], gaps: list[Gap]) -> None:
    progress = Progress(OPENED, entries)
    assert progress.gaps == gaps
    assert not progress.manifest().finished


def spooled(folder: Path, *chunks: tuple[Began, Chunk]) -> Progress:
    """Cut where the spool cuts."""
    spool = Spool.create(folder, OPENED)
    for began, each in chunks:
        spool.append([(began, each, b"." * each.bytes)])
    return spool.progress


def test_a_recorder_that_begins_seconds_after_it_was_told_to_leaves_a_gap_until_then(tmp_path: Path) -> None:
    """It is told to at 1,010, after a pause, and begins at 1,014.5. The second chunk is the one that came soonest."""
    resumed, delays = Began(1, 1010.0, "paused"), (0.8, 0.0, 0.3, 0.6, 0.0, 0.0)
    late = [(resumed, chunk(n + 1, 1015.5 + n + delay, float(n))) for n, delay in enumerate(delays)]
    later = [(resumed, chunk(n, at, n - 1.0)) for n, at in ((7, 1021.5), (8, 1030.0))]
    progress = spooled(tmp_path, (BEGAN, chunk(0, 1001.5)), *late, *later)
    assert progress.gaps == [Gap(1001.5, 1010.0, "paused"), Gap(1010.0, 1014.5, "late")]
    assert [(each.media_s, each.began_at, each.ended_at) for each in progress.segments] == [
        (0.5, 1000.5, 1001.5),
        (14.5, 1014.5, 1019.5),
        (19.5, 1019.5, 1030.0),
    ]
    assert progress.recorded_s == pytest.approx(30.0 - 8.5 - 4.5)
    assert progress.manifest().parts[1].began_at == 1010.0, "its times are counted from there"
    rebuilt = Progress(OPENED, entries_of(progress.manifest(), 1030.0)[1:])
    assert (rebuilt.segments, rebuilt.gaps) == (progress.segments, progress.gaps)


@pytest.mark.parametrize("chunk_s", [0.25, 1.0])
@pytest.mark.parametrize("late_s", [2.5, 3.9, 4.0, 4.5, 9.0, 60.0])
def test_it_does_however_late_the_recorder_begins(tmp_path: Path, late_s: float, chunk_s: float) -> None:
    begins_at = BEGAN.at + late_s
    chunks = [chunk(n, begins_at + (n + 1) * chunk_s, n * chunk_s) for n in range(round(11 / chunk_s))]
    progress = spooled(tmp_path, *((BEGAN, each) for each in chunks))
    assert progress.gaps == [Gap(BEGAN.at, begins_at, "late")]
    assert [(each.media_s, each.began_at) for each in progress.segments] == [
        (0.5 + late_s, begins_at),
        (5.5 + late_s, begins_at + SEGMENT_S),
    ]


@pytest.mark.parametrize("first_at", [1004.5, 1006.0, 1007.5])
def test_one_that_begins_in_time_and_whose_first_chunks_come_late_leaves_none(tmp_path: Path, first_at: float) -> None:
    chunks = [chunk(n, max(first_at, 1001.5 + n), float(n)) for n in range(9)]
    progress = spooled(tmp_path, *((BEGAN, each) for each in chunks))
    assert progress.gaps == []
    assert (progress.segments[0].media_s, progress.segments[0].began_at) == (0.5, 1000.5)


def test_a_chunk_alone_does_not_tell_that_its_recorder_was_late(tmp_path: Path) -> None:
    progress = spooled(tmp_path, (BEGAN, chunk(0, 1010.0)))
    assert (progress.segments, progress.tracks["audio"].is_full) == ([], False)
    progress.apply(Cut(""))
    assert progress.gaps == []


@pytest.mark.parametrize(
    "entries",
    [
        [OPENED],
        [Began(1, 1001)],
        [BEGAN, BEGAN],
        [chunk(0, 1001)],
        [BEGAN, chunk(3, 1001), chunk(2, 1002)],
        [BEGAN, chunk(0, 1001), chunk(0, 1001)],
        [BEGAN, chunk(0, 1001), Began(1, 1002)],
        [BEGAN, Cut("")],
        [BEGAN, chunk(0, 1001), Stored(0)],
        [BEGAN, chunk(0, 1001), Cut(""), Stored(0), Stored(0)],
        [Closed(1001), Closed(1001)],
        [Closed(1001), BEGAN],
        [BEGAN, Closed(1001), chunk(0, 1001)],
        [Began(0, 1001, kind="video")],
    ],
)
def test_what_does_not_follow_changes_nothing(entries: list[AnyEntry]) -> None:
    progress = Progress(OPENED, entries[:-1])
    before = progress.manifest()
    with pytest.raises(OutOfOrderError):
        progress.apply(entries[-1])
    assert progress.manifest() == before


def test_sound_and_picture_are_cut_by_themselves_and_stored_as_they_are_complete() -> None:
    opened = Opened("b1", 1, "room", 1000.0, ("audio", "video"))
    progress = Progress(opened, [BEGAN, chunk(0, 1001.5), Began(0, 1004, kind="video"), chunk(1, 1005.6, 5.0)])
    assert (progress.has_begun, progress.covered_until) == (True, 1005.6)
    progress.apply(Chunk(2, 1005.2, 0.0, 700, "video"))
    assert [track.pending_bytes for track in progress.tracks.values()] == [200, 700]
    progress.apply(Cut("aa"))
    progress.apply(Cut("bb", "video"))
    assert progress.to_store
    assert (progress.to_store.path, progress.to_store.media_s) == ("picture-000000.ivf", 4.0)
    assert (progress.unstored, progress.spooled_bytes) == (2, 900)
    progress.apply(Stored(0, "video"))
    progress.apply(Closed(1012))
    progress.apply(Stored(0))
    assert progress.is_done
    made = progress.manifest(finished=True)
    assert made.kinds == ("audio", "video")
    assert [(part.kind, part.number, part.began_at) for part in made.parts] == [
        ("audio", 0, 1000.5),
        ("video", 0, 1004),
    ]
    assert [(segment.kind, segment.sequence, segment.sha256) for segment in made.segments] == [
        ("video", 0, "bb"),
        ("audio", 0, "aa"),
    ]
    assert made.gaps == [
        Gap(1000, 1004, "late", "video"),
        Gap(1005.2, 1012, "browser_gone", "video"),
        Gap(1005.6, 1012, "browser_gone"),
    ]
    assert progress.recorded_s == pytest.approx(5.6)


def test_a_pause_is_a_gap_until_a_part_begins_again_or_to_the_end() -> None:
    progress = Progress(OPENED, [BEGAN, chunk(0, 1001.5), Paused(1001.5)])
    assert progress.is_paused
    for entry in (Cut(""), Resumed(1010.0), Began(1, 1010.0, "paused"), chunk(1, 1011.0), Cut(""), Paused(1011.0)):
        progress.apply(entry)
    progress.apply(Closed(1020.0, "browser_gone"))
    assert progress.gaps == [Gap(1001.5, 1010.0, "paused"), Gap(1011.0, 1020.0, "paused")]
    assert progress.recorded_s == pytest.approx(2.5)
    with pytest.raises(OutOfOrderError):
        progress.apply(Resumed(1021.0))


def test_each_cause_of_a_pause_is_over_by_itself_and_the_refusal_is_the_gaps() -> None:
    progress = Progress(OPENED, [BEGAN, chunk(0, 1001.5), Paused(1001.5), Paused(1002.0, "refused"), Resumed(1003.0)])
    assert (progress.is_paused, progress.pause_cause) == (True, "refused")
    for entry in (Paused(1004.0), Resumed(1005.0, "refused"), Resumed(1006.0)):
        assert progress.is_paused
        progress.apply(entry)
    assert (progress.is_paused, progress.pause_cause) == (False, "refused"), "of the gap that is over now"
    for entry in (Cut(""), Began(1, 1006.0, "refused"), chunk(1, 1007.0), Cut(""), Paused(1007.0)):
        progress.apply(entry)
    assert progress.pause_cause == "paused"
    progress.apply(Closed(1020.0))
    assert progress.gaps == [Gap(1001.5, 1006.0, "refused"), Gap(1007.0, 1020.0, "paused")]


@dataclass
class World:
    """A recorder, an agent that may die at any point, and a store. The bytes of a chunk tell its number."""

    entries: list[AnyEntry] = field(default_factory=list[AnyEntry])
    progress: Progress = field(default_factory=lambda: Progress(OPENED))
    now: float = 1000.0
    media_s: float = 0.0
    stored: list[int] = field(default_factory=list[int])

    def note(self, entry: AnyEntry) -> None:
        self.entries.append(entry)
        self.progress.apply(entry)

    def do(self, what: str, took_s: float) -> None:
        self.now += took_s if what in ("chunk", "part") else 0.0  # chunks come all the time, whatever else is done
        progress, sound = self.progress, self.progress.tracks["audio"]
        match what:
            case "chunk" if sound.parts:
                self.note(Chunk(progress.next_seq, self.now, self.media_s, 10 + progress.next_seq))
                self.media_s += took_s
                if sound.is_full:
                    self.note(Cut(str(progress.next_seq)))
            case "part":
                if sound.pending:
                    self.note(Cut(str(progress.next_seq)))
                self.note(Began(len(sound.parts), self.now, "agent_away" if sound.parts else None))
                self.media_s = 0.0
            case "store" if segment := progress.to_store:
                self.note(Stored(segment.sequence))
                self.stored.append(segment.sequence)
            case "die":
                self.progress = Progress(OPENED, self.entries)
            case _:
                pass


@seed(16)
@given(st.lists(st.tuples(st.sampled_from(["chunk"] * 4 + ["part", "store", "die"]), st.floats(0.5, 3.0)), max_size=60))
def test_every_chunk_is_in_one_segment_in_order_whoever_dies_meanwhile(steps: list[tuple[str, float]]) -> None:
    world = World()
    for what, took_s in steps:
        world.do(what, took_s)
    progress = world.progress
    sizes = [10 + seq for seq in range(progress.next_seq)]
    assert sum(segment.bytes for segment in progress.segments) + progress.tracks["audio"].pending_bytes == sum(sizes)
    assert [segment.sequence for segment in progress.segments] == list(range(len(progress.segments)))
    assert world.stored == sorted(world.stored)
    assert progress.spooled_bytes == sum(sizes) - sum(progress.segments[n].bytes for n in world.stored)
    assert progress.unstored == len(progress.segments) - len(world.stored)
    for segment, following in zip(progress.segments, progress.segments[1:], strict=False):
        assert segment.part <= following.part
        assert segment.ended_at <= following.began_at
        assert segment.ended_at - segment.began_at <= SEGMENT_S + 3.0
        if segment.part == following.part:
            assert segment.ended_at == following.began_at
            assert segment.media_s < following.media_s
    for gap, following in zip(progress.gaps, progress.gaps[1:], strict=False):
        assert gap.ended_at <= following.began_at
    covered = sum(gap.ended_at - gap.began_at for gap in progress.gaps)
    assert progress.recorded_s == pytest.approx(max([progress.opened.at, *_heard(world)]) - 1000.0 - covered)
    assert Progress(OPENED, world.entries).manifest() == progress.manifest()


def _heard(world: World) -> list[float]:
    return [entry.at for entry in world.entries if isinstance(entry, Began | Chunk)]


def test_of_what_a_manifest_names_all_is_kept_and_what_came_after_it_is_lost() -> None:
    before = Progress(
        Opened("b1", 2, "room", 1000.0, ("audio", "video")),
        [
            Began(0, 1003.0), chunk(0, 1004.0), chunk(1, 1009.0, 1.0), Cut("aa"),
            Missed(1005.0, 1006.0, "disk_full"),
            Began(1, 1020.0, "agent_away"), chunk(2, 1026.0), Cut("bb"),
            Began(0, 1001.0, None, "video"), Chunk(3, 1007.0, 0.0, 9, "video"), Cut("cc", "video"),
            Chunk(4, 1013.0, 6.0, 9, "video"), Cut("dd", "video"),
            chunk(5, 1027.0, 6.0),
        ],
    )  # fmt: skip
    found = before.manifest()
    after = Progress(*opened_and(entries_of(found, 1040.0)))
    made = after.manifest()
    assert (made.parts, made.segments, made.began_at, made.ended_at) == (found.parts, found.segments, 1000.0, 1040.0)
    lost = [Gap(1013.0, 1040.0, "vm_lost", "video"), Gap(1026.0, 1040.0, "vm_lost")]
    assert (made.gaps, after.is_done) == (sorted([*found.gaps, *lost], key=lambda gap: gap.began_at), True)

    shorter = without_tail(without_tail(found, "video"), "audio")
    assert [segment.sha256 for segment in shorter.segments] == ["cc", "aa"]
    after = Progress(*opened_and(entries_of(shorter, 1000.0)))
    assert after.closed == Closed(1020.0, "vm_lost"), "it did not end before what was recorded of it"
    assert [gap for gap in after.gaps if gap.cause == "vm_lost"] == [Gap(1007.0, 1020.0, "vm_lost", "video")]


@pytest.mark.parametrize("told_at", [1030.0, 1034.0, 1030.0 + 3600.0])
def test_of_what_was_over_when_its_vm_was_lost_it_is_told_once_what_is_missing_at_the_end_and_why(
    told_at: float,
) -> None:
    entries = [
        Began(0, 1000.0), chunk(0, 1006.0), Cut("aa"), Began(0, 1000.0, None, "tracks"),
        chunk(1, 1012.0, 6.0), Cut("bb"), Paused(1012.0, "refused"), Closed(1030.0),
    ]  # fmt: skip
    before = Progress(Opened("b1", 2, "room", 1000.0, ("audio", "tracks")), entries)
    found = before.manifest()
    after = Progress(*opened_and(entries_of(found, told_at)))
    assert after.manifest() == found
    after = Progress(*opened_and(entries_of(without_tail(found, "audio"), told_at)))
    assert [gap for gap in after.gaps if gap.kind == "audio"] == [Gap(1006.0, 1030.0, "vm_lost")]
    whole = Progress(OPENED, [BEGAN, chunk(0, 1012.0), Cut("aa"), Closed(1012.5)]).manifest()
    assert Progress(*opened_and(entries_of(whole, told_at))).manifest() == whole


@pytest.mark.parametrize(("is_heard", "cause"), [(False, "paused"), (True, "refused")])
def test_that_no_track_was_taken_has_the_cause_that_nothing_was_recorded_if_that_is_so(
    is_heard: bool, cause: GapCause
) -> None:
    heard: list[AnyEntry] = [BEGAN, chunk(0, 1006.0)] if is_heard else []
    progress = Progress(Opened("b1", 1, "room", 1000.0, ("audio", "tracks")), [*heard, Paused(1006.0), Closed(1030.0)])
    assert [gap.cause for gap in progress.gaps if gap.kind == "tracks"] == [cause]


@pytest.mark.parametrize("set_by_s", [-3600.0, 3600.0])
def test_what_is_missing_of_a_lost_vm_is_told_by_the_recordings_clock(set_by_s: float) -> None:
    found = Progress(OPENED, [BEGAN, chunk(0, 1006.0), Cut("aa")]).manifest()
    known = replace(found, wall_ahead_s=set_by_s)
    after = Progress(*opened_and(entries_of(known, 1040.0 + set_by_s)))
    assert after.gaps == [Gap(1006.0, 1040.0, "vm_lost")]


def opened_and(entries: list[AnyEntry]) -> tuple[Opened, list[AnyEntry]]:
    opened = entries[0]
    assert isinstance(opened, Opened)
    return opened, entries[1:]


def test_what_is_new_since_some_were_stored_joins_what_was_said_before() -> None:
    opened = Opened("b1", 1, "room", 1000.0, ("audio", "video"))
    progress = Progress(opened, [BEGAN, Began(0, 1000.5, None, "video")])
    said = progress.manifest_between({}, progress.stored)
    assert (said.segments, [part.kind for part in said.parts]) == ([], ["audio", "video"])
    kinds: tuple[Kind, ...] = ("audio", "video", "audio", "audio")
    for seq, kind in enumerate(kinds):
        before = progress.stored
        progress.apply(Chunk(seq, 1006.0 + seq * 5, seq * 5.0, 9, kind))
        progress.apply(Cut(f"{seq}", kind))
        if seq < 3:
            progress.apply(Stored(len(progress.tracks[kind].segments) - 1, kind))
        progress.apply(Missed(1002.0 + seq, 1003.0 + seq, "disk_full"))
        new = progress.manifest_between(before, progress.stored)
        assert len(new.segments) == (seq < 3)
        said = joined(said, new)
    assert [segment.sha256 for segment in said.segments] == ["0", "1", "2"]
    assert progress.stored == {"audio": 2, "video": 1}
    assert said == replace(progress.manifest(), segments=progress.segments[:3])


def test_packets_of_tracks_are_numbered_apart_and_say_nothing_of_the_sound() -> None:
    progress = Progress(Opened("b1", 1, "room", 1000.0, ("audio", "tracks")))
    progress.apply(Began(0, 1000.5, kind="tracks"))
    progress.apply(Chunk(0, 1001.5, 0.0, 10, "tracks"))
    assert (progress.has_begun, progress.next_seq, progress.next_of("tracks")) == (False, 0, 1)
    progress.apply(BEGAN)
    progress.apply(chunk(0, 1001.6))
    assert (progress.has_begun, progress.next_seq, progress.next_of("tracks")) == (True, 1, 1)
    progress.apply(Cut("aa", "tracks"))
    assert progress.to_store
    assert progress.to_store.path == "packets-000000.jsonl"
    with pytest.raises(OutOfOrderError):
        progress.apply(Chunk(0, 1002.5, 1.0, 10, "tracks"))
    progress.apply(Closed(1001.7))
    assert progress.gaps == []


def test_a_part_that_was_recorded_otherwise_says_so_also_when_only_a_manifest_is_left() -> None:
    opened = Opened("b1", 1, "room", 1000.0, ("audio", "video", "tracks"), "display")
    progress = Progress(opened)
    assert (progress.way, progress.tracks["video"].pending_path) == ("display", "picture-000000.mkv")
    seq = 0
    plan: list[tuple[Way | None, float]] = [("display", 1000.5), ("recorder_tab", 1020.0), (None, 1040.0)]
    for part, (way, at) in enumerate(plan):
        for kind in ("audio", "video"):
            progress.apply(Began(part, at, "recorder_lost" if part else None, kind, way))
            progress.apply(Chunk(seq, at + 6.0, 0.0, 9, kind))
            progress.apply(Cut("aa", kind))
            progress.apply(Stored(part, kind))
            assert progress.way == (way or "display")
            seq += 1
        progress.apply(Began(part, at, kind="tracks"))
        assert progress.way == (way or "display")
    made = progress.manifest()
    assert made.way == "display"
    assert [part.way for part in made.parts] == [*[None, "recorder_tab", None] * 2, None, None, None]
    pictures = [segment.path for segment in made.segments if segment.kind == "video"]
    assert pictures == ["picture-000000.mkv", "picture-000001.ivf", "picture-000002.mkv"]
    left = Progress(*opened_and(entries_of(made, 1046.0))).manifest()
    assert (left.way, left.parts, left.segments) == (made.way, made.parts, made.segments)


def test_tracks_that_a_page_never_gave_are_a_gap_of_the_whole_recording() -> None:
    progress = Progress(Opened("b1", 1, "room", 1000.0, ("audio", "tracks")), [BEGAN, chunk(0, 1009.0), Closed(1010.0)])
    assert progress.gaps == [Gap(1000.0, 1010.0, "refused", "tracks")]


def test_tracks_are_kept_too_when_only_a_manifest_is_left() -> None:
    before = Progress(Opened("b1", 1, "room", 1000.0, ("audio", "tracks")), [BEGAN, chunk(0, 1006.0), Cut("aa")])
    before.apply(Began(0, 1000.5, kind="tracks"))
    for seq, at in enumerate((1006.0, 1012.0)):
        before.apply(Chunk(seq, at, at - 1006.0, 9, "tracks"))
        before.apply(Cut(f"t{seq}", "tracks"))
    made = Progress(*opened_and(entries_of(before.manifest(), 1013.0))).manifest()
    assert [segment.sha256 for segment in made.segments] == ["aa", "t0", "t1"]
    assert made.gaps == [Gap(1006.0, 1013.0, "vm_lost")]


def test_the_recordings_clock_is_known_to_whoever_goes_on_but_not_of_an_older_agents() -> None:
    found = [Progress(msgspec.structs.replace(OPENED, ahead_s=ahead_s)).ahead_s for ahead_s in (5.5, None)]
    assert found == [5.5, None]
