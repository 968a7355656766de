"""Deadlines come in order, each once."""

from hypothesis import given
from hypothesis import strategies as st

from poolmgr.core.timers import Timer, Timers


def test_without_deadlines_nothing_ever_falls_due() -> None:
    timers = Timers()
    assert timers.next_at == float("inf")
    assert list(timers.due(1e12)) == []


def test_a_deadline_falls_due_at_its_moment_and_once() -> None:
    timers = Timers()
    timers.set(5.0, Timer.CLAIM, "b")
    assert list(timers.due(4.999)) == []
    assert list(timers.due(5.0)) == [(Timer.CLAIM, "b")]
    assert list(timers.due(5.0)) == []
    assert len(timers) == 0


def test_deadlines_at_the_same_moment_come_in_the_order_in_which_they_were_set() -> None:
    timers = Timers()
    for whose in "cab":
        timers.set(1.0, Timer.QUEUE, whose)
    assert [whose for _, whose in timers.due(1.0)] == ["c", "a", "b"]


def test_a_deadline_set_for_the_past_while_others_fall_due_comes_too() -> None:
    timers = Timers()
    timers.set(1.0, Timer.VM_SILENT, "vm")
    seen: list[Timer] = []
    for timer, whose in timers.due(2.0):
        seen.append(timer)
        if timer is Timer.VM_SILENT:
            timers.set(0.5, Timer.VM_LOST, whose)
            timers.set(2.5, Timer.VM_FORGOTTEN, whose)
    assert seen == [Timer.VM_SILENT, Timer.VM_LOST]
    assert timers.next_at == 2.5


def test_timers_of_many_seconds_come_in_order_while_others_are_set() -> None:
    """Set between those that are next, beyond them, and in the same later second."""
    timers = Timers()
    for at in (50.5, 1.5, 50.25, 7.0):
        timers.set(at, Timer.CLAIM, str(at))
    seen: list[str] = []
    for _, whose in timers.due(60.0):
        seen.append(str(whose))
        if whose == "1.5":
            timers.set(3.0, Timer.CLAIM, "3.0")
            timers.set(50.4, Timer.CLAIM, "50.4")
            assert (len(timers), timers.next_at) == (5, 3.0)
    assert seen == ["1.5", "3.0", "7.0", "50.25", "50.4", "50.5"]
    assert len(timers) == 0


_STEPS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 80)), max_size=40)


@given(_STEPS)
def test_they_are_what_a_sorted_list_would_be(steps: list[tuple[int, int]]) -> None:
    """Each step sets one timer and lets some time pass, by quarters of a second. Some are set for the past."""
    timers, model = Timers(), list[tuple[float, int]]()
    now = 0.0
    for number, (at, passed) in enumerate(steps):
        timers.set(at / 4, Timer.LEAVE, str(number))
        model.append((at / 4, number))
        now += passed / 4
        due = sorted(entry for entry in model if entry[0] <= now)
        assert [int(str(whose)) for _, whose in timers.due(now)] == [number for _, number in due]
        model = [entry for entry in model if entry[0] > now]
        assert len(timers) == len(model)
        assert timers.next_at == min((at for at, _ in model), default=float("inf"))


@given(st.lists(st.floats(0, 100), max_size=30), st.floats(0, 100))
def test_what_is_due_is_all_up_to_now_earliest_first(moments: list[float], now: float) -> None:
    timers = Timers()
    for n, at in enumerate(moments):
        timers.set(at, Timer.IDLE_TTL, str(n))
    due = [moments[int(str(whose))] for _, whose in timers.due(now)]
    assert due == sorted(at for at in moments if at <= now)
    assert timers.next_at == min((at for at in moments if at > now), default=float("inf"))
