"""The cost of reading a job, whatever it contains: a corpus of hostile shapes. Pure: no Redis, no loop."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from common.jobs.job import MAX_JOB_BYTES, BadJobError, JobRules, parse_job
from lab.bench import hostile
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.sample import Contender, Series, ratio, take_turns

_MOST: Final = 20.0  # times a json.loads of the same bytes, after what any job may take is subtracted
_FREE_US: Final = 100.0
_SCALES: Final = (1.0, 0.25)  # of the size that is read at all
_TIMES: Final = 3  # in a row, of which the fastest counts, so that a cold cache is not counted as the shape's cost
_RULES: Final = JobRules()


class Fastest(NamedTuple):
    """The shortest time for one shape, in microseconds. Other programs on the machine only make times longer."""

    ours: dict[str, float]
    bare: dict[str, float]

    def worst(self) -> tuple[str, float]:
        """The shape that costs the most, as a multiple of `json.loads`, after what every job may take is subtracted."""
        times = {name: max(0.0, ours - _FREE_US) / self.bare[name] for name, ours in self.ours.items()}
        name = max(times, key=lambda shape: times[shape])
        return name, times[name]


def corpus() -> list[hostile.Hostile]:
    return [
        shape._replace(name=f"{shape.name}, {scale:.0%}")
        for scale in _SCALES
        for shape in (*hostile.jobs(scale), hostile.odd_keys(int(MAX_JOB_BYTES * scale)))
    ]


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    rounds = 5 if quick else 15
    progress.say("makes the corpus")
    shapes = corpus()
    subject, floor = Series("parse_job", "µs"), Series("json.loads", "µs")
    fastest = Fastest({}, {})

    async def read_all(read: Callable[[bytes], object], least: dict[str, float]) -> list[tuple[float]]:
        await asyncio.sleep(0)
        samples: list[tuple[float]] = []
        for shape in shapes:
            took_us = min(_took_us(read, shape.payload) for _ in range(_TIMES))
            least[shape.name] = min(took_us, least.get(shape.name, took_us))
            samples.append((took_us,))
        return samples

    contenders = [
        Contender((subject,), lambda: read_all(_parse, fastest.ours)),
        Contender((floor,), lambda: read_all(json.loads, fastest.bare)),
    ]
    await take_turns(rounds, contenders, progress.say)
    name, worst = fastest.worst()
    return [
        Measurement(
            "reading",
            f"what a hostile job costs to read, {len(shapes)} shapes",
            subject.summary(),
            [floor.summary()],
            ratio(subject, floor),
            [Budget("worst of (ours - 0.1 ms) / json.loads", "x", worst, _MOST)],
            conditions=f"{rounds} rounds over {len(shapes)} jobs, each the fastest of {_TIMES} in a row, that were made"
            " to be slow to read (lab/bench/hostile.py), as large as the limits let them be and a quarter of that."
            f" The budget is of each shape's fastest rounds, ours and json.loads'; the worst shape was: {name}.",
            limited_by="how many different links of a text are read, 8 of 16 KB, at some 20 microseconds each.",
        )
    ]


def _took_us(read: Callable[[bytes], Any], payload: bytes) -> float:
    began = time.perf_counter_ns()
    with contextlib.suppress(BadJobError, ValueError, RecursionError):
        read(payload)
    return (time.perf_counter_ns() - began) / 1000


def _parse(payload: bytes) -> object:
    return parse_job(payload, 0.0, _RULES)
