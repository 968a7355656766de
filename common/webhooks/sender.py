"""Makes one attempt to deliver a webhook: a POST with a deadline, to a checked address. It reads only the status and
Retry-After. Its HTTP session reaches only allowed addresses, and follows no redirects.
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
    """The receiver answered with a redirect."""


async def open_session(rules: OutgoingRules, timeout_s: float) -> aiohttp.ClientSession:
    """A session whose calls share no connection, cookie or DNS answer. `timeout_s`: for looking up a name."""
    # In a thread, because reading the machine's certificates takes 40 ms.
    tls = await asyncio.to_thread(ssl.create_default_context)
    # limit=0: no limit of connections here, because callers limit how much is under way.
    connector = aiohttp.TCPConnector(
        resolver=CheckedResolver(rules, timeout_s), use_dns_cache=False, force_close=True, limit=0, ssl=tls
    )
    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(
        _refuse_redirect
    )  # the resolver, which checks names, would not see an IP address there
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
"""The errors of a call that are the fault of the receiver, its name or its address."""


def fault_of(error: Exception) -> Fault:
    """The fault's word for one of SEND_ERRORS."""
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
    """Sends webhooks while the context is open. Attempts share no connection, cookie or DNS answer."""

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
        """POST once. Never raises because of the receiver, its name or its address."""
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
        # Unchanged if possible, because some receivers sign their URLs.
        target = URL(url, encoded=url.isascii())
        check_address(target.host or "", self._rules)  # the resolver, which checks names, does not see an IP address
        sent = CIMultiDict({**headers, "Content-Type": "application/json", "User-Agent": self._user_agent})
        async with self._session.post(target, data=body, headers=sent, allow_redirects=False) as response:
            response.close()  # the rest of the answer is not read
            return response.status, _seconds(response.headers.get("Retry-After", ""))


def _seconds(retry_after: str) -> float:
    """Seconds as a number; 0 for a date, because clocks differ, and for anything else."""
    return min(float(retry_after), _LONGEST_WAIT_S) if retry_after.isascii() and retry_after.isdecimal() else 0.0
