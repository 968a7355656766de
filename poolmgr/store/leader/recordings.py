"""Finds bots for which something is due after their ends: the files of their recordings, or their transcripts, did not
come in time, or the retention of their recordings is over. For one leader; every call may be repeated.
"""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from common.jobs.record import Record, epoch, iso
from common.wire import codec
from common.wire.messages import FinishRecording
from common.wire.minutes import CAPTIONS
from common.wire.vocabulary import BotState
from poolmgr.store import answers, scripts, story
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import run_fenced
from poolmgr.store.lives import DELETED_MARK_LIFE_S, MADE_WITHIN_S, TAKEN_OVER_AFTER_S
from poolmgr.store.record import SAID_BEFORE
from poolmgr.store.usage import day_of

_AT_ONCE: Final = 100
_LOOK_AGAIN_S: Final = 60.0


class Unmade(NamedTuple):
    """A bot of whose meeting an agent should have made something: of that attempt. `ended_at`: the bot's end, by the
    clock of its VM; `recording`, `transcript`: whether its files are, and whether it is waited for; `awaited_since`:
    from when on, by the manager's clock. `unmade_by`: the VM that said last that it can make no files. All but the id
    are empty if nothing is waited for any more.
    """

    bot_id: str
    attempt: int = 0
    vm_id: str = ""
    ended_at: float = 0.0
    awaited_since: float = 0.0
    recording: bool = False
    transcript: bool = False
    unmade_by: str = ""

    def is_given_up(self, now: float) -> bool:
        return now >= self.awaited_since + MADE_WITHIN_S


