"""Resolves a host name to the addresses that a connection is pinned to, and checks each before anything is sent.

A name is resolved once for each attempt. So what was checked is what is called: a DNS server cannot answer twice.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from common.errors import ManagerError
from poolmgr.intake.outgoing import OutgoingRules, is_allowed


class AddressNotAllowedError(ManagerError):
    """The name stands for an address that may not be called."""


class CheckedResolver(AbstractResolver):
    """Refuses a name of which any address may not be called."""

    def __init__(self, rules: OutgoingRules, timeout_s: float) -> None:
        self._rules = rules
        self._timeout_s = timeout_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises: AddressNotAllowedError, OSError, TimeoutError."""
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
    """What getaddrinfo answers, from a thread of its own. The loop's threads are few, and names that no server answers
    for would block them for others. The thread ends when the system's resolver gives up.
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
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, found, error)

    threading.Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
    return await answer


def check_address(text: str, rules: OutgoingRules) -> None:
    """Raises: AddressNotAllowedError. Does nothing for what is no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return
    if not is_allowed(address, rules):
        raise AddressNotAllowedError
