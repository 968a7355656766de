"""Finds the configured token in an Authorization header. It has only hashes, and compares them in constant time."""

import hashlib
import hmac
from collections.abc import Sequence

from common.config.settings import TokenSettings
from poolmgr.api.errors import ApiError

_SCHEMES = ("token", "bearer")
_LONGEST = 512
_HOW = 'send the header "Authorization: Token YOUR_TOKEN"'


class Tokens:
    """The configured tokens, by their hashes."""

    def __init__(self, tokens: Sequence[TokenSettings]) -> None:
        self.all = tokens

    def caller(self, header: str | None) -> TokenSettings:
        """The token in `header`. Raises: ApiError 401 without a token, 403 with an unknown one."""
        if not self.all:
            raise ApiError(403, "No tokens are configured: `poolmgr token NAME` makes one, and says where it goes.")
        scheme, _, presented = (header or "").strip().partition(" ")
        presented = presented.strip()
        if scheme.lower() not in _SCHEMES or not presented or len(presented) > _LONGEST:
            missing = "Authorization is missing" if not header else "Authorization is malformed"
            raise ApiError(401, f"{missing}: {_HOW}.", {"WWW-Authenticate": 'Token realm="poolmgr"'})
        if token := self._find(presented):
            return token
        raise ApiError(403, "This token is not known here; it may have been mistyped, or taken back.")

    def _find(self, presented: str) -> TokenSettings | None:
        """Compares with all tokens, so that the time it takes says nothing."""
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).hexdigest()
        found: TokenSettings | None = None
        for token in self.all:
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found
