"""The rows of the budgets, one file each. A row answers its measurements; one that cannot be measured says why."""

from collections.abc import Awaitable
from typing import Final, NamedTuple, Protocol

from bench.progress import Progress
from bench.report import Measurement
from bench.rows import burst, decision, dispatch, memory, rewarm, warm_join


class Measure(Protocol):
    def __call__(self, progress: Progress, *, quick: bool) -> Awaitable[list[Measurement]]: ...


class Row(NamedTuple):
    measure: Measure
    about: str


ROWS: Final = {
    "dispatch": Row(dispatch.measure, "LPUSH to the agent holding the command, beside a bare relay and saq"),
    "burst": Row(burst.measure, "2,000 jobs at once over a large fleet, beside a bare relay and saq"),
    "decision": Row(decision.measure, "what an event costs the pool, 10,000 VMs beside 10"),
    "warm_join": Row(warm_join.measure, "LPUSH to the meeting page and to Ask to join, beside a browser per job"),
    "memory": Row(memory.measure, "what idle workers take: memory beside driver and browser per bot, and CPU"),
    "rewarm": Row(rewarm.measure, "a spent slot back to warm, beside a bare Chromium start"),
}
