"""Reads and acknowledges what comes in through Redis: jobs of clients, events of agents, requests of operators.

Nothing is acknowledged before its consequences are durable, so unfinished work is read again.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from common.jobs.record import Job
from common.runtime.redis.roundtrip import ask
from poolmgr.store import scripts
from poolmgr.store.answers import Entry, entries_of
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import run_fenced
from poolmgr.store.lives import TRIES_LIFE_S

GROUP: Final = "manager"
_CONSUMER: Final = "leader"  # the same for all leaders, so that the next one finds what the last one left

_MOST_BYTES: Final = 1 << 20
"""Bytes of all jobs in one batch."""

_LEFT_OVER_EVERY: Final = 100
"""After so many reads with new entries, entries that were read and not acknowledged are read again."""


_MOST_SKIPPED: Final = 500
_KEY_HELD: Final = scripts.KEY_HELD.encode()


class Held(NamedTuple):
    """The bot that has the deduplication_key, and the one that has the meeting: the one for which they were to be held,
    or an earlier one. Then neither is held.
    """

    key: str
    meeting: str


class Jobs:
    """The list of jobs. A job that was taken is in `jobs:taken` until it is a bot or is rejected."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis  # redis-py types answers as unions of all shapes
        self._keys = keys

    async def left_over(self) -> list[bytes]:
        """Jobs that were taken and not finished, oldest first."""
        taken: list[bytes] = await self._redis.lrange(self._keys.taken, 0, -1)
        return taken[::-1]

    async def begin_alone(self, payload: bytes, done: bytes) -> int:
        """Count that this job is begun alone, and return how often it was. `done`: the job before it, whose count is
        removed; empty: none.
        """
        tries = self._keys.tries
        pipeline = self._redis.pipeline()
        if done:
            pipeline.hdel(tries, _digest(done))
        pipeline.hincrby(tries, _digest(payload), 1).expire(tries, TRIES_LIFE_S)
        return int((await pipeline.execute())[-2])

    async def ended_alone(self, payload: bytes) -> None:
        """The job that was begun alone is finished: remove its count."""
        await self._redis.hdel(self._keys.tries, _digest(payload))

    async def take(self, most: int, timeout_s: float) -> list[bytes]:
        """Take up to `most` jobs, oldest first; fewer if they are large. Waits up to `timeout_s` for the first one."""
        jobs, taken = self._keys.jobs, self._keys.taken
        # One round trip: Redis runs the second command after the first.
        waiting = ("BLMOVE", jobs, taken, "RIGHT", "LEFT", timeout_s)
        first, left = await ask(self._redis, [waiting, ("LLEN", jobs)])
        if isinstance(first, ResponseError):
            raise first
        if first is None:
            return []
        room = _MOST_BYTES - len(first)
        if not left or most == 1 or room <= 0:
            return [first]
        more = scripts.take(jobs=jobs, taken=taken, most=most - 1, most_bytes=room)
        return [first, *await more.run(self._redis)]

    async def conflicts(self, jobs: Sequence[Job]) -> dict[str, str]:
        """The existing bots that conflict with some of `jobs`: `BOT_ID` -> bot where the id is in use, or what was
        recorded of such a bot is kept, or was deleted lately; `key KEY` -> bot where the deduplication_key is in use.
        A key that is only held is not: its job is read again.
        """
        asked: list[str] = []
        pipeline = self._redis.pipeline(transaction=False)
        for job in jobs:
            if job.bot_id:
                asked.append(job.bot_id)
                pipeline.hget(self._keys.bot(job.bot_id), "bot_id")
                asked.append(job.bot_id)
                pipeline.zscore(self._keys.recordings_expiring, job.bot_id)
            if job.deduplication_key:
                asked.append(f"key {job.deduplication_key}")
                pipeline.get(self._keys.deduplication(job.deduplication_key))
        if not asked:
            return {}
        answers: list[bytes | float | None] = await pipeline.execute()
        return {
            name: found.decode() if isinstance(found, bytes) else name
            for name, found in zip(asked, answers, strict=True)
            if found is not None and not (isinstance(found, bytes) and found.startswith(_KEY_HELD))
        }

    async def hold(self, bot_id: str, *, key: str = "", meeting: str = "") -> Held:
        """Hold a deduplication_key and a meeting for `bot_id`, both or none; empty: not asked for. A meeting is free
        when its bot has ended, a key is not; both are free of a bot that an earlier leader was to make. All bots that
        this leader accepted before with that key or for that meeting have to be durable.
        """
        k = self._keys
        call = scripts.hold(
            bot=k.bot(bot_id),
            submitted=k.submitted(bot_id),
            dedup=k.deduplication(key) if key else None,
            meeting=k.meeting(meeting) if meeting else None,
            bot_id=bot_id,
        )
        return Held(*(name.decode() for name in await call.run(self._redis)))

    async def backlog(self) -> int:
        return int(await self._redis.llen(self._keys.jobs))


