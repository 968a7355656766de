"""Measures the memory (PSS, each process's share of what it maps) and the processor time of processes."""

import asyncio
import os
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import msgspec

from lab.parts.table import below
from worker.chromium import processes

TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


class _Marker(msgspec.Struct):
    pgid: int


def worker_groups(state_dir: Path) -> list[int]:
    """The process groups of an agent's workers."""
    files = sorted(state_dir.glob("workers/*/worker.json"))
    return [msgspec.json.decode(file.read_bytes(), type=_Marker).pgid for file in files]


def tree(group: int) -> set[int]:
    """The processes of a group and all below its leader."""
    return {process.pid for process in processes.scan() if process.group == group} | below([group])


def pss_mb(pids: Iterable[int]) -> float:
    return sum(_pss_kb(pid) for pid in pids) / 1024


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


async def cpu_percent(pids: Collection[int], interval_s: float) -> float:
    """How many percent of one core all processes together use over the next `interval_s`."""
    return sum(await cpu_percents(pids, interval_s))


async def cpu_percents(pids: Collection[int], interval_s: float) -> list[float]:
    """How many percent of one core each process uses over the next `interval_s`; none if it ends meanwhile."""
    began, before = time.monotonic(), [_ticks(pid) for pid in pids]
    await asyncio.sleep(interval_s)
    spent = [max(0, _ticks(pid) - ticks) for pid, ticks in zip(pids, before, strict=True)]
    return [100 * ticks / TICKS_A_SECOND / (time.monotonic() - began) for ticks in spent]


def _ticks(pid: int) -> int:
    """User and system time, fields 14 and 15 of /proc/PID/stat: proc(5). 0 when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[11]) + int(fields[12])
