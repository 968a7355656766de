"""Anything may happen to a worker at any time; what is true of it stays true, and it comes to its end."""

from typing import Final

import pytest
from hypothesis import Phase as Drawing
from hypothesis import seed as seeded
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from common.wire.messages import BotEnded, Event, Join, JoinRefused, WorkerGone
from common.wire.vocabulary import GoneCause, Reason, WorkerState
from tests.examples import examples
from tests.worker.decide.stories import LEAVE, live, meeting
from worker.decide.state import State
from worker.decide.words import BrowserGone, LeaveRequested
from worker.decide.worker import (
    LEGAL,
    Abandoned,
    Assigned,
    Begun,
    End,
    Ended,
    Failure,
    Happening,
    LeaveOrdered,
    Order,
    Overdue,
    Phase,
    Progressed,
    Removed,
    Report,
    RetireOrdered,
    Stale,
    StopOrdered,
    Warmed,
    WorkerStatus,
    step,
)

BOTS: Final = (live([(1, meeting())])[0], live([(1, meeting()), (2, LEAVE)])[0])

ADOPTED: Final = (Phase.IDLE, Phase.CLAIMING, Phase.RETURNING)
ORDERS: Final = (*[LeaveOrdered(Reason.USER_REQUESTED)] * 4, RetireOrdered(), StopOrdered())
FAULTS: Final = (
    *(Failure(GoneCause.CRASHED, "exit code 5"), Failure(GoneCause.MEMORY_LIMIT, "too large", Reason.MEMORY_LIMIT)),
    Abandoned(),
)

HOW: Final = settings(stateful_step_count=20, database=None, deadline=None)


def join_of(bot: int) -> Join:
    return Join("w1", f"b{bot}", 1, "room", "https://room.example/r/x", "Bot")


