"""What a refusal of Amazon means, the same for every service: nothing was done and soon may be, nobody knows, or no."""

from typing import Any, Final

from poolmgr.providers.asking import BusyError, UnsureError, retry_after
from poolmgr.providers.provider import ProviderError

_BUSY: Final = frozenset({
    "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
    "RequestLimitExceeded", "TooManyRequestsException", "SlowDown", "ServiceUnavailable", "ResourceContention",
    "ProvisionedThroughputExceededException",
})  # fmt: skip
"""Codes at which nothing was done, and soon may be."""


class RefusedError(ProviderError):
    """Amazon will not do it. `code`: why; `said`: in its words."""

    def __init__(self, message: str, code: str, said: str) -> None:
        super().__init__(message)
        self.code = code
        self.said = said


def refusal(action: str, response: Any) -> ProviderError:
    """The error of an answer that refuses `action`: BusyError, UnsureError or RefusedError."""
    code, message = str(response["Error"].get("Code", "")), str(response["Error"].get("Message", ""))[:300]
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    said = f"Amazon refused {action}: {code}: {message}"
    if code in _BUSY or status in (429, 503):
        return BusyError(said, retry_after_s=retry_after(metadata.get("HTTPHeaders", {}).get("retry-after")))
    if status >= 500:
        return UnsureError(said)
    return RefusedError(said, code, message)
