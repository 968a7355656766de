"""The bots that wait for a worker, in order. Adding and taking cost the logarithm of the length; leaving is free."""

import heapq
from collections.abc import Iterator

from poolmgr.core.model import Bot


class BotQueue:
    """Priority first, then who was due first, then who came first."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, float, int], str]] = []
        self._waiting: dict[str, Bot] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Bot]:
        """In no order of meaning."""
        return iter(self._waiting.values())

    def __contains__(self, bot_id: str) -> bool:
        return bot_id in self._waiting

    def add(self, bot: Bot) -> None:
        if bot.bot_id not in self._waiting:
            self._waiting[bot.bot_id] = bot
            heapq.heappush(self._heap, (bot.order, bot.bot_id))

    def take(self) -> Bot:
        """The first in line. Raises: IndexError when nobody waits."""
        while True:
            _, bot_id = heapq.heappop(self._heap)
            if bot := self._waiting.pop(bot_id, None):
                return bot

    def leave(self, bot_id: str) -> None:
        self._waiting.pop(bot_id, None)
        if not self._waiting:  # bots that left are still in the heap; without this they stay for ever
            self._heap.clear()
