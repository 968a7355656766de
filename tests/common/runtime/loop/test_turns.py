"""Loops say that they turn, and who does not is named."""

from common.runtime.loop.turns import Turns, patience_s


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_that_has_not_turned_in_time_is_late_until_it_turns() -> None:
    now = Time()
    turns = Turns(now)
    with turns.expecting(5.0, "events", "dispatcher"):
        now.now += 5.0
        assert turns.late() == []
        turns.turned("dispatcher")
        now.now += 0.1
        assert turns.late() == ["events"]
        turns.of("events")()
        assert turns.late() == []


def test_each_has_its_own_limit_and_nobody_is_expected_afterwards() -> None:
    now = Time()
    turns = Turns(now)
    with turns.expecting(60.0, "slow"), turns.expecting(1.0, "quick"):
        now.now += 30.0
        assert turns.late() == ["quick"]
    now.now += 1000.0
    turns.turned("slow")
    assert turns.late() == []


def test_calls_to_redis_that_wait_for_their_deadlines_fit_in() -> None:
    assert patience_s(5.0) > 2 * 5.0 + 5.0  # a failed call, the longest rest, another one