class OneWorker(RuleBasedStateMachine):
    """`open`: bots that were given to it and have no answer yet."""

    def __init__(self) -> None:
        super().__init__()
        self.status = WorkerStatus("vm1", "w1", Phase.WARMING)
        self.now = 0.0
        self.bots = 0
        self.open: set[str] = set()
        self.answered: list[str] = []
        self.served: set[str] = set()
        self.ends = 0
        self.gone: list[WorkerGone] = []

    def tell(self, event: Order | Happening) -> None:
        before = self.status
        self.now += 1
        self.status, effects = step(before, event, self.now)
        assert self.status.phase is before.phase or self.status.phase in LEGAL[before.phase]
        for effect in effects:
            match effect:
                case Report(events=events):
                    for each in events:
                        self.hear(each)
                case LeaveRequested() | BrowserGone():
                    assert self.status.phase is Phase.SERVING, "there is a session to be told"
                case End():
                    self.ends += 1

    def hear(self, event: Event) -> None:
        assert self.gone == [], "nothing after its end"
        match event:
            case BotEnded() | JoinRefused():
                self.open.remove(event.bot_id)  # an answer that it had already, or that nobody waits for, fails here
                self.answered.append(event.bot_id)
                assert self.status.phase is Phase.RETIRING
                assert isinstance(event, BotEnded) or event.bot_id not in self.served, "it has been in its meeting"
            case WorkerGone():
                self.gone.append(event)
            case _:
                pass

    @initialize(adopted=st.sampled_from([None, *ADOPTED]), bot=st.sampled_from(BOTS))
    def begins(self, adopted: Phase | None, bot: State) -> None:
        if adopted is Phase.IDLE:
            self.status = WorkerStatus("vm1", "w1", adopted)
        elif adopted is not None:
            self.open.add("b0")
            in_meeting = adopted is Phase.RETURNING
            self.served |= {"b0"} if in_meeting else set()
            self.status = WorkerStatus("vm1", "w1", adopted, join=join_of(0), bot=bot if in_meeting else None)

    # What may come at any time

    @rule(event=st.sampled_from(ORDERS))
    def something_is_ordered(self, event: Order) -> None:
        self.tell(event)

    @rule(fault=st.none() | st.sampled_from(FAULTS))
    def something_breaks(self, fault: Happening | Order | None) -> None:
        if fault:
            self.tell(fault)

    # What comes of its own work, also when it has ended meanwhile

    @precondition(lambda self: self.status.phase in (Phase.WARMING, Phase.RETIRING))
    @rule()
    def it_is_warm(self) -> None:
        self.tell(Warmed("page", 1.0))

    @precondition(lambda self: self.status.phase is Phase.IDLE)
    @rule()
    def it_is_given_a_bot(self) -> None:
        self.bots += 1
        self.open.add(f"b{self.bots}")
        self.tell(Assigned(join_of(self.bots)))

    @precondition(lambda self: self.status.phase in (Phase.CLAIMING, Phase.RETIRING))
    @rule()
    def its_assignment_is_stale(self) -> None:
        if self.status.join:
            self.open.remove(self.status.join.bot_id)
        self.tell(Stale())

    @precondition(lambda self: self.status.phase in (Phase.CLAIMING, Phase.RETURNING))
    @rule()
    def its_session_begins(self) -> None:
        assert self.status.join
        self.served.add(self.status.join.bot_id)
        self.tell(Begun(self.status.join))

    @precondition(lambda self: self.status.phase in (Phase.SERVING, Phase.RETIRING))
    @rule(bot=st.sampled_from(BOTS), ends=st.booleans(), overdue=st.booleans())
    def its_session_goes_on(self, bot: State, ends: bool, overdue: bool) -> None:
        join = self.status.join
        self.tell(Progressed(bot))
        if overdue:
            self.tell(Overdue("it did nothing"))
        if ends and join:
            who = ("vm1", "w1", join.bot_id, join.attempt, self.now)
            self.tell(Ended(BotEnded(*who, Reason.MEETING_ENDED)))

    @precondition(lambda self: self.status.phase is Phase.RETIRING)
    @rule()
    def it_is_removed(self) -> None:
        self.tell(Removed())

    # What is true after every event

    @invariant()
    def it_has_one_bot_at_most_and_that_one_waits_for_its_answer(self) -> None:
        assert self.open == ({self.status.join.bot_id} if self.status.join else set())
        has_one = self.status.phase in (Phase.CLAIMING, Phase.RETURNING, Phase.SERVING)
        assert has_one is (self.status.join is not None)
        assert (self.status.reported is WorkerState.BUSY) is has_one

    @invariant()
    def it_serves_one_bot_in_its_life(self) -> None:
        assert len(self.served) <= 1
        assert len(self.answered) <= 1

    @invariant()
    def it_is_let_end_once_and_for_a_cause(self) -> None:
        assert self.ends == self.status.is_ending
        assert (self.status.gone is not None) is self.status.is_ending
        assert len(self.gone) == (self.status.phase is Phase.GONE)

    def teardown(self) -> None:
        """Whatever happened: by force it comes to its end."""
        if not self.status.is_ending:
            self.tell(Overdue("the manager") if self.status.join else RetireOrdered())
        if self.status.phase is Phase.RETIRING:
            self.tell(Removed())
        assert self.status.phase is Phase.GONE
        assert self.open == set()
        assert len(self.gone) == 1


def test_whatever_happens_to_a_worker_it_keeps_its_promises(seed: int) -> None:
    run_state_machine_as_test(seeded(seed)(OneWorker), settings=settings(HOW, max_examples=examples(100)))


def test_the_machine_finds_a_worker_that_comes_back_from_its_end(seed: int) -> None:
    class Recalled(OneWorker):
        def tell(self, event: Order | Happening) -> None:
            super().tell(event)
            if isinstance(event, Ended) and self.status.phase is Phase.RETIRING:
                self.status = WorkerStatus("vm1", "w1", Phase.IDLE)

    # What it finds is not made small: nobody is going to read it.
    how = settings(HOW, max_examples=1000, phases=[Drawing.generate], report_multiple_bugs=False)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(seeded(seed)(Recalled), settings=how)
