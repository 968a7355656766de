"""Finds recordings for which something is due after their bots' ends: their files did not come in time, or their
retention is over. For one leader; every call may be repeated.
"""

from typing import Any, Final

from redis.asyncio import Redis

from common.jobs.record import iso
from poolmgr.store import scripts, story
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import run_fenced
from poolmgr.store.record import SAID_BEFORE
from poolmgr.store.usage import day_of

_AT_ONCE: Final = 100


class DueRecordings:
    """Times are epoch seconds. Methods that write raise StaleEpochError when another manager leads."""

    def __init__(self, redis: Redis, keys: Keys, epoch: int) -> None:
        self._redis: Any = redis
        self._keys = keys
        self._epoch = epoch

    async def unmade(self, now: float) -> list[str]:
        """The ids of bots whose recordings' files are overdue."""
        return await self._until(self._keys.recordings_due, now)

    async def over(self, now: float) -> list[str]:
        """The ids of bots whose recordings are to be deleted."""
        return await self._until(self._keys.recordings_expiring, now)

    async def give_up(self, bot_id: str, now: float) -> None:
        """Note that the files are no longer waited for. If they come later, that is noted and reported as well."""
        k = self._keys
        said = await self._redis.hmget(k.bot(bot_id), "attempt", "audio_status", "video_status")
        attempt = int(said[0] or 0)
        audio, video = ("skipped" if status else "" for status in said[1:])
        call = scripts.recorded(
            bot=k.bot(bot_id),
            outbox=k.outbox,
            story=k.story(bot_id),
            due=k.recordings_due,
            expiring=k.recordings_expiring,
            usage=k.usage(day_of(now)),
            bot_id=bot_id,
            attempt=attempt,
            at=iso(now),
            stamp=now,
            retention_s=0.0,
            manifest_status="skipped",
            audio_status=audio,
            video_status=video,
            audio_s=0.0,
            stored_bytes=0,
            entry=story.of_recording(attempt, now, story.UNMADE),
            over=SAID_BEFORE["skipped"],
        )
        await run_fenced(self._redis, k.epoch, self._epoch, [call])
        await self._redis.zrem(k.recordings_due, bot_id)  # this is written even if the bot's record is deleted

    async def note_deleted(self, bot_id: str, now: float) -> None:
        """Note that the recording was deleted because its retention was over."""
        k = self._keys
        entry = story.of_recording(0, now, story.EXPIRED)
        bot, line, expiring = k.bot(bot_id), k.story(bot_id), k.recordings_expiring
        call = scripts.recording_deleted(bot=bot, story=line, expiring=expiring, bot_id=bot_id, entry=entry)
        await run_fenced(self._redis, k.epoch, self._epoch, [call])

    async def _until(self, key: str, now: float) -> list[str]:
        found: list[bytes] = await self._redis.zrange(key, "-inf", now, byscore=True, offset=0, num=_AT_ONCE)
        return [raw.decode() for raw in found]
