"""The backstop above every session: when one has outlived all of its own limits, whatever the reason. Pure.

It trusts nothing that it stands behind: neither that a session looks at its page, nor that the lifecycle concludes
anything, nor the deadlines of either. It counts its own looks instead of time, so that an agent that was frozen, or a
machine that slept, does not find everything overdue when it wakes up.
"""

import math
from typing import Final, NamedTuple

from worker.decide.state import State

LOOK_S: Final = 5.0
STILL_S: Final = 150.0  # without a step of the session: a driver has 45 s to be connected to again, a slow one 60 s
GRACE_S: Final = 60.0  # on top of a limit: evidence of the end takes 3 s, an account that is given back 1 s


class Limits(NamedTuple):
    """In seconds: from the order to join until the bot leaves, and for leaving."""

    session_s: float
    leave_s: float


class Patience:
    """With one session. `look` is to be called every LOOK_S."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._steps = -1
        self._still = 0  # looks in a row at which the session had not moved
        self._ending = 0  # looks at which it was about to end
        self._too_old = 0

    def look(self, steps: int, state: State | None, now: float) -> str:
        """What it has outlived, if anything. `steps`: how many the session has made; `now`: monotonic seconds."""
        self._still = self._still + 1 if steps == self._steps else 0
        self._steps = steps
        self._ending += state is not None and state.ending is not None
        began = now if state is None or state.began is None else state.began
        limit_s = self._limits.session_s + self._limits.leave_s + GRACE_S
        self._too_old = self._too_old + 1 if now - began > limit_s else 0
        if self._still >= _looks(STILL_S):
            return f"it did nothing for {STILL_S:g} s"
        if state and state.ending and self._ending >= _looks(self._limits.leave_s + GRACE_S):
            within_s = self._limits.leave_s + GRACE_S
            return f"it did not leave within {within_s:g} s, as {state.ending.reason}"
        if self._too_old > 1:  # twice, since at the first look it may just have woken up
            return f"it went on for more than {limit_s:g} s"
        return ""


def _looks(seconds: float) -> int:
    return math.ceil(seconds / LOOK_S)
