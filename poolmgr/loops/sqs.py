"""Receives jobs from an Amazon SQS queue, puts them on the list of jobs, and deletes them from the queue.

No job is lost: a message is deleted only once its job is durable. A message that comes again is recognised by its id. A
queue that does not answer, or refuses, is asked again at growing intervals; the term goes on.
"""

import asyncio
import importlib
import random
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import structlog

from common.config.settings import SqsSettings
from common.errors import ManagerError
from common.runtime.waiting import backoff
from poolmgr.store.leader.arrivals import Arrivals, Message

_log = structlog.stdlib.get_logger()
_MOST_AT_ONCE: Final = 10  # the limit of SQS for receiving and deleting
_WAIT_S: Final = 20  # the longest wait of SQS
_CONNECT_S, _READ_S = 5.0, _WAIT_S + 5.0
_REST_S: Final = 0.5
"""Seconds between two checks while the list of jobs is too long."""
_RETRY_FIRST_S, _RETRY_MOST_S = 1.0, 60.0


class CannotReadSqsError(ManagerError):
    """The package that reads SQS is not installed; the message says what to do."""


class _AwayError(Exception):
    """The queue does not answer, or refuses."""


class Sqs:
    """The queue of `[sqs]`. Makes no connection before it is followed.

    Raises: CannotReadSqsError.
    """

    def __init__(self, settings: SqsSettings) -> None:
        self._settings = settings
        try:
            session = importlib.import_module("aiobotocore.session")
            config = importlib.import_module("aiobotocore.config")
            errors = importlib.import_module("botocore.exceptions")
        except ImportError as error:
            raise CannotReadSqsError(
                f"cannot read the queue of sqs.queue_url: {error}; install what it needs: pip install 'poolmgr[sqs]'"
            ) from error
        self._session: Any = session.get_session()
        self._config: Any = config.AioConfig(
            connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries={"total_max_attempts": 1}
        )
        self._faults: tuple[type[Exception], ...] = (errors.BotoCoreError, errors.ClientError, OSError)
        self._fault: str | None = None  # "" while the queue answers; None before the first call
        self._delays = backoff(_RETRY_FIRST_S, _RETRY_MOST_S)

    async def follow(self, arrivals: Arrivals) -> None:
        """Follow the queue until cancelled. Faults of the queue are logged, and it is asked again. Raises:
        Redis' errors.
        """
        while True:
            try:
                async with AsyncExitStack() as stack:
                    queue = await self._ask(stack.enter_async_context(self._client()))
                    while True:
                        await self._take_in(queue, arrivals)
            except _AwayError as error:
                self._failed(str(error))
            await asyncio.sleep(next(self._delays) * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, no secret

    async def _take_in(self, queue: Any, arrivals: Arrivals) -> None:
        if not await arrivals.has_room():
            await asyncio.sleep(_REST_S)
            return
        messages = await self._receive(queue)
        self._answered()
        if messages:
            await arrivals.from_sqs(messages)
            await arrivals.deleted(await self._delete(queue, messages))

    def _answered(self) -> None:
        if self._fault != "":
            self._fault, self._delays = "", backoff(_RETRY_FIRST_S, _RETRY_MOST_S)
            _log.info("sqs_reached")

    def _failed(self, fault: str) -> None:
        if self._fault != fault:
            self._fault = fault
            _log.warning("sqs_unreachable", error=fault)

    def _client(self) -> Any:
        return self._session.create_client(
            "sqs",
            region_name=self._settings.region or None,
            endpoint_url=self._settings.endpoint_url or None,
            config=self._config,
        )

    async def _receive(self, queue: Any) -> list[Message]:
        answer = await self._ask(
            queue.receive_message(
                QueueUrl=self._settings.queue_url, MaxNumberOfMessages=_MOST_AT_ONCE, WaitTimeSeconds=_WAIT_S
            )
        )
        return [
            Message(message["MessageId"], message["ReceiptHandle"], message["Body"].encode(errors="surrogatepass"))
            for message in answer.get("Messages", ())
        ]

    async def _delete(self, queue: Any, messages: Sequence[Message]) -> list[Message]:
        """Delete these messages. Those that cannot be deleted now come again, and are deleted then."""
        entries = [{"Id": str(number), "ReceiptHandle": message.receipt} for number, message in enumerate(messages)]
        answer = await self._ask(queue.delete_message_batch(QueueUrl=self._settings.queue_url, Entries=entries))
        if failed := answer.get("Failed"):
            _log.warning("sqs_messages_kept", messages=len(failed), error=failed[0].get("Code", ""))
        return [messages[int(done["Id"])] for done in answer.get("Successful", ())]

    async def _ask(self, answer: Awaitable[Any]) -> Any:
        try:
            return await answer
        except self._faults as error:
            raise _AwayError(_named(error)) from error


def _named(error: Exception) -> str:
    """A fault in words that are always the same, so that it is logged once."""
    response: Any = getattr(error, "response", None)
    code = response["Error"]["Code"] if response else str(error)
    return f"{type(error).__name__}: {code}"[:300]
