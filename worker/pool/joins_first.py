"""Joins go before warm-ups.

A replacement is ordered in the moment in which a bot sets out. Starting a browser takes more of the machine than
joining does, so it waits until the bot has asked to be let in: nobody waits for the replacement yet.
"""

import asyncio
from typing import Final

JOIN_FIRST_S: Final = 1.0  # how long a join may keep warm-ups waiting: a page on the room's scale needs a third of it


class JoinsFirst:
    """`nobody_joins`: no bot is on its way in."""

    def __init__(self) -> None:
        self._joining: set[str] = set()
        self.nobody_joins = asyncio.Event()
        self.nobody_joins.set()

    def begin(self, worker_id: str) -> None:
        self._joining.add(worker_id)
        self.nobody_joins.clear()
        asyncio.get_running_loop().call_later(JOIN_FIRST_S, self.end, worker_id)

    def end(self, worker_id: str) -> None:
        """Idempotent."""
        self._joining.discard(worker_id)
        if not self._joining:
            self.nobody_joins.set()
