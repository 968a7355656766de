"""Reads requests of operators and clients (leave, say, drain), hands them to the pool, and deletes them once the
outcome is durable.

A `say` is deleted before it is carried out: losing a message is better than writing it twice.
"""

from typing import Any

import msgspec
import structlog

from common.jobs.job import fault_of
from common.runtime import steps
from common.runtime.loop.turns import Turned, unwatched
from common.runtime.steps import ManagerStep
from poolmgr.core.events import SayRequested
from poolmgr.loops.dispatcher import Dispatcher
from poolmgr.store.leader.inbox import Stream
from poolmgr.store.reading.views import Request, decode_request

_log = structlog.stdlib.get_logger()
_MOST_AT_ONCE = 100
_WAIT_S = 1.0


def _fact(request: Request) -> dict[str, Any]:
    """What is logged of a request: not the text of a message."""
    return {name: value for name, value in msgspec.to_builtins(request).items() if name != "message"}


def what_is_wrong(error: Exception) -> str:
    """What is wrong with an unreadable request, without its content."""
    return fault_of(error) if isinstance(error, msgspec.MsgspecError) else type(error).__name__


async def follow_requests(stream: Stream, dispatcher: Dispatcher, turned: Turned = unwatched) -> None:
    """Follow requests until cancelled. A request that cannot be read is logged and dropped."""
    while True:
        turned()
        entries = await stream.read(_MOST_AT_ONCE, _WAIT_S)
        for entry in entries:
            try:
                request = decode_request(entry.fields)
            except (KeyError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                _log.warning("request_unreadable", entry_id=entry.entry_id.decode(), error=what_is_wrong(error))
                continue
            steps.done(ManagerStep.REQUESTS_READ)
            _log.info("request_taken", request=type(request).__name__, fact=_fact(request))
            if isinstance(request, SayRequested):
                await stream.done([entry], forget=True)
            dispatcher.put(request)
        await dispatcher.durable()
        if entries:
            steps.done(ManagerStep.REQUESTS_APPLIED)
        await stream.done(entries, forget=True)
