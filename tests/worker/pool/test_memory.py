"""What a worker took of memory lately."""

import pytest

from worker.pool.memory import Memory, MemoryHistory


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


def test_a_worker_with_a_display_needs_its_memory_besides_also_while_it_warms_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.pool.memory._available_mb", lambda: 1000 + 1500)
    memory = Memory(reserve_mb=1000, worker_mb=300, display_mb=100)
    assert (memory.room(0), memory.room(0, display=True)) == (5, 3)
    assert (memory.room(1), memory.room(1, 1)) == (4, 3)
    assert (memory.room(1, 1, display=True), memory.free_mb(1, 1)) == (2, 1100)
    assert memory.room(9, 9) == memory.free_mb(9, 9) == 0
