"""The backstop above a session: it ends what outlives its limits, whatever the session does, and nothing else."""

import math
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.worker.decide.stories import LEAVE, LIMITS, live, meeting
from worker.decide.lifecycle import begin
from worker.decide.overdue import GRACE_S, LOOK_S, STILL_S, Limits, Patience
from worker.decide.state import State

WITHIN: Final = Limits(session_s=1000, leave_s=8)
INSIDE: Final = live([(1, meeting())])[0]
LEAVING: Final = live([(1, meeting()), (2, LEAVE)])[0]
STOPPED: Final = live([(1, LEAVE)])[0]
LEAVE_LOOKS: Final = math.ceil((8 + GRACE_S) / LOOK_S)


def looks_until(
    state: State | None, *, moves: bool = True, at: Callable[[int], float] = lambda look: look * LOOK_S
) -> int | None:
    """At which look it is overdue; None: at none of many."""
    patience = Patience(WITHIN)
    for look in range(5000):
        if patience.look(look if moves else 7, state, at(look)):
            return look
    return None


@pytest.mark.parametrize(
    ("state", "moves", "look"),
    [
        (None, False, STILL_S / LOOK_S),
        (INSIDE, False, STILL_S / LOOK_S),
        (LEAVING, True, LEAVE_LOOKS - 1),
        (STOPPED, True, LEAVE_LOOKS - 1),  # it goes on and on and never finishes: the fault that this stands behind
        (INSIDE, True, (1000 + 8 + GRACE_S) / LOOK_S + 2),
        (None, True, None),
    ],
)
def test_what_outlives_its_limits_is_overdue(state: State | None, moves: bool, look: float | None) -> None:
    assert looks_until(state, moves=moves) == (None if look is None else math.floor(look))


def test_an_agent_that_was_frozen_finds_nobody_overdue_when_it_wakes_up() -> None:
    """However long it slept: a session that is alive makes its steps before the next look."""
    patience = Patience(WITHIN)
    assert patience.look(1, INSIDE, 10.0) == ""
    assert patience.look(1, INSIDE, 1e6) == ""
    ends = replace(LEAVING, began=1e6)
    assert [patience.look(step, ends, 1e6 + step) for step in range(2, 5)] == ["", "", ""]


def test_a_state_without_a_beginning_is_not_too_old() -> None:
    assert looks_until(replace(begin(LIMITS, 0), began=None)) is None


@given(st.lists(st.integers(1, int(STILL_S / LOOK_S)), max_size=30))
def test_a_session_that_moves_now_and_then_is_never_overdue_for_standing_still(looks_between: list[int]) -> None:
    patience = Patience(WITHIN)
    for steps, looks in enumerate(looks_between):
        assert [patience.look(steps, begin(LIMITS, 0), 0.0) for _ in range(looks)] == [""] * looks
