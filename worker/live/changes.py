"""Bounds how often it is told how a live feed fares: each time is an event, and an entry of the bot's story, which
keeps some hundreds. What changes all the time is told of ever more seldom, but never for good.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from common.runtime.waiting import backoff
from common.wire.vocabulary import FeedStatus

AT_ONCE: Final = 12
"""So many changes are told at once. A feed that fares well has three or four."""
PAUSES_S: Final = (10.0, 600.0)
"""After each further one nothing is told for so long: some 40 changes in four hours."""


_FINAL: Final = (FeedStatus.REFUSED, FeedStatus.ENDED)


class Change(NamedTuple):
    """`taken`: the feed's receiver has taken something that the bot's record marks."""

    status: FeedStatus
    detail: str
    taken: bool


class Changes:
    """Of one sender. Call `note` with each. `tell` gets those that are told. After a pause it gets the latest, if that
    is another than it got before. The end of a feed is told at once, and so is that it was refused.
    """

    def __init__(self, tell: Callable[[Change], None]) -> None:
        self._tell = tell
        self._left = AT_ONCE
        self._pauses = backoff(*PAUSES_S)
        self._pause: asyncio.TimerHandle | None = None
        self._told: Change | None = None
        self._latest: Change | None = None

    def note(self, status: FeedStatus, detail: str, *, taken: bool = False) -> None:
        self._latest = Change(status, detail, taken)
        if self._pause and status in _FINAL:
            self._pause.cancel()
            self._pause = None
        if self._pause is None:
            self._tell_latest()

    def _tell_latest(self) -> None:
        self._pause = None
        if self._latest is None or self._latest == self._told:
            return
        self._told = self._latest
        self._left -= 1
        if self._left < 0 and self._told.status not in _FINAL:
            self._pause = asyncio.get_running_loop().call_later(next(self._pauses), self._tell_latest)
        self._tell(self._told)
