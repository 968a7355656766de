"""When jobs come and how long their bots stay: drawn at random, or recorded. Knows nothing of pools.

The distributions below are assumptions about working days, not measurements. A recorded trace (trace.py) does not use
them.
"""

import math
from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

from poolmgr.core.load import JobKind
from poolmgr.core.model import NO_LABELS, Labels

DAY_BEGINS_AT_HOUR: Final = 6
"""A drawn day begins at an hour without meetings, so that its first hours are a morning."""

# Meetings that start in each hour of the day, midnight first: peaks in the morning and after lunch.
_HOURS: Final = (1, 1, 1, 1, 1, 2, 6, 25, 70, 100, 95, 75, 45, 80, 95, 80, 60, 35, 18, 10, 6, 4, 2, 1)
# The shares of an hour's meetings that start at :00, :15, :30, :45, and at any minute.
_QUARTERS: Final = (55, 5, 20, 5)
_ANY_MINUTE: Final = 15
_STAY_SIGMA: Final = 0.6  # of the lognormal: with a mean of 30 minutes half stay less than 25, one in ten over 54


class Arrival(NamedTuple):
    """One job: due `at_s` after the beginning, pushed `ahead_s` before that; its bot stays `stay_s` in the meeting.
    `kind`: what is recorded of it. `requires`: labels that its VM has to have.
    """

    at_s: float
    stay_s: float
    ahead_s: float = 0.0
    kind: JobKind = JobKind.LISTENS
    requires: Labels = NO_LABELS


class Habits(NamedTuple):
    """What all drawn jobs share. `stay_s`: the mean stay. `ahead_s`: how long before their join_at jobs are pushed."""

    stay_s: float
    ahead_s: float = 0.0


def poisson(jobs_per_hour: float, hours: float, habits: Habits, random: Random) -> list[Arrival]:
    """Independent jobs at the same rate by day and night, earliest first."""
    arrivals: list[Arrival] = []
    at_s = random.expovariate(jobs_per_hour / 3600)
    while at_s < hours * 3600:
        arrivals.append(Arrival(at_s, draw_stay(habits.stay_s, random), habits.ahead_s))
        at_s += random.expovariate(jobs_per_hour / 3600)
    return arrivals


def calendar(
    jobs_per_day: float, hours: float, habits: Habits, random: Random, *, jitter_s: float = 20.0
) -> list[Arrival]:
    """Working days, earliest job first: most start on the hour, `jitter_s` after it on average (exponentially)."""
    begins: list[float] = []
    weights: list[float] = []
    for hour in range(math.ceil(hours)):
        busy = _HOURS[(DAY_BEGINS_AT_HOUR + hour) % 24]
        begins += [hour * 3600 + quarter * 900 for quarter in range(4)] + [hour * 3600]
        weights += [busy * share for share in (*_QUARTERS, _ANY_MINUTE)]
    whole_day = sum(_HOURS) * (sum(_QUARTERS) + _ANY_MINUTE)
    jobs = round(jobs_per_day * sum(weights) / whole_day)
    arrivals: list[Arrival] = []
    for slot in random.choices(range(len(begins)), weights, k=jobs):
        late_s = random.random() * 3600 if slot % 5 == 4 else random.expovariate(1 / jitter_s)
        arrivals.append(Arrival(begins[slot] + late_s, draw_stay(habits.stay_s, random), habits.ahead_s))
    return sorted(arrival for arrival in arrivals if arrival.at_s < hours * 3600)


def recorded(arrivals: Sequence[Arrival], sound: float, pictures: float, random: Random) -> list[Arrival]:
    """The same jobs, of which so large a share, 0 to 1, has its sound recorded, or its picture and sound."""
    shares = (pictures, sound, max(0.0, 1.0 - sound - pictures))
    kinds = random.choices((JobKind.PICTURE, JobKind.SOUND, JobKind.LISTENS), shares, k=len(arrivals))
    return [arrival._replace(kind=kind) for arrival, kind in zip(arrivals, kinds, strict=True)]


def requiring(arrivals: Sequence[Arrival], shares: Sequence[tuple[Labels, float]], random: Random) -> list[Arrival]:
    """The same jobs, of which so large a share, 0 to 1, requires each of these label sets; the rest requires none."""
    sets = [*(labels for labels, _ in shares), NO_LABELS]
    weights = [*(share for _, share in shares), max(0.0, 1.0 - sum(share for _, share in shares))]
    drawn = random.choices(sets, weights, k=len(arrivals))
    return [arrival._replace(requires=labels) for arrival, labels in zip(arrivals, drawn, strict=True)]


def draw_stay(mean_s: float, random: Random) -> float:
    return draw_lognormal(mean_s, _STAY_SIGMA, random)


def draw_lognormal(mean: float, sigma: float, random: Random) -> float:
    """A random duration with this mean: never negative, with a long tail."""
    return random.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma)
