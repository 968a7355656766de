"""A part's log: written by the part, read along, bounded."""

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from poolmgr.one_machine import log_file
from poolmgr.one_machine.log_file import LogFile, Remark


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.log"


def write(log: LogFile, *lines: str) -> None:
    os.write(log.fileno(), "".join(f"{line}\n" for line in lines).encode())


def event(level: str, name: str, **facts: object) -> str:
    return json.dumps({**facts, "event": name, "program": "poolmgr-worker", "level": level, "timestamp": "..."})


def test_warnings_and_errors_are_worth_telling_and_only_what_is_new(path: Path) -> None:
    path.write_text(f"{event('error', 'of_yesterday')}\n")
    log = LogFile(path)
    write(log, event("info", "worker_warmed"), event("warning", "events_unwritten", waiting=3), "[1, 2]", '{"half": ')
    assert log.read() == [Remark("warning", "events_unwritten", {"waiting": "3"})]
    assert log.read() == []
    log.close()


def test_a_line_that_is_half_written_waits_for_its_end(path: Path) -> None:
    log = LogFile(path)
    whole = f"{event('error', 'driver_died')}\n".encode()
    os.write(log.fileno(), whole[:20])
    assert log.read() == []
    os.write(log.fileno(), whole[20:])
    assert log.read() == [Remark("error", "driver_died", {})]
    log.close()


def test_the_last_words_are_what_is_no_event_without_the_head_of_redis_own_lines(path: Path) -> None:
    log = LogFile(path)
    write(log, *(f"line {number}" for number in range(9)), event("info", "agent_started"), "")
    write(log, "12:M 29 Nov 2026 17:00:00.000 # Bad file format reading the append only file")
    log.read()
    assert log.last_words() == ("line 7", "line 8", "Bad file format reading the append only file")
    log.begin_anew()
    assert log.last_words() == ()
    log.close()


@pytest.mark.parametrize(("user", "is_full"), [(0, False), (1000, True)], ids=["root", "another"])
def test_a_full_disk_is_told_since_a_part_cannot(
    path: Path, monkeypatch: pytest.MonkeyPatch, user: int, is_full: bool
) -> None:
    def statvfs(_: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=0, f_bfree=1000, f_frsize=4096)

    def fails(_: Path) -> None:
        raise OSError(errno.EIO, "no disk")

    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "statvfs", statvfs)
    log = LogFile(path)
    write(log, "Ready to accept connections")
    log.read()
    full = [f"the disk of {path.parent} is full"] if is_full else []
    assert log.last_words() == ("Ready to accept connections", *full)
    monkeypatch.setattr(os, "statvfs", fails)
    assert log.last_words() == ("Ready to accept connections",)
    log.close()


def test_it_never_grows_beyond_its_bound_and_loses_no_line_that_was_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "MOST_BYTES", 10_000)
    log = LogFile(path)
    told: list[str] = []
    for number in range(1000):
        write(log, event("warning", f"number_{number}"))
        told += [remark.event for remark in log.read()]
        assert sum(file.stat().st_size for file in path.parent.iterdir()) < 20_200
    assert told == [f"number_{number}" for number in range(1000)]
    lines = [line for name in ("agent.log.1", "agent.log") for line in (path.parent / name).read_text().splitlines()]
    kept = [json.loads(line)["event"] for line in lines]
    assert kept == told[-len(kept) :]
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    log.close()


def test_it_keeps_its_bound_where_no_copy_can_be_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copyfile(_: Path, half: Path) -> None:
        half.write_text("half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log_file, "MOST_BYTES", 10)
    monkeypatch.setattr(shutil, "copyfile", copyfile)
    log = LogFile(path)
    for name in ("one", "two"):
        write(log, event("warning", name))
        assert log.read() == [Remark("warning", name, {})]
        assert [(file.name, file.stat().st_size) for file in path.parent.iterdir()] == [("agent.log", 0)]
    log.close()


def test_a_file_that_somebody_emptied_is_read_on_from_its_beginning(path: Path) -> None:
    log = LogFile(path)
    write(log, *[event("info", "worker_warmed")] * 9)
    log.read()
    os.truncate(path, 0)
    write(log, event("error", "driver_died"))
    assert log.read() == [Remark("error", "driver_died", {})]
    log.close()
