"""What the mirror reads of Redis, in portions: which records have changed, and the records; and how far it is.

It never waits on anything that the pool waits on, and writes one key of its own. Its position is three ids, one for
each stream that names bots whose records have changed: status changes, webhooks that were taken, deletions.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from common.jobs.record import BLANK, Record
from common.wire.mirrored import FIELDS, FLAGS, sequence
from poolmgr.store.actions import Verb
from poolmgr.store.keys import Keys
from poolmgr.store.lives import MIRROR_LIFE_S

_READ: Final = ("bot_id", *FIELDS, *FLAGS)
_BEGIN: Final = "0-0"
_LEAST_KEPT: Final = 100
"""The lowest `retention.stream_entries`: a shorter stream was never trimmed."""


class Position(NamedTuple):
    """How far the mirror is. The ids of the last entries that are in the table. `fill_from`: it fills the table in from
    all records, from this time of their creation on; None: it does not.
    """

    status: str
    noted: str
    actions: str
    fill_from: float | None = None


class News(NamedTuple):
    """Bots whose records have changed, those that were deleted, and the position when all of them are in the table.
    `is_full`: there may be more.
    """

    changed: list[str]
    deleted: list[str]
    then: Position
    is_full: bool


class Known(NamedTuple):
    """Records, and how new they are: every status change up to the entry of that sequence number is in them."""

    covers: int
    records: list[Record]


class Standing(NamedTuple):
    """`behind_s`: how long the oldest status change waits that is not in the table. `filled`: how many records the last
    fill went through; `why`: why there was one. `fault`: why the table cannot be written; empty: it can.
    """

    behind_s: float
    filling: bool
    filled: int
    why: str
    refused: int
    fault: str


class Mirrored:
    """Reads and writes under one prefix. Methods raise Redis' errors."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis  # redis-py types answers as unions of all shapes
        self._keys = keys
        self._streams = (keys.status, keys.noted, keys.actions)

    async def position(self) -> Position | None:
        """Where the last mirror was; None: there has been none, or it is long ago."""
        status, noted, actions, begin = await self._redis.hmget(self._keys.mirror, "status", "noted", "actions", "from")
        if status is None:
            return None
        return Position(status.decode(), noted.decode(), actions.decode(), None if begin is None else float(begin))

    async def last(self) -> Position:
        """The ends of the streams."""
        pipeline = self._redis.pipeline(transaction=False)
        for stream in self._streams:
            pipeline.xrevrange(stream, count=1)
        ends: list[Any] = await pipeline.execute()
        status, noted, actions = (entries[0][0].decode() if entries else _BEGIN for entries in ends)
        return Position(status, noted, actions)

    async def has_missed(self, position: Position) -> bool:
        """Whether the streams of changes may have lost entries that come after the position: they were trimmed further
        or had expired, or Redis is back with an older copy.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for stream in self._streams[:2]:
            pipeline.xrange(stream, count=1).xrevrange(stream, count=1).xlen(stream)
        found: list[Any] = await pipeline.execute()
        for after, first, newest, length in zip(position[:2], found[::3], found[1::3], found[2::3], strict=True):
            if not length or (after == _BEGIN and length < _LEAST_KEPT):
                continue
            if not sequence(first[0][0].decode()) <= sequence(after) <= sequence(newest[0][0].decode()):
                return True
        return False

    async def begin_fill(self, why: str) -> Position:
        """From now on the mirror fills in the table from all records, and follows the streams from their ends."""
        position = (await self.last())._replace(fill_from=0.0)
        fields = {**_fields(position), "from": 0.0, "filled": 0, "why": why}
        await self._write(fields)
        return position

    async def reached(self, position: Position, *, filled: int = 0, refused: int = 0) -> None:
        """All up to this position is in the table. `filled`, `refused`: so many more records."""
        pipeline = self._redis.pipeline(transaction=True)
        key = self._keys.mirror
        pipeline.hset(key, mapping=_fields(position))
        if position.fill_from is None:
            pipeline.hdel(key, "from")
        if filled:
            pipeline.hincrby(key, "filled", filled)
        if refused:
            pipeline.hincrby(key, "refused", refused)
        pipeline.expire(key, MIRROR_LIFE_S)
        await pipeline.execute()

    async def fault(self, text: str) -> None:
        """Say why the table cannot be written; empty: it can."""
        await self._write({"fault": text})

    async def news(self, position: Position, most: int, wait_s: float) -> News:
        """What changed after the position: up to `most` entries of each stream. Waits up to `wait_s` for the first."""
        after = dict(zip(self._streams, position[:3], strict=True))
        answer: Any = await self._redis.xread(after, count=most, block=max(1, int(wait_s * 1000)))
        found: dict[str, Any] = {stream.decode(): entries for stream, entries in answer or ()}
        changed, deleted = dict[str, None](), dict[str, None]()
        for stream in self._streams[:2]:
            changed |= {fields[b"bot_id"].decode(): None for _, fields in found.get(stream, ()) if b"bot_id" in fields}
        for _, fields in found.get(self._keys.actions, ()):
            if fields.get(b"what") == Verb.DELETE.encode():
                deleted[fields.get(b"of", b"").decode()] = None
        ends = [found[stream][-1][0].decode() if stream in found else after[stream] for stream in self._streams]
        is_full = any(len(entries) >= most for entries in found.values())
        return News([*changed], [*deleted], Position(ends[0], ends[1], ends[2], position.fill_from), is_full)

    async def page(self, begin: float, most: int) -> tuple[list[str], float | None]:
        """Bots created at `begin` (epoch seconds) or later, in order, at least `most` if there are so many; and where
        the next page begins, None: there is none. Bots of that very moment are in both.
        """
        while True:
            found: list[tuple[bytes, float]] = await self._redis.zrange(
                self._keys.all_bots, begin, "+inf", byscore=True, offset=0, num=most, withscores=True
            )
            ids = [bot_id.decode() for bot_id, _ in found]
            if len(found) < most:
                return ids, None
            if found[-1][1] > begin:
                return ids, found[-1][1]
            most *= 2  # more than that were created in the same moment

    async def records(self, bot_ids: Sequence[str]) -> Known:
        """The records of those bots that have one."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xrevrange(self._keys.status, count=1)  # before the records, which are then at least as new
        pipeline.time()
        for bot_id in bot_ids:
            pipeline.hmget(self._keys.bot(bot_id), _READ)
        newest, now, *found = await pipeline.execute()
        covers = sequence(newest[0][0].decode() if newest else f"{now[0] * 1000}-0")
        return Known(covers, [_record(values) for values in found if values[0] is not None])

    async def standing(self) -> Standing | None:
        """How the mirror fares; None: there is none."""
        fields: dict[bytes, bytes] = await self._redis.hgetall(self._keys.mirror)
        if b"status" not in fields:
            return None
        after = fields[b"status"].decode()
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xrange(self._keys.status, f"({after}", count=1)
        pipeline.time()
        waiting, now = await pipeline.execute()
        since = int(waiting[0][0].partition(b"-")[0]) / 1000 if waiting else None
        said = {name: fields.get(name.encode(), b"").decode(errors="replace") for name in ("why", "fault")}
        return Standing(
            behind_s=max(0.0, now[0] + now[1] / 1e6 - since) if since else 0.0,
            filling=b"from" in fields,
            filled=int(fields.get(b"filled", 0)),
            refused=int(fields.get(b"refused", 0)),
            **said,
        )

    async def _write(self, fields: dict[str, Any]) -> None:
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hset(self._keys.mirror, mapping=fields)
        pipeline.expire(self._keys.mirror, MIRROR_LIFE_S)
        await pipeline.execute()


def _fields(position: Position) -> dict[str, str | float]:
    fields: dict[str, str | float] = {
        "status": position.status,
        "noted": position.noted,
        "actions": position.actions,
    }
    return fields if position.fill_from is None else {**fields, "from": position.fill_from}


def _record(values: Iterable[bytes | None]) -> Record:
    return Record.from_hash(
        {
            name: str(BLANK.get(name, "")) if value is None else value.decode(errors="replace")
            for name, value in zip(_READ, values, strict=True)
        }
    )
