"""The journal's files cut off at any length, as a crash of the machine or a full disk leave them: the agent starts, and
believes nothing but what was true at some time.
"""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from common.wire.messages import Event
from tests.worker.link.test_journal import JOIN, STATE, gone
from worker.link.journal import MOST_ASIDE, Entry, Journal, Stage, WorkerNote

PAGE: Final = 4096
FRAME: Final = PAGE + 24  # of the write-ahead log: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
WAYS: Final = [
    WorkerNote(Stage.ORDERED),
    WorkerNote(Stage.WARM, "page"),
    WorkerNote(Stage.WARM, "page", JOIN),
    WorkerNote(Stage.WARM, "page", JOIN, STATE),
    WorkerNote(Stage.SPENT, "page"),
]


class Written(NamedTuple):
    """A folder with a journal in it, and all that ever was true in there."""

    folder: Path
    session: str
    notes: dict[str, list[WorkerNote]]
    events: list[Event]


def write(folder: Path) -> tuple[Journal, Written]:
    """Some workers' whole ways, with the events beside them, of which Redis has some."""
    journal = Journal(folder / "journal.db")
    notes: dict[str, list[WorkerNote]] = {}
    events: list[Event] = []
    for number in range(12):
        worker_id = f"w{number}"
        for note in WAYS[: 1 + number % len(WAYS)]:
            told = [gone(len(events)), gone(len(events) + 1)]
            events += told
            numbers = journal.write(told, Entry(worker_id, note))
            journal.forget_events(numbers[: number % 3], heard_at=float(number))
            notes.setdefault(worker_id, []).append(note)
    return journal, Written(folder, journal.session, notes, events)


def lengths(path: Path, unit: int) -> Iterator[int]:
    """Around each boundary at which something begins, and at some that chance chooses between them."""
    size, chance = path.stat().st_size, random.Random(path.name)
    boundaries = [0, *chance.sample(range(unit, size, unit), min(20, size // unit - 1))]
    around = {boundary + by for boundary in boundaries for by in (-1, 0, 1, 32, 100)}
    yield from sorted(length for length in {*around, *chance.sample(range(size), 30)} if 0 <= length < size)


def check(written: Written, folder: Path) -> bool:
    """Open what is left of it, and use it. Whether anything was left."""
    journal = Journal(folder / "journal.db")
    try:
        kept, events = journal.workers(), [event for _, event in journal.events()]
        assert (journal.session == written.session) != journal.is_new
        assert all(note in written.notes[worker_id] for worker_id, note in kept.items())
        places = [written.events.index(event) for event in events]
        assert places == sorted(places)
        assert 0 <= journal.heard_at(1000.0) <= 1000.0
        journal.write([gone(1)], Entry("w99", WorkerNote(Stage.ORDERED)))
        assert journal.workers() == {**kept, "w99": WorkerNote(Stage.ORDERED)}
        return bool(kept)
    finally:
        journal.close()


@pytest.mark.parametrize(("name", "unit"), [("journal.db", PAGE), ("journal.db-wal", FRAME)])
def test_an_agent_starts_with_its_journal_cut_off_anywhere(tmp_path: Path, name: str, unit: int) -> None:
    (tmp_path / "whole").mkdir()
    journal, written = write(tmp_path / "whole")
    if name == "journal.db":
        journal.close()  # which brings the log into the file
        assert not (written.folder / "journal.db-wal").exists()
    left = 0
    for length in lengths(written.folder / name, unit):
        copy = Path(shutil.copytree(written.folder, tmp_path / f"{length}"))
        with (copy / name).open("r+b") as file:
            file.truncate(length)
        left += check(written, copy)
        shutil.rmtree(copy)
    journal.close()
    assert left or name == "journal.db", "a log that ends earlier ends at an earlier time"


def test_an_agent_starts_with_bytes_of_its_journal_spoilt(tmp_path: Path) -> None:
    """Whatever a page says now: it is put aside, or every note in it is one that counts as spent, or was written."""
    (tmp_path / "whole").mkdir()
    journal, written = write(tmp_path / "whole")
    journal.close()
    chance, size = random.Random(1), (written.folder / "journal.db").stat().st_size
    for number in range(80):
        copy = Path(shutil.copytree(written.folder, tmp_path / f"{number}"))
        with (copy / "journal.db").open("r+b") as file:
            file.seek(chance.randrange(size))
            file.write(chance.randbytes(chance.choice([1, 8, 600])))
        journal = Journal(copy / "journal.db")
        assert journal.heard_at(1.0) <= 1.0
        assert all(note.stage in Stage for note in journal.workers().values())
        assert len(journal.events()) <= len(written.events)
        journal.write([gone(1)], Entry("w99", WorkerNote(Stage.ORDERED)))
        assert "w99" in journal.workers()
        journal.close()
        shutil.rmtree(copy)


def test_of_broken_files_only_the_last_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(MOST_ASIDE + 2):
        (tmp_path / "journal.db").write_bytes(b"no database at all, and long enough to be looked at as one " * 100)
        Journal(tmp_path / "journal.db").close()
    assert len(list(tmp_path.glob("journal.broken-*"))) == MOST_ASIDE
    assert capsys.readouterr().out.count("journal_broken") == MOST_ASIDE + 2


def test_numbers_grow_also_when_the_clock_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not above the last that Redis took would be passed over there, and its bots would never end."""
    journal = Journal(tmp_path / "journal.db")
    numbers = journal.write([gone(1), gone(2)])
    journal.forget_events(numbers)
    journal.close()
    monkeypatch.setattr("worker.link.journal.time.time", lambda: 1_000_000.0)
    [later] = Journal(tmp_path / "journal.db").write([gone(3)])
    assert later > numbers[-1]
