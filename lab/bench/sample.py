"""Measurements as numbers: percentiles, and ratios between contenders that took turns.

The speed of a machine drifts, by 1.7x on some. So no contender is measured alone: contenders take turns in small
rounds, and a ratio compares measurements of the same round.
"""

import math
import statistics
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec


class Summary(msgspec.Struct, frozen=True):
    """The percentiles of all samples of one contender, sorted from best to worst. So `p99` is a bad value, also for
    rates, where more is better.
    """

    name: str
    unit: str
    count: int
    best: float
    p10: float
    p50: float
    p90: float
    p99: float
    worst: float
    mean: float


class Series:
    """The samples of one contender, kept by round. `more_is_better`: they are rates, not durations."""

    def __init__(self, name: str, unit: str, *, more_is_better: bool = False) -> None:
        self.name = name
        self.unit = unit
        self.more_is_better = more_is_better
        self.rounds: list[list[float]] = []

    def add(self, samples: Sequence[float]) -> None:
        """Add one round. A round in which the contender did not take its turn is an empty one."""
        self.rounds.append(list(samples))

    @property
    def samples(self) -> list[float]:
        """All samples, best first."""
        return sorted((sample for samples in self.rounds for sample in samples), reverse=self.more_is_better)

    def summary(self) -> Summary:
        """The percentiles of all samples. Raises: ValueError when nothing was measured."""
        samples = self.samples
        if not samples:
            raise ValueError(f"cannot sum up {self.name!r}: it has no samples")
        p10, p50, p90, p99 = (percentile(samples, share) for share in (0.1, 0.5, 0.9, 0.99))
        mean = statistics.fmean(samples)
        return Summary(self.name, self.unit, len(samples), samples[0], p10, p50, p90, p99, samples[-1], mean)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted values: always a measured value, never one in between."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def ratio(subject: Series, floor: Series) -> float | None:
    """The subject's value as a multiple of the floor's: the median over the rounds that both took part in."""
    pairs = zip(subject.rounds, floor.rounds, strict=False)
    ratios = [statistics.median(ours) / statistics.median(theirs) for ours, theirs in pairs if ours and theirs]
    return statistics.median(ratios) if ratios else None


class Contender(NamedTuple):
    """`measure` makes one round: a tuple for each sample, with one value for each series. `every`: takes part only in
    every so many rounds.
    """

    series: tuple[Series, ...]
    measure: Callable[[], Awaitable[Sequence[tuple[float, ...]]]]
    every: int = 1


async def take_turns(rounds: int, contenders: Sequence[Contender], say: Callable[[str], None]) -> None:
    """Measure all contenders `rounds` times, each time beginning with another one. One round before is not counted:
    it fills caches and opens connections.
    """
    for number in range(-1, rounds):
        first = max(number, 0) % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            count = f"round {number + 1} of {rounds}" if number >= 0 else "a first round, not counted"
            takes_part = number < 0 or number % contender.every == 0
            if takes_part:
                say(f"{count}: {contender.series[0].name}")
            samples: Sequence[tuple[float, ...]] = await contender.measure() if takes_part else ()
            for place, series in enumerate(contender.series if number >= 0 else ()):
                series.add([sample[place] for sample in samples])
