"""Places the sound of a recorder that gives each packet the time of the wall clock. Pure.

Those times jitter by tens of milliseconds while the machine has no time, and the clock of a sound server may be faster
than the wall clock: PulseAudio's null sink adds up how long each piece of sound is, rounded down to microseconds, so
that 171 of a million samples were too many with Chromium. So packets follow each other without a gap, as they were
recorded. By how much they are late or early, the median of half a minute tells. Before they are early by a packet of
silence, one is filled in. When they are late by one of theirs, the smallest of the next ten seconds is left out: what
is quiet takes the fewest bytes.

A step of more than HOLE_S is a hole in the sound. Medians are taken on either side of a step that all packets keep that
follow for a quarter of a minute: so it stays where it is, also next to the beginning or the end.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import median
from typing import Final, NamedTuple

HOLE_S: Final = 0.1
FILLED_S: Final = 0.02
"""How long a packet of silence is that is filled in."""
MOST_BACK_S: Final = 1.0
"""The wall clock was set back if it is more. Then nothing is moved, and times count from there."""
BLOCK: Final = 50
"""Packets: a second of them, as ffmpeg makes them."""
_MOST_BLOCKS: Final = 15
"""On either side of the one whose median is looked for."""
_FEWEST_BLOCKS: Final = 3
"""Of the first and the last, of which there are none on one side."""
_WRONG_AT_FIRST_S: Final = 1.0
"""A recorder's first second may have wrong times: only more than this is a hole there."""
_QUIETEST_OF: Final = 500
"""Packets: ten seconds of them. It is a half, a third of that when they are late by two, three."""


class Packet(NamedTuple):
    """`begins_s`: by the wall clock."""

    begins_s: float
    length_s: float
    bytes: int


def in_step(packets: Sequence[Packet]) -> list[float | None]:
    """Where each packet is to begin. None: it is left out."""
    played = list(accumulate((packet.length_s for packet in packets), initial=0.0))
    missing = [packet.begins_s - before_s for packet, before_s in zip(packets, played, strict=False)]
    wanted = _wanted(missing)
    places: list[float | None] = []
    before_s = wanted[0] if wanted else 0.0
    left_out = -1  # the packet that is to be left out next
    back_s = 0.0  # by so much the wall clock was set back
    for number, packet in enumerate(packets):
        wanted_s = wanted[number] + back_s
        if before_s - wanted_s >= MOST_BACK_S:
            back_s, wanted_s = before_s - wanted[number], before_s
        if wanted_s - before_s > HOLE_S:
            if missing[number] + back_s - before_s > (wanted_s - before_s) / 2:
                before_s = wanted_s
        elif wanted_s - before_s >= FILLED_S:
            before_s += FILLED_S
        elif left_out < number and before_s - wanted_s >= packet.length_s:
            within = _QUIETEST_OF // int((before_s - wanted_s) / packet.length_s + 0.001)
            near = range(number, min(number + within, len(packets)))
            left_out = min(near, key=lambda other: packets[other].bytes)
        if number == left_out:
            before_s -= packet.length_s
            places.append(None)
        else:
            places.append(played[number] + before_s)
    return places


def _wanted(missing: Sequence[float]) -> list[float]:
    """How late each packet is to be."""
    wanted: list[float] = []
    for begin, end in pairwise([*_steps(missing), len(missing)]):
        levels = _levels(missing[begin:end])
        blocks = (place // BLOCK for place in range(end - begin))
        wanted.extend(max(levels[block : block + 2]) for block in blocks)
    return wanted


def _steps(missing: Sequence[float]) -> list[int]:
    """The first packet, and each from which on all are later by a hole, or earlier by a clock that was set back."""
    steps = [0]
    for number in range(1, len(missing)):
        if not -MOST_BACK_S < missing[number] - missing[number - 1] <= HOLE_S:
            before_s = median(missing[max(steps[-1], number - BLOCK) : number])
            following = missing[number : number + _MOST_BLOCKS * BLOCK]
            later_s, earlier_s = min(following) - before_s, before_s - max(following)
            if later_s > _WRONG_AT_FIRST_S or (number >= BLOCK and (later_s > HOLE_S or earlier_s > MOST_BACK_S)):
                steps.append(number)
    return steps


def _levels(missing: Sequence[float]) -> list[float]:
    """For each block how late its packets are, by as many blocks before it as after it. So a step stays where it is."""
    blocks = [median(missing[at : at + BLOCK]) for at in range(0, len(missing), BLOCK)]
    levels: list[float] = []
    for place in range(len(blocks)):
        reach = min(_MOST_BLOCKS, max(_FEWEST_BLOCKS, min(place, len(blocks) - 1 - place)))
        levels.append(median(blocks[max(0, place - reach) : place + reach + 1]))
    return levels
