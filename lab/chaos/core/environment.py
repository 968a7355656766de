"""What managers and agents without processes share: time, chance, a Redis, and the witness."""

import math
import random
from collections import Counter, deque
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from common.config.settings import Settings
from common.wire.messages import BotMoved, Event, Join
from common.wire.vocabulary import Reason
from lab.chaos.observers.witness import Mark, Seen
from poolmgr.store.keys import Keys

START: Final = 1_900_000_000.0

# The content of Redis. The fields of a large hash are read one by one, because Redis returns them in an arbitrary
# order.
_DUMP: Final = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local read = false
  for _, other in ipairs(ARGV) do read = read or key == other end
  if not read and redis.call('TYPE', key).ok == 'hash' then
    local fields = redis.call('HGETALL', key)
    for at = 1, #fields, 2 do found[#found + 1] = cjson.encode({key, fields[at], fields[at + 1]}) end
  elseif not read then
    found[#found + 1] = key .. redis.call('DUMP', key)
  end
end
table.sort(found)
return found
"""


class ReportedEnd(NamedTuple):
    """An end as its agent reported it. `wall`, `now`: when the stream got it, by the records' clock and by ours."""

    wall: float
    now: float
    reason: Reason


class Ground:
    """What managers and agents share. `heals`: from now on meetings end soon, and no new fault comes."""

    def __init__(self, url: str, redis: Any, settings: Settings, chance: random.Random) -> None:
        self.url = url
        self.redis = redis
        self.settings = settings
        self.keys = Keys(settings.redis.prefix)
        self.chance = chance
        self.now = START
        self.stepped = 0.0  # how far the wall clock was put forward
        self.heals = False
        self.calm_from = math.inf  # from then on no earlier fault explains a backstop that acts
        self.wrong: list[tuple[str, str]] = []  # kind, sentence
        self.marks: list[Mark] = []
        self.inside: dict[str, set[str]] = {}  # tag -> the visits that are in the meeting
        self.counting: dict[str, int] = {}  # while it heals: live bot -> its current attempt
        self.news: deque[Event] = deque(maxlen=40)  # the latest events that agents wrote
        self.reported_ends: dict[tuple[str, int], ReportedEnd] = {}  # of a bot's attempt
        self.given_up: dict[tuple[str, int], float] = {}
        """Of a bot's attempt that ended by a deadline: until when its manager had read the stream."""
        self.most: Counter[str] = Counter()
        self.refused_writes = 0
        self.dump: Any = redis.register_script(_DUMP)

    @property
    def wall(self) -> float:
        return self.now + self.stepped

    def broken(self, kind: str, sentence: str) -> None:
        if (kind, sentence) not in self.wrong:
            self.wrong.append((kind, sentence))

    def saw(self, seen: Seen, join: Join) -> None:
        tag = parse_qs(urlsplit(join.meeting_url).query)["tag"][-1]
        visit = f"{join.worker_id}#{join.attempt}"
        self.marks.append(Mark(self.wall, seen, tag, visit, attempt=join.attempt))
        if seen is Seen.INSIDE:
            self.inside.setdefault(tag, set()).add(visit)
        elif tag in self.inside:
            self.inside[tag].discard(visit)

    def forgot(self, admitted: BotMoved) -> None:
        """The report that this bot was let in is gone before it was written: from now on only the host knows it."""
        visit = f"{admitted.worker_id}#{admitted.attempt}"
        tag = next(mark.tag for mark in self.marks if mark.visit == visit)
        self.marks.append(Mark(self.wall, Seen.GONE, tag, visit, attempt=admitted.attempt))
