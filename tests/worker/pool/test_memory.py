"""What a worker took of memory lately."""

import pytest

from worker.pool.memory import Held


@pytest.mark.parametrize(
    ("looks", "hoarding"),
    [
        ([], ""),
        ([(0, 2900)], ""),
        ([(0, 200), (2, 1190)], ""),
        ([(0, 200), (2, 150), (4, 1200)], "it grew from 150 to 1200 MB in 2 s"),
        ([(0, 200), (2, 2000), (4, 300)], ""),
        ([(0, 200), (31, 1000), (40, 1900)], ""),
    ],
)
def test_only_what_grew_much_and_lately_hoards(looks: list[tuple[float, int]], hoarding: str) -> None:
    held = Held()
    for now, held_mb in looks:
        held.note(held_mb, now)
    assert held.hoarding(3000) == hoarding
