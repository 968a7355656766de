"""What a worker knows of itself."""

import pytest

from worker.pool.worker import Worker


@pytest.mark.parametrize(
    ("held", "hoarding"),
    [
        ([], ""),
        ([(0, 2900)], ""),
        ([(0, 200), (2, 1190)], ""),
        ([(0, 200), (2, 150), (4, 1200)], "it grew from 150 to 1200 MB in 2 s"),
        ([(0, 200), (2, 2000), (4, 300)], ""),
        ([(0, 200), (31, 1000), (40, 1900)], ""),
    ],
)
async def test_only_what_grew_much_and_lately_hoards(held: list[tuple[float, int]], hoarding: str) -> None:
    worker = Worker("w1")
    for now, held_mb in held:
        worker.note_memory(held_mb, now)
    assert worker.hoarding(3000) == hoarding
