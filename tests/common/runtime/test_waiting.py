"""Waits that can be interrupted, and what interrupts them."""

import asyncio
import signal

import pytest

from common.runtime.waiting import first_of, stop_on_signals


async def test_the_first_of_many_events_ends_the_wait_and_nothing_waits_on() -> None:
    events = [asyncio.Event() for _ in range(3)]
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(first_of(*events), name="the wait")
        await asyncio.sleep(0)
        assert not waiting.done()
        events[1].set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_whatever_ends_a_program_is_heard(number: signal.Signals) -> None:
    stop = stop_on_signals()
    signal.raise_signal(number)
    async with asyncio.timeout(60):
        await stop.wait()


async def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop_on_signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
