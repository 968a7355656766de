"""How many processors an agent says that its VM has."""

import os
from pathlib import Path

import pytest

from worker.chromium.processors import processors

USABLE = float(len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        (None, USABLE),
        ("max 100000\n", USABLE),
        ("50000 100000\n", 0.5),
        ("100000000 100000\n", USABLE),
        ("what is this", USABLE),
    ],
)
def test_a_containers_limit_counts_where_it_is_lower(limit: str | None, found: float, tmp_path: Path) -> None:
    path = tmp_path / "cpu.max"
    if limit is not None:
        path.write_text(limit)
    assert processors(path) == found
