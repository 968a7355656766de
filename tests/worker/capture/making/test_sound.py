"""What the one file is made of: packets as they are, and silence for as long as something is missing."""

from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import pytest

from worker.capture.making.sound import ARRIVAL_S, RATE, SILENCE, SILENCE_SAMPLES, began_by, make, samples_of, spread
from worker.capture.making.work import Stream


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (SILENCE, SILENCE_SAMPLES),
        (b"\xff\x83", 2880),  # three of 20 ms, as browsers make them
        (b"\x00", 480),
        (b"\x1b\x03", 2880 * 3),
        (b"\x61\x00", 960),
        (b"\xfa\x00", 1920),
        (b"\x80", 120),
        (b"\xff", 0),
        (b"", 0),
    ],
)
def test_a_packet_says_how_long_it_plays(packet: bytes, samples: int) -> None:
    assert samples_of(packet) == samples


D: Final = ARRIVAL_S


@pytest.mark.parametrize(
    ("anchors", "began"),
    [
        ([], 0.0),
        ([(1.0, 1.0 + D), (5.0, 5.0 + D)], 0.0),
        ([(1.0, 1.5 + D), (5.0, 5.01 + D), (6.0, 8.0 + D)], 0.01),
        ([(1.0, 1.5 + D), (5.0, 5.5 + D)], 0.5),
        ([(5.0, 5.0)], -D),
        ([(1.0, 1.2 + D), (5.0, -3595.0)], -D),
    ],
    ids=["nothing", "in time", "late once", "late from the start", "sooner", "clock set back"],
)
def test_a_recorder_began_when_the_chunk_that_came_soonest_tells(
    anchors: list[tuple[float, float]], began: float
) -> None:
    assert began_by(anchors) == pytest.approx(began)


@pytest.mark.parametrize(
    ("packets", "places"),
    [
        ([], []),
        ([(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)], [0.0, 1.0, 2.0]),
        ([(0.5, 1.0), (1.5, 1.0)], [0.5, 1.5]),
        ([(0.0, 1.0), (1.4, 1.0), (2.0, 1.0)], [0.004, 1.002, 2.002]),
        ([(0.0, 1.0), (4.0, 1.0), (5.0, 1.0)], [0.004, 4.0, 5.0]),
    ],
)
def test_what_is_missing_before_a_packet_is_the_least_that_it_or_a_later_one_tells(
    packets: list[tuple[float, float]], places: list[float]
) -> None:
    assert spread(packets) == pytest.approx(places, abs=0.005)


def test_what_came_after_the_wall_clock_was_set_forward_makes_a_part_no_longer(tmp_path: Path) -> None:
    file: Any = av.open(str(tmp_path / "part"), "w", format="webm")
    stream = file.add_stream("libopus", rate=RATE, layout="stereo")
    for number in range(525):
        packet = av.Packet(SILENCE)
        packet.stream, packet.time_base = stream, Fraction(1, RATE)
        packet.pts = packet.dts = number * SILENCE_SAMPLES + (60 * RATE if number >= 500 else 0)
        file.mux_one(packet)
    file.close()
    parts = [Stream(str(tmp_path / "part"), media_s, [], 10.5, keeps_time=True) for media_s in (0.0, 11.0)]
    report, unreadable = make(parts, str(tmp_path / "made.ogg"))
    assert report
    assert (report.duration_s, unreadable) == (pytest.approx(21.5, abs=0.1), [])
