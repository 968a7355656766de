"""What follows when a cloud announces that it takes this VM away: no new work, then the bots leave their meetings.
Pure.

A notice counts at once. Its withdrawal counts only after several looks in a row found no notice: if the metadata server
answers wrongly once, no work must begin on a VM that is about to go.
"""

import math
from enum import Enum
from typing import Final, NamedTuple

LOOKS_WITHOUT: Final = 3


class Notice(NamedTuple):
    """The cloud will take this VM away. `what`: the cloud's own word. `at`: not before this time (calendar time, epoch
    seconds); infinity: it may happen, and no time is given.
    """

    what: str
    at: float = math.inf


class Step(Enum):
    """What the agent has to do now."""

    NOTHING = "nothing"
    REFUSE_WORK = "refuse work"
    LEAVE_ALL = "leave all meetings"
    TAKE_WORK = "take work again"


class NoticeTracker:
    """Follows the notices of one VM. `lead_s`: how long before the VM goes its bots leave. In that time a bot leaves in
    good order, and the manager learns of it.
    """

    def __init__(self, lead_s: float) -> None:
        self._lead_s = lead_s
        self._left = False
        self._without = 0  # looks in a row that found no notice any more
        self.notice: Notice | None = None

    def look(self, found: Notice | None, now: float) -> Step:
        """Take in one look at the metadata server; returns what to do now. `now`: calendar time, epoch seconds."""
        if found is None:
            return self._none_found()
        is_new, self.notice, self._without = self.notice is None, found, 0
        if is_new:
            return Step.REFUSE_WORK
        if not self._left and now >= found.at - self._lead_s:
            self._left = True
            return Step.LEAVE_ALL
        return Step.NOTHING

    def _none_found(self) -> Step:
        self._without += self.notice is not None
        if self._without < LOOKS_WITHOUT:
            return Step.NOTHING
        self.notice, self._without, self._left = None, 0, False
        return Step.TAKE_WORK
