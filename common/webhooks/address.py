"""Resolves a host name once for each attempt, and checks all its addresses before anything is sent.

The connection uses the checked addresses, so a DNS server cannot answer with another address later.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from common.errors import PoolmgrError
from common.jobs.outgoing import OutgoingRules, is_allowed


class AddressNotAllowedError(PoolmgrError):
    """A name resolves to an address that may not be called."""


class CheckedResolver(AbstractResolver):
    """An aiohttp resolver that refuses a name if one of its addresses may not be called."""

    def __init__(self, rules: OutgoingRules, timeout_s: float) -> None:
        self._rules = rules
        self._timeout_s = timeout_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The checked addresses. Raises: AddressNotAllowedError, OSError, TimeoutError."""
        async with asyncio.timeout(self._timeout_s):
            found = await _look_up(host, port, family)
        results: list[ResolveResult] = []
        for kind, _, protocol, _, where in found:
            address = str(where[0])
            check_address(address, self._rules)
            results.append(
                ResolveResult(
                    hostname=host, host=address, port=port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST
                )
            )
        if not results:
            raise OSError("the name has no address")
        return results

    async def close(self) -> None:
        pass


async def _look_up(host: str, port: int, family: int) -> list[Any]:
    """The answer of getaddrinfo, from a thread of its own. The event loop has few threads, and names without an answer
    would block them for others. The thread ends when the system's resolver gives up.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Any]] = loop.create_future()

    def tell(found: list[Any] | None, error: Exception | None) -> None:
        if answer.done():
            return
        if error:
            answer.set_exception(error)
        else:
            answer.set_result(found or [])

    def look_up() -> None:
        found, error = None, None
        try:
            found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as failure:
            error = failure
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits for the result
            loop.call_soon_threadsafe(tell, found, error)

    threading.Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
    return await answer


def check_address(text: str, rules: OutgoingRules) -> None:
    """Check a literal address; a name is not checked. Raises: AddressNotAllowedError."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return
    if not is_allowed(address, rules):
        raise AddressNotAllowedError
