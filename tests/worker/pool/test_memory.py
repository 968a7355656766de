"""What a worker took of memory lately."""

import pytest

from worker.pool.memory import MemoryHistory


@pytest.mark.parametrize(
    ("looks", "growth"),
    [
        ([], ""),
        ([(0, 2900)], ""),
        ([(0, 200), (2, 1190)], ""),
        ([(0, 200), (2, 150), (4, 1200)], "it grew from 150 to 1200 MB in 2 s"),
        ([(0, 200), (2, 2000), (4, 300)], ""),
        ([(0, 200), (31, 1000), (40, 1900)], ""),
    ],
)
def test_only_what_grew_much_and_lately_counts_as_growth(looks: list[tuple[float, int]], growth: str) -> None:
    history = MemoryHistory()
    for now, held_mb in looks:
        history.note(held_mb, now)
    assert history.growth(3000) == growth
