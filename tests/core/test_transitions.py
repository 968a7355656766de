"""The legal moves of a bot, and only those."""

import pytest

from common.jobs.record import Job
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.model import Bot
from poolmgr.core.transitions import LEGAL, IllegalMoveError, check_move


def bot(state: BotState) -> Bot:
    job = Job(platform="room", meeting_url="http://h/r/x", bot_name="N", passcode="secret", payload="{}")
    return Bot("b1", job, seq=1, created_at=0.0, state=state, attempt=3)


@pytest.mark.parametrize("old", BotState)
@pytest.mark.parametrize("new", BotState)
def test_a_move_is_legal_or_tells_the_story_of_the_bot(old: BotState, new: BotState) -> None:
    forward = old.rank < new.rank
    back_to_the_queue = new is BotState.QUEUED and BotState.QUEUED.rank < old.rank <= BotState.IN_MEETING.rank
    # Who has no worker cannot be further than in the queue.
    waits = old in (BotState.SCHEDULED, BotState.QUEUED)
    one_step = new.rank == old.rank + 1 or new is BotState.STOPPED
    if (forward and (not waits or one_step)) or back_to_the_queue:
        check_move(bot(old), new)
    else:
        with pytest.raises(IllegalMoveError, match=rf"cannot move bot b1 \(attempt 3\) from {old} to {new}"):
            check_move(bot(old), new)


def test_the_story_of_a_bot_says_where_it_is_and_what_it_came_through_and_no_secret() -> None:
    known = bot(BotState.LEAVING)
    known.vm_id, known.worker_id, known.leave_requested = "vm-1", "w1", True
    known.failed, known.failure = 2, Reason.WORKER_LOST
    expected = "bot b1 (attempt 3, on w1 of vm-1, asked to leave, 2 attempts failed (worker_lost)) from leaving"
    assert known.story == expected


def test_every_state_but_the_last_can_be_stopped_and_the_last_is_the_last() -> None:
    assert {state for state in BotState if BotState.STOPPED in LEGAL[state]} == set(BotState) - {BotState.STOPPED}
    assert LEGAL[BotState.STOPPED] == frozenset()


def test_nobody_who_leaves_is_sent_in_again() -> None:
    assert BotState.QUEUED in LEGAL[BotState.IN_MEETING]
    assert LEGAL[BotState.LEAVING] == {BotState.STOPPED}
