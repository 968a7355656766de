"""One look on the fleet for all who watch: whoever comes first looks, and the others get what it saw.

Nobody watches, nothing is read. However many watch and however large the fleet is, a second has at most five looks, and
a look reads a bounded part: what changed first, of the rest a few VMs in turn.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
from redis.asyncio import Redis

from common.wire.vocabulary import BotState
from poolmgr.core.record import epoch
from poolmgr.page.outlook import MOST_BOTS, Outlook
from poolmgr.store.keys import Keys
from poolmgr.store.sight import Sight
from poolmgr.store.views import StatusChange

EVERY_S: Final = 0.2
QUIET_S: Final = 0.5
"""After a look that saw nothing new the next one has so much time."""
BEAT_S: Final = 2.0
"""Whoever watches hears something at least so often, and knows by that that nothing is cut."""
STALE_S: Final = 30.0
"""Nobody watched for so long: what was seen is forgotten, and the next one begins anew."""
_VMS_A_SECOND: Final = 100
_VMS_AT_FIRST: Final = 100
_CHANGES: Final = 500
_BOTS: Final = 100
_BRIEFS: Final = 250
_STORIES: Final = 50
_MOST_UNSORTED: Final = 5_000
_INDEXES_EVERY_S: Final = 5.0
_HOUR_MS: Final = 3_600_000
_HISTORY: Final = 20_000
"""How many entries of the status stream are read back for the last hour, at most."""
_KEPT: Final = 10
"""Differences: whoever is further behind gets everything."""


class Watch:
    """`wall`: epoch seconds. `steady`: seconds. Whoever asks gets what Redis raises."""

    def __init__(
        self, redis: Redis, keys: Keys, min_idle: int, wall: Callable[[], float], steady: Callable[[], float]
    ) -> None:
        self._sight = Sight(redis, keys)
        self._min_idle = min_idle
        self._wall = wall
        self._steady = steady
        self._looking = asyncio.Lock()
        self.version = 0
        self._begin()

    def _begin(self) -> None:
        self.outlook = Outlook(self._min_idle)
        self._sent: deque[tuple[int, bytes]] = deque(maxlen=_KEPT)
        self._all: tuple[int, bytes] = (-1, b"")
        self._looked_at = self._indexes_at = -1e9
        self._pace_s = EVERY_S
        self._after = ""
        self._turn: deque[str] = deque()
        self._unknown: deque[str] = deque()  # live bots whose records are not read yet
        self._unsorted: deque[tuple[str, float]] = deque(
            maxlen=_MOST_UNSORTED
        )  # who was given a worker, and when; idle or not, stories know
        self._before = ""  # where reading back the last hour goes on; empty: it is done
        self._past: list[tuple[str, str, float]] = []

    async def next(self, version: int) -> tuple[int, bytes]:
        """What there is after `version` (-1: everything), as JSON lines, and its version. At the latest after BEAT_S,
        then perhaps nothing. Raises: RedisError, OSError.
        """
        until = self._steady() + BEAT_S
        while True:
            async with self._looking:
                if self._steady() - self._looked_at >= self._pace_s:
                    await self._look()
            if self.version != version or self._steady() >= until:
                return self.version, self._since(version)
            await asyncio.sleep(max(0.01, self._looked_at + self._pace_s - self._steady()))

    def _since(self, version: int) -> bytes:
        if version == self.version:
            return b""
        later = [difference for number, difference in self._sent if number > version]
        if version >= 0 and len(later) == self.version - version:
            return b"\n".join(later)
        if self._all[0] != self.version:
            self._all = (self.version, msgspec.json.encode(self.outlook.everything(self._wall())))
        return self._all[1]

    async def _look(self) -> None:
        """What is seen is put into the outlook after each answer, so that a look may be broken off anywhere."""
        now = self._steady()
        if now - self._looked_at > STALE_S:
            self._begin()
            await self._look_first()
        changes = await self._look_for_news()
        if now - self._indexes_at >= _INDEXES_EVERY_S:
            await self._look_at_indexes()
            self._indexes_at = now
        await self._look_at_vms(changes, now)
        await self._look_at_bots(changes)
        await self._look_back()
        difference = self.outlook.take_difference(self._wall())
        if difference:
            self.version += 1
            self._sent.append((self.version, msgspec.json.encode(difference)))
        self._pace_s = EVERY_S if difference or self._before or self._unknown else QUIET_S
        self._looked_at = self._steady()

    async def _look_first(self) -> None:
        """All VMs, and the newest bots: what is seen at first sight."""
        self._after = await self._sight.last_change()
        moment, _, number = self._after.partition("-")
        self._before = f"{moment}-{int(number) + 1}"
        ids = sorted(await self._sight.vm_ids())
        for start in range(0, len(ids), _VMS_AT_FIRST):
            for vm in await self._sight.vms(ids[start : start + _VMS_AT_FIRST]):
                self.outlook.put_vm(vm)
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
        """Which VMs there are, and which bots live: the status stream tells neither of VMs nor of what it lost."""
        vm_ids = await self._sight.vm_ids()
        self.outlook.keep_vms(vm_ids)
        new = vm_ids - self.outlook.vms.keys()
        self._turn = deque([*sorted(new), *(vm_id for vm_id in self._turn if vm_id in vm_ids - new)])
        self._unknown = deque(self.outlook.keep_live(await self._sight.live()))
        if not self._turn:
            self._turn.extend(sorted(vm_ids))

    async def _look_at_vms(self, changes: list[StatusChange], now: float) -> None:
        """Those where something changed, then those whose turn it is."""
        allowed = max(1, int(_VMS_A_SECOND * min(1.0, self._pace_s)))
        named = dict.fromkeys(vm_id for change in changes if (vm_id := change.fields.get("vm_id")) in self.outlook.vms)
        wanted = list(named)[:allowed]
        while self._turn and len(wanted) < allowed:
            wanted.append(self._turn.popleft())
        if not self._turn:
            self._turn.extend(sorted(self.outlook.vms))
        for vm in await self._sight.vms(list(dict.fromkeys(wanted))):
            self.outlook.put_vm(vm)

    async def _look_at_bots(self, changes: list[StatusChange]) -> None:
        ids = [change.fields["bot_id"] for change in changes]
        accepted = {change.fields["bot_id"] for change in changes if change.fields.get("attempt", "") in ("", "0")}
        wanted = [
            bot_id for bot_id in dict.fromkeys(reversed(ids)) if bot_id in self.outlook.bots or bot_id in accepted
        ]
        for record in await self._sight.bots(wanted[:_BOTS]):
            self.outlook.put_bot(record)
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
        """One portion more of the last hour, and all of it once it is read: joins need what came before them."""
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


def time_of(change: StatusChange) -> float:
    """When it happened, as the record says it, epoch seconds; if that cannot be read, when Redis was told of it."""
    try:
        return epoch(change.fields["at"])
    except (KeyError, ValueError):
        return int(change.entry_id.partition("-")[0]) / 1000
