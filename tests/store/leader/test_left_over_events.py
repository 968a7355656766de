"""What a leader read that was replaced and did not know it comes to the next one before what follows from it."""

from typing import Any, Final

from common.wire import codec
from common.wire.messages import BotEnded, Event, Heartbeat, WorkerGone
from common.wire.vocabulary import GoneCause, Reason
from poolmgr.loops.events import read_events
from poolmgr.store.keys import Keys
from poolmgr.store.leader.inbox import Stream

BEAT: Final = Heartbeat("vm", "s", 1.0, {})
ENDED: Final = BotEnded("vm", "w1", "b1", 1, 1.0, Reason.REQUEST_DENIED)
GONE: Final = WorkerGone("vm", "w1", 2.0, GoneCause.SPENT)


async def write(redis: Any, keys: Keys, *events: Event) -> None:
    for event in events:
        await redis.xadd(keys.events, {codec.FIELD: codec.encode(event)})
    await redis.expire(keys.events, 60)


async def streams(redis: Any, keys: Keys) -> tuple[Stream, Stream]:
    """Of a leader, and of the one that took its place and reads what is new."""
    before, now = (Stream(redis, keys, keys.events, epoch) for epoch in (1, 2))
    await now.open()
    await write(redis, keys, BEAT)
    await redis.set(keys.epoch, 2, ex=600)
    entries, events = await read_events(now, 10, 0)
    assert events == [BEAT]
    await now.done(entries)
    return before, now


async def test_that_a_worker_is_gone_is_heard_after_the_end_of_its_bot_whoever_took_that(
    redis: Any, keys: Keys
) -> None:
    before, now = await streams(redis, keys)
    await write(redis, keys, BEAT, ENDED)
    _, taken = await read_events(before, 10, 0)
    assert taken == [BEAT, ENDED]
    await write(redis, keys, BEAT, GONE)
    entries, events = await read_events(now, 10, 0)
    assert events == [ENDED, BEAT, GONE], "without the heartbeat that is older than others"
    await now.done(entries)
    assert (await redis.xpending(keys.events, "manager"))["pending"] == 0


async def test_nothing_else_is_read_twice_for_it(redis: Any, keys: Keys) -> None:
    before, now = await streams(redis, keys)
    await write(redis, keys, ENDED)
    await read_events(before, 10, 0)
    await write(redis, keys, BEAT)
    entries, events = await read_events(now, 10, 0)
    assert events == [BEAT]
    await now.done(entries)
    assert await read_events(now, 10, 0) == ([], [])  # nothing is new: what is left over is read next
    entries, events = await read_events(now, 10, 0)
    assert (events, now.late) == ([ENDED], True)
    await now.done(entries)
    await write(redis, keys, GONE)
    entries, events = await read_events(now, 10, 0)
    assert events == [GONE]
    await now.done(entries)
