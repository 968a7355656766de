"""Once a minute, has another VM make the files of recordings, and the transcripts, that did not come, gives up those
that did not come in time, and deletes recordings whose retention is over.
"""

import asyncio
from collections.abc import Callable

import structlog

from common.runtime.clock import Clock
from common.runtime.recordings.store import Store, StoreError
from poolmgr.store.leader.recordings import DueRecordings

_log = structlog.stdlib.get_logger()
_EVERY_S = 60.0


async def tend_recordings(
    due: DueRecordings,
    store: Callable[[], Store | None],
    clock: Clock,
    vm_to_finish: Callable[[str], str | None],
) -> None:
    """Run until it is cancelled. A deletion that fails is tried again a minute later. `vm_to_finish`: gets the VM of a
    bot, and says which VM is to make what that one has not made.
    """
    while True:
        now = clock.wall()
        for one in await due.unmade(now):
            if one.is_given_up(now):
                await due.give_up(one, now)
                if one.recording:
                    _log.warning("recording_unmade", bot_id=one.bot_id)
                if one.transcript:
                    _log.warning("transcript_unmade", bot_id=one.bot_id)
            elif vm_id := vm_to_finish(one.vm_id):
                await due.order(one, vm_id, now)
                if one.recording:
                    _log.info("recording_handed_on", bot_id=one.bot_id, vm_id=vm_id)
                if one.transcript:
                    _log.info("transcript_handed_on", bot_id=one.bot_id, vm_id=vm_id)
        try:
            kept = store()
            for bot_id in await due.over(now) if kept else ():
                objects = await kept.delete(bot_id) if kept else 0
                await due.note_deleted(bot_id, now)
                _log.info("recording_expired", bot_id=bot_id, objects=objects)
        except StoreError as error:
            _log.warning("recording_undeleted", error=str(error))
        await asyncio.sleep(_EVERY_S)
