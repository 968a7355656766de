"""The legal moves of a bot, and only those."""

import pytest

from common.wire.vocabulary import BotState
from poolmgr.core.transitions import LEGAL, IllegalMoveError, check_move


@pytest.mark.parametrize("old", BotState)
@pytest.mark.parametrize("new", BotState)
def test_a_move_is_legal_or_tells_the_story_of_the_bot(old: BotState, new: BotState) -> None:
    forward = old.rank < new.rank
    back_to_the_queue = new is BotState.QUEUED and BotState.QUEUED.rank < old.rank <= BotState.IN_MEETING.rank
    # Who has no worker cannot be further than in the queue.
    waits = old in (BotState.SCHEDULED, BotState.QUEUED)
    one_step = new.rank == old.rank + 1 or new is BotState.STOPPED
    if (forward and (not waits or one_step)) or back_to_the_queue:
        check_move("b1", 3, old, new)
    else:
        with pytest.raises(IllegalMoveError, match=rf"cannot move bot b1 \(attempt 3\) from {old} to {new}"):
            check_move("b1", 3, old, new)


def test_every_state_but_the_last_can_be_stopped_and_the_last_is_the_last() -> None:
    assert {state for state in BotState if BotState.STOPPED in LEGAL[state]} == set(BotState) - {BotState.STOPPED}
    assert LEGAL[BotState.STOPPED] == frozenset()


def test_nobody_who_leaves_is_sent_in_again() -> None:
    assert BotState.QUEUED in LEGAL[BotState.IN_MEETING]
    assert LEGAL[BotState.LEAVING] == {BotState.STOPPED}
