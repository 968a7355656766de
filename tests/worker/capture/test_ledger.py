"""The entries of a recording say what is to be done next, and afterwards what there is, in whatever order they come."""

from dataclasses import dataclass, field
from typing import Final

import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from common.wire.manifest import Gap
from worker.capture.ledger import (
    SEGMENT_S,
    UNNOTED_S,
    AnyEntry,
    Began,
    Chunk,
    Closed,
    Cut,
    DisorderError,
    Ledger,
    Missed,
    Opened,
    Paused,
    Resumed,
    Stored,
)

OPENED: Final = Opened("b1", 1, "room", 1000.0)
BEGAN: Final = Began(0, 1000.5)


def chunk(seq: int, at: float, media_s: float = 0.0, size: int = 100) -> Chunk:
    return Chunk(seq, at, media_s, size)


def test_what_came_is_cut_after_some_seconds_stored_and_done_when_it_is_closed() -> None:
    ledger = Ledger(OPENED, [BEGAN, *(chunk(n, 1001.5 + n, float(n)) for n in range(5))])
    sound = ledger.tracks["audio"]
    assert (ledger.next_seq, sound.is_full, sound.pending_bytes, ledger.to_store) == (5, True, 500, None)
    ledger.apply(Cut("aa"))
    segment = ledger.to_store
    assert segment
    assert (segment.sequence, segment.part, segment.path) == (0, 0, "segment-000000.webm")
    assert (segment.media_s, segment.began_at, segment.ended_at, segment.bytes) == (0.5, 1000.5, 1005.5, 500)
    assert (sound.is_full, ledger.spooled_bytes, ledger.unstored) == (False, 500, 1)
    ledger.apply(chunk(5, 1006.5, 5.0))
    ledger.apply(Closed(1006.9))
    assert not ledger.is_done
    ledger.apply(Cut("bb"))
    ledger.apply(Stored(1))
    assert not ledger.is_done
    ledger.apply(Stored(0))
    assert (ledger.is_done, ledger.spooled_bytes, ledger.gaps) == (True, 0, [])
    made = ledger.manifest(finished=True)
    assert (made.began_at, made.ended_at, made.finished) == (1000.0, 1006.9, True)
    assert [(one.media_s, one.began_at, one.sha256) for one in made.segments] == [
        (0.5, 1000.5, "aa"),
        (5.5, 1005.5, "bb"),
    ]
    assert ledger.recorded_s == pytest.approx(6.5)


