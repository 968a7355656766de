"""Who arrived when, from one process to another by a file."""

from pathlib import Path

from lab.bench.arrivals import Arrivals, note_arrivals


def test_what_one_process_notes_the_other_reads(tmp_path: Path) -> None:
    arrivals = Arrivals(tmp_path / "arrivals")
    note = note_arrivals(str(arrivals.path))
    note(["a", "b"])
    note(["c"])
    found = arrivals.take(["c", "a"])
    assert found
    assert list(found) == ["c", "a"]
    assert found["a"] <= found["c"]


def test_nobody_is_taken_before_all_are_there(tmp_path: Path) -> None:
    arrivals = Arrivals(tmp_path / "arrivals")
    note = note_arrivals(str(arrivals.path))
    note(["a"])
    assert arrivals.take(["a", "b"]) is None
    note(["b"])
    assert arrivals.take(["a", "b"])


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    arrivals = Arrivals(tmp_path / "arrivals")
    with arrivals.path.open("a") as file:
        for part in ("a 1\nb", " ", "22", "2\nc 3\n"):
            assert arrivals.take(["a", "b"]) is None
            file.write(part)
            file.flush()
    assert arrivals.take(["a", "b", "c"]) == {"a": 1, "b": 222, "c": 3}
