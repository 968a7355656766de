"""Packets of a track are placed where they were sent, whatever was lost, late, or came in another order."""

import array
import base64
from pathlib import Path
from typing import Any, Final

import av
import msgspec
import pytest

from common.wire.minutes import Turn
from common.wire.packets import Line, Packets
from worker.capture.making import tracks
from worker.capture.making.sound import RATE, SILENCE
from worker.capture.making.tracks import TrackClock
from worker.capture.making.work import Stream

BEGAN_AT: Final = 1000.0
STEP: Final = RATE // 50
TURN: Final = 1 << 32


def tone(seconds: float) -> list[bytes]:
    """Opus packets of 20 ms."""
    packets: list[bytes] = []
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.format, encoder.layout = RATE, "s16", "stereo"
    for at in range(round(seconds * 50)):
        wave = array.array("h", [8000 if place % 100 < 50 else -8000 for place in range(STEP) for _ in "lr"])
        frame = av.AudioFrame(format="s16", layout="stereo", samples=STEP)
        frame.planes[0].update(bytes(wave))
        frame.sample_rate, frame.pts = RATE, at * STEP
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def stored(path: Path, *lines: Line) -> Stream:
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return Stream(str(path), 0.5)


def line(track: int, packets: list[tuple[float, int, bytes]]) -> Line:
    texts = [(came_ms, rtp % TURN, base64.b64encode(data).decode()) for came_ms, rtp, data in packets]
    return Line(packets[-1][0], [Packets(track, f"id-{track}", texts)])


def loud(path: Path) -> list[tuple[float, float]]:
    """From when to when it is not silent, to a fiftieth of a second."""
    spans: list[tuple[float, float]] = []
    with av.open(str(path)) as file:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        samples = array.array("h")
        for frame in file.decode(audio=0):
            for part in resampler.resample(frame):
                samples.frombytes(bytes(part.planes[0])[: part.samples * 2])
    for at in range(0, len(samples) - STEP, STEP):
        if max(map(abs, samples[at : at + STEP])) > 1000:
            begins = at / RATE
            if spans and begins - spans[-1][1] < 0.03:
                spans[-1] = (spans[-1][0], begins + 0.02)
            else:
                spans.append((begins, begins + 0.02))
    return spans


def test_what_is_lost_is_silent_what_comes_in_another_order_is_not_and_all_is_where_it_was_sent(tmp_path: Path) -> None:
    sent = [((BEGAN_AT + 2 + at * 0.02) * 1000, TURN - 960 * 20 + at * STEP, data) for at, data in enumerate(tone(3))]
    del sent[50:75]  # from 3 to 3.5 s
    sent[10], sent[11] = sent[11], sent[10]
    sent.insert(20, sent[19])  # came twice
    early = [(came_ms, rtp, data) for came_ms, rtp, data in sent if came_ms < (BEGAN_AT + 4) * 1000]
    late = [(came_ms + 5, rtp, data) for came_ms, rtp, data in sent[len(early) :]]
    stream = stored(tmp_path / "tracks-0", line(7, early), line(7, late))
    [made], unreadable, _ = tracks.make([stream], BEGAN_AT, tmp_path)
    assert (made.name, made.id, made.began_at, made.packets, unreadable) == ("track-000.ogg", "id-7", 1002.0, 125, [])
    assert made.duration_s == pytest.approx(5.0, abs=0.05)
    (first, until), (again, last) = loud(tmp_path / made.name)
    assert (first, until, again, last) == pytest.approx((2.0, 3.0, 3.5, 5.0), abs=0.05)


def test_each_track_of_each_part_has_a_file_and_what_is_damaged_costs_no_other(tmp_path: Path) -> None:
    sent = [((BEGAN_AT + at * 0.02) * 1000, at * STEP, data) for at, data in enumerate(tone(0.5))]
    first = stored(tmp_path / "tracks-0", line(0, sent), line(1, sent))
    second = stored(tmp_path / "tracks-1", line(0, sent))
    with (tmp_path / "tracks-0").open("ab") as file:
        file.write(b'{"at": "never"}\n')
    made, unreadable, _ = tracks.make([first, second], BEGAN_AT, tmp_path)
    assert [(each.name, each.id) for each in made] == [
        ("track-000.ogg", "id-0"),
        ("track-001.ogg", "id-1"),
        ("track-002.ogg", "id-0"),
    ]
    assert unreadable == [0]


def test_a_track_is_whose_the_page_marked_while_it_was_heard(tmp_path: Path) -> None:
    def heard(track: int, begins_s: float, seconds: float) -> Line:
        sent = [((BEGAN_AT + begins_s + at * 0.02) * 1000, at * STEP, data) for at, data in enumerate(tone(seconds))]
        return line(track, sent)

    stream = stored(tmp_path / "tracks-0", heard(0, 1.0, 3.0), heard(1, 5.0, 2.0))
    turns = [Turn("p1", "Ann", BEGAN_AT + 1.5, BEGAN_AT + 4.0), Turn("p2", "Ben", BEGAN_AT + 5.5, BEGAN_AT + 7.0)]
    made, _, _ = tracks.make([stream], BEGAN_AT, tmp_path, turns)
    assert [(each.id, each.speaker_id, each.speaker) for each in made] == [("id-0", "p1", "Ann"), ("id-1", "p2", "Ben")]
    assert [each.voice_s for each in made] == pytest.approx([3.0, 2.0], abs=0.2)
    assert min(each.share for each in made) > 0.9
    unmarked, _, _ = tracks.make([stream], BEGAN_AT, tmp_path)
    assert [(each.speaker, each.share) for each in unmarked] == [("", 0.0)] * 2


def test_more_tracks_than_there_may_be_files_are_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracks, "MOST_FILES", 2)
    one = [(BEGAN_AT * 1000, 0, SILENCE)]
    stream = stored(tmp_path / "tracks-0", *(line(number, one) for number in range(3)))
    made, unreadable, _ = tracks.make([stream], BEGAN_AT, tmp_path)
    assert (len(made), unreadable) == (2, [0])


@pytest.mark.parametrize("parts_per_million", [100, *(pytest.param(ppm, marks=pytest.mark.long) for ppm in (0, -100))])
def test_a_sender_whose_clock_is_not_ours_stays_in_place_for_an_hour(parts_per_million: int) -> None:
    clock = TrackClock()
    off = 0.0
    for at in range(180_000):
        came_ms = at * 20 * (1 + parts_per_million / 1e6) + at * 7 % 30  # with jitter
        begins_ms = clock.ms_of(came_ms, at * STEP % TURN)
        assert begins_ms is not None
        off = max(off, abs(begins_ms - at * 20 * (1 + parts_per_million / 1e6)))
    assert off < 25


def test_a_track_that_stood_still_goes_on_where_it_came() -> None:
    clock = TrackClock()
    assert [clock.ms_of(0.0, 5), clock.ms_of(20.0, 5 + STEP)] == [0.0, 20.0]
    assert clock.ms_of(60_000.0, 5 + 2 * STEP) == 60_000


def test_packets_that_come_again_are_left_out_and_times_that_begin_anew_are_not() -> None:
    clock = TrackClock()
    assert [clock.ms_of(20.0 * at, 10_000_000 + at * STEP) for at in (0, 1, 2)] == [0.0, 20.0, 40.0]
    assert clock.ms_of(45.0, 10_000_000 + STEP) is None
    assert [clock.ms_of(60.0, 77), clock.ms_of(80.0, 77 + STEP)] == [60.0, 80.0]
