"""Puts the HTTP API's jobs on the list: once, within the caller's quota, and readable before a leader takes them.

Its scripts are not fenced: any manager may submit, leader or not.
"""

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis

from common.jobs.record import Record
from poolmgr.store import answers, scripts
from poolmgr.store.actions import By, Verb, Way, fields_of
from poolmgr.store.keys import Keys


class Verdict(StrEnum):
    SUBMITTED = "submitted"
    REPLAYED = "replayed"  # same Idempotency-Key, same request
    KEY_REUSED = "key_reused"  # same Idempotency-Key, another request
    DEDUPLICATED = "deduplicated"  # there is a bot with this deduplication_key
    KEY_HELD = "key_held"  # a leader is about to make a bot with this deduplication_key
    MEETING_HELD = "meeting_held"  # there is, or will be, a bot that has to be the only one in this meeting
    ID_TAKEN = "id_taken"
    OVER_QUOTA = "over_quota"


class Outcome(NamedTuple):
    """The result. `bot_id`: the earlier bot, if the verdict is about one; else the submitted bot."""

    verdict: Verdict
    bot_id: str


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A checked job with its bot_id. `entry`: what the API shows of the bot until it has a record. `digest`: of the
    request, which tells a repeated Idempotency-Key from a reused one.
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
        self._redis: Any = redis  # redis-py types answers as unions of all shapes
        self._keys = keys
        self._deduplicated_s = int(deduplicated_s)

    async def submit(self, submission: Submission, unserved: str = "") -> Outcome:
        """Put the job on the list, with its entry. Any verdict but SUBMITTED means that nothing has changed.

        `unserved`: a bot whose creation was refused because no worker was free. It has no deduplication_key any more.
        """
        k, key = self._keys, submission.idempotency_key
        call = scripts.submit(
            jobs=k.jobs,
            bot=k.bot(submission.bot_id),
            submitted=k.submitted(submission.bot_id),
            owned=k.owned(submission.owner),
            actions=k.actions,
            expiring=k.recordings_expiring,
            idempotency=k.idempotency(submission.owner, key) if key else None,
            dedup=k.deduplication(submission.deduplication_key) if submission.deduplication_key else None,
            meeting=k.meeting(submission.held_meeting) if submission.held_meeting else None,
            bot_id=submission.bot_id,
            payload=submission.payload,
            entry=msgspec.json.encode(_texts(submission.entry)),
            quota=submission.bots_at_once,
            digest=submission.digest,
            unserved=unserved,
            dedup_life_s=self._deduplicated_s,
            action=_action(submission, Verb.SUBMIT),
        )
        verdict, bot_id = await call.run(self._redis)
        return Outcome(Verdict(verdict.decode()), bot_id.decode())

    async def withdraw(self, submission: Submission, *, ended: bool = False) -> bool:
        """Take the job back, so that the same request may be sent again. `ended`: its bot ended without having a
        worker.

        Returns False when a manager has taken the job meanwhile; then nothing has changed.
        """
        k = self._keys
        call = scripts.withdraw(
            jobs=k.jobs,
            submitted=k.submitted(submission.bot_id),
            owned=k.owned(submission.owner),
            actions=k.actions,
            once_keys=self._once_keys(submission),
            bot_id=submission.bot_id,
            payload=submission.payload,
            has_ended=ended,
            action=_action(submission, Verb.WITHDRAW),
        )
        return await call.run(self._redis)

    async def find(self, bot_id: str) -> Record | None:
        """The session record of a bot, or its entry while there is no record; None: there is neither."""
        pipeline = self._redis.pipeline(transaction=False)
        # In this order: a leader makes a record of the entry in one step, and in between there would be neither.
        pipeline.get(self._keys.submitted(bot_id)).hgetall(self._keys.bot(bot_id))
        entry, raw = await pipeline.execute()
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


def _action(submission: Submission, what: Verb) -> dict[str, str]:
    return fields_of(By(submission.owner, Way.API), what, submission.bot_id)
