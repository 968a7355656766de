"""Bounds the processor time of each token's requests, and lets other tokens' requests in between.

One body of each token is read at a time, so a hundred requests of one token do not delay a request of another. Large
bodies are read in a thread, one at a time for all tokens. A token that has used its share of the manager's time has to
wait.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from types import coroutine
from typing import Any, Final, TypeVar

from poolmgr.api.errors import later
from poolmgr.api.rate import Rate, Rates

T = TypeVar("T")

SHARE: Final = Rate(per_s=0.25, burst=1.0)
"""Processor seconds that the requests of one token may take: per second on average, and at once. An ordinary request
takes one or two milliseconds.
"""
LARGE_BYTES: Final = 16 * 1024
"""Larger bodies are read in a thread: reading a nested body of 256 KB takes tens of milliseconds."""


class Turns:
    """`steady`: seconds. `tokens`: how many there are. `share`: what each may cost."""

    def __init__(self, steady: Callable[[], float], tokens: int = 1, share: Rate = SHARE) -> None:
        self._steady = steady
        self._share = share
        self._spent = Rates(max(1, tokens))
        self._reading: dict[str, asyncio.Lock] = {}  # one for each configured token
        self._apart = ThreadPoolExecutor(1, "read a large body")

    def let_in(self, token: str) -> None:
        """Check the token's share. Raises: ApiError 429 while it has used more than its share."""
        if wait_s := self._spent.owes_s(token, self._share, self._steady()):
            message = (
                "Your token's requests took more than its share of the manager's time; send fewer or smaller ones."
            )
            raise later(429, message, wait_s)

    async def costing(self, token: str, work: Coroutine[Any, Any, T]) -> T:
        """Await the work, and count its processor time against the token's share."""
        return await _stepwise(work, lambda seconds: self._charge(token, seconds))

    async def read(self, token: str, body: bytes, read: Callable[[bytes], T]) -> T:
        """Read the body with `read` when it is the token's turn. Raises: what `read` raises."""
        async with self._reading.setdefault(token, asyncio.Lock()):
            if len(body) <= LARGE_BYTES:
                try:
                    return read(body)
                finally:
                    await asyncio.sleep(0)  # other requests run before the token's next body
            self.let_in(token)  # bodies before this one may have used up the share
            spent: list[float] = []
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._apart, _timed, read, body, spent)
            finally:
                self._charge(token, sum(spent))

    def close(self) -> None:
        """Stop the thread without waiting for a body that is being read."""
        self._apart.shutdown(wait=False, cancel_futures=True)

    def _charge(self, token: str, seconds: float) -> None:
        self._spent.count(token, self._share, self._steady(), seconds)


def _timed(read: Callable[[bytes], T], body: bytes, spent: list[float]) -> T:
    began = time.thread_time()
    try:
        return read(body)
    finally:
        spent.append(time.thread_time() - began)


@coroutine
def _stepwise(work: Coroutine[Any, Any, T], count: Callable[[float], None]) -> Generator[Any, Any, T]:
    """Await the work, and report the processor time of each step between two waits."""
    answer: Any = None
    thrown: BaseException | None = None
    while True:
        began = time.thread_time()
        try:
            waits_for = work.send(answer) if thrown is None else work.throw(thrown)
        except StopIteration as end:
            return end.value
        finally:
            count(time.thread_time() - began)
        answer = thrown = None
        try:
            answer = yield waits_for
        except BaseException as error:  # noqa: BLE001  # handed on, whatever it is: a cancellation above all
            thrown = error
