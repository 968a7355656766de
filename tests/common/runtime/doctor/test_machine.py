"""What the machine lets a program have, read from folders like /proc and /sys."""

from pathlib import Path

import pytest

from common.runtime.doctor.checks import Severity, carry_out
from common.runtime.doctor.machine import available_mb, cgroup_limit, disk, open_files


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """Of 8 GB, in the control group /a/b of which /a may hold 2 GB."""
    proc, sys = tmp_path / "proc", tmp_path / "sys"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text("1:name=systemd:/x\n0::/a/b\n")
    (proc / "meminfo").write_text("MemTotal:  9000000 kB\nMemAvailable:    8388608 kB\n")
    (sys / "a/b").mkdir(parents=True)
    (sys / "a/memory.max").write_text("2147483648\n")
    (sys / "a/b/memory.max").write_text("max\n")
    return proc, sys


def test_the_smallest_limit_of_the_groups_above_counts(machine: tuple[Path, Path]) -> None:
    proc, sys = machine
    assert cgroup_limit("memory.max", proc, sys) == 2 << 30
    assert cgroup_limit("pids.max", proc, sys) is None
    assert available_mb(proc, sys) == 2048
    (sys / "a/memory.max").write_text("max\n")
    assert available_mb(proc, sys) == 8192


def test_where_nobody_tells_there_is_no_limit(tmp_path: Path) -> None:
    assert cgroup_limit("memory.max", tmp_path, tmp_path) is None


async def test_open_files_are_compared_with_what_is_needed() -> None:
    found = await carry_out([open_files(1, 1), open_files(1, 1 << 40), open_files(1 << 40, 1 << 40)])
    assert [diagnosis.severity for diagnosis in found] == [Severity.OK, Severity.WARNING, Severity.ERROR]
    assert "LimitNOFILE=1099511627776" in found[1].todo


async def test_room_on_the_disk_is_that_of_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    there, to_come, full, tight = await carry_out(
        [
            disk(tmp_path, 1, 1, "worker.state_dir"),
            disk(tmp_path / "a/b", 1, 1, "worker.state_dir"),
            disk(tmp_path, 1 << 40, 1 << 40, "worker.state_dir"),
            disk(tmp_path, 1, 1 << 40, "worker.state_dir"),
        ]
    )
    assert there.severity is to_come.severity is Severity.OK
    assert to_come.what.endswith("which is made at the start")
    assert (full.severity, tight.severity) == (Severity.ERROR, Severity.WARNING)
    assert "worker.state_dir" in full.todo
