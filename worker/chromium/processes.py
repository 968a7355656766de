"""Reads /proc: which processes there are, and which of them can be proven to belong to one tree. Ends nothing.

A process id alone proves nothing, since the kernel hands it out again. Its start time within one boot does.
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
_DEAD_STATES = frozenset("ZX")  # proc(5): zombie, dead. Nothing of them is left but an exit code


class Process(NamedTuple):
    """A running process. `started_ticks`: clock ticks from boot to its start, field 22 of /proc/PID/stat.

    `is_ending`: it runs no code of its own any more and gives back its memory with its arguments, then files and ports.
    """

    pid: int
    parent: int
    group: int
    started_ticks: int
    is_ending: bool = False


class Leader(NamedTuple):
    """The first process of a tree and of its process group. `pid` is the number of the group, too."""

    pid: int
    started_ticks: int


def read(pid: int) -> Process | None:
    """The process of that id, None if there is none or only a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may hold anything, even parentheses: proc(5).
    fields = stat[stat.rindex(")") + 2 :].split()
    if fields[0] in _DEAD_STATES:
        return None
    is_ending = bool(int(fields[6]) & _EXITING)
    return Process(pid, int(fields[1]), group=int(fields[2]), started_ticks=int(fields[19]), is_ending=is_ending)


def is_there(process: Process) -> bool:
    """Whether it still runs; not another one of the same id."""
    now = read(process.pid)
    return now is not None and now.started_ticks == process.started_ticks


def scan() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if name.isdecimal() and (process := read(int(name))):
            yield process


def command_line(pid: int) -> str:
    """Its program and arguments, joined by spaces. Unlike the environment, all users may read this of all processes."""
    try:
        # Chromium joins its own by spaces, as programs do that set their title: proc(5).
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def bears(pid: int, *arguments: str) -> bool:
    """Whether it was started with one of these arguments."""
    line = f" {command_line(pid)} "
    return any(f" {argument} " in line for argument in arguments)


def named_in_arguments(before: str, after: str) -> Iterator[str]:
    """The names that stand between `before` and `after` in an argument of any process."""
    argument = re.compile(rf" {re.escape(before)}([^ /]+){re.escape(after)} ")
    for process in scan():
        if found := argument.search(f" {command_line(process.pid)} "):
            yield found[1]


def private_memory_mb(groups: Container[int]) -> Counter[int]:
    """By process group, how much its members hold that no file and nobody else shares: /proc/PID/statm, proc(5)."""
    pages: Counter[int] = Counter()
    for process in scan():
        if process.group in groups:
            with suppress(FileNotFoundError, ProcessLookupError):
                _, resident, shared, *_ = Path(f"/proc/{process.pid}/statm").read_text().split()
                pages[process.group] += int(resident) - int(shared)
    page_size = os.sysconf("SC_PAGE_SIZE")
    return Counter({group: held * page_size // 2**20 for group, held in pages.items()})


class Use(NamedTuple):
    """`private_mb`: as of private_memory_mb. `busy_s`: processor time of those that live, since they began."""

    private_mb: int
    busy_s: float


def use(groups: Container[int]) -> dict[int, Use]:
    """By process group, what its members take: /proc/PID/statm and fields 14 and 15 of /proc/PID/stat, proc(5)."""
    pages: Counter[int] = Counter()
    ticks: Counter[int] = Counter()
    for process in scan():
        if process.group in groups:
            with suppress(FileNotFoundError, ProcessLookupError):
                _, resident, shared, *_ = Path(f"/proc/{process.pid}/statm").read_text().split()
                stat = Path(f"/proc/{process.pid}/stat").read_text()
                fields = stat[stat.rindex(")") + 2 :].split()
                pages[process.group] += int(resident) - int(shared)
                ticks[process.group] += int(fields[11]) + int(fields[12])
    page_size, tick_hz = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    return {group: Use(held * page_size // 2**20, ticks[group] / tick_hz) for group, held in pages.items()}


def unread_bytes(ports: Container[int]) -> dict[int, int]:
    """By port of 127.0.0.1, how much whoever is connected there has still to read of it: /proc/net/tcp, proc(5)."""
    unread: dict[int, int] = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, peer, state, queues, *_ = line.split()
        address, port = (int(part, 16) for part in peer.split(":"))
        if state == _ESTABLISHED and address == _LOOPBACK and port in ports:
            unread[port] = max(unread.get(port, 0), int(queues.split(":")[1], 16))
    return unread


def boot_id() -> str:
    """Differs after every boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def tree(leader: Leader | None, *arguments: str) -> list[Process]:
    """What lives of a tree whose processes bear one of the `arguments`, which no others do, or are in the group of
    `leader`.

    A group is the leader's as long as the leader itself lives, or any member bears an argument: while a group has a
    member, its number is not handed out again. One that is ending counts in any case: it has lost its arguments, and
    there is nothing left of it that a signal could end.
    """
    everything = list(scan())
    bearers = {process.pid for process in everything if bears(process.pid, *arguments)}
    group = [process for process in everything if leader and process.group == leader.pid]
    if not any(process.pid in bearers or (process.pid, process.started_ticks) == leader for process in group):
        group = [process for process in group if process.is_ending]
    return group + [process for process in everything if process.pid in bearers and process not in group]
