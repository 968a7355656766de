"""What counts as time that the machine did not give: waiting for a processor, and nothing else."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from lab.chaos.observers.starvation import Given, patience_s, waited_for_processor_s
from tests.waiting import wait_until

SPINS = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"
SLEEPS = "import time; time.sleep(600)"


@contextmanager
def running(program: str, times: int) -> Generator[list[int]]:
    """So many of it, until the end of the block."""
    processes = [subprocess.Popen((sys.executable, "-c", program)) for _ in range(times)]
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def look(given: Given) -> None:
    given.look(time.monotonic(), time.time())


@pytest.mark.long
async def test_parts_that_share_a_processor_wait_for_it() -> None:
    with running(SPINS, 3) as pids:
        given = Given(lambda: pids, lambda: 0.0)

        def is_starved() -> bool:
            look(given)
            return given.starved_s > 0.3

        began = time.monotonic()
        await wait_until(is_starved)
        assert given.starved_s <= time.monotonic() - began + 1.0, "no more than passed, however many wait"


async def test_a_part_that_does_nothing_waits_for_nothing() -> None:
    """Also one that hangs: nobody is excused who does not run because it does not want to."""
    with running(SLEEPS, 1) as pids:

        async def waited_for_nothing() -> bool:
            given = Given(lambda: pids, lambda: 0.0)
            look(given)
            await asyncio.sleep(0.5)
            look(given)
            return given.starved_s < 0.3

        await wait_until(waited_for_nothing)  # until then it may still be starting, on a busy machine


def test_a_machine_that_stood_still_gave_nothing() -> None:
    late = [0.0]
    given = Given(list, lambda: late[0])
    now = time.monotonic() + 10.0
    given.look(now, 1000.0)
    for step, (late_s, starved_s) in enumerate([(2.0, 2.0), (2.0, 2.0), (9.0, 7.0)], 1):
        late[0] = late_s  # the last time more than passed
        given.look(now + step * 5.0, 1000.0 + step * 5.0)
        assert given.starved_s == pytest.approx(starved_s)
    assert given.starved_between_s(1000.0, 1005.0) == pytest.approx(2.0)
    assert given.starved_between_s(1005.0, 1010.0) == 0.0
    assert given.starved_between_s(1006.0, 1011.0) == pytest.approx(5.0), "to the looks around it"


def test_of_what_was_never_looked_at_nothing_is_known() -> None:
    assert Given(list, lambda: 0.0).starved_between_s(0.0, 1.0) == 0.0
    assert waited_for_processor_s(0) is None


@pytest.mark.parametrize(("starved_s", "waits_s"), [(0.0, 60.0), (20.0, 80.0), (1000.0, 180.0)])
def test_a_deadline_counts_the_time_that_was_given_and_comes_in_the_end(starved_s: float, waits_s: float) -> None:
    assert patience_s(60.0, starved_s) == waits_s