class Stream:
    """A stream, read through the manager's consumer group for the leader of `epoch`. First come entries that were read
    and not acknowledged, then new ones. At intervals the former are read again: a leader that was frozen may read on
    before it knows that it was replaced. `late` is true for such entries: newer ones may have been read before them.
    """

    def __init__(self, redis: Redis, keys: Keys, key: str, epoch: int) -> None:
        self._redis: Any = redis  # redis-py types answers as unions of all shapes
        self._keys = keys
        self._key = key
        self._epoch = epoch
        self._position: bytes | str = "0"
        self._read_new = 0
        self.late = False

    async def open(self) -> None:
        """Make the consumer group, which reads from the beginning. Idempotent."""
        try:
            await self._redis.xgroup_create(self._key, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def read(self, most: int, timeout_s: float) -> list[Entry]:
        """Up to `most` entries in order. Waits up to `timeout_s` for the first; 0: does not wait. Entries that were
        read before and not acknowledged come again.
        """
        is_new = self._position == ">"
        block = max(1, int(timeout_s * 1000)) if timeout_s and is_new else None
        answer: Any = await self._redis.xreadgroup(
            GROUP, _CONSUMER, {self._key: self._position}, count=most, block=block
        )
        entries = entries_of(answer)
        self.late = not is_new and self._read_new > 0
        if is_new:
            self._read_new += 1
            if not entries or self._read_new % _LEFT_OVER_EVERY == 0:
                self._position = "0"
            return entries
        self._position = entries[-1].entry_id if entries else ">"
        return entries or await self.read(most, timeout_s)

    async def skipped(self, first: Entry) -> list[Entry]:
        """Entries before `first` that were read and not acknowledged: of what this leader reads, only those that
        another one took, which does not know yet that it was replaced.
        """
        pending: Any = await self._redis.xpending_range(
            self._key, GROUP, min="-", max=b"(" + first.entry_id, count=_MOST_SKIPPED
        )
        if not pending:
            return []
        answer: Any = await self._redis.xreadgroup(GROUP, _CONSUMER, {self._key: "0"}, count=len(pending))
        return [entry for entry in entries_of(answer) if _id_order(entry.entry_id) < _id_order(first.entry_id)]

    async def done(self, entries: Sequence[Entry], *, forget: bool = False) -> None:
        """Acknowledge these entries. `forget`: delete them too. Raises: StaleEpochError, DisagreementError, and Redis'
        own errors.
        """
        if not entries:
            return
        ids = [entry.entry_id for entry in entries]
        call = scripts.acknowledge(stream=self._key, group=GROUP, is_to_be_deleted=forget, entry_ids=ids)
        await run_fenced(self._redis, self._keys.epoch, self._epoch, [call])

    async def trim(self, before: float) -> None:
        """Drop entries older than `before` (epoch seconds), except those that were not read and acknowledged."""
        # How far was read, before what is pending: entries that are read between the two are beyond the first, or
        # pending. In the other order they could be neither.
        groups: Any = await self._redis.xinfo_groups(self._key)
        read_up_to = next((group["last-delivered-id"] for group in groups if group["name"] == GROUP.encode()), b"0-0")
        pending: Any = await self._redis.xpending(self._key, GROUP)
        oldest_needed: bytes = pending["min"] or read_up_to
        cut = min(oldest_needed, f"{int(before * 1000)}-0".encode(), key=_id_order)
        await self._redis.xtrim(self._key, minid=cut, approximate=True)


def _digest(payload: bytes) -> str:
    """A hash of a job, which may be long and private."""
    return hashlib.sha256(payload).hexdigest()[:32]


def _id_order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, count = entry_id.partition(b"-")
    return int(milliseconds), int(count or 0)
