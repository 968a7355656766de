"""What some faults need of the machine, and how it is done: a small file system for an agent, files that cannot be
changed, a /proc/meminfo for one agent, a clock that can be set for one process.

What this machine does not allow is determined and printed before anything starts. Those faults are left out.
"""

import fcntl
import os
import resource
import struct
import subprocess
from contextlib import suppress
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Final

_GET_FLAGS: Final = 0x80086601  # FS_IOC_GETFLAGS of linux/fs.h, as FS_IOC_SETFLAGS and FS_IMMUTABLE_FL
_SET_FLAGS: Final = 0x40086602
_IMMUTABLE: Final = 0x10
_MEMINFO: Final = Path("/proc/meminfo")
_COMMAND_S: Final = 10.0
_CHUNK: Final = bytes(1 << 12)


class Need(StrEnum):
    """What a fault needs of the machine."""

    SMALL_DISK = "a file system of its own (root, who may mount)"
    FIXED_FILES = "files that nobody can change (root, and a temporary folder on ext4, xfs or btrfs)"
    OWN_MEMINFO = "a mount namespace of its own (root; unshare and nsenter)"
    OWN_CLOCK = "a program that is started by itself, and not forked"


def allows(need: Need, folder: Path) -> bool:
    """Whether this machine allows it. `folder`: where the stage's files are."""
    match need:
        case Need.SMALL_DISK:
            return _runs("unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", str(folder))
        case Need.FIXED_FILES:
            return _allows_fixed_files(folder)
        case Need.OWN_MEMINFO:
            return _runs("unshare", "-m", "nsenter", "--version")
        case Need.OWN_CLOCK:
            return True


# A full disk


def mount_small_disk(folder: Path, size_mb: int) -> None:
    subprocess.run(("mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)), check=True)


def unmount(folder: Path) -> None:
    """Unmount at once, even if it is in use. Idempotent."""
    subprocess.run(("umount", "-l", str(folder)), check=False, capture_output=True)


def fill(path: Path) -> None:
    """Write to `path` until there is no room left."""
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while file.write(_CHUNK):
            pass


# Files that cannot be changed


def fix_files(folder: Path) -> None:
    """Make the folder immutable: nothing in it can be written, made or removed, also by processes that have it open. It
    is like a read-only disk with another error.
    """
    _set_all(folder, fixed=True)


def free_files(folder: Path) -> None:
    """Undo `fix_files`. Idempotent."""
    _set_all(folder, fixed=False)


def _set_all(folder: Path, *, fixed: bool) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            continue
        with suppress(OSError):  # it went meanwhile
            _set(path, fixed=fixed)


def _set(path: Path, *, fixed: bool) -> None:
    """Set the flag. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        raw = bytearray(8)
        fcntl.ioctl(descriptor, _GET_FLAGS, raw)
        [flags] = struct.unpack("i", raw[:4])
        flags = flags | _IMMUTABLE if fixed else flags & ~_IMMUTABLE
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", flags))
    finally:
        os.close(descriptor)


def _allows_fixed_files(folder: Path) -> bool:
    probe = folder / "fixed"
    with probe.open("wb", buffering=0) as file:
        try:
            _set(probe, fixed=True)
            file.write(b"x")
        except PermissionError:
            return True
        except OSError:
            return False
        else:
            return False
        finally:
            with suppress(OSError):
                _set(probe, fixed=False)
            probe.unlink(missing_ok=True)


# Memory


def say_little_memory(pid: int, available_mb: int, folder: Path) -> None:
    """Let the process and its children read in /proc/meminfo that only this much memory is available. The process must
    be in a mount namespace of its own; otherwise nothing is done.
    """
    if os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
        return
    words = [line.split() for line in _MEMINFO.read_text().splitlines()]
    faked = [
        ["MemAvailable:", str(available_mb * 1024), "kB"] if line[0] == "MemAvailable:" else line for line in words
    ]
    fake = folder / "meminfo"
    fake.write_text("".join(f"{' '.join(line)}\n" for line in faked))
    _runs("nsenter", "-t", str(pid), "-m", "mount", "--bind", str(fake), str(_MEMINFO))


def say_true_memory(pid: int) -> None:
    """Undo `say_little_memory`, if the process still runs. Idempotent."""
    with suppress(OSError):
        if os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"):
            # Lazily, because a process that is just reading the file would prevent it.
            _runs("nsenter", "-t", str(pid), "-m", "umount", "--lazy", str(_MEMINFO))


# File descriptors


def leave_no_descriptor(pid: int) -> tuple[int, int]:
    """Let the process open nothing more. Returns its earlier limits. Raises: OSError; ValueError when the process is
    gone.
    """
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (next(n for n in count() if n not in taken), before[1]))
    return before


def give_descriptors(pid: int, limits: tuple[int, int]) -> None:
    with suppress(OSError, ValueError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


# A clock


def settable_clock(file: Path) -> dict[str, str]:
    """The environment for a Python program whose wall clock follows `set_clock`."""
    set_clock(file, 0.0)
    return {"CHAOS_CLOCK": str(file), "PYTHONPATH": str(Path(__file__).parent / "clock")}


def set_clock(file: Path, by_s: float) -> None:
    """Set the clock this much ahead from now on; negative: behind."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, struct.pack("d", by_s), 0)  # in place, because the process has mapped the file
    finally:
        os.close(descriptor)


def _runs(*command: str) -> bool:
    try:
        return not subprocess.run(command, capture_output=True, check=False, timeout=_COMMAND_S).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False
