"""One service of Amazon, asked by its SDK, and what a refusal means, the same for every service: nothing was done and
soon may be, nobody knows, or no.
"""

import importlib
from contextlib import AsyncExitStack
from typing import Any, Final

from poolmgr.providers.asking import BusyError, UnsureError, retry_after
from poolmgr.providers.provider import ProviderError

_CONNECT_S: Final = 5.0
_CONNECTIONS: Final = 10  # what the SDK has by itself
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


class Service:
    """The service of that name, with one client, which is made when it is first asked.

    `connections`: how many at most. `session`: of the SDK. Raises: ImportError when the SDK is not installed.
    """

    def __init__(
        self, name: str, *, region: str, endpoint_url: str, timeout_s: float, connections: int = _CONNECTIONS
    ) -> None:
        sdk: Any = importlib.import_module("aiobotocore.session")
        config: Any = importlib.import_module("aiobotocore.config")
        errors: Any = importlib.import_module("botocore.exceptions")
        parsers: Any = importlib.import_module("botocore.parsers")
        self.session: Any = sdk.get_session()
        self._name = name
        self._options = {
            "region_name": region or None,
            "endpoint_url": endpoint_url or None,
            "config": config.AioConfig(
                connect_timeout=min(_CONNECT_S, timeout_s),
                read_timeout=timeout_s,
                max_pool_connections=connections,
                retries={"total_max_attempts": 1},  # Asking knows what may be repeated
            ),
        }
        self._refusals: Any = errors.ClientError
        # KeyError: for an answer that is XML of another kind.
        self._faults: tuple[type[Exception], ...] = (
            errors.BotoCoreError,
            parsers.ResponseParserError,
            OSError,
            KeyError,
        )
        self._open: AsyncExitStack | None = None
        self._client: Any = None

    async def ask(self, action: str, arguments: dict[str, Any]) -> Any:
        """One call. Raises: UnsureError when Amazon was not reached; the error of its refusal."""
        await self.connect()
        try:
            return await getattr(self._client, action)(**arguments)
        except self._refusals as error:
            raise refusal(action, error.response) from error
        except self._faults as error:
            raise _unsure(error) from error

    async def connect(self) -> None:
        """Make the client, which finds its credentials then. Several calls at once begin with this. Raises:
        UnsureError.
        """
        if self._client is None:
            stack = AsyncExitStack()
            try:
                self._client = await stack.enter_async_context(self.session.create_client(self._name, **self._options))
            except self._faults as error:
                raise _unsure(error) from error
            self._open = stack

    async def close(self) -> None:
        """The next call makes a client anew, and looks for its credentials anew."""
        if self._open:
            open_, self._open, self._client = self._open, None, None
            await open_.aclose()


def _unsure(error: Exception) -> UnsureError:
    return UnsureError(f"cannot ask Amazon: {type(error).__name__}: {error}"[:300])
