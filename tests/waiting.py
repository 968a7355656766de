"""How tests wait: for something to become true, with a deadline, never for time to pass."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, overload

T = TypeVar("T")

PATIENCE_S: Final = 120.0
"""Long enough for a machine that does ten other things: who waits for longer would wait for ever."""

# Between two looks: what is soon true is soon seen, and what takes long is not asked for all the time.
_SOONEST_S: Final = 0.01
_LATEST_S: Final = 0.1


@overload
async def wait_until(condition: Callable[[], Awaitable[T]], timeout_s: float = PATIENCE_S) -> T: ...
@overload
async def wait_until(condition: Callable[[], T], timeout_s: float = PATIENCE_S) -> T: ...
async def wait_until(condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> object:
    """What `condition` answers, once that is true. Raises: AssertionError after `timeout_s`."""
    began = time.monotonic()
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        waited_s = time.monotonic() - began
        if waited_s > timeout_s:
            asked = inspect.getsource(getattr(condition, "func", condition)).strip()
            raise AssertionError(f"still not true after {timeout_s:g} s: {asked}")
        await asyncio.sleep(min(max(_SOONEST_S, waited_s / 20), _LATEST_S))
