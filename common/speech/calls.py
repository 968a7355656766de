"""Calls speech-to-text providers over the network.

The address is checked as those of webhooks are, the key comes from a file, and redirects are not followed. Each call
has a deadline and a limit for its answer. A failure is reported as one word, without other details.
"""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
from yarl import URL

from common.config.settings import TranscriptionSettings
from common.jobs.outgoing import OutgoingRules, check_url
from common.speech.provider import SpeechError
from common.webhooks.address import check_address
from common.webhooks.sender import SEND_ERRORS, fault_of, open_session, user_agent

CONNECT_S: Final = 10.0
MOST_ANSWER: Final = 64 * 1024 * 1024
"""The largest answer in bytes: the words of a day, with all their details."""
_PIECE: Final = 1 << 16
_LONGEST_KEY: Final = 4096

_WORDS: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.PAYMENT_REQUIRED: "payment_required",
    HTTPStatus.FORBIDDEN: "unauthorized",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "busy",
    HTTPStatus.REQUEST_TIMEOUT: "timeout",
}
_PASSING: Final = ("busy", "timeout")


def key_in(path: str) -> str:
    """The key in the file; empty if no file is named. Raises: SpeechError."""
    try:
        key = Path(path).read_text(encoding="utf-8")[:_LONGEST_KEY].strip() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SpeechError("key_unreadable") from error
    if not (key.isascii() and key.isprintable()):
        raise SpeechError("key_unreadable")
    return key


def of_status(status: int) -> SpeechError:
    """The fault that an error answer stands for."""
    word = _WORDS.get(status)
    if word is None:
        word = "redirected" if status < HTTPStatus.BAD_REQUEST else "failed" if status >= 500 else "refused"
    return SpeechError(f"{word} ({status})", lasts=word not in (*_PASSING, "failed"))


def of_error(error: Exception) -> SpeechError:
    """The fault's word for one of SEND_ERRORS."""
    if isinstance(error, aiohttp.WSServerHandshakeError) and error.status != HTTPStatus.SWITCHING_PROTOCOLS:
        return of_status(error.status)
    fault = fault_of(error)
    return SpeechError(fault, lasts=fault == "address_not_allowed")


def target_of(url: str, rules: OutgoingRules, query: Mapping[str, str], *, live: bool = False) -> URL:
    """The address to call. Raises: SEND_ERRORS for one that may not be called."""
    text = f"ws{url.removeprefix('http')}" if live else url
    check_url(text, rules, "ws" if live else "http")
    target = URL(text).with_query(query)
    check_address(target.host or "", rules)  # aiohttp does not pass a literal address to the resolver
    return target


async def post(
    settings: TranscriptionSettings,
    url: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: Callable[[], Any],
) -> bytes:
    """The answer to a POST. `body`: makes what aiohttp sends. Raises: SpeechError."""
    rules = OutgoingRules.of(settings)
    sent = {**headers, "User-Agent": user_agent(), "Accept-Encoding": "identity"}
    try:
        async with asyncio.timeout(settings.timeout_s), await open_session(rules, CONNECT_S) as session:
            target = target_of(url, rules, query)
            async with session.post(target, data=body(), headers=sent, allow_redirects=False) as response:
                if not 200 <= response.status < 300:
                    response.close()
                    raise of_status(response.status)
                return await _read(response.content)
    except SEND_ERRORS as error:
        raise of_error(error) from error


async def _read(content: aiohttp.StreamReader) -> bytes:
    found = bytearray()
    while piece := await content.read(_PIECE):
        found += piece
        if len(found) > MOST_ANSWER:
            raise SpeechError("bad_answer", lasts=True)
    return bytes(found)
