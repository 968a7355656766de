"""What each API token used, by the day on which it ended: bots, time in meetings, sound recorded and stored.

The steps that end a bot and finish its recording count it, so nothing is counted twice. Each day has its own hash.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from poolmgr.store import answers
from poolmgr.store.keys import Keys

MOST_DAYS: Final = 400
"""How long a day is kept; poolmgr/store/lives.py."""
OTHERS: Final = "others"
"""The owner under which usage is added beyond the owners that a day counts separately."""


class Usage(msgspec.Struct):
    """`owner`: a token's name; empty for jobs by Redis; `others` beyond those that are counted separately. `bots`
    ended; `joined` of them had been in their meeting, for `in_meeting_s` in all. `audio_s` of sound took `stored_bytes`
    in the store.
    """

    owner: str
    bots: int = 0
    joined: int = 0
    in_meeting_s: float = 0.0
    recordings: int = 0
    audio_s: float = 0.0
    stored_bytes: int = 0

    def add(self, name: str, value: float) -> None:
        if name in _COUNTED:
            setattr(self, name, getattr(self, name) + (value if name.endswith("_s") else int(value)))


_COUNTED: Final = frozenset(Usage.__struct_fields__) - {"owner"}


def day_of(at: float) -> str:
    """The day in UTC. `at`: epoch seconds."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def days(since: float, now: float) -> list[str]:
    """The days from `since` to `now`, in order; the oldest ones whose hashes have expired are left out."""
    first, last = (date.fromisoformat(day_of(at)) for at in (since, now))
    number = min(MOST_DAYS, max(0, (last - first).days))
    return [(last - timedelta(days=ago)).isoformat() for ago in range(number, -1, -1)]


async def by_day(redis: Redis, keys: Keys, wanted: Sequence[str]) -> dict[str, list[Usage]]:
    """The usage of each day that has any, by owner."""
    pipeline: Any = redis.pipeline(transaction=False)
    for day in wanted:
        pipeline.hgetall(keys.usage(day))
    found: list[dict[bytes, bytes]] = await pipeline.execute() if wanted else []
    return {day: _of_day(raw) for day, raw in zip(wanted, found, strict=True) if raw}


def together(used: dict[str, list[Usage]]) -> list[Usage]:
    """The sum over all these days, by owner."""
    sums: dict[str, Usage] = {}
    for usage in chain.from_iterable(used.values()):
        whole = sums.setdefault(usage.owner, Usage(usage.owner))
        for name in _COUNTED:
            whole.add(name, getattr(usage, name))
    return [sums[owner] for owner in sorted(sums)]


def _of_day(raw: dict[bytes, bytes]) -> list[Usage]:
    found: defaultdict[str, Usage] = defaultdict(lambda: Usage(""))
    for field, text in answers.text_fields(raw).items():
        owner, _, name = field.rpartition(":")
        usage = found[owner]
        usage.owner = owner
        usage.add(name, float(text))
    return [found[owner] for owner in sorted(found)]
