"""What an earlier `up` left is found and ended, and nothing else is: on real processes, tied as the parts are."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from poolmgr.one_machine import tie
from poolmgr.one_machine.folder import StateFolder
from poolmgr.one_machine.news import PartName, TookOver
from poolmgr.one_machine.takeover import take_over
from tests.waiting import PATIENCE_S

REDIS, MANAGER, AGENT = PartName


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def tied(run_file: Path, *command: str, parent: int | None = None) -> list[str]:
    parent = os.getpid() if parent is None else parent
    return [sys.executable, "-I", "-S", tie.__file__, str(int(signal.SIGTERM)), str(parent), str(run_file), *command]


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path)
    folder.run_file(AGENT).parent.mkdir()
    return folder


@pytest.fixture
def start(folder: StateFolder) -> Generator[Callable[..., "subprocess.Popen[bytes]"]]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(part: PartName, script: str) -> "subprocess.Popen[bytes]":
        run_file = folder.run_file(part)
        process = subprocess.Popen(tied(run_file, "/bin/sh", "-c", script), stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_each_part_is_asked_in_its_own_way_and_killed_if_it_does_not_heed(
    folder: StateFolder, start: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    # The agent drains already, and heeds SIGUSR1 no more.
    agent = start(AGENT, "trap '' USR1 TERM; echo ready; while :; do sleep 0.05; done")
    manager = start(MANAGER, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    told: list[TookOver] = []
    take_over(folder, told.append)
    assert told == [TookOver(AGENT, agent.pid, was_killed=True), TookOver(MANAGER, manager.pid, was_killed=False)]
    assert (agent.wait(), manager.wait()) == (-signal.SIGKILL, 0)
    take_over(folder, told.append)
    assert len(told) == 2, "there is nothing any more"


@pytest.mark.parametrize("written", ["", "nonsense", "1 2 3", "{pid}", "{pid} 1 {boot}", "{pid} {ticks} another-boot"])
def test_a_process_that_only_has_the_id_is_left_alone(folder: StateFolder, written: str) -> None:
    bystander = subprocess.Popen(["/bin/sleep", "60"])
    try:
        pid, ticks, boot = tie.identity(bystander.pid).split()
        folder.run_file(AGENT).write_text(written.format(pid=pid, ticks=ticks, boot=boot))
        take_over(folder, lambda what: pytest.fail(str(what)))
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_part_is_told_of_the_death_of_who_started_it(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    script = f"trap 'touch {heard}; exit' TERM; echo ready; while :; do sleep 0.05; done"
    starting = f"import os, subprocess; subprocess.Popen({tied(Path('RUN'), '/bin/sh', '-c', script)!r}).wait()"
    starting = starting.replace(repr(str(os.getpid())), "str(os.getpid())").replace(
        "'RUN'", repr(str(tmp_path / "run"))
    )
    parent = subprocess.Popen([sys.executable, "-c", starting], stdout=subprocess.PIPE)
    assert parent.stdout
    assert parent.stdout.readline() == b"ready\n"
    parent.kill()
    parent.wait()
    until(heard.exists)
    parent.stdout.close()


def test_a_part_heeds_that_signal_also_behind_nohup(tmp_path: Path) -> None:
    ignoring = ["/bin/sh", "-c", "trap '' TERM; exec \"$@\"", "sh"]
    command = [*ignoring, *tied(tmp_path / "run", "/bin/sh", "-c", "kill -TERM $$")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGTERM


def test_a_part_whose_starter_died_before_it_could_be_tied_does_not_begin(tmp_path: Path) -> None:
    command = tied(tmp_path / "run", "/bin/echo", "begun", parent=1 if os.getppid() != 1 else 2)
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "cannot start: who wanted it is gone\n")


def test_a_program_that_cannot_be_run_says_so(tmp_path: Path) -> None:
    result = subprocess.run(tied(tmp_path / "run", "/no/such/program"), capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, "cannot run /no/such/program: No such file or directory\n")
