"""The rows of the budgets, one file each. A row returns its measurements; a row that cannot be measured says why."""

from collections.abc import Awaitable, Sequence
from typing import Final, NamedTuple, Protocol

from lab.bench.progress import Progress
from lab.bench.report import Measurement
from lab.bench.rows import (
    burst,
    calls,
    capture,
    click,
    command_line,
    decision,
    dispatch,
    displays,
    flood,
    lobby,
    manager,
    memory,
    reading,
    records,
    rewarm,
    viewers,
    warm_join,
    warm_pages,
)


class Measure(Protocol):
    def __call__(self, progress: Progress, *, quick: bool) -> Awaitable[list[Measurement]]: ...


class Row(NamedTuple):
    """A row. `long`: it takes so long that it is measured only on request."""

    measure: Measure
    about: str
    long: bool = False


ROWS: Final = {
    "dispatch": Row(
        dispatch.measure, "LPUSH to the agent holding the command, beside a bare relay, taskiq, saq and arq"
    ),
    "burst": Row(burst.measure, "2,000 jobs at once over a large fleet, beside a bare relay, taskiq, saq and arq"),
    "decision": Row(decision.measure, "what an event costs the pool, 10,000 VMs beside 10"),
    "reading": Row(
        reading.measure, "what the slowest of 860 hostile jobs costs to read, beside json.loads of the same bytes"
    ),
    "warm_join": Row(warm_join.measure, "LPUSH to the meeting page and to Ask to join, beside a browser per job"),
    "warm_pages": Row(
        warm_pages.measure,
        "LPUSH to Ask to join on a page of 8 MB, its code in the cache or not, beside a browser per job",
    ),
    "click": Row(
        click.measure,
        "from when Join can be pressed to the click, on each platform's local pages, beside Playwright alone",
    ),
    "memory": Row(memory.measure, "what idle workers take: memory beside driver and browser per bot, and CPU"),
    "idle": Row(memory.measure_idle, "50 idle workers for --minutes: whether their memory grows", long=True),
    "lobby": Row(lobby.measure, "what a worker takes while its bot waits in a lobby: memory"),
    "calls": Row(
        calls.measure, "8 bots at once in one room, for --minutes: memory, processor time, false leaves", long=True
    ),
    "capture": Row(
        capture.measure,
        "what a bot takes whose meeting is recorded, over one that listens: processor time, memory",
        long=True,
    ),
    "displays": Row(displays.measure, "what an idle worker with a display takes beside one without: memory", long=True),
    "displays_begin": Row(
        displays.measure_begin,
        "LPUSH to the first picture that is recorded, on a worker with a display and by a tab",
        long=True,
    ),
    "manager": Row(manager.measure, "what the manager takes while 1,000 VMs send heartbeats, beside a bare reader"),
    "viewers": Row(
        viewers.measure, "what ten viewers of the page cost the manager beside none, and the page its browser"
    ),
    "flood": Row(flood.measure, "a call of one token beside the flood of another: /healthz, terms of leadership"),
    "command_line": Row(
        command_line.measure,
        "processor time of poolmgr --help, fleet and bots, beside a bare import of what they need",
    ),
    "rewarm": Row(rewarm.measure, "a spent slot back to warm, beside a bare Chromium start"),
    "records": Row(
        records.measure, "calls of the HTTP API among a million bot records, beside a thousand; memory", long=True
    ),
    "warm_join_idle": Row(
        warm_join.measure_idle, "LPUSH to the meeting page when the worker stood idle for ten minutes", long=True
    ),
}


def chosen(names: Sequence[str], *, long: bool) -> tuple[str, ...]:
    """The rows to measure: those that were named, else all. Long rows are measured only by name or on request."""
    if names:
        return (*names, *(name for name, row in ROWS.items() if long and row.long and name not in names))
    return tuple(name for name, row in ROWS.items() if long or not row.long)
