"""Puts jobs of the job stream and of SQS on the list of jobs: each once, also if a manager is killed at any point.

From then on they are jobs like all others. The intake rejects bad ones.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from common.runtime.redis.lua import Call
from poolmgr.store import scripts
from poolmgr.store.keys import Keys
from poolmgr.store.leader.inbox import GROUP
from poolmgr.store.leader.ledger import StaleEpochError
from poolmgr.store.lives import MARK_OF_DELETED_LIFE_S

_MOST_WAITING: Final = 10_000
"""How many jobs may wait on the list, of at most 256 KB each. Further jobs stay where they are."""


class Message(NamedTuple):
    """One message of an SQS queue. `receipt`: the handle to delete it, new with every delivery."""

    message_id: str
    receipt: str
    body: bytes


class Arrivals:
    """Puts jobs on the list for one leader. Every method raises StaleEpochError when that leader has been replaced."""

    def __init__(self, redis: Redis, keys: Keys, epoch: int) -> None:
        self._redis: Any = redis  # redis-py types answers as unions of all shapes
        self._keys = keys
        self._epoch = epoch

    async def has_room(self) -> bool:
        """Whether the list of jobs is short enough for more."""
        return await self._redis.llen(self._keys.jobs) < _MOST_WAITING

    async def from_stream(self, jobs: Sequence[tuple[bytes, bytes]]) -> int:
        """Put entries (id and job, oldest first) of the job stream on the list of jobs; then they are acknowledged and
        deleted. Entries that were acknowledged before are skipped. Returns how many were put.
        """
        k = self._keys
        entries = [part for entry in jobs for part in entry]
        return await self._run(scripts.hand_in(job_stream=k.job_stream, jobs=k.jobs, group=GROUP, entries=entries))

    async def from_sqs(self, messages: Sequence[Message]) -> int:
        """Put messages on the list of jobs, oldest first. Messages that were put before are skipped. Returns how many
        were new; all may be deleted from their queue then.
        """
        k = self._keys
        marks = [k.taken_from_sqs(message.message_id) for message in messages]
        payloads = [message.body for message in messages]
        return await self._run(scripts.hand_in_once(jobs=k.jobs, marks=marks, payloads=payloads))

    async def deleted(self, messages: Sequence[Message]) -> None:
        """These messages are deleted from their queue: shorten the life of their marks."""
        pipeline = self._redis.pipeline(transaction=False)
        for message in messages:
            pipeline.expire(self._keys.taken_from_sqs(message.message_id), MARK_OF_DELETED_LIFE_S)
        await pipeline.execute()

    async def _run(self, call: Call[int]) -> int:
        try:
            return await call.run(self._redis, (self._keys.epoch, self._epoch))
        except ResponseError as error:
            if str(error).startswith("STALE_EPOCH"):
                raise StaleEpochError("another manager leads") from error
            raise
