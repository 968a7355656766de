"""What the one file is made of: packets as they are, and silence for as long as something is missing."""

import pytest

from worker.capture.remux import BEHIND_S, SILENCE, SILENCE_SAMPLES, behind_by, samples_of


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


@pytest.mark.parametrize(
    ("anchors", "behind"),
    [
        ([], []),
        ([(0.0, 0.0), (5.0, 5.1)], [(0.0, 0.0), (5.0, 0.0)]),
        ([(0.0, 0.0), (4.0, 5.0), (8.0, 10.0)], [(0.0, 0.0), (4.0, 1.0), (8.0, 2.0)]),
        ([(0.0, 0.0), (5.0, 9.0), (10.0, 10.2)], [(0.0, 0.0), (5.0, 0.0), (10.0, 0.0)]),
        ([(0.0, 0.0), (5.0, 5.0 + BEHIND_S + 1), (9.0, 10.0)], [(0.0, 0.0), (5.0, 1.0), (9.0, 1.0)]),
    ],
)
def test_a_clock_is_as_far_behind_as_is_told_from_there_on(
    anchors: list[tuple[float, float]], behind: list[tuple[float, float]]
) -> None:
    assert behind_by(anchors) == behind
