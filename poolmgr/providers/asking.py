"""How a cloud is asked: within a deadline, and a few times more where it was too busy and asking again does no harm."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from common.runtime.waiting import backoff
from poolmgr.providers.provider import ProviderError

_Answer = TypeVar("_Answer")
_TRIES: Final = 3
_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.5, 5.0
_MOST_RETRY_AFTER_S: Final = 3600.0


class BusyError(ProviderError):
    """The cloud is too busy, and did nothing."""


class UnsureError(ProviderError):
    """Nobody knows whether the cloud did it: it did not answer, or failed within."""


class Asking:
    """One question at a time to `cloud`, each of one or several calls."""

    def __init__(self, cloud: str, timeout_s: float) -> None:
        self._cloud = cloud
        self._timeout_s = timeout_s
        self._until = 0.0

    @asynccontextmanager
    async def question(self) -> AsyncGenerator[None]:
        """All calls inside take `timeout_s` at most. Raises: UnsureError."""
        self._until = asyncio.get_running_loop().time() + self._timeout_s
        try:
            async with asyncio.timeout_at(self._until):
                yield
        except TimeoutError as error:
            raise UnsureError(f"{self._cloud} did not answer within {self._timeout_s:g} s") from error

    async def tried(self, call: Callable[[], Awaitable[_Answer]], *, harmless: bool = True) -> _Answer:
        """The answer, for which a cloud that is busy is asked up to three times, with pauses that grow and differ.

        A pause that would outlast the question is not begun; the refusal is raised then. `harmless`: it may be done
        twice, so it is also asked again when nobody knows whether it was done. Raises: ProviderError.
        """
        pauses = backoff(_FIRST_PAUSE_S, _MOST_PAUSE_S)
        for _ in range(_TRIES - 1):
            try:
                return await call()
            except (BusyError, UnsureError) as error:
                pause_s = max(next(pauses) * random.uniform(0.5, 1.0), error.retry_after_s)  # noqa: S311 - spreads load
                is_late = asyncio.get_running_loop().time() + pause_s >= self._until
                if is_late or (isinstance(error, UnsureError) and not harmless):
                    raise
            await asyncio.sleep(pause_s)
        return await call()


def retry_after(header: str | None) -> float:
    """Seconds of a Retry-After header, an hour at most; 0: it has none, or names a time of day (RFC 9110, 10.2.3)."""
    try:
        return min(max(0.0, float(header or 0)), _MOST_RETRY_AFTER_S)
    except ValueError:
        return 0.0
