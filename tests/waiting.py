"""How tests wait: for something to become true, with a deadline, never for time to pass."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, overload

T = TypeVar("T")

PATIENCE_S: Final = 60.0
"""Long enough for a machine that does ten other things: who waits for longer would wait for ever."""


@overload
async def wait_until(condition: Callable[[], Awaitable[T]], timeout_s: float = PATIENCE_S) -> T: ...
@overload
async def wait_until(condition: Callable[[], T], timeout_s: float = PATIENCE_S) -> T: ...
async def wait_until(condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> object:
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
