"""Transcripts that are to be made of recordings: which are due, postponed, made, or given up. For one leader."""

import math
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis

from common.jobs.record import Record, iso
from common.wire.minutes import CAPTIONS
from poolmgr.store import answers, scripts, story
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import run_fenced
from poolmgr.store.transcriptions import (
    FAILED,
    NOTHING_TO_TRANSCRIBE,
    OF_JOB,
    PROCESSED,
    SKIPPED,
    Transcription,
    in_order,
)


class UnderWay(NamedTuple):
    """A transcript that is to be made. `bot`: the record of its bot, from which the recording and its attempt are
    known. `kept_until`: when the recording is deleted.
    """

    number: int
    what: Transcription
    bot: Record
    kept_until: float = math.inf

    @property
    def attempt(self) -> int | None:
        """Of which attempt's recording a client wants it; None: it is of the latest."""
        return (self.what.attempt or None) if self.number != OF_JOB else None

    @property
    def is_stopgap(self) -> bool:
        """Whether it is made only because nothing was written down. Words that come after all stay."""
        return self.number == OF_JOB and not self.bot.speech_after


class Concluded(StrEnum):
    """What became of the end of a transcript. `superseded`: a later attempt of its bot has another one, or none yet; or
    captions have come while this one failed, and it is looked at anew. `forgotten`: the bot's record is gone. `over`:
    so is the time of its recording.
    """

    NOTED = "noted"
    SUPERSEDED = "superseded"
    FORGOTTEN = "forgotten"
    OVER = "over"


class DueTranscriptions:
    """Times are epoch seconds. Methods that write raise StaleEpochError when another manager leads."""

    def __init__(self, redis: Redis, keys: Keys, epoch: int) -> None:
        self._redis: Any = redis
        self._keys = keys
        self._epoch = epoch

    async def due(self, now: float, most: int) -> list[str]:
        """The ids of bots with a transcript that is due, the longest overdue first."""
        found: list[bytes] = await self._redis.zrange(
            self._keys.transcriptions_due, "-inf", now, byscore=True, offset=0, num=most
        )
        return [raw.decode() for raw in found]

    async def under_way(self, bot_id: str) -> UnderWay | None:
        """The bot's transcript that is to be made next: that of its job first. None: there is none, or the bot was
        deleted; then it is no longer due.
        """
        k = self._keys
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(k.transcriptions(bot_id)).hgetall(k.bot(bot_id)).zscore(k.recordings_expiring, bot_id)
        raw, fields, until = await pipeline.execute()
        first = next(((n, one) for n, one in in_order(raw).items() if one.status == "processing"), None)
        if first is None or not fields:
            call = scripts.await_no_transcript(
                bot=k.bot(bot_id), transcriptions=k.transcriptions(bot_id), due=k.transcriptions_due, bot_id=bot_id
            )
            await run_fenced(self._redis, k.epoch, self._epoch, [call])
            return None
        bot = Record.from_hash({**answers.text_fields(fields), "bot_id": bot_id})
        return UnderWay(*first, bot, math.inf if until is None else until)

    async def put_off(self, one: UnderWay, until: float, *, why: str = "") -> None:
        """Try it again at that time. `why`: why it failed; empty: it did not fail, and only has to wait."""
        tries = one.what.tries + bool(why)
        later = msgspec.structs.replace(one.what, tries=tries, why=why or one.what.why)
        k, bot_id = self._keys, one.bot.bot_id
        call = scripts.put_off_transcription(
            transcriptions=k.transcriptions(bot_id),
            due=k.transcriptions_due,
            bot_id=bot_id,
            number=one.number,
            stamp=until,
            asked=msgspec.json.encode(later),
        )
        await run_fenced(self._redis, k.epoch, self._epoch, [call])

    async def conclude(
        self, one: UnderWay, now: float, *, utterances: int = 0, why: str = "", by: str = ""
    ) -> Concluded:
        """Note that it is made, or given up because of `why`. `by`: whose words it has if not its provider's, because
        they were there before. Nothing is noted of one that is superseded, nor of one that is made when the time of the
        recording is over: it stays due.
        """
        k, bot_id, what = self._keys, one.bot.bot_id, one.what
        became = PROCESSED if not why else SKIPPED if why in NOTHING_TO_TRANSCRIBE else FAILED
        last = msgspec.structs.replace(what, status=became, why=why, utterances=utterances)
        call = scripts.conclude_transcription(
            bot=k.bot(bot_id),
            outbox=k.outbox,
            story=k.story(bot_id),
            transcriptions=k.transcriptions(bot_id),
            due=k.transcriptions_due,
            expiring=k.recordings_expiring,
            bot_id=bot_id,
            number=one.number,
            at=iso(now),
            stamp=now,
            asked=msgspec.json.encode(last),
            became=PROCESSED if what.captions else became,
            by=what.captions or CAPTIONS if why else by or what.provider,
            why=why,
            callback=what.callback,
            entry=story.of_transcription(one.bot.attempt, now, by or what.provider, utterances, why),
        )
        [answer] = await run_fenced(self._redis, k.epoch, self._epoch, [call])
        return Concluded(answer)
