"""Waits that can be interrupted: they end at a deadline, or when an event is set."""

import asyncio
import signal
from collections.abc import Iterator


async def pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait `seconds`, or until `stop` is set. Returns whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
    return stop.is_set()


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of them is set, without a deadline: whoever waits knows that one of them will be."""
    async with asyncio.TaskGroup() as waits:
        tasks = [waits.create_task(_wait(event), name="wait for an event") for event in events]
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def backoff(first_s: float, limit_s: float) -> Iterator[float]:
    """Delays that double from `first_s` up to `limit_s`, without end."""
    delay = first_s
    while True:
        yield delay
        delay = min(delay * 2, limit_s)


def heeded(*numbers: signal.Signals) -> list[signal.Signals]:
    """Those of the signals that are not ignored: behind `nohup` or `&` a program is started with some that are, and
    they stay so.
    """
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM, SIGINT and SIGHUP set, if they are heeded. To be called in the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in heeded(signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    return stop
