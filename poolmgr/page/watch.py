"""Reads the fleet once for all viewers: the first viewer who asks reads, and the others get the same result.

Without viewers nothing is read. For any number of viewers and VMs there are at most five reads a second, and a read is
bounded: first what changed, then a few of the other VMs in turn.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.config.settings import PoolSettings
from common.jobs.record import epoch
from common.wire.vocabulary import BotState
from poolmgr.page.outlook import MOST_BOTS, Outlook
from poolmgr.store.keys import Keys
from poolmgr.store.reading.sight import Sight
from poolmgr.store.reading.views import StatusChange

EVERY_S: Final = 0.2
QUIET_S: Final = 0.5
"""Seconds to the next read after one that found nothing new."""
BEAT_S: Final = 2.0
"""Every viewer gets something at least this often (seconds), and knows by it that the connection works."""
STALE_S: Final = 30.0
"""After so many seconds without a viewer everything is forgotten, and the next viewer starts from nothing."""
_VMS_A_SECOND: Final = 100
_VMS_AT_FIRST: Final = 100
_VMS_ANEW: Final = 250
"""How many VMs that were never read a read takes: a thousand are there within a second."""
_CHANGES: Final = 500
_BOTS: Final = 100
_BRIEFS: Final = 250
_STORIES: Final = 50
_MOST_UNSORTED: Final = 5_000
_INDEXES_EVERY_S: Final = 5.0
_HOUR_MS: Final = 3_600_000
_HISTORY: Final = 20_000
"""The most entries of the status stream that are read for the last hour."""
_KEPT: Final = 10
"""How many differences are kept. A viewer that is further behind gets everything."""


class _Turn:
    """A read that a viewer makes for all. `fault`: what it met."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.fault: RedisError | OSError | None = None

    async def done(self) -> None:
        """Wait for its end. Raises: its fault. A viewer who went away while it read leaves none: another one reads."""
        await self.ended.wait()
        if self.fault:
            raise self.fault


