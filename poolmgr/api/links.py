"""Links to files in a folder: whoever has one gets that file from here until it expires, without a token.

A link is signed with a key that is made of a secret of all managers and the hash of the token for which it was given
out. So every manager that knows this token takes it, also after a restart; it opens no more than the token does, and
ends with it. Each attempt's file has a link of its own.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from common.config.settings import TokenSettings
from poolmgr.api.errors import ApiError

SIGNATURE: Final = "signature"
_EXPIRES: Final = "expires"
_MOST_S: Final = 604_800
"""No link is given out for longer."""


def signed(secret: bytes, token: TokenSettings, path: str, query: Mapping[str, str], until: int) -> str:
    """The path with its query, valid until then (epoch seconds)."""
    said = {**query, _EXPIRES: str(until)}
    return f"{path}?{urlencode({**said, SIGNATURE: _signature(secret, token, path, said)})}"


def signer(
    secret: bytes, tokens: Sequence[TokenSettings], path: str, query: Sequence[tuple[str, str]], now: float
) -> TokenSettings:
    """The token for which a link was given out. All are compared with, so that the time it takes says nothing.

    Raises: ApiError 403 for a link that is over, was altered, or is of a token that is not known.
    """
    said = dict(query)
    given = said.pop(SIGNATURE, "").encode()
    found: TokenSettings | None = None
    for token in tokens:
        if hmac.compare_digest(_signature(secret, token, path, said).encode(), given):
            found = token
    if found is None or len(query) != len(said) + 1 or not _is_later(said.get(_EXPIRES, ""), now):
        raise ApiError(403, "This link is over, or is not as it was given out: ask for a new one where it came from.")
    return found


def _is_later(until: str, now: float) -> bool:
    return until.isdecimal() and now < int(until) <= now + _MOST_S + 1


def _signature(secret: bytes, token: TokenSettings, path: str, query: Mapping[str, str]) -> str:
    key = hmac.digest(secret, token.sha256.encode(), hashlib.sha256)
    text = f"{path}?{urlencode(sorted(query.items()))}"
    return hmac.new(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