class DueRecordings:
    """Times are epoch seconds. Methods that write raise StaleEpochError when another manager leads."""

    def __init__(
        self, redis: Redis, keys: Keys, epoch: int, transcribes: str = "", *, retention_s: float = 0.0
    ) -> None:
        """`transcribes`: the provider that transcribes recordings of meetings without captions. `retention_s`: how long
        recordings are kept whose jobs do not say; 0 is for ever.
        """
        self._transcribes = transcribes
        self._retention_s = retention_s
        self._redis: Any = redis
        self._keys = keys
        self._epoch = epoch

    async def unmade(self, now: float) -> list[Unmade]:
        """Bots about whose recordings or transcripts something is to be done: another VM is to make them, or they are
        given up.
        """
        found = list[Unmade]()
        for bot_id in await self._until(self._keys.recordings_due, now):
            said = Record.from_hash(answers.text_fields(await self._redis.hgetall(self._keys.bot(bot_id))))
            recorded = (said.recorded_attempt or said.attempt) if said.manifest_status == "recording" else 0
            is_written = said.transcript_status == "processing" and not said.transcript_by
            transcribed = (said.transcribed_attempt or said.attempt) if is_written else 0
            for attempt in sorted({recorded, transcribed} - {0}) if said.stopped_at else ():
                times = epoch(said.stopped_at), epoch(said.awaited_since or said.stopped_at)
                of = recorded == attempt, transcribed == attempt
                found.append(
                    Unmade(bot_id, attempt, said.vm_id, *times, *of, said.unmade_by if recorded == attempt else "")
                )
            if not found or found[-1].bot_id != bot_id:
                found.append(Unmade(bot_id))
        return found

    async def over(self, now: float) -> list[str]:
        """The ids of bots whose recordings are to be deleted, or the marks that they were. A bot that has not ended is
        looked at again a minute later: it may be in its meeting once more, and be recorded.
        """
        key = self._keys.recordings_expiring
        found = await self._until(key, now)
        pipeline = self._redis.pipeline(transaction=False)
        for bot_id in found:
            pipeline.hget(self._keys.bot(bot_id), "state")
        states: list[bytes | None] = await pipeline.execute() if found else []
        over = (None, BotState.STOPPED.encode())
        live = {bot_id for bot_id, state in zip(found, states, strict=True) if state not in over}
        await self.look_again(live, now + _LOOK_AGAIN_S)
        return [bot_id for bot_id in found if bot_id not in live]

    async def is_still_over(self, bot_id: str, now: float) -> bool:
        """Whether what `over` said of the bot holds: no files have come since, and nobody else has deleted it."""
        until: float | None = await self._redis.zscore(self._keys.recordings_expiring, bot_id)
        return until is not None and until <= now

    async def look_again(self, bot_ids: Collection[str], at: float) -> None:
        """These are not deleted yet: look at them again at that time, after those that are due by then."""
        if bot_ids:  # files that come in just this moment keep it for longer, or a later attempt takes it out
            key = self._keys.recordings_expiring
            await self._redis.zadd(key, dict.fromkeys(bot_ids, at), xx=True, gt=True)

    async def order(self, one: Unmade, vm_id: str, now: float) -> None:
        """Have the agent of that VM make files and transcript of what the store has. An agent that dies may forget the
        order, so one is given again and again until they are there or given up; who has it already does nothing.
        """
        k = self._keys
        message = FinishRecording(one.bot_id, one.attempt, one.ended_at, one.transcript, one.recording)
        taken_over = story.of_recording if one.recording else story.of_minutes
        call = scripts.finish_recording(
            bot=k.bot(one.bot_id),
            commands=k.commands(vm_id),
            story=k.story(one.bot_id),
            due=k.recordings_due,
            bot_id=one.bot_id,
            attempt=one.attempt,
            message=codec.encode(message),
            look_at=min(now + TAKEN_OVER_AFTER_S, one.awaited_since + MADE_WITHIN_S),
            entry=taken_over(one.attempt, now, story.TAKEN_OVER, vm_id),
        )
        await run_fenced(self._redis, k.epoch, self._epoch, [call])

    async def give_up(self, one: Unmade, now: float) -> None:
        """Note that files and transcript are no longer waited for. If they come later, that is noted and reported as
        well. Of files that are there a provider makes the transcript, as of any recording without one.
        """
        k, bot_id = self._keys, one.bot_id
        if one.recording:
            await self._give_up_files(bot_id, one.attempt, now)
        if one.transcript:
            await self._give_up_transcript(bot_id, one.attempt, now)
        if not (one.recording or one.transcript):
            call = scripts.await_no_agent(bot=k.bot(bot_id), due=k.recordings_due, bot_id=bot_id)
            await run_fenced(self._redis, k.epoch, self._epoch, [call])

    async def _give_up_files(self, bot_id: str, attempt: int, now: float) -> None:
        k = self._keys
        said = await self._redis.hmget(k.bot(bot_id), "audio_status", "video_status")
        audio, video = ("skipped" if status else "" for status in said)
        call = scripts.recorded(
            bot=k.bot(bot_id),
            outbox=k.outbox,
            story=k.story(bot_id),
            due=k.recordings_due,
            expiring=k.recordings_expiring,
            transcriptions_due=k.transcriptions_due,
            usage=k.usage(day_of(now)),
            bot_id=bot_id,
            attempt=attempt,
            at=iso(now),
            stamp=now,
            retention_s=self._retention_s,
            manifest_status="skipped",
            audio_status=audio,
            video_status=video,
            audio_s=0.0,
            stored_bytes=0,
            entry=story.of_recording(attempt, now, story.UNMADE),
            over=SAID_BEFORE["skipped"],
        )
        await run_fenced(self._redis, k.epoch, self._epoch, [call])

    async def _give_up_transcript(self, bot_id: str, attempt: int, now: float) -> None:
        k = self._keys
        call = scripts.transcribed(
            bot=k.bot(bot_id),
            outbox=k.outbox,
            story=k.story(bot_id),
            transcriptions=k.transcriptions(bot_id),
            due=k.transcriptions_due,
            unmade=k.recordings_due,
            expiring=k.recordings_expiring,
            bot_id=bot_id,
            attempt=attempt,
            at=iso(now),
            stamp=now,
            retention_s=self._retention_s,
            transcript_status="skipped",
            by=CAPTIONS,
            after=self._transcribes,
            entry=story.of_minutes(attempt, now, story.UNMADE),
        )
        await run_fenced(self._redis, k.epoch, self._epoch, [call])

    async def note_deleted(self, bot_id: str, now: float, *, marked: bool = True) -> None:
        """Note that what there was of the bot was deleted. `marked`: the store says so, and is to be looked at again
        when DELETED_MARK_LIFE_S is over; else nothing is left of the bot there.
        """
        k = self._keys
        entry = story.of_recording(0, now, story.EXPIRED)
        bot, line, expiring = k.bot(bot_id), k.story(bot_id), k.recordings_expiring
        until_at = now + DELETED_MARK_LIFE_S if marked else 0.0
        call = scripts.recording_deleted(
            bot=bot, story=line, expiring=expiring, bot_id=bot_id, at=iso(now), until_at=until_at, entry=entry
        )
        await run_fenced(self._redis, k.epoch, self._epoch, [call])

    async def _until(self, key: str, now: float) -> list[str]:
        found: list[bytes] = await self._redis.zrange(key, "-inf", now, byscore=True, offset=0, num=_AT_ONCE)
        return [raw.decode() for raw in found]
