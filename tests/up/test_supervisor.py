"""What becomes of the parts: each death, each signal, each deadline, and any row of them."""

import signal
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.one_machine import news
from poolmgr.one_machine.news import PartName
from poolmgr.one_machine.supervisor import (
    AGENT_REST_S,
    ASK_AGAIN_S,
    HARD_ENDS_S,
    MANAGER_ENDS_S,
    MOST_FAILURES,
    ONE_WISH_S,
    RESTART_MOST_S,
    STEADY_S,
    YOUNG_S,
    Again,
    Answered,
    Asked,
    AskToEnd,
    Counted,
    Deed,
    End,
    Exited,
    GiveUp,
    Goal,
    Happening,
    Kill,
    Passed,
    Rules,
    Start,
    Supervisor,
    Sweep,
    Swept,
    Tell,
    after_exit,
)

REDIS, MANAGER, AGENT = PartName
DRAIN_S, LEAVE_S = 14400.0, 8.0
SIGKILL, SIGTERM = -signal.SIGKILL, -signal.SIGTERM


class Machine:
    """A supervisor with a clock, and what it wants done as the caller asks for it."""

    def __init__(self, *, owns_redis: bool = True) -> None:
        self.supervisor = Supervisor(Rules(owns_redis, DRAIN_S, LEAVE_S))
        self.now = 100.0
        self.deeds = self.supervisor.begin(self.now)

    def after(self, *happenings: Happening) -> list[Deed]:
        """What they lead to, all together, besides what is told."""
        self.deeds = [deed for happening in happenings for deed in self.supervisor.handle(happening, self.now)]
        return [deed for deed in self.deeds if not isinstance(deed, Tell)]

    def asked(self, times: int) -> list[Deed]:
        """What so many signals lead to, sent by a person."""
        deeds: list[Deed] = []
        told: list[Deed] = []
        for _ in range(times):
            self.now += ONE_WISH_S
            deeds += self.after(Asked())
            told += [deed for deed in self.deeds if isinstance(deed, Tell)]
        self.deeds = told
        return deeds

    def after_s(self, seconds: float) -> list[Deed]:
        self.now += seconds
        return self.after(Passed())

    @property
    def told(self) -> list[news.News]:
        return [deed.news for deed in self.deeds if isinstance(deed, Tell)]


def running(bots: int = 0) -> Machine:
    machine = Machine()
    machine.after(Answered(REDIS), Answered(MANAGER), Answered(AGENT), Counted(bots))
    return machine


@pytest.mark.parametrize(
    ("code", "was_up", "failures", "then"),
    [
        (2, False, 1, GiveUp()),  # a wrong configuration, no Chromium
        (1, False, 1, GiveUp()),  # a port that is taken
        (127, False, 1, GiveUp()),
        (3, False, 1, Again(0.5)),  # another manager leads
        (0, False, 1, Again(0.5)),  # somebody ended it
        (SIGKILL, False, 1, Again(0.5)),
        (SIGKILL, False, MOST_FAILURES, GiveUp()),
        (3, False, MOST_FAILURES, GiveUp()),
        (2, True, 1, Again(0.5)),  # calls hang on it, and the fault may be put right meanwhile
        (SIGKILL, True, 2, Again(1.0)),
        (1, True, 4, Again(4.0)),
        (1, True, 7, Again(RESTART_MOST_S)),
        (1, True, 10**6, Again(RESTART_MOST_S)),
    ],
)
def test_the_exit_code_and_what_came_before_decide_what_follows(
    code: int, was_up: bool, failures: int, then: Again | GiveUp
) -> None:
    assert after_exit(code, was_up=was_up, failures=failures) == then


def test_redis_comes_first_and_then_the_two_programs_at_once() -> None:
    machine = Machine()
    assert machine.deeds == [Start(REDIS)]
    assert machine.after(Answered(REDIS)) == [Start(MANAGER), Start(AGENT)]
    assert machine.after(Answered(REDIS)) == []
    assert [machine.supervisor.runs(part) for part in PartName] == [True, True, True]
    assert [machine.supervisor.is_up(part) for part in PartName] == [True, False, False]


