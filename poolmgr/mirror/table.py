"""The table of DynamoDB. A write is tried again while Amazon is too busy, within a deadline for all of them.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import structlog

from common.config.settings import MirrorSettings
from common.errors import ManagerError
from common.wire.mirrored import KEY
from poolmgr.providers.amazon import RefusedError, Service
from poolmgr.providers.asking import Asking, UnsureError
from poolmgr.providers.provider import ProviderError

_log = structlog.stdlib.get_logger()
_LATE: Final = "ConditionalCheckFailedException"
_UNFIT: Final = "ValidationException"

Request = dict[str, Any]
"""What common/wire/mirrored.py makes."""


class CannotMirrorError(ManagerError):
    """The table of [mirror] cannot be used; the message says what to do. Nothing repairs it by itself."""


class Written(NamedTuple):
    """What became of requests. `left`: those that have to be tried again, and `fault` why. `refused`: how many the
    table will never take.
    """

    left: list[Request]
    fault: str
    refused: int


class Table:
    """Opens no connection before it is asked. Raises: CannotMirrorError."""

    def __init__(self, settings: MirrorSettings) -> None:
        self._settings = settings
        self._asking = Asking("Amazon", settings.timeout_s)
        try:
            self._service = Service(
                "dynamodb",
                region=settings.region,
                endpoint_url=settings.endpoint_url,
                timeout_s=settings.timeout_s,
                connections=settings.at_once,
            )
        except ImportError as error:
            raise CannotMirrorError(
                f"cannot mirror: {error}; install what it needs: pip install 'poolmgr[mirror]'"
            ) from error

    async def check(self) -> None:
        """Raises: CannotMirrorError when there is no such table, or it has another key; ProviderError."""
        name = self._settings.table
        try:
            async with self._asking.question():
                answer = await self._asking.tried(lambda: self._service.ask("describe_table", {"TableName": name}))
        except ProviderError as error:
            await self.close()
            if not isinstance(error, RefusedError) or error.code != "ResourceNotFoundException":
                raise
            raise CannotMirrorError(
                f"cannot mirror: there is no table {name} in this region (mirror.table); docs/mirror.md says how to"
                " make it"
            ) from error
        schema = [(key["AttributeName"], key["KeyType"]) for key in answer["Table"].get("KeySchema", ())]
        if schema != [(KEY, "HASH")]:
            raise CannotMirrorError(
                f"cannot mirror: the key of the table {name} is not {KEY} alone; docs/mirror.md says how to make it"
            )

    async def write(self, requests: Sequence[Request]) -> Written:
        """Carry out all of them, in any order, within mirror.timeout_s. Each is one item."""
        waiting = list(enumerate(requests))
        left = dict(waiting)
        faults = list[str]()
        refused = 0
        stop = False

        async def work() -> None:
            nonlocal refused, stop
            while waiting and not stop:
                number, request = waiting.pop()
                try:
                    taken = await self._write_one(request)
                except ProviderError as error:
                    faults.append(str(error))
                    stop = True  # the others would meet the same; those under way are waited for
                else:
                    refused += not taken
                    del left[number]

        try:
            async with self._asking.question():
                await self._service.connect()
                async with asyncio.TaskGroup() as group:
                    for number in range(min(self._settings.at_once, len(waiting))):
                        group.create_task(work(), name=f"write {number}")
        except UnsureError as error:
            faults.append(str(error))
        if faults:
            await self.close()  # so that credentials, too, are looked for anew
        return Written(list(left.values()), faults[0] if faults else "", refused)

    async def close(self) -> None:
        await self._service.close()

    async def _write_one(self, request: Request) -> bool:
        """Returns False when the table will never take it. Raises: ProviderError."""
        action = "update_item" if "Key" in request else "put_item"
        try:
            await self._asking.tried(lambda: self._service.ask(action, request))
        except RefusedError as error:
            if error.code == _LATE:
                return True  # the table knows something newer
            if error.code != _UNFIT:
                raise
            bot_id = (request.get("Key") or request["Item"])[KEY]["S"]
            _log.error("mirror_item_refused", bot_id=bot_id, error=error.said)
            return False
        return True
