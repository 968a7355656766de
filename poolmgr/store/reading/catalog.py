"""Finds bots by their indexed fields, newest first, page by page.

It reads the smallest index of those that the query names, and checks the other conditions on the records. A request
reads a bounded number of records: so a page may be short or empty although there are more bots.
"""

import base64
import binascii
import json
import math
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from common.errors import ManagerError
from common.jobs.record import Record
from common.wire.vocabulary import DONE, RECORDING, BotState, Status, outward_status
from poolmgr.store.keys import Keys
from poolmgr.store.reading.evidence import keys_of

_LOOKED_AT: Final = 2000
_AT_ONCE: Final = 200
_AFTER_ALL_IDS: Final = b"~"  # sorts after every character of a bot_id

FIELDS: Final = (
    "bot_id", "meeting_url", "platform", "bot_name", "user_id", "calendar_event_id", "owner", "custom_attributes",
    "state", "status", "status_reason", "created_at", "join_at", "inmeeting_at", "stopped_at",
    "attempt", "manifest_status", "recorded_attempt", "done_at",
)  # fmt: skip
"""The fields of each bot on a page. The payload is left out, because it may be long."""


class Question(NamedTuple):
    """The conditions; an empty one does not count. `status`: an outward status word, the
    record's or the one that clients see. `pairs`: (field, value) as in
    Job.found_by; all have to match. `since`, `until`: the time of creation, epoch seconds, both included.
    """

    status: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    since: float = -math.inf
    until: float = math.inf


class Position(NamedTuple):
    """A bot's place in the order: newest first, then by id in descending order."""

    created: float
    bot_id: bytes


class Page(NamedTuple):
    """One page. `more`: where the next page begins; None: this is the last one."""

    bots: list[Record]
    more: Position | None


class BadCursorError(ManagerError, ValueError):
    """The text was not made by `cursor_of`."""


def cursor_of(position: Position) -> str:
    parts = [position.created, position.bot_id.decode()]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def position_of(cursor: str) -> Position:
    """The position in a cursor. Raises: BadCursorError."""
    try:
        parts = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        created, bot_id = parts
        position = Position(float(created), bot_id.encode())
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError, binascii.Error) as error:
        raise BadCursorError("the cursor is none that this API gave out") from error
    if not math.isfinite(position.created):
        raise BadCursorError("the cursor is none that this API gave out")
    return position


class Catalog:
    """Reads under one prefix. It has no state."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis  # redis-py types answers as unions of all shapes
        self._keys = keys

    async def page(self, question: Question, most: int, after: Position | None = None) -> Page:
        """Up to `most` bots that match the question, newest first, after the position `after`."""
        index = await self._smallest(question)
        walk = _Walk(self._redis, index, question, after)
        bots: list[Record] = []
        shown: Position | None = None
        last, portion = after, most + 1  # enough if the index is the only condition
        while not walk.over:
            places = await walk.next(portion)
            portion = _AT_ONCE
            for place, bot in zip(places, await self._records(places), strict=True):
                if bot and _answers(question, bot):
                    if len(bots) == most:
                        return Page(bots, shown)
                    bots.append(bot)
                    shown = place
                last = place
            if last and walk.looked_at >= _LOOKED_AT and not walk.over:
                return Page(bots, _onward(last, shown, after))
        return Page(bots, None)

    async def objects_of(self, bot: Record) -> int:
        """How many keys and index entries an ended bot has. Forgetting the bot deletes them."""
        k, bot_id = self._keys, bot.bot_id
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.exists(k.bot(bot_id), *k.further_keys(bot_id), *keys_of(k, bot))
        pipeline.get(k.deduplication(bot.deduplication_key)).hget(k.meeting(bot.held_meeting), "bot_id")
        indexes = [k.index(field, value) for field, value in (*bot.found_by, ("status", bot.status))]
        for index in (k.ended, k.all_bots, *indexes):
            pipeline.zscore(index, bot_id)
        keys, first, holder, *scores = await pipeline.execute()
        return keys + [first, holder].count(bot_id.encode()) + sum(score is not None for score in scores)

    async def _smallest(self, question: Question) -> str:
        """Of the indexes that contain all matching bots, the one with the fewest entries in the time asked for."""
        k = self._keys
        indexes = [k.index(field, value) for field, value in question.pairs]
        status = _WITHIN.get(question.status, question.status)
        if status in _LIVE:
            indexes.append(k.live)
        elif status:
            indexes.append(k.index("status", status))
        else:
            indexes.append(k.all_bots)
        pipeline = self._redis.pipeline(transaction=False)
        for index in indexes:
            pipeline.zcount(index, question.since, question.until)
        sizes: list[int] = await pipeline.execute()
        return indexes[sizes.index(min(sizes))]

    async def _records(self, places: list[Position]) -> list[Record | None]:
        """The records of these bots; None where a record is gone: indexes are cleaned up only at intervals."""
        pipeline = self._redis.pipeline(transaction=False)
        for place in places:
            pipeline.hmget(self._keys.bot(place.bot_id.decode()), FIELDS)
        found: list[list[bytes | None]] = await pipeline.execute()
        return [_record(values) for values in found]


def _onward(last: Position, shown: Position | None, after: Position | None) -> Position:
    """The position for the next page after `last`. Clients see it, so it must not name a bot that they may not see. So
    the bots with the same time of creation are read again.
    """
    if shown and shown.created == last.created:
        return shown
    if after and after.created == last.created:  # otherwise paging would never end
        return last
    return Position(last.created, _AFTER_ALL_IDS)


class _Walk:
    """Walks an index from its newest entry to its oldest, in portions."""

    def __init__(self, redis: Any, index: str, question: Question, after: Position | None) -> None:
        self._redis = redis
        self._index = index
        self._since, self._until = question.since, question.until
        self._position = after
        self._passed_over = 0
        self.looked_at = 0
        self.over = False

    async def next(self, most: int) -> list[Position]:
        """The next entries, none of them twice. They may be empty although the walk is not over."""
        begin = min(self._position.created, self._until) if self._position else self._until
        rows: list[tuple[bytes, float]] = await self._redis.zrevrangebyscore(
            self._index, begin, self._since, start=self._passed_over, num=most, withscores=True
        )
        places = [Position(created, bot_id) for bot_id, created in rows]
        # Entries of the same time as the position come again, and it among them; Redis orders them by id.
        ahead = [place for place in places if self._position is None or place < self._position]
        self._passed_over = 0 if ahead else self._passed_over + len(places)
        self.looked_at += len(ahead)
        self.over = len(places) < most
        if ahead:
            self._position = ahead[-1]
        return ahead


def _record(values: list[bytes | None]) -> Record | None:
    if values[0] is None:
        return None
    said = zip(FIELDS, values, strict=True)
    return Record.from_hash({name: value.decode(errors="replace") for name, value in said if value is not None})


def _answers(question: Question, bot: Record) -> bool:
    """Whether the record matches the question. Its time of creation was checked on the index."""
    if question.status not in ("", bot.status, bot.shown_status):
        return False
    return not question.pairs or set(question.pairs) <= set(bot.found_by)


_WITHIN: Final[dict[str, str]] = {RECORDING: Status.IN_MEETING, DONE: Status.STOPPED}
"""Words that clients see in place of the record's, which its indexes have."""
_LIVE: Final = frozenset(outward_status(state) for state in BotState if state is not BotState.STOPPED)
