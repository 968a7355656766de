"""Makes one attempt to deliver a webhook: a POST with a deadline, to a checked address. Reads only status and
Retry-After.
"""

import asyncio
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from common.jobs.outgoing import BadUrlError, OutgoingRules, check_url
from common.webhooks.address import AddressNotAllowedError, CheckedResolver, check_address
from common.webhooks.outcome import Outcome

_LONGEST_HEADER: Final = 8190
_LONGEST_WAIT_S: Final = 7 * 86400


class Sender:
    """The sender of one term. Attempts share no connection, cookie or DNS answer."""

    def __init__(self, rules: OutgoingRules, timeout_s: float, user_agent: str) -> None:
        self._rules = rules
        self._timeout_s = timeout_s
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # In a thread: reading the machine's certificates takes 40 ms.
        tls = await asyncio.to_thread(ssl.create_default_context)
        # aiohttp's limit of connections is off: the courier decides how many there are.
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(self._rules, self._timeout_s),
            use_dns_cache=False,
            force_close=True,
            limit=0,
            ssl=tls,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )
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
        except (AddressNotAllowedError, BadUrlError):
            fault = "address_not_allowed"
        except TimeoutError:
            fault = "timeout"
        except aiohttp.ClientSSLError:
            fault = "tls_failed"
        except aiohttp.ClientConnectorError as error:
            fault = "tls_failed" if isinstance(error.os_error, ssl.SSLError) else "connection_failed"
        except (aiohttp.ServerDisconnectedError, OSError):
            fault = "unanswered"
        except (aiohttp.ClientError, ValueError):
            fault = "bad_answer"
        if 300 <= status < 400:
            fault = "redirected"
        return Outcome(status, fault, retry_after_s, asyncio.get_running_loop().time() - began)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        assert self._session
        check_url(url, self._rules)  # the rules may be stricter than when the job was accepted
        # The URL stays as it was written, if possible: some receivers sign their URLs.
        target = URL(url, encoded=url.isascii())
        check_address(target.host or "", self._rules)  # the resolver does not see a literal address
        sent = CIMultiDict({**headers, "Content-Type": "application/json", "User-Agent": self._user_agent})
        async with self._session.post(target, data=body, headers=sent, allow_redirects=False) as response:
            response.close()  # without reading the body
            return response.status, _seconds(response.headers.get("Retry-After", ""))


def _seconds(retry_after: str) -> float:
    """The seconds of a Retry-After header; 0 for a date, because clocks differ, and for anything else."""
    return min(float(retry_after), _LONGEST_WAIT_S) if retry_after.isascii() and retry_after.isdecimal() else 0.0
