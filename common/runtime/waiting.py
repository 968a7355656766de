"""Waits that can be interrupted. Each ends at its deadline or when it is told to stop."""

import asyncio
import signal
from collections.abc import Iterator


async def pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait `seconds`, or less if `stop` is set. True when it is."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
    return stop.is_set()


def backoff(first_s: float, limit_s: float) -> Iterator[float]:
    """Delays that double from `first_s` up to `limit_s`, without end."""
    delay = first_s
    while True:
        yield delay
        delay = min(delay * 2, limit_s)


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM, SIGINT and SIGHUP set. To be called in the running loop. One that is ignored (`nohup`)
    stays so.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            loop.add_signal_handler(signum, stop.set)
    return stop
