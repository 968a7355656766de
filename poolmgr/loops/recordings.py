"""Once a minute, has another VM make the files of recordings, and the transcripts, that did not come, gives up those
that did not come in time, and deletes recordings whose retention is over, and later the marks that they were deleted.
"""

import asyncio
from collections.abc import Callable, Iterator

import structlog

from common.runtime.clock import Clock
from common.runtime.recordings import deletion
from common.runtime.recordings.store import Store, StoreError
from common.runtime.waiting import backoff
from poolmgr.store.leader.recordings import DueRecordings
from poolmgr.store.lives import DELETED_MARK_LIFE_S

_log = structlog.stdlib.get_logger()
_EVERY_S = 60.0
_REFUSED_S = (60.0, 3600.0)
"""What the store did not delete is tried again after so long, doubling."""
_MOST_REFUSED_IN_A_ROW = 5
"""Then the store may be away: the round ends."""


async def tend_recordings(
    due: DueRecordings,
    store: Callable[[], Store | None],
    clock: Clock,
    vm_to_finish: Callable[[str, str], str | None],
) -> None:
    """Run until it is cancelled. `vm_to_finish`: gets the VM of a bot, and the one that said last that it can make no
    files, and says which VM is to make what is not made.
    """
    refused: dict[str, Iterator[float]] = {}
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
        try:
            if kept := store():
                await _delete_expired(kept, due, refused, now)
        except StoreError as error:  # its settings cannot be used
            _log.warning("recording_undeleted", bot_id="", error=str(error))
        await asyncio.sleep(_EVERY_S)


async def _delete_expired(store: Store, due: DueRecordings, refused: dict[str, Iterator[float]], now: float) -> None:
    """Delete what is due. `refused`: for each bot that the store did not delete the delays until it is tried again."""
    in_a_row = 0
    for bot_id in await due.over(now):
        if not await due.is_still_over(bot_id, now):  # those before it may have taken long
            continue
        try:
            await _delete(store, due, bot_id, now)
        except StoreError as error:
            delays = refused.setdefault(bot_id, backoff(*_REFUSED_S))
            delay_s = next(delays)
            _log.warning("recording_undeleted", bot_id=bot_id, error=str(error), again_in_s=delay_s)
            await due.look_again([bot_id], now + delay_s)
            in_a_row += 1
            if in_a_row == _MOST_REFUSED_IN_A_ROW:
                return
        else:
            refused.pop(bot_id, None)
            in_a_row = 0


async def _delete(store: Store, due: DueRecordings, bot_id: str, now: float) -> None:
    """Delete what there is of the bot. When nothing has come for DELETED_MARK_LIFE_S since that was done before, its
    mark goes, too. A newer mark is of a client who deletes it just now, or of a deletion that was not noted. Raises:
    StoreError.
    """
    marked_at = await deletion.marked_at(store, bot_id)
    objects = await deletion.delete(store, bot_id, now)
    is_done = marked_at is not None and marked_at + DELETED_MARK_LIFE_S <= now and not objects
    if is_done:
        await deletion.remove_mark(store, bot_id)
    await due.note_deleted(bot_id, now, marked=not is_done)
    if not is_done:
        _log.info("recording_expired", bot_id=bot_id, objects=objects)
