"""What one event costs, counted in steps and not in seconds: the same in a fleet of ten VMs and of ten thousand."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import pytest

from common.config.settings import PoolSettings
from common.wire.messages import BotEnded, BotMoved, Heartbeat, WorkerGone, WorkerReport, WorkerWarm
from common.wire.vocabulary import BotState, GoneCause, Reason, WorkerState
from poolmgr.core.events import JobAccepted, LeaveRequested, Tick
from poolmgr.core.pool import Pool
from tests.core.builders import START, WALL, job

pytestmark = pytest.mark.no_cover  # it traces the steps itself

SMALL: Final = 10
LARGE: Final = 10_000
IDLE: Final = 5
BUSY: Final = 3
LATER: Final = WALL + 3600


def fleet_of(vms: int, waiting: int) -> Pool:
    """Every VM with idle and busy workers, or (`waiting`) only busy ones and a line of bots."""
    idle = 0 if waiting else IDLE
    pool = Pool(PoolSettings(min_idle=idle, max_workers=12))
    reports = {f"i{n}": WorkerReport(WorkerState.IDLE) for n in range(idle)}
    reports |= {f"x{n}": WorkerReport(WorkerState.BUSY, f"stray{n}", 1) for n in range(BUSY)}
    for n in range(vms):
        pool.handle(Heartbeat(f"vm{n}", "s", WALL, reports, 0 if waiting else 4), START)
    for n in range(waiting):
        pool.handle(JobAccepted(f"w{n}", job(), WALL), START)
    return pool


def steps_of(do: Callable[[], object]) -> int:
    """How many instructions of Python it takes. What a built-in function does inside is one of them."""
    steps = 0

    def count(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        do()
    finally:
        sys.settrace(before)
    return steps


def life_of_a_job(pool: Pool) -> list[tuple[str, Callable[[], object]]]:
    """Every kind of event once, in an order in which each has something to decide."""

    def hand_in(event: Any) -> Callable[[], object]:
        return lambda: pool.handle(event, START + 1)

    def about_bot() -> tuple[str, str, str, int]:
        bot = pool.bots["a"]
        return bot.vm_id, bot.worker_id, "a", bot.attempt

    def warmed() -> object:
        vm = pool.fleet.vms[pool.bots["a"].vm_id]
        worker = next(w for w in vm.workers.values() if w.state is WorkerState.WARMING)
        return pool.handle(WorkerWarm(vm.vm_id, worker.worker_id, WALL), START + 1)

    worker_of_a: list[tuple[str, str]] = []

    def ended() -> object:
        worker_of_a.append(about_bot()[:2])
        return pool.handle(BotEnded(*about_bot(), WALL, Reason.MEETING_ENDED), START + 1)

    return [
        ("job", hand_in(JobAccepted("a", job(), WALL))),
        ("worker warm", warmed),
        ("bot moved", lambda: pool.handle(BotMoved(*about_bot(), WALL, BotState.IN_MEETING), START + 1)),
        ("leave", hand_in(LeaveRequested("a"))),
        ("bot ended", ended),
        ("worker gone", lambda: pool.handle(WorkerGone(*worker_of_a[0], WALL, GoneCause.SPENT), START + 1)),
        ("job for later", hand_in(JobAccepted("b", job(join_at=LATER), WALL))),
        ("reservation", hand_in(Tick(LATER - 60))),
        ("join due", hand_in(Tick(LATER))),
        ("tick", hand_in(Tick(LATER + 1))),
        ("heartbeat", hand_in(Heartbeat("vm1", "s2", WALL, {}, 9))),
    ]


def costs(vms: int) -> dict[str, int]:
    return {name: steps_of(step) for name, step in life_of_a_job(fleet_of(vms, waiting=0))}


def test_no_event_costs_more_in_a_large_fleet() -> None:
    small, large = costs(SMALL), costs(LARGE)
    too_dear = {name: (small[name], large[name]) for name in small if large[name] > 1.3 * small[name]}
    assert too_dear == {}


def drain_of_a_line(vms: int) -> int:
    """A VM without anything brings ten workers into a fleet in which everybody waits."""
    pool = fleet_of(vms, waiting=2 * vms)
    reports = {f"n{n}": WorkerReport(WorkerState.IDLE) for n in range(10)}
    return steps_of(lambda: pool.handle(Heartbeat("new", "s", WALL, reports, 0), START + 1))


def test_serving_a_long_line_costs_no_more_than_serving_a_short_one() -> None:
    assert drain_of_a_line(2_000) <= 1.3 * drain_of_a_line(SMALL)


def with_labels(vms: int) -> Pool:
    """Half of the VMs in one region, each with an address of its own; bots wait that no VM can serve."""
    pool = Pool(PoolSettings(min_idle=IDLE, max_workers=12))
    reports = {f"i{n}": WorkerReport(WorkerState.IDLE) for n in range(IDLE)}
    for n in range(vms):
        labels = {"address": f"a{n}", "region": "eu" if n % 2 else "us"}
        pool.handle(Heartbeat(f"vm{n}", "s", WALL, reports, 4, labels=labels), START)
    for n in range(vms):
        pool.handle(JobAccepted(f"never{n}", job(requires={"nowhere": str(n)}), WALL), START)
    pool.handle(JobAccepted("first", job(requires={"region": "eu"}), WALL), START)  # its place is made
    return pool


@pytest.mark.parametrize(
    "requires",
    [
        {"address": "a3", "region": "eu"},
        *(pytest.param(fewer, marks=pytest.mark.long) for fewer in ({}, {"region": "eu"}, {"region": "mars"})),
    ],
)
def test_a_job_costs_the_same_however_many_vms_have_what_it_requires(requires: dict[str, str]) -> None:
    small, large = (
        steps_of(lambda pool=pool: pool.handle(JobAccepted("a", job(requires=requires), WALL), START + 1))
        for pool in map(with_labels, (SMALL, 2_000))
    )
    assert large <= 1.3 * small


@pytest.mark.parametrize("vms", [SMALL, 1000])
def test_a_look_at_the_whole_fleet_would_be_noticed(vms: int) -> None:
    pool = fleet_of(vms, waiting=0)
    assert steps_of(lambda: [vm.idle for vm in pool.fleet]) >= vms
