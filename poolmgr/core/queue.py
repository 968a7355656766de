"""The queue of bots that wait for a worker. Adding and taking cost the logarithm of its length; leaving is free."""

import heapq
from collections import Counter
from collections.abc import Iterator

from poolmgr.core.load import JobKind
from poolmgr.core.model import Bot


class BotQueue:
    """Ordered by priority, then due time, then arrival; for each kind of job by itself, because a VM may bear one of
    one kind and none of another.
    """

    def __init__(self) -> None:
        self._heaps: dict[JobKind, list[tuple[tuple[int, float, int], str]]] = {kind: [] for kind in JobKind}
        self._waiting: dict[str, Bot] = {}
        self.waiting: Counter[JobKind] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Bot]:
        """The bots in no particular order."""
        return iter(self._waiting.values())

    def __contains__(self, bot_id: str) -> bool:
        return bot_id in self._waiting

    def add(self, bot: Bot) -> None:
        if bot.bot_id not in self._waiting:
            self._waiting[bot.bot_id] = bot
            self.waiting[bot.kind] += 1
            heapq.heappush(self._heaps[bot.kind], (bot.order, bot.bot_id))

    def first(self) -> list[Bot]:
        """The first bot of each kind that waits, in order."""
        if not self._waiting:
            return []
        found = [self._first_of(kind) for kind, number in self.waiting.items() if number]
        return found if len(found) < 2 else sorted(found, key=lambda bot: bot.order)

    def leave(self, bot_id: str) -> None:
        """Idempotent."""
        bot = self._waiting.pop(bot_id, None)
        if bot:
            self.waiting[bot.kind] -= 1
            if not self.waiting[bot.kind]:  # bots that left are still in the heap
                self._heaps[bot.kind].clear()

    def _first_of(self, kind: JobKind) -> Bot:
        """One of that kind waits."""
        heap = self._heaps[kind]
        while True:
            order, bot_id = heap[0]
            bot = self._waiting.get(bot_id)
            if bot and bot.kind is kind and bot.order == order:
                return bot
            heapq.heappop(heap)
