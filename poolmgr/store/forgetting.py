"""Deletes a bot's record and everything that is kept with it: after its retention, or when its owner asks for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from common.jobs.record import Record
from poolmgr.store import answers, scripts
from poolmgr.store.actions import By, Verb, fields_of
from poolmgr.store.keys import Keys
from poolmgr.store.lives import DELETED_MARK_LIFE_S, RETENTION_LIFE_S
from poolmgr.store.reading.evidence import keys_of


async def forget(
    redis: Redis,
    keys: Keys,
    bot_id: str,
    *,
    deliveries: Sequence[bytes] | None = None,
    done: bytes = b"",
    transcripts: Mapping[str, bytes] | None = None,
    by: By | None = None,
) -> int:
    """Delete everything of an ended bot except webhooks that are still to be sent. `deliveries`: the last webhooks, as
    JSON; None: nobody is told. `done`: bot.done, which comes before them where all was not done for the bot yet.
    `transcripts`: of which `deliveries` tell, as Transcriptions.raw gave them; None: of none. `by`: who asked for it;
    None: the time for which a bot is kept is over.

    Returns how many keys and index entries were deleted; 0: there is no such bot, or it has not ended. Returns -1 and
    deletes nothing if the transcripts have changed since, or if somebody is told and the leader still needs the record
    for earlier webhooks. Idempotent.
    """
    client: Any = redis
    fields = answers.text_fields(await client.hgetall(keys.bot(bot_id)))
    if not fields:
        await client.zrem(keys.ended, bot_id)
        await client.zrem(keys.all_bots, bot_id)
        return 0
    record = Record.from_hash({**fields, "bot_id": bot_id})
    key, held = record.deduplication_key, record.held_meeting
    call = scripts.forget(
        bot=keys.bot(bot_id),
        ended=keys.ended,
        all_bots=keys.all_bots,
        outbox=keys.outbox,
        dedup=keys.deduplication(key) if key else None,
        meeting=keys.meeting(held) if held else None,
        evidence_index=keys.evidence_index,
        evidence_sizes=keys.evidence_sizes,
        actions=keys.actions,
        transcriptions=None if transcripts is None else keys.transcriptions(bot_id),
        further_keys=keys.further_keys(bot_id),
        bundles=keys_of(keys, record),
        indexes=[keys.index(field, value) for field, value in (*record.found_by, ("status", record.status))],
        bot_id=bot_id,
        is_told=deliveries is not None,
        deliveries=deliveries or (),
        done=done,
        as_read=transcripts or {},
        action=fields_of(by, Verb.DELETE, bot_id),
    )
    return await call.run(redis)


async def expect_mark(redis: Redis, keys: Keys, bot_id: str, now: float) -> None:
    """The mark that the bot was deleted is about to be put into the store. Should this program end before `keep_mark`,
    the leader looks for it all the same: when what was recorded is over, or in DELETED_MARK_LIFE_S. Idempotent.
    """
    await _look_for_mark(redis, keys, bot_id, now, only_new=True)


async def keep_mark(redis: Redis, keys: Keys, bot_id: str, now: float) -> None:
    """The store of recordings holds the mark that the bot was deleted: have the leader remove it in
    DELETED_MARK_LIFE_S, and what agents have put there until then. Idempotent.
    """
    await _look_for_mark(redis, keys, bot_id, now, only_new=False)


async def _look_for_mark(redis: Redis, keys: Keys, bot_id: str, now: float, *, only_new: bool) -> None:
    pipeline: Any = redis.pipeline(transaction=False)
    pipeline.zadd(keys.recordings_expiring, {bot_id: now + DELETED_MARK_LIFE_S}, nx=only_new)
    pipeline.expire(keys.recordings_expiring, RETENTION_LIFE_S)
    await pipeline.execute()
