"""Reads /proc: which processes there are, and which of them provably belong to one tree. Ends nothing.

The kernel reuses process ids. A process is identified by its id together with its start time within one boot.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_ESTABLISHED = "01"
_LOOPBACK = int.from_bytes((127, 0, 0, 1), sys.byteorder)
_EXITING = 0x4  # PF_EXITING of the kernel's include/linux/sched.h, in the flags of /proc/PID/stat, field 9
_DEAD_STATES = frozenset("ZX")  # proc(5): zombie, dead; only their exit code is left


class Process(NamedTuple):
    """A running process. `started_ticks`: clock ticks from boot to its start, field 22 of /proc/PID/stat. `is_ending`:
    the kernel is removing it, and may have removed its arguments already.
    """

    pid: int
    parent: int
    group: int
    started_ticks: int
    is_ending: bool = False


class Leader(NamedTuple):
    """The first process of a tree and of its process group. `pid` is also the number of the group."""

    pid: int
    started_ticks: int


def read(pid: int) -> Process | None:
    """The process of that id; None if there is none, or only a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name is in parentheses and may contain any character, also parentheses: proc(5).
    fields = stat[stat.rindex(")") + 2 :].split()
    if fields[0] in _DEAD_STATES:
        return None
    is_ending = bool(int(fields[6]) & _EXITING)
    return Process(pid, int(fields[1]), group=int(fields[2]), started_ticks=int(fields[19]), is_ending=is_ending)


def is_there(process: Process) -> bool:
    """Whether this process, and not another one of the same id, still runs."""
    now = read(process.pid)
    return now is not None and now.started_ticks == process.started_ticks


def scan() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if name.isdecimal() and (process := read(int(name))):
            yield process


def command_line(pid: int) -> str:
    """The program and arguments, joined by spaces. All users may read them of all processes, unlike the environment."""
    try:
        # A program that sets its title joins them by spaces, as Chromium does: proc(5).
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def bears(pid: int, *arguments: str) -> bool:
    """Whether the process was started with one of these arguments."""
    line = f" {command_line(pid)} "
    return any(f" {argument} " in line for argument in arguments)


def named_in_arguments(before: str, after: str) -> Iterator[str]:
    """The names between `before` and `after` in the arguments of all processes."""
    argument = re.compile(rf" {re.escape(before)}([^ /]+){re.escape(after)} ")
    for process in scan():
        if found := argument.search(f" {command_line(process.pid)} "):
            yield found[1]


def private_memory_mb(groups: Container[int]) -> Counter[int]:
    """By process group: the memory in MB that its members share with no file and no other process."""
    pages: Counter[int] = Counter()
    for process in scan():
        if process.group in groups:
            with suppress(FileNotFoundError, ProcessLookupError):
                pages[process.group] += _private_pages(process)
    return Counter({group: _mb(held) for group, held in pages.items()})


def mapped_files(group: int) -> set[Path]:
    """The regular files that members of a process group have mapped, those that were removed left out. A process that
    does not let others look into it is passed over: so does a page's process in Chromium's sandbox.
    """
    paths: set[str] = set()
    for process in scan():
        if process.group == group:
            with suppress(OSError):
                mapped = Path(f"/proc/{process.pid}/maps").read_text(errors="replace").splitlines()
                # address, permissions, offset, device, inode, path: proc(5)
                paths |= {fields[5] for line in mapped if len(fields := line.split(maxsplit=5)) == 6}
    # Not Path.is_file, which raises what a dead disk or a path that is too long gives.
    return {Path(name) for name in paths if name.startswith("/") and os.path.isfile(name)}


class Use(NamedTuple):
    """What a process group takes. `private_mb`: as in private_memory_mb. `busy_s`: processor time of its living members
    since they started.
    """

    private_mb: int
    busy_s: float


def use(groups: Container[int]) -> dict[int, Use]:
    """By process group: what its members take. Processor time: fields 14 and 15 of /proc/PID/stat, proc(5)."""
    pages: Counter[int] = Counter()
    ticks: Counter[int] = Counter()
    for process in scan():
        if process.group in groups:
            with suppress(FileNotFoundError, ProcessLookupError):
                stat = Path(f"/proc/{process.pid}/stat").read_text()
                fields = stat[stat.rindex(")") + 2 :].split()
                pages[process.group] += _private_pages(process)
                ticks[process.group] += int(fields[11]) + int(fields[12])
    tick_hz = os.sysconf("SC_CLK_TCK")
    return {group: Use(_mb(held), ticks[group] / tick_hz) for group, held in pages.items()}


def _private_pages(process: Process) -> int:
    """Resident pages that are not shared: /proc/PID/statm, proc(5)."""
    _, resident, shared, *_ = Path(f"/proc/{process.pid}/statm").read_text().split()
    return int(resident) - int(shared)


def _mb(pages: int) -> int:
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def unread_bytes(ports: Container[int]) -> dict[int, int]:
    """By port of 127.0.0.1: how many bytes wait to be read by the client that is connected to it. Source:
    /proc/net/tcp, proc(5).
    """
    unread: dict[int, int] = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, peer, state, queues, *_ = line.split()
        address, port = (int(part, 16) for part in peer.split(":"))
        if state == _ESTABLISHED and address == _LOOPBACK and port in ports:
            unread[port] = max(unread.get(port, 0), int(queues.split(":")[1], 16))
    return unread


def boot_id() -> str:
    """An id that is new after every boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def tree(leader: Leader | None, *arguments: str, groups: Container[int] = ()) -> list[Process]:
    """The living processes of a tree: those that have one of the `arguments`, which no other processes have, and those
    in the process group of `leader` or in one of `groups`.

    The kernel reuses a group's number once the group is empty. So the leader's group counts only while the leader
    itself lives or a member has one of the arguments. Members that are ending always count: they have lost their
    arguments, and a signal cannot harm them. `groups` are those that a look just before this one has proven: a process
    that was forked since then has not got its arguments yet.
    """
    everything = list(scan())
    bearers = {process.pid for process in everything if bears(process.pid, *arguments)}
    group = [process for process in everything if leader and process.group == leader.pid]
    if not any(process.pid in bearers or (process.pid, process.started_ticks) == leader for process in group):
        group = [process for process in group if process.is_ending]
    others = [process for process in everything if process.pid in bearers or process.group in groups]
    return group + [process for process in others if process not in group]
