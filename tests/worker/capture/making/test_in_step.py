"""Where the packets of a recorder are put whose times are the wall clock's, and jitter."""

import random
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest

from worker.capture.making.in_step import HOLE_S, MOST_BACK_S, Packet, in_step

LENGTH_S = 0.02
SPOKEN, QUIET = 240, 60


def recorded(
    seconds: float, *, faster: float = 0.0, wrong_by: Callable[[float], float] = lambda _at: 0.0
) -> tuple[list[float], list[Packet]]:
    """When each packet was really heard, and what the recorder says of it. Every tenth second is quiet."""
    heard = [number * LENGTH_S / (1 + faster) for number in range(round(seconds / LENGTH_S))]
    return heard, [Packet(at + wrong_by(at), LENGTH_S, QUIET if at % 10 < 1 else SPOKEN) for at in heard]


def late(heard: Iterable[float], places: Iterable[float | None]) -> list[float]:
    return [place - at for at, place in zip(heard, places, strict=True) if place is not None]


def left_out(packets: list[Packet], places: list[float | None]) -> list[Packet]:
    return [packet for packet, place in zip(packets, places, strict=True) if place is None]


@pytest.mark.parametrize("seconds", [0, 0.02, 0.5, 3, 60])
def test_sound_without_a_fault_stays_as_it_is(seconds: float) -> None:
    heard, packets = recorded(seconds)
    assert in_step(packets) == pytest.approx(heard)


def test_times_that_jitter_move_nothing() -> None:
    chance = random.Random(1)
    heard, packets = recorded(300, wrong_by=lambda _at: chance.gauss(0, 0.03))
    places = in_step(packets)
    assert not left_out(packets, places)
    assert max(map(abs, late(heard, places))) < 0.01


def test_times_that_are_wrong_for_some_seconds_as_on_a_busy_machine_move_nothing_for_good() -> None:
    heard, packets = recorded(120, wrong_by=lambda at: 0.05 if 40 < at < 48 else 0.0)
    assert max(map(abs, late(heard, in_step(packets)))) < 0.001


@pytest.mark.parametrize("wrong_s", [-0.3, 0.3, 1.5])
def test_the_first_second_is_where_what_follows_tells(wrong_s: float) -> None:
    heard, packets = recorded(60, wrong_by=lambda at: wrong_s if at < 0.9 else 0.0)
    assert max(map(abs, late(heard, in_step(packets)))) < 0.001


def test_of_a_clock_that_is_faster_quiet_packets_are_left_out_and_the_rest_is_in_step() -> None:
    heard, packets = recorded(1800, faster=171e-6)
    places = in_step(packets)
    gone = left_out(packets, places)
    assert 14 <= len(gone) <= 16, "15.4 packets too many"
    assert {packet.bytes for packet in gone} == {QUIET}
    assert max(map(abs, late(heard, places))) < 0.03
    kept = [place for place in places if place is not None]
    assert all(after - before > LENGTH_S - 0.001 for before, after in pairwise(kept)), "none over another"


def test_of_a_clock_that_is_slower_silence_is_left_for_now_and_then() -> None:
    heard, packets = recorded(1800, faster=-171e-6)
    places = in_step(packets)
    assert not left_out(packets, places)
    assert max(map(abs, late(heard, places))) < 0.03
    kept = [place for place in places if place is not None]
    longer = [after - before for before, after in pairwise(kept) if after - before > LENGTH_S + 0.001]
    assert longer == pytest.approx([2 * LENGTH_S] * len(longer))
    assert 14 <= len(longer) <= 16


@pytest.mark.parametrize("at_s", [1.2, 2.2, 4.0, 30.31, 58.5, 117.5, 119.3])
@pytest.mark.parametrize("hole_s", [HOLE_S + 0.02, 1.0, 40.0])
def test_a_hole_is_where_it_is_and_moves_nothing_before_it(at_s: float, hole_s: float) -> None:
    heard, packets = recorded(120, wrong_by=lambda at: hole_s if at > at_s else 0.0)
    expected = [at + (hole_s if at > at_s else 0.0) for at in heard]
    assert in_step(packets) == pytest.approx(expected)


@pytest.mark.parametrize("at_s", [0.5, 1.5, 2.5, 2.97])
@pytest.mark.parametrize("hole_s", [1.1, 3.0, 40.0])
def test_a_hole_in_a_part_of_three_seconds_is_where_it_is(at_s: float, hole_s: float) -> None:
    heard, packets = recorded(3, wrong_by=lambda at: hole_s if at > at_s else 0.0)
    assert in_step(packets) == pytest.approx([at + (hole_s if at > at_s else 0.0) for at in heard])


@pytest.mark.parametrize("at_s", [1.2, 60.0, 119.3])
def test_a_hole_is_where_it_is_when_times_jitter_and_the_clock_is_faster(at_s: float) -> None:
    chance = random.Random(2)
    hole_s = 3.0

    def wrong_by(at: float) -> float:
        return chance.gauss(0, 0.03) + (hole_s if at > at_s else 0.0)

    heard, packets = recorded(120, faster=171e-6, wrong_by=wrong_by)
    expected = [at + (hole_s if at > at_s else 0.0) for at in heard]
    assert max(map(abs, late(expected, in_step(packets)))) < 0.04


def test_a_packet_that_is_late_alone_before_the_end_is_no_hole() -> None:
    heard, packets = recorded(60, wrong_by=lambda at: 0.5 if 58.99 < at < 59.01 else 0.0)
    assert in_step(packets) == pytest.approx(heard)


@pytest.mark.parametrize("second_at", [20.05, 20.3, 26])
def test_two_holes_soon_after_each_other_are_both_there(second_at: float) -> None:
    heard, packets = recorded(60, wrong_by=lambda at: 0.5 * ((at > 20) + (at > second_at)))
    assert in_step(packets) == pytest.approx([at + 0.5 * ((at > 20) + (at > second_at)) for at in heard])


@pytest.mark.parametrize("at_s", [1.2, 60, 117.5, 119.3])
def test_a_wall_clock_that_is_set_back_costs_no_sound(at_s: float) -> None:
    heard, packets = recorded(120, wrong_by=lambda at: -3 * MOST_BACK_S if at > at_s else 0.0)
    assert in_step(packets) == pytest.approx(heard)


def test_after_it_was_set_back_what_is_too_much_is_left_out_as_before() -> None:
    heard, packets = recorded(1800, faster=171e-6, wrong_by=lambda at: -1.5 if at > 60 else 0.0)
    places = in_step(packets)
    assert 14 <= len(left_out(packets, places)) <= 16, "15.4 packets too many"
    assert max(map(abs, late(heard, places))) < 0.05


def test_a_hole_after_it_was_set_back_is_there_and_costs_no_sound() -> None:
    heard, packets = recorded(180, wrong_by=lambda at: -1.5 * (at > 60) + 0.8 * (at > 120))
    assert in_step(packets) == pytest.approx([at + 0.8 * (at > 120) for at in heard])
