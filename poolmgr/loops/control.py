"""What operators ask for (leave, drain): read, handed to the pool, forgotten when the consequences are durable."""

import msgspec
import structlog

from poolmgr.loops.desk import Desk
from poolmgr.store.inbox import Stream
from poolmgr.store.views import decode_request
from runtime import steps
from runtime.steps import ManagerStep

_log = structlog.stdlib.get_logger()
_MOST_AT_ONCE = 100
_WAIT_S = 1.0


async def follow_requests(stream: Stream, desk: Desk) -> None:
    """Until cancelled. A request that cannot be read is logged and dropped."""
    while True:
        entries = await stream.read(_MOST_AT_ONCE, _WAIT_S)
        for entry in entries:
            try:
                request = decode_request(entry.fields)
            except (KeyError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                _log.warning("request_unreadable", entry_id=entry.entry_id.decode(), error=repr(error))
                continue
            steps.done(ManagerStep.REQUESTS_READ)
            _log.info("request_taken", request=type(request).__name__, fact=msgspec.to_builtins(request))
            desk.put(request)
        await desk.durable()
        if entries:
            steps.done(ManagerStep.REQUESTS_APPLIED)
        await stream.done(entries, forget=True)
