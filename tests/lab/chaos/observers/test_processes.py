"""The browsers of the stage, as the process table shows them."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.chaos.observers.processes import Table
from tests.waiting import PATIENCE_S
from worker.chromium import processes
from worker.chromium.processes import Process


def begin(folder: Path, worker_id: str) -> subprocess.Popen[bytes]:
    """What a browser is by its arguments. It ends with its input."""
    argument = f"--user-data-dir={folder}/vm-1/workers/{worker_id}/profile"
    process = subprocess.Popen(["sh", "-c", "read -r line", argument], stdin=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE_S
    while not processes.command_line(process.pid):  # Linux sets them shortly after the program began
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return process


def test_a_browser_that_ends_during_the_look_is_not_beside_the_one_that_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[subprocess.Popen[bytes]] = [begin(tmp_path, "w1")]

    def scan() -> Iterator[Process]:
        first = processes.read(began[0].pid)
        assert first
        yield first
        began[0].communicate()
        began.append(begin(tmp_path, "w2"))
        second = processes.read(began[1].pid)
        assert second
        yield second

    table = Table(tmp_path)
    assert [browser.worker_id for browser in table.browsers()] == ["w1"]  # whose arguments are not read again
    monkeypatch.setattr(processes, "scan", scan)
    assert [browser.worker_id for browser in table.browsers_at_once()] == ["w2"]
    began[-1].communicate()
