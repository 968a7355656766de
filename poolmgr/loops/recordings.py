"""Once a minute, has another VM make the files of recordings, and the transcripts, that did not come, gives up those
that did not come in time, and deletes recordings whose retention is over, and later the marks that they were deleted.
"""

import asyncio
from collections.abc import Callable

import structlog

from common.runtime.clock import Clock
from common.runtime.recordings import deletion
from common.runtime.recordings.store import Store, StoreError
from poolmgr.store.leader.recordings import DueRecordings

_log = structlog.stdlib.get_logger()
_EVERY_S = 60.0


async def tend_recordings(
    due: DueRecordings,
    store: Callable[[], Store | None],
    clock: Clock,
    vm_to_finish: Callable[[str, str], str | None],
) -> None:
    """Run until it is cancelled. A deletion that fails is tried again a minute later, after all others, and ends the
    round: the store may be away. `vm_to_finish`: gets the VM of a
    bot, and the one that said last that it can make no files, and says which VM is to make what is not made.
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
            elif vm_id := vm_to_finish(one.vm_id, one.unmade_by):
                await due.order(one, vm_id, now)
                if one.recording:
                    _log.info("recording_handed_on", bot_id=one.bot_id, vm_id=vm_id)
                if one.transcript:
                    _log.info("transcript_handed_on", bot_id=one.bot_id, vm_id=vm_id)
        bot_id = ""
        try:
            if kept := store():
                for bot_id in await due.over(now):
                    await _delete(kept, due, bot_id, now)
        except StoreError as error:
            _log.warning("recording_undeleted", bot_id=bot_id, error=str(error))
            await due.look_again([bot_id] if bot_id else [], now)
        await asyncio.sleep(_EVERY_S)


async def _delete(store: Store, due: DueRecordings, bot_id: str, now: float) -> None:
    """Delete what there is of the bot. When nothing has come since that was done before, its mark goes, too. Raises:
    StoreError.
    """
    was_deleted = await deletion.is_deleted(store, bot_id)
    objects = await deletion.delete(store, bot_id)
    is_done = was_deleted and not objects
    if is_done:
        await deletion.remove_mark(store, bot_id)
    await due.note_deleted(bot_id, now, marked=not is_done)
    if not is_done:
        _log.info("recording_expired", bot_id=bot_id, objects=objects)
