"""Once a minute, gives up recordings whose files did not come in time, and deletes those whose retention is over."""

import asyncio
from collections.abc import Callable

import structlog

from common.runtime.clock import Clock
from common.runtime.recordings.store import Store, StoreError
from poolmgr.store.leader.recordings import DueRecordings

_log = structlog.stdlib.get_logger()
_EVERY_S = 60.0


async def tend_recordings(due: DueRecordings, store: Callable[[], Store | None], clock: Clock) -> None:
    """Run until it is cancelled. A deletion that fails is tried again a minute later."""
    while True:
        now = clock.wall()
        for bot_id in await due.unmade(now):
            await due.give_up(bot_id, now)
            _log.warning("recording_unmade", bot_id=bot_id)
        try:
            kept = store()
            for bot_id in await due.over(now) if kept else ():
                objects = await kept.delete(bot_id) if kept else 0
                await due.note_deleted(bot_id, now)
                _log.info("recording_expired", bot_id=bot_id, objects=objects)
        except StoreError as error:
            _log.warning("recording_undeleted", error=str(error))
        await asyncio.sleep(_EVERY_S)
