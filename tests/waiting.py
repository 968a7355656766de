"""How tests wait: for something to become true, with a deadline, never for time to pass."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def wait_until(condition: Callable[[], Awaitable[T]], timeout_s: float = 20.0) -> T: ...
@overload
async def wait_until(condition: Callable[[], T], timeout_s: float = 20.0) -> T: ...
async def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> object:
    """What `condition` answers, once that is true. Raises: AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"still not true after {timeout_s:g} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(0.01)
