"""The backstop behind every session: whether a session has outlived all of its own limits. Pure.

It relies on nothing that the session does: not on its looks at the page, not on its lifecycle, not on its deadlines.
It counts its own looks instead of seconds. So after an agent was frozen, or a machine slept, sessions are not all
overdue at once.
"""

import math
from typing import Final, NamedTuple

from worker.decide.state import State

LOOK_S: Final = 5.0
STILL_S: Final = 150.0  # without a step of the session; reconnecting to a driver may take 45 s, a slow driver 60 s
GRACE_S: Final = 60.0
"""On top of a limit. Keeping evidence takes up to 8 s (PART_S of worker/meeting/evidence.py twice, and PACK_S), giving
an account back 1 s.
"""


class Limits(NamedTuple):
    """`session_s`: from the order to join until the bot leaves. `leave_s`: for leaving. In seconds."""

    session_s: float
    leave_s: float


class Patience:
    """Watches one session. `look` has to be called every LOOK_S."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._steps = -1
        self._still = 0  # looks in a row at which the session had made no step
        self._ending = 0  # looks at which the session had an end and was still there
        self._too_old = 0  # looks in a row at which the session was older than its limits

    def look(self, steps: int, state: State | None, now: float) -> str:
        """Which limit the session has outlived, as words for the log; empty: none. `steps`: how many steps the session
        has made so far. `now`: monotonic seconds.
        """
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
        if self._too_old > 1:  # at the first such look the machine may just have woken up
            return f"it went on for more than {limit_s:g} s"
        return ""


def _looks(seconds: float) -> int:
    return math.ceil(seconds / LOOK_S)
