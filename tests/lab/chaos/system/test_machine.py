"""What faults do to the machine: that it does what is said, to whom it is meant, and is undone. What this machine does
not allow is passed over, as the suite does.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.chaos.system import machine
from lab.chaos.system.machine import Need
from lab.parts.stage import ROOT


def demand(need: Need, folder: Path) -> None:
    if not machine.allows(need, folder):
        pytest.skip(f"for want of {need}")


@contextmanager
def asked(*words: str, **environment: str) -> Generator[subprocess.Popen[str]]:
    """A Python that answers each line with what it evaluates to, or with the error's name."""
    script = """
import sys
for line in sys.stdin:
    try:
        print(eval(line), flush=True)
    except Exception as error:
        print(type(error).__name__, getattr(error, "errno", ""), flush=True)
"""
    command = (*words, sys.executable, "-c", script)
    program = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


def answer(program: subprocess.Popen[str], question: str) -> str:
    assert program.stdin
    assert program.stdout
    program.stdin.write(f"{question}\n")
    program.stdin.flush()
    return program.stdout.readline().strip()


def test_a_small_disk_that_is_full_takes_nothing_until_it_is_emptied(tmp_path: Path) -> None:
    demand(Need.SMALL_DISK, tmp_path)
    disk = tmp_path / "disk"
    disk.mkdir()
    machine.mount_small_disk(disk, 1)
    try:
        machine.fill(disk / "filler")
        with pytest.raises(OSError, match="No space left"), (disk / "more").open("wb", buffering=0) as more:
            more.write(bytes(1 << 13))
        (disk / "filler").unlink()
        (disk / "more").write_bytes(bytes(1 << 13))
    finally:
        machine.unmount(disk)
    assert not disk.is_mount()
    assert list(disk.iterdir()) == []


def test_fixed_files_cannot_be_changed_made_or_removed_also_by_who_has_them_open(tmp_path: Path) -> None:
    demand(Need.FIXED_FILES, tmp_path)
    folder, file = tmp_path / "state" / "workers", tmp_path / "state" / "workers" / "note"
    folder.mkdir(parents=True)
    with file.open("wb", buffering=0) as opened:
        machine.fix_files(tmp_path / "state")
        try:
            for change in (
                lambda: opened.write(b"x"),
                lambda: (folder / "new").write_text("x"),
                lambda: (folder / "new").mkdir(),
                file.unlink,
                folder.rmdir,
            ):
                with pytest.raises(PermissionError):
                    change()
        finally:
            machine.free_files(tmp_path / "state")
        opened.write(b"x")
    (folder / "new").write_text("x")
    assert file.read_bytes() == b"x"


def test_little_memory_is_said_to_one_process_and_to_no_other(tmp_path: Path) -> None:
    demand(Need.OWN_MEMINFO, tmp_path)
    true = Path("/proc/meminfo").read_text().splitlines()[0].split()
    question = "[l.split() for l in open('/proc/meminfo')][:3]"
    with asked("unshare", "-m") as alone, asked() as beside:
        assert "'MemAvailable:', '102400'" not in answer(alone, question)
        for program in (alone, beside):
            machine.say_little_memory(program.pid, 100, tmp_path)
        assert "'MemAvailable:', '102400'" in answer(alone, question)
        assert str(true) in answer(alone, question)
        assert "'MemAvailable:', '102400'" not in answer(beside, question)
        answer(alone, "globals().update(held=open('/proc/meminfo'))")  # it is in the middle of reading it
        for program in (alone, beside):
            machine.say_true_memory(program.pid)
        assert "'MemAvailable:', '102400'" not in answer(alone, question)


def test_a_process_without_descriptors_opens_nothing_until_it_has_its_limits_again() -> None:
    with asked() as program:
        before = answer(program, "__import__('resource').getrlimit(7)")
        limits = machine.leave_no_descriptor(program.pid)
        assert answer(program, "open('/dev/null')") == "OSError 24"
        machine.give_descriptors(program.pid, limits)
        assert "OSError" not in answer(program, "open('/dev/null')")
        assert answer(program, "__import__('resource').getrlimit(7)") == before
    with pytest.raises(OSError, match=str(program.pid)):
        machine.leave_no_descriptor(program.pid)
    machine.give_descriptors(program.pid, limits)


def test_a_wall_clock_goes_as_it_is_set_while_the_monotonic_one_goes_on(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    question = "(lambda t: (t.time(), t.time_ns() / 1e9, t.monotonic()))(__import__('time'))"

    def off_by(program: subprocess.Popen[str]) -> tuple[float, float, float]:
        ours = answer(plain, question)
        return tuple(round((a - b) / 60) for a, b in zip(eval(answer(program, question)), eval(ours), strict=True))

    with asked(**machine.settable_clock(clock)) as program, asked() as plain:
        assert off_by(program) == (0, 0, 0)
        machine.set_clock(clock, 3600)
        assert off_by(program) == (60, 60, 0)
        machine.set_clock(clock, -3600)
        assert off_by(program) == (-60, -60, 0)
        machine.set_clock(clock, 0)
        assert off_by(program) == (0, 0, 0)


async def test_the_programs_start_with_such_a_clock(tmp_path: Path) -> None:
    """And in a folder of the machine's that is not the suite's."""
    environment = {**os.environ, **machine.settable_clock(tmp_path / "clock")}
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "worker", "--version", cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )
    out, _ = await program.communicate()
    assert program.returncode == 0
    assert b"poolmgr" in out