class Watch:
    """`wall`: the calendar's time, epoch seconds. `steady`: a clock, seconds. Redis' errors are raised to the
    caller.
    """

    def __init__(
        self, redis: Redis, keys: Keys, pool: PoolSettings, wall: Callable[[], float], steady: Callable[[], float]
    ) -> None:
        self._sight = Sight(redis, keys)
        self._pool = pool
        self._wall = wall
        self._steady = steady
        self._next: _Turn | None = None
        self.version = 0
        self._begin()

    def _begin(self) -> None:
        self.outlook = Outlook(self._pool)
        self._sent: deque[tuple[int, bytes]] = deque(maxlen=_KEPT)
        self._all: tuple[int, bytes] = (-1, b"")
        self._looked_at = self._indexes_at = -1e9
        self._pace_s = EVERY_S
        self._after = ""
        self._marks: dict[str, bytes] = {}  # of each VM, when it was read
        self._unread: deque[str] = deque()  # VMs that were never read
        self._turn: deque[str] = deque()  # those that were
        self._unknown: deque[str] = deque()  # ids of live bots whose records are not read yet
        self._unsorted: deque[tuple[str, float]] = deque(
            maxlen=_MOST_UNSORTED
        )  # bots that were given a worker, and when; their stories say whether it was idle
        self._before = ""  # the entry before which the last hour is still to be read; empty: done
        self._past: list[tuple[str, str, float]] = []

    async def next(self, version: int) -> tuple[int, bytes]:
        """The version, and what changed after `version` (-1: everything) as server-sent events, each a line of JSON.
        Waits for a change, BEAT_S at most; then it may be nothing. Raises: RedisError, OSError.
        """
        until = self._steady() + BEAT_S
        if version < 0 and self._steady() - self._looked_at < BEAT_S:
            return self.version, self._since(version)  # others watch: what they saw last is shown at once
        while True:
            if self._next is None:
                await self._look_in_time()
            else:
                await self._next.done()
            if self.version != version or self._steady() >= until:
                return self.version, self._since(version)

    async def _look_in_time(self) -> None:
        """Read when it is time to. One viewer does it; meanwhile all others wait for that, and wake up once."""
        turn = self._next = _Turn()
        try:
            await asyncio.sleep(self._looked_at + self._pace_s - self._steady())
            await self._look()
        except (RedisError, OSError) as error:
            turn.fault = error
            raise
        finally:
            self._next = None
            turn.ended.set()

    def _since(self, version: int) -> bytes:
        if version == self.version:
            return b""
        later = [difference for number, difference in self._sent if number > version]
        if version >= 0 and len(later) == self.version - version:
            return b"".join(later)
        if self._all[0] != self.version:
            first, rest = self.outlook.everything(self._wall())
            self._all = (self.version, b"".join(map(_event, (first, *rest))))
        return self._all[1]

    async def _look(self) -> None:
        """Read once. Every answer is put into the outlook at once, so a read may be cancelled anywhere."""
        now = self._steady()
        is_first = now - self._looked_at > STALE_S
        if is_first:
            self._begin()
            await self._look_first()
        changes = await self._look_for_news()
        if now - self._indexes_at >= _INDEXES_EVERY_S:
            await self._look_at_indexes()
            self._indexes_at = now
        await self._look_at_vms(changes)
        await self._look_at_bots(changes)
        if not (is_first and self._unread):  # of a large fleet the first rows are shown first
            await self._look_at_others()
            await self._look_back()
        difference = self.outlook.take_difference(self._wall())
        if difference:
            self.version += 1
            self._sent.append((self.version, _event(difference)))
        reads_on = self._before or self._unknown or self._unread
        self._pace_s = EVERY_S if difference or reads_on else QUIET_S
        self._looked_at = self._steady()

    async def _look_first(self) -> None:
        """Read the newest bots, for the first view."""
        self._after = await self._sight.last_change()
        moment, _, number = self._after.partition("-")
        self._before = f"{moment}-{int(number) + 1}"
        for record in await self._sight.bots(await self._sight.newest(MOST_BOTS)):
            self.outlook.put_bot(record)

    async def _look_for_news(self) -> list[StatusChange]:
        news = await self._sight.news(self._after, _CHANGES)
        self.outlook.put_standing(news.standing)
        for change in news.changes:
            self._after = change.entry_id
            self.outlook.happened(change)
            if change.fields.get("state") == BotState.ASSIGNED and change.fields.get("attempt") == "1":
                self._unsorted.append((change.fields["bot_id"], time_of(change)))
        return news.changes

    async def _look_at_indexes(self) -> None:
        """Read which VMs and live bots there are. The status stream does not say that: it has no VMs, and is
        trimmed.
        """
        vm_ids = await self._sight.vm_ids()
        self._unread = deque(self.outlook.keep_vms(vm_ids))
        self._marks = {vm_id: mark for vm_id, mark in self._marks.items() if vm_id in self.outlook.vms}
        self._turn = deque(vm_id for vm_id in self._turn if vm_id in self.outlook.vms)
        self._unknown = deque(self.outlook.keep_live(await self._sight.live()))

    async def _look_at_vms(self, changes: list[StatusChange]) -> None:
        """Read VMs that were never read, those where something changed, then those whose turn it is."""
        at_once = _VMS_ANEW if self.outlook.vms else _VMS_AT_FIRST
        new = list(islice(self._unread, at_once))
        allowed = max(1, int(_VMS_A_SECOND * min(1.0, self._pace_s)))
        named = dict.fromkeys(vm_id for change in changes if (vm_id := change.fields.get("vm_id")) in self.outlook.vms)
        wanted = list(named)[:allowed]
        while self._turn and len(wanted) < allowed:
            wanted.append(self._turn.popleft())
        if not self._turn:
            self._turn.extend(sorted(self.outlook.vms))
        await self._look_at_changed(list(dict.fromkeys([*new, *wanted])))
        for _ in new:
            self._unread.popleft()
        self.outlook.whole = not self._unread

    async def _look_at_changed(self, vm_ids: list[str]) -> None:
        """Read those of these VMs whose mark is not the one that they had when they were read."""
        marks = dict(zip(vm_ids, await self._sight.marks(vm_ids), strict=True))
        changed = [vm_id for vm_id, mark in marks.items() if self._marks.get(vm_id) != mark]
        for vm in await self._sight.vms(changed):
            self.outlook.put_vm(vm)
            self._marks[vm.vm_id] = marks[vm.vm_id]

    async def _look_at_bots(self, changes: list[StatusChange]) -> None:
        ids = [change.fields["bot_id"] for change in changes]
        accepted = {change.fields["bot_id"] for change in changes if change.fields.get("attempt", "") in ("", "0")}
        wanted = [
            bot_id for bot_id in dict.fromkeys(reversed(ids)) if bot_id in self.outlook.bots or bot_id in accepted
        ]
        for record in await self._sight.bots(wanted[:_BOTS]):
            self.outlook.put_bot(record)

    async def _look_at_others(self) -> None:
        """Read a portion of the live bots that are not among the newest, and of what became of those that were given a
        worker.
        """
        portion = [self._unknown.popleft() for _ in range(min(_BRIEFS, len(self._unknown)))]
        for record in await self._sight.bots(portion):
            self.outlook.put_live(record)
        self.outlook.counted = not self._unknown
        given = [self._unsorted.popleft() for _ in range(min(_STORIES, len(self._unsorted)))]
        idle = await self._sight.stood_idle([bot_id for bot_id, _ in given])
        for bot_id, at in given:
            if bot_id in idle:
                self.outlook.hour.given(at, warm=idle[bot_id])

    async def _look_back(self) -> None:
        """Read one more portion of the last hour. It is counted once all is read, because a join needs its
        earlier entries.
        """
        if not self._before:
            return
        since = int(self._wall() * 1000) - _HOUR_MS
        changes = await self._sight.changes_before(self._before, since, _CHANGES)
        for change in changes:
            self._before = change.entry_id
            fields = change.fields
            if fields.get("state") in (BotState.ASSIGNED, BotState.IN_MEETING):
                first = fields["state"] if fields.get("attempt") == "1" or fields["state"] != BotState.ASSIGNED else ""
                self._past.append((fields["bot_id"], first, time_of(change)))
        if len(changes) == _CHANGES and len(self._past) < _HISTORY:
            return
        self._before = ""
        assigned: dict[str, float] = {}
        for bot_id, state, at in reversed(self._past):
            if state == BotState.IN_MEETING:
                if begun := assigned.pop(bot_id, None):
                    self.outlook.hour.joined(at, max(0.0, at - begun))
            else:
                assigned[bot_id] = at
                if state:
                    self._unsorted.append((bot_id, at))
        self._past = []


def _event(told: msgspec.Struct) -> bytes:
    return b"data: %s\n\n" % msgspec.json.encode(told)


def time_of(change: StatusChange) -> float:
    """When the change happened, epoch seconds. If its time cannot be read, the time of the stream entry."""
    try:
        return epoch(change.fields["at"])
    except (KeyError, ValueError):
        return int(change.entry_id.partition("-")[0]) / 1000
