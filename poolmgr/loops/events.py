"""Reads the agents' events, hands them to the pool, and acknowledges them once the consequences are durable."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from common.runtime import steps
from common.runtime.loop.turns import Turned, unwatched
from common.runtime.steps import ManagerStep
from common.wire.codec import FIELD, UndecodableError, decode_event
from common.wire.messages import Event, Heartbeat, WorkerGone
from poolmgr.loops.dispatcher import Dispatcher
from poolmgr.store.answers import Entry
from poolmgr.store.leader.inbox import Stream

_log = structlog.stdlib.get_logger()
_MOST_AT_ONCE = 500
_WAIT_S = 1.0
_REST_S = 0.005
_CALM_S = 0.05
_FIELD = FIELD.encode()


async def follow_events(
    stream: Stream, dispatcher: Dispatcher, on_heartbeat: Callable[[], None], turned: Turned = unwatched
) -> None:
    """Follow events until cancelled. An entry that is no event of this release is logged and skipped."""
    while True:
        turned()
        entries, events = await read_events(stream, _MOST_AT_ONCE, _WAIT_S)
        if entries:
            steps.done(ManagerStep.EVENTS_READ)
        for event in events:
            if isinstance(event, Heartbeat):
                on_heartbeat()
            dispatcher.put(event)
        await dispatcher.durable()
        if entries:
            steps.done(ManagerStep.EVENTS_APPLIED)
        await stream.done(entries)
        if entries:
            steps.done(ManagerStep.EVENTS_ACKNOWLEDGED)
            await asyncio.sleep(rest_s(events, waits=bool(dispatcher.pool.queue)))


def rest_s(events: Sequence[Event], *, waits: bool) -> float:
    """Seconds from one read to the next, so that the heartbeats of a thousand VMs are read in batches. Longer after
    nothing but heartbeats, unless a bot waits for a worker: an event that comes meanwhile is read so much later.
    """
    return _REST_S if waits or not all(isinstance(event, Heartbeat) for event in events) else _CALM_S


async def read_events(stream: Stream, most: int, timeout_s: float) -> tuple[list[Entry], list[Event]]:
    """The next entries, and the events that follow from them, in order.

    A worker that is gone says that its bot has ended. The event with the reason is before it in the stream, but a
    leader that was replaced and does not know it yet may have taken that one: then it comes first.
    """
    entries = await stream.read(most, timeout_s)
    events = _events_in(entries, late=stream.late)
    if not stream.late and any(isinstance(event, WorkerGone) for event in events):
        skipped = await stream.skipped(entries[0])
        return [*skipped, *entries], [*_events_in(skipped, late=True), *events]
    return entries, events


def _events_in(entries: Sequence[Entry], *, late: bool) -> list[Event]:
    """`late`: newer entries were read already, so heartbeats are left out."""
    events = list[Event]()
    for entry in entries:
        try:
            event = decode_event(entry.fields.get(_FIELD, b""))
        except UndecodableError as error:
            _log.warning("event_unreadable", entry_id=entry.entry_id.decode(), error=str(error))
            continue
        if not (late and isinstance(event, Heartbeat)):
            events.append(event)
    return events