@pytest.mark.parametrize(
    ("entries", "gaps"),
    [
        ([], []),
        ([Began(0, 1000 + UNNOTED_S)], []),
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
    ledger = Ledger(OPENED, entries)
    assert ledger.gaps == gaps
    assert not ledger.manifest().finished


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
    ledger = Ledger(OPENED, entries[:-1])
    before = ledger.manifest()
    with pytest.raises(DisorderError):
        ledger.apply(entries[-1])
    assert ledger.manifest() == before


def test_sound_and_picture_are_cut_by_themselves_and_stored_as_they_are_complete() -> None:
    opened = Opened("b1", 1, "room", 1000.0, ("audio", "video"))
    ledger = Ledger(opened, [BEGAN, chunk(0, 1001.5), Began(0, 1004, kind="video"), chunk(1, 1005.6, 5.0)])
    assert (ledger.has_begun, ledger.known_until) == (True, 1005.6)
    ledger.apply(Chunk(2, 1005.2, 0.0, 700, "video"))
    assert [track.pending_bytes for track in ledger.tracks.values()] == [200, 700]
    ledger.apply(Cut("aa"))
    ledger.apply(Cut("bb", "video"))
    assert ledger.to_store
    assert (ledger.to_store.path, ledger.to_store.media_s) == ("picture-000000.ivf", 4.0)
    assert (ledger.unstored, ledger.spooled_bytes) == (2, 900)
    ledger.apply(Stored(0, "video"))
    ledger.apply(Closed(1012))
    ledger.apply(Stored(0))
    assert ledger.is_done
    made = ledger.manifest(finished=True)
    assert made.kinds == ("audio", "video")
    assert [(part.kind, part.number, part.began_at) for part in made.parts] == [
        ("audio", 0, 1000.5),
        ("video", 0, 1004),
    ]
    assert [(one.kind, one.sequence, one.sha256) for one in made.segments] == [("video", 0, "bb"), ("audio", 0, "aa")]
    assert made.gaps == [
        Gap(1000, 1004, "late", "video"),
        Gap(1005.2, 1012, "browser_gone", "video"),
        Gap(1005.6, 1012, "browser_gone"),
    ]
    assert ledger.recorded_s == pytest.approx(5.6)


def test_a_pause_is_a_gap_until_a_part_begins_again_or_to_the_end() -> None:
    ledger = Ledger(OPENED, [BEGAN, chunk(0, 1001.5), Paused(1001.5)])
    assert ledger.is_paused
    for entry in (Cut(""), Resumed(1010.0), Began(1, 1010.0, "paused"), chunk(1, 1011.0), Cut(""), Paused(1011.0)):
        ledger.apply(entry)
    ledger.apply(Closed(1020.0, "browser_gone"))
    assert ledger.gaps == [Gap(1001.5, 1010.0, "paused"), Gap(1011.0, 1020.0, "paused")]
    assert ledger.recorded_s == pytest.approx(2.5)
    with pytest.raises(DisorderError):
        ledger.apply(Resumed(1021.0))


@dataclass
class World:
    """A recorder, an agent that may die at any point, and a store. What it is given is told by the bytes of chunks."""

    entries: list[AnyEntry] = field(default_factory=list[AnyEntry])
    ledger: Ledger = field(default_factory=lambda: Ledger(OPENED))
    now: float = 1000.0
    media_s: float = 0.0
    stored: list[int] = field(default_factory=list[int])

    def note(self, entry: AnyEntry) -> None:
        self.entries.append(entry)
        self.ledger.apply(entry)

    def do(self, what: str, took_s: float) -> None:
        self.now += took_s if what in ("chunk", "part") else 0.0  # chunks come all the time, whatever else is done
        known, sound = self.ledger, self.ledger.tracks["audio"]
        match what:
            case "chunk" if sound.parts:
                self.note(Chunk(known.next_seq, self.now, self.media_s, 10 + known.next_seq))
                self.media_s += took_s
                if sound.is_full:
                    self.note(Cut(str(known.next_seq)))
            case "part":
                if sound.pending:
                    self.note(Cut(str(known.next_seq)))
                self.note(Began(len(sound.parts), self.now, "agent_away" if sound.parts else None))
                self.media_s = 0.0
            case "store" if segment := known.to_store:
                self.note(Stored(segment.sequence))
                self.stored.append(segment.sequence)
            case "die":
                self.ledger = Ledger(OPENED, self.entries)
            case _:
                pass


@seed(16)
@given(st.lists(st.tuples(st.sampled_from(["chunk"] * 4 + ["part", "store", "die"]), st.floats(0.5, 3.0)), max_size=60))
def test_every_chunk_is_in_one_segment_in_order_whoever_dies_meanwhile(steps: list[tuple[str, float]]) -> None:
    world = World()
    for what, took_s in steps:
        world.do(what, took_s)
    known = world.ledger
    sizes = [10 + seq for seq in range(known.next_seq)]
    assert sum(one.bytes for one in known.segments) + known.tracks["audio"].pending_bytes == sum(sizes)
    assert [one.sequence for one in known.segments] == list(range(len(known.segments)))
    assert world.stored == sorted(world.stored)
    assert known.spooled_bytes == sum(sizes) - sum(known.segments[n].bytes for n in world.stored)
    assert known.unstored == len(known.segments) - len(world.stored)
    for one, following in zip(known.segments, known.segments[1:], strict=False):
        assert one.part <= following.part
        assert one.ended_at <= following.began_at
        assert one.ended_at - one.began_at <= SEGMENT_S + 3.0
        if one.part == following.part:
            assert one.ended_at == following.began_at
            assert one.media_s < following.media_s
    for one, following in zip(known.gaps, known.gaps[1:], strict=False):
        assert one.ended_at <= following.began_at
    covered = sum(gap.ended_at - gap.began_at for gap in known.gaps)
    assert known.recorded_s == pytest.approx(max([known.opened.at, *_heard(world)]) - 1000.0 - covered)
    assert Ledger(OPENED, world.entries).manifest() == known.manifest()


def _heard(world: World) -> list[float]:
    return [entry.at for entry in world.entries if isinstance(entry, Began | Chunk)]
