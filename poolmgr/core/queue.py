"""The queue of bots that wait for a worker. Adding and taking cost the logarithm of its length; leaving is free."""

import heapq
from collections.abc import Iterator

from poolmgr.core.model import Bot


class BotQueue:
    """Ordered by priority, then due time, then arrival."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, float, int], str]] = []
        self._waiting: dict[str, Bot] = {}

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
            heapq.heappush(self._heap, (bot.order, bot.bot_id))

    def take(self) -> Bot:
        """Remove and return the first bot. Raises: IndexError when the queue is empty."""
        while True:
            _, bot_id = heapq.heappop(self._heap)
            if bot := self._waiting.pop(bot_id, None):
                return bot

    def leave(self, bot_id: str) -> None:
        self._waiting.pop(bot_id, None)
        if not self._waiting:  # bots that left are still in the heap
            self._heap.clear()
