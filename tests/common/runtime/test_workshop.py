"""What a killed process left of a recording is removed by the next one, and nothing else is."""

import fcntl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import pytest

from common.runtime.workshop import sweep, workshop

WORK: Final = """
import pathlib, sys, tempfile, time
from common.runtime.workshop import workshop
tempfile.tempdir = sys.argv[1]
with workshop() as folder:
    (folder / "audio.ogg").write_bytes(b"sound")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_folder_is_its_owners_alone_and_goes_with_its_work(tmp_path: Path) -> None:
    with workshop() as folder:
        assert (folder.parent, folder.stat().st_mode & 0o777) == (tmp_path, 0o700)
        (folder / "audio.ogg").write_bytes(b"sound")
        assert sweep() == 0, "somebody works in it"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_others_have_is_not(tmp_path: Path) -> None:
    (tmp_path / "poolmgr-recordings-1").mkdir()
    (tmp_path / "poolmgr-workshop-link").symlink_to(tmp_path / "poolmgr-recordings-1")
    with subprocess.Popen([sys.executable, "-c", WORK, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        folder = Path(process.stdout.readline().strip())
        assert sweep() == 0
        assert (folder / "audio.ogg").exists()
        process.kill()
    assert sweep() == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["poolmgr-recordings-1", "poolmgr-workshop-link"]


def test_one_that_a_sweep_removes_before_it_is_locked_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[int] = []
    lock = fcntl.flock

    def swept_first(descriptor: int, operation: int) -> None:
        if not swept:
            monkeypatch.setattr(fcntl, "flock", lock)
            swept.append(sweep())
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", swept_first)
    with workshop() as folder:
        assert (swept, list(folder.iterdir())) == ([1], [])


def test_where_nothing_can_be_written_nothing_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    assert sweep() == 0