def test_a_redis_that_is_somebody_elses_is_neither_started_nor_ended() -> None:
    machine = Machine(owns_redis=False)
    assert machine.deeds == [Start(MANAGER), Start(AGENT)]
    machine.after(Answered(AGENT))
    assert machine.after(Asked()) == [AskToEnd(AGENT)]
    assert machine.after(Exited(AGENT, 0)) == [AskToEnd(MANAGER)]
    assert machine.after(Exited(MANAGER, 0)) == [End(0)]


@pytest.mark.parametrize("part", PartName)
def test_a_part_that_dies_is_started_again_and_told_of_when_it_works(part: PartName) -> None:
    machine = running()
    assert machine.after(Exited(part, SIGKILL)) == []
    assert machine.told == [news.Died(part, SIGKILL, (), 0.5)]
    assert machine.after_s(0.4) == []
    assert machine.after_s(0.2) == [Start(part)]
    machine.now += 1.0
    assert machine.after(Answered(part)) == []
    [back] = machine.told
    assert isinstance(back, news.Back)
    assert (back.part, round(back.after_s, 3)) == (part, 1.6)


def test_delays_grow_with_each_death_and_begin_anew_after_a_steady_while() -> None:
    machine = running()
    delays: list[float] = []
    for steady_s in (1.0, 1.0, 1.0, STEADY_S, 1.0):
        machine.after_s(steady_s)
        machine.after(Exited(AGENT, SIGKILL))
        [died] = machine.told
        assert isinstance(died, news.Died)
        delays.append(died.again_in_s)
        assert machine.after_s(died.again_in_s) == [Start(AGENT)]
        machine.after(Answered(AGENT))
    assert delays == [0.5, 1.0, 2.0, 0.5, 1.0]


@pytest.mark.parametrize(("code", "ends_with"), [(2, 2), (1, 1), (127, 1)])
def test_a_part_that_says_what_has_to_be_put_right_ends_all_with_its_words(code: int, ends_with: int) -> None:
    machine = Machine()
    machine.after(Answered(REDIS))
    assert machine.after(Exited(MANAGER, code, ("cannot listen",))) == []
    assert machine.told[0] == news.CannotStart(MANAGER, code, ("cannot listen",))
    assert machine.after(Answered(AGENT)) == [AskToEnd(AGENT)]
    assert machine.after(Exited(AGENT, 0)) == [AskToEnd(REDIS)]
    assert machine.after(Exited(REDIS, 0)) == [End(ends_with)]


def test_a_redis_that_cannot_start_ends_all_before_anything_else_was_started() -> None:
    machine = Machine()
    assert machine.after(Exited(REDIS, 1, ("Bad file format",))) == [End(1)]


def test_the_first_signal_lets_calls_end_and_the_rest_ends_after_the_agent() -> None:
    machine = running(bots=2)
    assert machine.after(Asked()) == [AskToEnd(AGENT)]
    assert machine.told == [news.Draining(2, DRAIN_S)]
    assert machine.after_s(3600.0) == []
    machine.after(Counted(1))
    assert machine.told == [news.BotsLeft(1)]
    assert machine.after(Exited(AGENT, 0)) == [AskToEnd(MANAGER)]
    assert machine.after(Exited(MANAGER, 0)) == [AskToEnd(REDIS)]
    assert machine.after(Exited(REDIS, 0)) == [End(0)]


def test_the_second_signal_goes_to_the_agent() -> None:
    machine = running(bots=1)
    assert machine.asked(2) == [AskToEnd(AGENT), AskToEnd(AGENT)]
    assert machine.told[-1] == news.Leaving(1, LEAVE_S + AGENT_REST_S)
    assert machine.after_s(LEAVE_S) == []


def test_signals_that_come_at_once_are_one_wish() -> None:
    machine = running(bots=1)
    assert machine.after(Asked(), Asked(), Asked()) == [AskToEnd(AGENT)]
    assert machine.after_s(60.0) == []


def test_a_terminal_that_closes_lets_calls_end_however_often_it_is_told() -> None:
    machine = running(bots=1)
    assert machine.after(Asked(hung_up=True)) == [AskToEnd(AGENT)]
    assert machine.after(Asked(hung_up=True), Asked(hung_up=True)) == []
    assert machine.after_s(60.0) == []
    assert machine.asked(1) == [AskToEnd(AGENT)]


