"""The queue of bots that wait for a worker. Adding and taking cost the logarithm of its length; leaving is free."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from poolmgr.core.load import JobKind
from poolmgr.core.model import NO_LABELS, Bot, Labels

MOST_LINES: Final = 200
"""So many different label sets may be waited for at a time. What an event costs grows with them."""


class _Line(NamedTuple):
    """Those that require the same of their VM; for each kind of job by itself, because a VM may bear one of one kind
    and none of another.
    """

    heaps: dict[JobKind, list[tuple[tuple[int, float, int], str]]]
    waiting: Counter[JobKind]


def _new_line() -> _Line:
    return _Line({kind: [] for kind in JobKind}, Counter())


class BotQueue:
    """Ordered by priority, then due time, then arrival; by itself for each that is served by itself."""

    def __init__(self) -> None:
        self._lines: dict[Labels, _Line] = {NO_LABELS: _new_line()}  # that one stays, the others while somebody waits
        self._waiting: dict[str, Bot] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Bot]:
        """The bots in no particular order."""
        return iter(self._waiting.values())

    def __contains__(self, bot_id: str) -> bool:
        return bot_id in self._waiting

    @property
    def required(self) -> Iterable[Labels]:
        """What those that wait require, each once."""
        return self._lines.keys()

    def waiting(self, labels: Labels = NO_LABELS) -> Mapping[JobKind, int]:
        """How many wait that require just that, by kind."""
        line = self._lines.get(labels)
        return line.waiting if line else {}

    def is_full_for(self, labels: Labels) -> bool:
        """Whether nobody waits for a VM with just these labels, and too many others for VMs with other ones."""
        return labels not in self._lines and len(self._lines) > MOST_LINES

    def add(self, bot: Bot) -> None:
        if bot.bot_id not in self._waiting:
            self._waiting[bot.bot_id] = bot
            line = self._lines.get(bot.requires)
            if line is None:
                line = self._lines[bot.requires] = _new_line()
            line.waiting[bot.kind] += 1
            heapq.heappush(line.heaps[bot.kind], (bot.order, bot.bot_id))

    def first(self, of: Iterable[Labels] = (NO_LABELS,)) -> list[Bot]:
        """The first bot of each kind that waits, in order, of those that require just one of these."""
        lines = [line for labels in of if (line := self._lines.get(labels))]
        found = [self._first_of(line, kind) for line in lines for kind, number in line.waiting.items() if number]
        return found if len(found) < 2 else sorted(found, key=lambda bot: bot.order)

    def leave(self, bot_id: str) -> None:
        """Idempotent."""
        bot = self._waiting.pop(bot_id, None)
        if bot is None:
            return
        line = self._lines[bot.requires]
        line.waiting[bot.kind] -= 1
        if not line.waiting[bot.kind]:  # bots that left are still in the heap
            line.heaps[bot.kind].clear()
            if bot.requires and not line.waiting.total():
                del self._lines[bot.requires]

    def _first_of(self, line: _Line, kind: JobKind) -> Bot:
        """One of that kind waits there."""
        heap = line.heaps[kind]
        while True:
            order, bot_id = heap[0]
            bot = self._waiting.get(bot_id)
            if bot and bot.kind is kind and bot.order == order:
                return bot
            heapq.heappop(heap)
