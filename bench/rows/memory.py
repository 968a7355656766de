"""What workers take while they stand idle: memory, as each process's share of what it maps (PSS), and CPU time."""

import asyncio
import os
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec
from playwright.async_api import async_playwright

from bench.progress import Progress
from bench.report import Budget, Measurement
from bench.sample import Series
from bench.stage import Stage, StageError, launch
from worker import processes

_MOST_MB: Final = 200.0  # a worker; docs: the budgets
_MOST_CPU: Final = 2.0  # percent of one core, for ten workers; docs: the budgets
_BUDGETED_WORKERS: Final = 10
_SETTLE_S: Final = 6.0
_INTERVAL_S: Final = 5.0
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    count, intervals = (4, 2) if quick else (_BUDGETED_WORKERS, 4)
    async with Stage({"pool": {"min_idle": count, "max_workers": count}}) as stage:
        await stage.start_manager()
        await stage.start_agent()
        progress.say(f"{count} workers warm up")
        await stage.pool_is(count, within_s=120.0)
        progress.say("they settle")
        await asyncio.sleep(_SETTLE_S)
        workers = [_tree(group) for group in _worker_groups(stage.state_dir)]
        if len(workers) != count:
            raise StageError(f"{count} workers were idle, but {len(workers)} browsers were found")
        agent = _descendants(stage.pid("agent")) - {pid for tree in workers for pid in tree}
        each = Series("one worker: its Chromium", "MB")
        each.add([_pss_mb(tree) for tree in workers])
        shared_mb = _pss_mb(agent)
        cpu = Series(f"{count} workers, agent, driver", "% of a core")
        everything = [*agent, *(pid for tree in workers for pid in tree)]
        for number in range(intervals):
            progress.say(f"processor time, {number + 1} of {intervals} times {_INTERVAL_S:.0f} s")
            cpu.add([await _cpu_percent(everything)])
    share = Series("one worker with its share of agent and driver", "MB")
    share.add([mb + shared_mb / count for mb in each.samples])
    shared = Series("the agent and its driver, one for all", "MB")
    shared.add([shared_mb])
    peer = Series("a driver and a browser for every bot", "MB")
    peer.add(await _peers_mb(count, progress))
    memory, processor = each.summary(), cpu.summary()
    return [
        Measurement(
            "memory",
            f"one of {count} idle workers (PSS)",
            memory,
            [peer.summary(), share.summary(), shared.summary()],
            share.summary().p50 / peer.summary().p50,
            [Budget("p50", "MB", memory.p50, _MOST_MB), Budget("p50 with its share", "MB", share.summary().p50)],
            conditions=f"{count} workers, all processes of each summed up, {_SETTLE_S:.0f} s after the last was warm."
            f" The {count} beside them run when ours have ended, because who runs together shares memory. The ratio is"
            " that of a worker with its share of agent and driver to one with its own.",
            limited_by="Chromium's browser, GPU, network and renderer processes for one empty page.",
        ),
        Measurement(
            "cpu",
            f"{count} idle workers",
            processor,
            budgets=[
                Budget(
                    f"mean of {_BUDGETED_WORKERS}", "%", processor.mean, _MOST_CPU, judged=count == _BUDGETED_WORKERS
                )
            ],
            conditions=f"user and system time of agent, driver and all browsers, {intervals} times"
            f" {_INTERVAL_S:.0f} s; a tick is {1000 / _TICKS_A_SECOND:.0f} ms.",
            limited_by="heartbeats of the agent and what Chromium's processes wake up for by themselves.",
        ),
    ]


async def _peers_mb(count: int, progress: Progress) -> list[float]:
    """The memory of each of `count` pairs of driver and browser, as a program for one bot starts them."""
    before = _descendants(os.getpid())
    pairs: list[set[int]] = []
    async with AsyncExitStack() as stack:
        for number in range(count):
            progress.say(f"driver and browser {number + 1} of {count} beside them")
            playwright = await stack.enter_async_context(async_playwright())
            browser = await launch(playwright)
            stack.push_async_callback(browser.close)
            await browser.new_page()
            now = _descendants(os.getpid())
            pairs.append(now - before)
            before = now
        progress.say("they settle")
        await asyncio.sleep(_SETTLE_S)
        # What a pair started later on is its driver's descendant, too.
        return [_pss_mb({pid for one in pair for pid in (one, *_descendants(one))}) for pair in pairs]


class _Marker(msgspec.Struct):
    pgid: int


def _worker_groups(state_dir: Path) -> list[int]:
    files = sorted(state_dir.glob("workers/*/worker.json"))
    return [msgspec.json.decode(file.read_bytes(), type=_Marker).pgid for file in files]


def _tree(group: int) -> set[int]:
    return {process.pid for process in processes.scan() if process.group == group} | _descendants(group)


def _descendants(root: int) -> set[int]:
    """The process and all below it."""
    children: dict[int, list[int]] = {}
    for process in processes.scan():
        children.setdefault(process.parent, []).append(process.pid)
    found, left = set[int](), [root]
    while left:
        pid = left.pop()
        found.add(pid)
        left += children.get(pid, [])
    return found


def _pss_mb(pids: Iterable[int]) -> float:
    return sum(_pss_kb(pid) for pid in pids) / 1024


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


async def _cpu_percent(pids: Iterable[int]) -> float:
    began, before = time.monotonic(), _ticks(pids)
    await asyncio.sleep(_INTERVAL_S)
    return 100 * (_ticks(pids) - before) / _TICKS_A_SECOND / (time.monotonic() - began)


def _ticks(pids: Iterable[int]) -> int:
    """User and system time, fields 14 and 15 of /proc/PID/stat: proc(5)."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total
