"""Makes warm-ups wait for bots that are joining.

A replacement is ordered at the moment in which a bot begins to join. Starting a browser takes more processor time than
joining does. So the replacement waits until the bot has asked to be let in: no bot needs the replacement yet.
"""

import asyncio
from typing import Final

JOIN_FIRST_S: Final = 1.0  # how long one join may delay warm-ups; joining the project's own room takes 0.3 s


class JoinsFirst:
    """`nobody_joins` is set while no bot is joining."""

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
