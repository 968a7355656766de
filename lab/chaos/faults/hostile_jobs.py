"""A flood of bad jobs that are slow to read, as one of the faults."""

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Final

from common.jobs.job import BadJobError, JobRules, parse_job
from lab.bench import hostile

FLOOD: Final = 100
"""How many come at once: some megabytes."""


@cache
def _all() -> Iterator[bytes]:
    return itertools.cycle([job.payload for job in hostile.jobs() if _is_none(job.payload)])


def flood() -> list[bytes]:
    """The next jobs of the flood. They have no mark, because the result of each is not checked."""
    return list(itertools.islice(_all(), FLOOD))


def _is_none(payload: bytes) -> bool:
    try:
        parse_job(payload, 0.0, JobRules())
    except BadJobError:
        return True
    return False