def test_the_third_signal_kills_the_agent_and_ends_its_browsers_before_the_rest() -> None:
    machine = running(bots=1)
    assert machine.asked(3) == [AskToEnd(AGENT), AskToEnd(AGENT), Kill(AGENT)]
    assert machine.after(Exited(AGENT, SIGKILL)) == [Sweep()]
    assert machine.after(Swept()) == [AskToEnd(MANAGER)]
    assert machine.after_s(HARD_ENDS_S) == [Kill(MANAGER)]
    assert machine.after(Exited(MANAGER, SIGKILL)) == [AskToEnd(REDIS)]
    assert machine.after(Exited(REDIS, 0)) == [End(130)]


@pytest.mark.parametrize(("signals", "limit_s"), [(1, DRAIN_S + LEAVE_S + AGENT_REST_S), (2, LEAVE_S + AGENT_REST_S)])
def test_an_agent_that_does_not_end_in_its_time_is_killed_and_swept_after(signals: int, limit_s: float) -> None:
    machine = running(bots=1)
    machine.asked(signals)
    machine.after_s(limit_s - 1.0)
    assert machine.after_s(2.0) == [Kill(AGENT)]
    assert machine.told == [news.Killed(AGENT)]
    assert machine.after(Exited(AGENT, SIGKILL)) == [Sweep()]
    assert machine.after(Swept()) == [AskToEnd(MANAGER)]
    assert machine.after(Exited(MANAGER, 0), Exited(REDIS, 0))[-1] == End(1)


def test_a_fourth_signal_has_nothing_left_to_hurry() -> None:
    machine = running(bots=1)
    machine.asked(3)
    assert machine.asked(1) == []
    assert machine.deeds == []


def test_a_third_signal_after_the_agent_ended_hurries_the_rest() -> None:
    machine = running()
    machine.asked(2)
    assert machine.after(Exited(AGENT, 0)) == [AskToEnd(MANAGER)]
    assert machine.asked(1) == []
    assert machine.after_s(HARD_ENDS_S) == [Kill(MANAGER)]


def test_an_agent_between_two_starts_is_not_started_again_by_the_third_signal() -> None:
    machine = running(bots=1)
    machine.asked(2)
    machine.after(Exited(AGENT, SIGKILL))
    assert machine.asked(1) == [Sweep()], "its browsers are ended all the same"
    assert machine.after_s(RESTART_MOST_S) == []


def test_a_manager_that_does_not_end_is_killed() -> None:
    machine = running()
    machine.after(Asked(), Exited(AGENT, 0))
    assert machine.after_s(MANAGER_ENDS_S) == [Kill(MANAGER)]


def test_an_agent_that_dies_while_it_drains_is_started_again_to_go_on_with_it() -> None:
    machine = running(bots=1)
    machine.asked(2)
    machine.after(Exited(AGENT, SIGKILL))
    assert machine.after_s(0.5) == [Start(AGENT)]
    assert machine.after_s(1.0) == [], "it is not asked before it knows what it has"
    assert machine.after(Answered(AGENT)) == [AskToEnd(AGENT)]
    assert machine.after_s(ASK_AGAIN_S) == [AskToEnd(AGENT)], "nor does it forget that bots are to leave"
    assert machine.after(Exited(AGENT, 0)) == [AskToEnd(MANAGER)]


def test_an_agent_that_is_down_when_all_is_to_end_comes_up_to_end_its_browsers() -> None:
    machine = running(bots=1)
    machine.after(Exited(AGENT, SIGKILL))
    assert machine.after(Asked()) == [Start(AGENT)]
    assert machine.after(Answered(AGENT)) == [AskToEnd(AGENT)]


def test_an_agent_that_comes_up_in_vain_while_it_drains_is_given_up_and_swept_after() -> None:
    machine = running(bots=1)
    machine.after(Asked())
    for _ in range(MOST_FAILURES - 1):
        machine.after(Exited(AGENT, SIGKILL))
        assert machine.after_s(RESTART_MOST_S) == [Start(AGENT)]
    assert machine.after(Exited(AGENT, SIGKILL)) == [Sweep()]


