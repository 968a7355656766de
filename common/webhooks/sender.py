"""One attempt to deliver a webhook: a POST with a deadline, to a checked address. Reads only status and Retry-After.
A session that reaches no other address than those that may be called, and follows nobody anywhere.
"""

import asyncio
import ssl
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace, TracebackType
from typing import Final, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from common.errors import PoolmgrError
from common.jobs.outgoing import BadUrlError, OutgoingRules, check_url
from common.webhooks.address import AddressNotAllowedError, CheckedResolver, check_address
from common.webhooks.outcome import Fault, Outcome

_LONGEST_HEADER: Final = 8190
_LONGEST_WAIT_S: Final = 7 * 86400


def user_agent() -> str:
    try:
        return f"poolmgr/{version('poolmgr')}"
    except PackageNotFoundError:
        return "poolmgr/source"  # run from a source tree that was never installed


class RedirectedError(PoolmgrError):
    """Whoever was called sent us somewhere else."""


async def open_session(rules: OutgoingRules, timeout_s: float) -> aiohttp.ClientSession:
    """Shares no connection, cookie or DNS answer between calls. `timeout_s`: of the look-up of a name."""
    # Reading the machine's certificates takes 40 ms, which the event loop is not to wait for.
    tls = await asyncio.to_thread(ssl.create_default_context)
    # Its own limit of connections is off: how many there are is decided elsewhere.
    connector = aiohttp.TCPConnector(
        resolver=CheckedResolver(rules, timeout_s), use_dns_cache=False, force_close=True, limit=0, ssl=tls
    )
    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(_refuse_redirect)  # a literal address there would never come to the resolver
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        max_line_size=_LONGEST_HEADER,
        max_field_size=_LONGEST_HEADER,
        trace_configs=[tracing],
    )


async def _refuse_redirect(
    _session: aiohttp.ClientSession, _context: SimpleNamespace, _params: aiohttp.TraceRequestRedirectParams
) -> None:
    raise RedirectedError


SEND_ERRORS: Final = (
    AddressNotAllowedError,
    BadUrlError,
    RedirectedError,
    TimeoutError,
    aiohttp.ClientError,
    OSError,
    ValueError,
)
"""What a call may raise for what a receiver, its name or its address does."""


def fault_of(error: Exception) -> Fault:
    """Of one of SEND_ERRORS."""
    match error:
        case AddressNotAllowedError() | BadUrlError():
            return "address_not_allowed"
        case RedirectedError():
            return "redirected"
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientSSLError():
            return "tls_failed"
        case aiohttp.ClientConnectorError(os_error=cause):
            return "tls_failed" if isinstance(cause, ssl.SSLError) else "connection_failed"
        case aiohttp.ServerDisconnectedError() | OSError():
            return "unanswered"
        case _:
            return "bad_answer"


class Sender:
    """Sends for one term. Attempts share nothing: no connection, cookie or DNS answer."""

    def __init__(self, rules: OutgoingRules, timeout_s: float, user_agent: str) -> None:
        self._rules = rules
        self._timeout_s = timeout_s
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = await open_session(self._rules, self._timeout_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session
        await self._session.close()

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """POST once. Never raises for what a receiver, its name or its address does."""
        began = asyncio.get_running_loop().time()
        status, fault, retry_after_s = 0, None, 0.0
        try:
            async with asyncio.timeout(self._timeout_s):
                status, retry_after_s = await self._post(url, body, headers)
        except SEND_ERRORS as error:
            fault = fault_of(error)
        if 300 <= status < 400:
            fault = "redirected"
        return Outcome(status, fault, retry_after_s, asyncio.get_running_loop().time() - began)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        assert self._session
        check_url(url, self._rules)  # the rules may have become stricter since the job was accepted
        # As it was written, when it can be: some receivers sign their URLs.
        target = URL(url, encoded=url.isascii())
        check_address(target.host or "", self._rules)  # a literal address never comes to the resolver
        sent = CIMultiDict({**headers, "Content-Type": "application/json", "User-Agent": self._user_agent})
        async with self._session.post(target, data=body, headers=sent, allow_redirects=False) as response:
            response.close()  # the rest of the answer is not read
            return response.status, _seconds(response.headers.get("Retry-After", ""))


def _seconds(retry_after: str) -> float:
    """Seconds as a number; 0 for a date, because clocks differ, and for anything else."""
    return min(float(retry_after), _LONGEST_WAIT_S) if retry_after.isascii() and retry_after.isdecimal() else 0.0
