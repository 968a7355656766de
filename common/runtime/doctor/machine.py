"""Checks the limits of the machine: open files, processes, memory, disk. Reads only /proc and /sys."""

import os
import resource
from pathlib import Path
from typing import Final

from common.runtime.doctor.checks import Check, Found, beside, error, ok, warning

DEADLINE_S: Final = 5.0
_UNLIMITED: Final = "max"


def open_files(need: int, want: int) -> Check:
    """Check the limit of open files. Below `need` is an error, below `want` a warning."""

    async def look() -> Found:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        facts = f"{soft} open files, {hard} at most"
        todo = f"LimitNOFILE={want} in the unit, `ulimit -n {want}` in a shell"
        if 0 <= soft < need:
            return error(facts, todo)
        return warning(facts, todo) if 0 <= soft < want else ok(facts)

    return Check("open files", DEADLINE_S, look)


def disk(folder: Path, need_mb: int, want_mb: int, setting: str) -> Check:
    """Check that the folder that `setting` names is writable and has room."""

    async def look() -> Found:
        return await beside(lambda: _disk(folder, need_mb, want_mb, setting))

    return Check("disk", DEADLINE_S, look, f"{setting} has to be on a local disk that answers")


def _disk(folder: Path, need_mb: int, want_mb: int, setting: str) -> Found:
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    room = os.statvfs(there)
    free_mb = room.f_bavail * room.f_frsize // 2**20
    facts = f"{free_mb} MB free at {folder}"
    todo = f"more room for {setting}, or another place"
    if there == folder and not os.access(folder, os.W_OK | os.X_OK):
        return error(f"{facts}, and it cannot be written to", f"make {setting} a folder of this user's")
    if free_mb < need_mb or (room.f_files and room.f_favail < 10_000):
        return error(f"{facts}, {room.f_favail} files", todo)
    if free_mb < want_mb:
        return warning(facts, todo)
    return ok(facts if there == folder else f"{facts}, which is made at the start")


def cgroup_limit(name: str, proc: Path = Path("/proc"), sys: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The smallest of `name` (such as memory.max, pids.max) over the control groups of this process, of version 2.
    None: there is no limit, or it is unknown.
    """
    found: list[int] = []
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        number, _, path = line.split(":", 2)
        group = sys / path.lstrip("/")
        for folder in (group, *group.parents) if number == "0" else ():
            try:
                value = (folder / name).read_text().strip()
            except OSError:
                continue
            if value != _UNLIMITED and value.isdecimal():
                found.append(int(value))
            if folder == sys:
                break
    return min(found, default=None)


def available_mb(proc: Path = Path("/proc"), sys: Path = Path("/sys/fs/cgroup")) -> int:
    """Available memory in MB: of the machine, or of the control group if that is less."""
    facts = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    free_mb = int(facts["MemAvailable"].split()[0]) // 1024
    limit = cgroup_limit("memory.max", proc, sys)
    return free_mb if limit is None else min(free_mb, limit // 2**20)