def test_an_agent_is_not_asked_while_it_is_too_young_unless_it_stays_so() -> None:
    machine = Machine()
    machine.after(Answered(REDIS))
    assert machine.after(Asked()) == []
    assert machine.after_s(YOUNG_S - 1.0) == []
    assert machine.after_s(1.0) == [AskToEnd(AGENT)]
    assert machine.after(Exited(AGENT, SIGTERM)) == [AskToEnd(MANAGER)], "it had begun nothing"


def test_a_young_agent_that_is_asked_twice_is_swept_after_for_it_left_what_it_found() -> None:
    machine = Machine()
    machine.after(Answered(REDIS))
    assert machine.asked(2) == [AskToEnd(AGENT)]
    assert machine.after(Exited(AGENT, SIGTERM)) == [Sweep()]


@pytest.mark.parametrize("part", [REDIS, MANAGER])
def test_manager_and_redis_are_kept_alive_while_the_agent_drains(part: PartName) -> None:
    machine = running(bots=1)
    machine.after(Asked())
    machine.after(Exited(part, SIGKILL))
    assert machine.after_s(0.5) == [Start(part)]
    machine.after(Answered(part))
    assert machine.after(Exited(AGENT, 0)) == [AskToEnd(MANAGER)]


def test_a_signal_before_redis_answers_starts_nothing_more() -> None:
    machine = Machine()
    assert machine.after(Asked()) == [AskToEnd(REDIS)]
    assert machine.after(Answered(REDIS)) == []
    assert machine.after(Exited(REDIS, 0)) == [End(0)]


class Wait(NamedTuple):
    seconds: float


happenings: st.SearchStrategy[Happening | Wait] = st.one_of(
    st.builds(Answered, st.sampled_from(PartName)),
    st.builds(Exited, st.sampled_from(PartName), st.sampled_from([0, 1, 2, 3, SIGKILL, SIGTERM])),
    st.builds(Counted, st.integers(0, 3)),
    st.just(Asked()),
    st.just(Swept()),
    st.builds(Wait, st.sampled_from([0.25, 1.0, 20.0, 300.0])),
)


@given(st.booleans(), st.lists(happenings, max_size=60))
def test_whatever_happens_nothing_runs_twice_or_unasked_and_three_signals_end_it(
    owns_redis: bool, story: list[Happening | Wait]
) -> None:
    machine = Machine(owns_redis=owns_redis)
    runs: set[PartName] = set()
    killed: set[PartName] = set()
    sweeping = ended = False

    def check(deeds: list[Deed]) -> None:
        nonlocal sweeping, ended
        for deed in deeds:
            assert not ended, "the end is the end"
            match deed:
                case Start(part):
                    assert part not in runs
                    assert owns_redis or part is not REDIS
                    runs.add(part)
                case AskToEnd(part):
                    assert part in runs
                case Kill(part):
                    assert part in runs
                    killed.add(part)
                case Sweep():
                    assert AGENT not in runs
                    sweeping = True
                case End():
                    assert not runs
                    ended = True
                case Tell():
                    pass

    def happen(happening: Happening | Wait) -> None:
        nonlocal sweeping
        match happening:
            case Wait(seconds):
                check(machine.after_s(seconds))
                return
            case Exited(part) | Answered(part) if part not in runs and not (part is REDIS and not owns_redis):
                return
            case Exited(part):
                runs.discard(part)
                killed.discard(part)
            case Swept():
                if not sweeping:
                    return
                sweeping = False
            case _:
                pass
        check(machine.after(happening))

    check(machine.deeds)
    for happening in story:
        happen(happening)
    for _ in range(3):
        happen(Wait(ONE_WISH_S))
        happen(Asked())
    for _ in range(5):  # what is killed does end; nothing else has to
        happen(Wait(HARD_ENDS_S))
        for part in list(killed):
            happen(Exited(part, SIGKILL))
        happen(Swept())
    assert ended
    assert machine.supervisor.goal is Goal.ENDED
