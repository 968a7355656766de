"""How often somebody may do something: pure, with time handed in."""

from hypothesis import given
from hypothesis import strategies as st

from poolmgr.api.rate import Rate, Rates


def test_a_burst_is_let_through_and_then_the_average() -> None:
    rates, rate = Rates(10), Rate(per_s=2, burst=4)
    assert [rates.wait_s("a", rate, 100.0) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert rates.wait_s("a", rate, 100.4) > 0
    assert rates.wait_s("a", rate, 100.5) == 0
    assert rates.wait_s("b", rate, 100.5) == 0


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60), st.floats(0.5, 20), st.integers(1, 10))
def test_never_more_than_burst_and_average_in_any_time(gaps: list[float], per_s: float, burst: int) -> None:
    rates, rate = Rates(1), Rate(per_s, burst)
    now, let_in = 0.0, list[float]()
    for gap in gaps:
        now += gap
        if wait_s := rates.wait_s("a", rate, now):
            now += wait_s
            assert not rates.wait_s("a", rate, now), "who waits as told is let in"
        let_in.append(now)
    for first in range(len(let_in)):
        for last in range(first, len(let_in)):
            assert last - first + 1 <= burst + (let_in[last] - let_in[first]) * per_s + 1e-3


def test_memory_is_bounded_and_the_quietest_is_forgotten_first() -> None:
    rates, rate = Rates(3), Rate(per_s=1, burst=1)
    for now, name in enumerate("abcad"):
        rates.wait_s(name, rate, now * 2.0)
    assert len(rates) == 3
    assert rates.wait_s("b", rate, 8.1) == 0, "forgotten"
    assert rates.wait_s("d", rate, 8.1) > 0
