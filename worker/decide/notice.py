"""What follows when a cloud says that it takes this VM away: no new work, then out of the meetings. Pure.

A notice is believed at once, and its end only when several looks in a row found none: a server that answers oddly shall
not have work begun on a VM that goes.
"""

import math
from enum import Enum
from typing import Final, NamedTuple

LOOKS_WITHOUT: Final = 3


class Notice(NamedTuple):
    """This VM is to be taken away. `what`: in the cloud's own word. `at`: not before (calendar time, epoch seconds);
    infinity: it may be, and nobody says when.
    """

    what: str
    at: float = math.inf


class Step(Enum):
    """What is due."""

    NOTHING = "nothing"
    REFUSE_WORK = "refuse work"
    LEAVE_ALL = "leave all meetings"
    TAKE_WORK = "take work again"


class Heeding:
    """`lead_s`: so long before the VM goes its bots leave. A bot needs that to leave in good order, and the manager to
    learn of it.
    """

    def __init__(self, lead_s: float) -> None:
        self._lead_s = lead_s
        self._left = False
        self._without = 0  # looks in a row that found no notice any more
        self.notice: Notice | None = None

    def look(self, found: Notice | None, now: float) -> Step:
        """The step that is due by what was found. `now`: calendar time, epoch seconds."""
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
