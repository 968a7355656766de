"""Whatever of a bot is written down leads on from there: a session that begins with it ends, within its limits and for
the reason that it had, whatever it sees then. The states are those that a story comes to, by the journal's codec.
"""

from typing import Final

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from common.wire.vocabulary import BotState, Reason
from tests.examples import examples
from tests.worker.decide.stories import (
    GONE,
    LEAVE,
    LIMITS,
    LOBBY,
    PROMPT,
    TIMED_OUT,
    live,
    meeting,
    observations,
    stories,
)
from worker.decide.lifecycle import begin, carry_on, step, worth_keeping
from worker.decide.state import State
from worker.decide.words import Finish, LeaveRequested, LoadFailed, Observation, Screen, Seen
from worker.link.journal import Stage, WorkerNote

Story = list[tuple[float, Observation]]

LOOK_S: Final = 0.5
LONGEST_S: Final = LIMITS.session_s + LIMITS.leave_s


def written(state: State) -> State:
    """As the next agent reads it: what the journal holds of it, and not a thing more."""
    note = WorkerNote(Stage.WARM, "page", None, worth_keeping(state))
    kept = msgspec.json.decode(msgspec.json.encode(note), type=WorkerNote).state
    assert kept
    return kept


def carried_on(kept: State, after: Story, began: float) -> list[tuple[float, Finish]]:
    """When and with what a session that begins with it ends; looked at as long as it may last."""
    state, found = carry_on(kept), list[tuple[float, Finish]]()
    for now, observation in after:
        state, actions = step(state, observation, began + now)
        found += [(now, action) for action in actions if isinstance(action, Finish)]
    return found


def for_ever(after: Story, seen: Observation, ends_at: float) -> Story:
    """And then it goes on seeing the same: at every moment at which it could be noticed that something is over."""
    last = after[-1][0] if after else 0.0
    return [*after, *((max(last, ends_at) + turn * LIMITS.leave_s, seen) for turn in range(1, 4))]


@given(stories(), stories(), observations, st.floats(0, 1e5))
def test_a_session_that_begins_with_what_was_written_down_ends_once_and_within_its_limits(
    before: Story, after: Story, for_good: Observation, away_s: float
) -> None:
    state, _ = live(before)
    kept = written(state)
    now = (before[-1][0] if before else 0.0) + away_s
    finishes = carried_on(kept, for_ever(after, for_good, LONGEST_S), now)
    assert len(finishes) == 1
    if kept.phase is BotState.STOPPED:
        first = after[0][0] if after else LONGEST_S + LIMITS.leave_s
        assert finishes[0] == (first, kept.ending), "at the next look, whatever that shows, with the reason it had"
    elif kept.phase is BotState.LEAVING:
        assert kept.ending
        assert keeps_its_reason(kept.ending.reason, finishes[0][1].reason)


def keeps_its_reason(had: Reason, ended: Reason) -> bool:
    """A fault of ours may give way to what the page says of it; nothing else gives way to anything."""
    return ended is had or had.end.retry


@given(stories(), st.sampled_from([LEAVE, LeaveRequested(Reason.SHUTDOWN)]), observations)
def test_whoever_asks_a_session_that_was_carried_on_to_leave_is_heard(
    before: Story, request: LeaveRequested, for_good: Observation
) -> None:
    """A drain and a shutdown are never held up by what an earlier agent left."""
    state, _ = live(before)
    now = before[-1][0] if before else 0.0
    assert carried_on(written(state), [(0.0, request), (LIMITS.leave_s, for_good)], now)


@settings(max_examples=examples(20))  # of up to five stories each
@given(stories(), st.lists(st.tuples(stories(), st.floats(0, 100)), max_size=4), observations)
def test_an_agent_that_dies_again_and_again_puts_off_no_end(
    first: Story, more: list[tuple[Story, float]], for_good: Observation
) -> None:
    """Each begins with what the one before wrote down, and none reports: the last one does, with the first reason."""
    state, _ = live(first)
    now = first[-1][0] if first else 0.0
    ending: Finish | None = None
    for story, away_s in more:
        state = carry_on(written(state))
        begin_s = now = now + away_s
        for later, observation in story:
            now = begin_s + later
            state = step(state, observation, now).state
            if state.phase is BotState.STOPPED:
                assert ending in (None, state.ending)
                ending = state.ending
    finishes = carried_on(written(state), for_ever([], for_good, LONGEST_S), now)
    assert len(finishes) == 1
    assert ending in (None, finishes[0][1])


def test_each_way_of_stopping_leads_on() -> None:
    """The way of the issue, by hand: begin, stop, keep, carry on, and any look at all."""
    stops: list[Story] = [
        [(1, GONE)],
        [(1, LoadFailed("HTTP 500"))],
        [(1, LEAVE)],
        [(1, LOBBY), (2, Seen(Screen.DENIED))],
        [(1, PROMPT), (2, meeting()), (3, LEAVE), (4, Seen(Screen.LEFT))],
        [(1, meeting()), (2, TIMED_OUT), (2 + LIMITS.hung_s, TIMED_OUT)],
    ]
    looks = [meeting(), LOBBY, PROMPT, Seen(Screen.LOADING), Seen(Screen.UNKNOWN), TIMED_OUT, GONE, LEAVE]
    for story in stops:
        state, _ = live(story)
        assert state.phase is BotState.STOPPED
        for look in looks:
            assert carried_on(written(state), [(0.0, look), (1.0, look)], 10.0) == [(0.0, state.ending)]


def test_what_stopped_without_a_reason_ends_as_a_fault_of_ours() -> None:
    """No release writes that; but what is read is not to be believed."""
    nameless = msgspec.structs.replace(begin(LIMITS, 0), phase=BotState.STOPPED)
    [(_, finish)] = carried_on(written(nameless), [(0.0, LOBBY)], 1.0)
    assert finish.reason is Reason.INTERNAL_ERROR
