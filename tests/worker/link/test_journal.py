"""What is remembered across the death of an agent, on a real disk."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from common.wire.messages import AutomaticLeave, BotNames, Join, WorkerGone
from common.wire.vocabulary import BotState, GoneCause, Reason
from tests.waiting import PATIENCE_S
from worker.decide.participants import Names
from worker.decide.state import Limits, SessionOptions, State
from worker.decide.words import Finish, ReportVitals
from worker.link.journal import Entry, Journal, Stage, WorkerNote

JOIN = Join("w1", "b1", 3, "room", "http://localhost/r/x", "Bot", AutomaticLeave(everyone_left_timeout=7))
LIMITS = Limits(60.0, 90.0, 600.0, 600.0, 300.0, 14400.0, 6.0, 10.0)
STATE = State(
    LIMITS, 12.5, BotState.LEAVING, had_others=True, vitals=ReportVitals(2, 9), ending=Finish(Reason.MAX_DURATION, "it")
)


def gone(number: int) -> WorkerGone:
    return WorkerGone("vm1", f"w{number}", 1.0, GoneCause.SPENT)


def test_events_and_workers_are_there_when_it_is_opened_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    assert journal.is_new
    note = WorkerNote(Stage.WARM, "page", JOIN, STATE)
    numbers = journal.write([gone(1), gone(2)], Entry("w1", note))
    journal.write(entry=Entry("w2", WorkerNote(Stage.ORDERED)))
    journal.write(entry=Entry("w3", WorkerNote(Stage.ORDERED)))
    journal.write([gone(3)], Entry("w3", None))
    journal.forget_events(numbers[:1])
    again = Journal(tmp_path / "journal.db")
    assert not again.is_new
    assert again.session == journal.session
    assert [event for _, event in again.events()] == [gone(2), gone(3)]
    assert again.workers() == {"w1": note, "w2": WorkerNote(Stage.ORDERED)}


def test_numbers_grow_from_run_to_run_also_when_none_was_written_down(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    [first] = journal.write([gone(1)])
    journal.forget_events([first])
    journal.close()
    [second] = Journal(tmp_path / "journal.db").write([gone(2)])
    assert second > first


def test_how_long_redis_was_not_heard_is_known_after_a_restart(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    assert journal.heard_at(500.0) == 500.0
    journal.forget_events([], heard_at=123.5)
    again = Journal(tmp_path / "journal.db")
    assert again.heard_at(500.0) == 123.5
    assert again.heard_at(1.0) == 1.0, "the machine was booted meanwhile"


def test_what_was_written_survives_kill_9(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from tests.worker.link.test_journal import Entry, Journal, Stage, WorkerNote, gone
journal = Journal(Path({str(tmp_path / "journal.db")!r}))
for number in range(500):
    journal.write([gone(number)], Entry("w1", WorkerNote(Stage.WARM, str(number))))
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = str(Path(__file__).parents[3])
    killed = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env={**os.environ, "PYTHONPATH": root}, timeout=PATIENCE_S
    )
    assert killed.returncode == -signal.SIGKILL
    journal = Journal(tmp_path / "journal.db")
    assert [event for _, event in journal.events()] == [gone(number) for number in range(500)]
    assert journal.workers() == {"w1": WorkerNote(Stage.WARM, "499")}


def test_a_full_disk_is_said_once_and_all_that_it_did_not_take_is_written_when_it_can_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(tmp_path / "journal.db")
    [known] = journal.write([gone(0)], Entry("w0", WorkerNote(Stage.WARM)))
    journal._db.execute("PRAGMA max_page_count = 1")  # pyright: ignore[reportPrivateUsage]
    big = [gone(number) for number in range(1, 2000)]
    first = journal.write(big, Entry("w1", WorkerNote(Stage.ORDERED)))
    second = journal.write(big, Entry("w1", WorkerNote(Stage.WARM)))
    journal.write(entry=Entry("w0", None))
    assert [known, *first, *second] == sorted({known, *first, *second})
    journal.forget_events([known, *first], heard_at=123.5)
    assert capsys.readouterr().out.count("journal_unwritable") == 1
    assert journal.events() == [(known, gone(0))]
    journal._db.execute("PRAGMA max_page_count = 1000000")  # pyright: ignore[reportPrivateUsage]
    [last] = journal.write([gone(2000)])
    assert journal.events() == [*zip(second, big, strict=True), (last, gone(2000))]
    assert journal.workers() == {"w1": WorkerNote(Stage.WARM)}
    assert journal.heard_at(200.0) == 123.5
    journal.close()
    assert Journal(tmp_path / "journal.db").write([gone(1)])[0] > last


def test_a_broken_file_is_put_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is no database, but long enough to be looked at as one" * 100)
    journal = Journal(path)
    assert journal.is_new
    assert len(list(tmp_path.glob("journal.broken-*"))) == 1
    assert "journal_broken" in capsys.readouterr().out


def test_what_another_release_wrote_is_not_misread(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.db").close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("INSERT INTO workers VALUES ('w1', '{\"stage\": \"pupating\"}')")
        db.execute("INSERT INTO events VALUES (7, 'nonsense')")
    journal = Journal(tmp_path / "journal.db")
    assert journal.workers() == {"w1": WorkerNote(Stage.SPENT)}
    assert journal.events() == []


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.db").write([gone(1)])
    assert {path.name: oct(path.stat().st_mode & 0o77) for path in tmp_path.iterdir()} == {
        "journal.db": "0o0",
        "journal.db-wal": "0o0",
        "journal.db-shm": "0o0",
    }


def test_what_an_earlier_release_wrote_of_a_bot_is_read(tmp_path: Path) -> None:
    """earlier_note.json is a note as the release before the names in `State.rename` wrote it."""
    path = tmp_path / "journal.db"
    Journal(path).close()
    with sqlite3.connect(path) as db:
        raw = Path(__file__).with_name("earlier_note.json").read_bytes()
        db.execute("INSERT INTO workers VALUES ('w1', ?)", (raw,))
    note = Journal(path).workers()["w1"]
    assert (note.stage, note.page) == (Stage.WARM, "page")
    assert note.join
    assert note.state
    state = note.state
    names = Names("Notetaker", 1, ("ai",))
    assert state.options == SessionOptions(names, has_passcode=True, reads_chat=True)
    received = state.received
    assert (received.has_heard, received.has_received, received.was_connected) == (True, True, True)
    roster = state.roster
    assert (roster.present, roster.line_ids, roster.ghosts, roster.since) == (("p1", "p2"), ("l1",), ("p2",), 101.0)
    assert (state.phase, state.had_others, state.limits.only_bots) == (BotState.IN_MEETING, True, BotNames(["ai"]))
