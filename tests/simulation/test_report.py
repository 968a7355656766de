"""What is counted, and which runs are worth looking at."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.simulation.report import Meter, Outcome, pareto, percentile

NOBODY = Meter({}, 0.0).outcome(still_waiting=0)


def outcome(warm_hits: int, idle_h: int) -> Outcome:
    return msgspec.structs.replace(NOBODY, warm_hits=warm_hits, idle_worker_h=float(idle_h))


outcomes = st.lists(st.builds(outcome, st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@pytest.mark.parametrize(("percent", "value"), [(1, 1.0), (50, 5.0), (90, 9.0), (91, 10.0), (99, 10.0), (100, 10.0)])
def test_percentiles_are_values_that_occurred(percent: float, value: float) -> None:
    assert percentile([float(n) for n in range(1, 11)], percent) == value


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 50) is None


@given(outcomes)
def test_the_best_runs_beat_all_others_and_none_of_each_other(runs: list[Outcome]) -> None:
    marks = pareto(runs)
    best = [(run.warm_hits, run.idle_worker_h) for run, is_best in zip(runs, marks, strict=True) if is_best]
    assert best
    for run, is_best in zip(runs, marks, strict=True):
        others_as_good = [pair for pair in best if pair[0] >= run.warm_hits and pair[1] <= run.idle_worker_h]
        assert others_as_good
        if is_best:
            assert set(others_as_good) == {(run.warm_hits, run.idle_worker_h)}
