"""What one token costs is bounded, and others come in between: time is handed in, work is real."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from poolmgr.api.errors import ApiError
from poolmgr.api.rate import Rate
from poolmgr.api.turns import LARGE_BYTES, Turns

SHARE = Rate(per_s=0.02, burst=0.05)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def work(seconds: float) -> None:
    """Of processor time, however busy the machine is."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def refusal(let_in: Callable[[], None]) -> ApiError | None:
    try:
        let_in()
    except ApiError as error:
        return error
    return None


async def test_a_token_that_has_used_up_its_share_waits_for_it_and_no_other_does() -> None:
    now = Time()
    turns = Turns(now, 2, SHARE)

    async def laborious() -> str:
        work(SHARE.burst * 0.6)
        await asyncio.sleep(0)
        work(SHARE.burst * 0.6)
        return "done"

    assert await turns.costing("a", laborious()) == "done"
    error = refusal(lambda: turns.let_in("a"))
    assert error
    assert error.status == 429
    wait_s = int(error.headers["Retry-After"])
    assert wait_s >= 1
    turns.let_in("b")
    now.now += wait_s
    turns.let_in("a")


async def test_waiting_costs_nothing() -> None:
    turns, going = Turns(Time(), 1, SHARE), asyncio.Event()

    async def patient() -> None:
        await going.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(turns.costing("a", patient()), name="patient")
        await asyncio.to_thread(work, SHARE.burst * 1.2)  # somebody else's
        going.set()
    turns.let_in("a")


async def test_what_happens_in_the_work_comes_out_and_what_is_done_to_it_goes_in() -> None:
    turns, seen = Turns(Time(), 1, SHARE), list[str]()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("here")

    async def is_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(KeyError):
        await turns.costing("a", fails())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await turns.costing("a", is_cancelled())
    assert seen == ["cancelled"]


async def test_of_many_that_came_at_once_others_come_in_between() -> None:
    turns, order = Turns(Time(), 2, SHARE), list[str]()

    async def read(token: str) -> None:
        await turns.read(token, b"{}", lambda _: order.append(token))

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(read("flood"), name=f"flood {number}")
        group.create_task(read("other"), name="other")
    assert order.index("other") <= 2, "whoever has one is not behind a hundred"


async def test_large_bodies_are_read_one_at_a_time_while_the_loop_goes_on_and_count() -> None:
    turns = Turns(Time(), 2, SHARE)
    at_once, most, loop_thread = 0, 0, threading.get_ident()

    def read(_body: bytes) -> int:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        work(SHARE.burst * 0.6)
        at_once -= 1
        return threading.get_ident()

    large = b"x" * (LARGE_BYTES + 1)
    async with asyncio.TaskGroup() as group:
        tokens = ("a", "b", "a")
        reads = [group.create_task(turns.read(token, large, read), name=token) for token in tokens]
    assert most == 1
    assert loop_thread not in {task.result() for task in reads}
    with pytest.raises(ApiError):
        await turns.read("a", large, read)
    assert await turns.read("b", large, read)
    turns.close()
