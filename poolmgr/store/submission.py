"""The way of the HTTP API's jobs into the list: once, within the caller's share, and to be seen before a leader comes.

Writes for nobody's epoch: any manager may submit, leader or not.
"""

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis

from poolmgr.core.record import Record
from poolmgr.store import answers, scripts
from poolmgr.store.keys import Keys


class Verdict(StrEnum):
    SUBMITTED = "submitted"
    REPLAYED = "replayed"  # same Idempotency-Key, same request
    KEY_REUSED = "key_reused"  # same Idempotency-Key, another request
    DEDUPLICATED = "deduplicated"  # a bot with this deduplication_key is there
    MEETING_HELD = "meeting_held"  # a bot that is to be the only one in this meeting is there, or about to be made
    ID_TAKEN = "id_taken"
    OVER_QUOTA = "over_quota"


class Outcome(NamedTuple):
    """`bot_id`: the bot that was there before, where the verdict is about one; else the submitted one."""

    verdict: Verdict
    bot_id: str


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A checked job with its bot_id in it. `entry`: what the API shows of its bot before there is a record. `digest`:
    of the request, so that a repeated Idempotency-Key can be told from a reused one.
    """

    bot_id: str
    payload: bytes
    owner: str
    entry: Record
    idempotency_key: str = ""
    digest: str = ""
    deduplication_key: str = ""
    held_meeting: str = ""
    bots_at_once: int = 0  # 0: no limit


class Submissions:
    """`deduplicated_s`: how long a deduplication_key counts."""

    def __init__(self, redis: Redis, keys: Keys, deduplicated_s: float) -> None:
        self._redis: Any = redis  # its answers are typed as unions of every shape; tests pin the real ones
        self._keys = keys
        self._deduplicated_s = int(deduplicated_s)

    async def submit(self, submission: Submission) -> Outcome:
        """Afterwards the job is on the list and its entry can be found; with any other verdict nothing has changed."""
        k, key = self._keys, submission.idempotency_key
        call = scripts.submit(
            jobs=k.jobs,
            bot=k.bot(submission.bot_id),
            submitted=k.submitted(submission.bot_id),
            owned=k.owned(submission.owner),
            idempotency=k.idempotency(submission.owner, key) if key else None,
            dedup=k.deduplication(submission.deduplication_key) if submission.deduplication_key else None,
            meeting=k.meeting(submission.held_meeting) if submission.held_meeting else None,
            bot_id=submission.bot_id,
            payload=submission.payload,
            entry=msgspec.json.encode(_texts(submission.entry)),
            quota=submission.bots_at_once,
            digest=submission.digest,
            dedup_life_s=self._deduplicated_s,
        )
        verdict, bot_id = await call.run(self._redis)
        return Outcome(Verdict(verdict.decode()), bot_id.decode())

    async def withdraw(self, submission: Submission, *, ended: bool = False) -> bool:
        """Take the job back, so that the same request may come again. `ended`: its bot ended without a chance.

        False when a manager has taken the job meanwhile; then nothing has changed.
        """
        k = self._keys
        call = scripts.withdraw(
            jobs=k.jobs,
            submitted=k.submitted(submission.bot_id),
            owned=k.owned(submission.owner),
            once_keys=self._once_keys(submission),
            bot_id=submission.bot_id,
            payload=submission.payload,
            has_ended=ended,
        )
        return await call.run(self._redis)

    async def taken(self, bot_id: str) -> bool:
        """Whether the bot's record is there, which has then taken the place of its entry."""
        return bool(await self._redis.exists(self._keys.bot(bot_id)))

    async def find(self, bot_id: str) -> Record | None:
        """The session record of a bot, or its entry while there is no record; or None."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(self._keys.bot(bot_id)).get(self._keys.submitted(bot_id))
        raw, entry = await pipeline.execute()
        if raw:
            return Record.from_hash(answers.text_fields(raw))
        return Record.from_hash(msgspec.json.decode(entry, type=dict[str, str])) if entry else None

    def _once_keys(self, submission: Submission) -> list[str]:
        keys: list[str] = []
        if submission.idempotency_key:
            keys.append(self._keys.idempotency(submission.owner, submission.idempotency_key))
        if submission.deduplication_key:
            keys.append(self._keys.deduplication(submission.deduplication_key))
        return keys


def _texts(entry: Record) -> dict[str, str]:
    return {name: str(value) for name, value in entry.to_hash().items()}
