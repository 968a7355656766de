"""Reads the agents' events, hands them to the pool, and acknowledges them once the consequences are durable."""

import asyncio
from collections.abc import Callable

import structlog

from common.runtime import steps
from common.runtime.loop.turns import Turned, unwatched
from common.runtime.steps import ManagerStep
from common.wire.codec import FIELD, UndecodableError, decode_event
from common.wire.messages import Heartbeat
from poolmgr.loops.dispatcher import Dispatcher
from poolmgr.store.leader.inbox import Stream

_log = structlog.stdlib.get_logger()
_MOST_AT_ONCE = 500
_WAIT_S = 1.0
_REST_S = 0.005
"""Seconds between two reads. A single event is read at once; the heartbeats of a thousand VMs are read in batches."""
_FIELD = FIELD.encode()


async def follow_events(
    stream: Stream, dispatcher: Dispatcher, on_heartbeat: Callable[[], None], turned: Turned = unwatched
) -> None:
    """Follow events until cancelled. An entry that is no event of this release is logged and skipped."""
    while True:
        turned()
        entries = await stream.read(_MOST_AT_ONCE, _WAIT_S)
        if entries:
            steps.done(ManagerStep.EVENTS_READ)
        for entry in entries:
            try:
                event = decode_event(entry.fields.get(_FIELD, b""))
            except UndecodableError as error:
                _log.warning("event_unreadable", entry_id=entry.entry_id.decode(), error=str(error))
                continue
            if isinstance(event, Heartbeat):
                if stream.late:  # newer heartbeats were read already
                    continue
                on_heartbeat()
            dispatcher.put(event)
        await dispatcher.durable()
        if entries:
            steps.done(ManagerStep.EVENTS_APPLIED)
        await stream.done(entries)
        if entries:
            steps.done(ManagerStep.EVENTS_ACKNOWLEDGED)
            await asyncio.sleep(_REST_S)
