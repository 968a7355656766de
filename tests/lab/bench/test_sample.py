"""Percentiles, ratios and turns, on numbers that can be checked in the head."""

import pytest

from lab.bench.sample import Contender, Series, percentile, ratio, take_turns


def _series(*rounds: list[float], more_is_better: bool = False) -> Series:
    series = Series("some", "ms", more_is_better=more_is_better)
    for samples in rounds:
        series.add(samples)
    return series


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_percentile_is_the_nearest_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile(range(1, 101), share) == expected


def test_a_summary_holds_all_rounds() -> None:
    summary = _series([3.0, 1.0], [], [2.0]).summary()
    assert (summary.count, summary.best, summary.p50, summary.p99, summary.worst) == (3, 1.0, 2.0, 3.0, 3.0)
    assert summary.mean == 2.0


def test_the_bad_side_of_a_rate_is_the_low_one() -> None:
    summary = _series([100.0, 300.0, 200.0], more_is_better=True).summary()
    assert (summary.best, summary.p50, summary.p99) == (300.0, 200.0, 100.0)


def test_nothing_measured_has_no_summary() -> None:
    with pytest.raises(ValueError, match="has no samples"):
        _series([]).summary()


def test_a_ratio_compares_within_rounds_so_that_drift_does_not_count() -> None:
    subject, floor = _series([2.0], [20.0], [200.0]), _series([1.0], [10.0], [100.0])
    assert ratio(subject, floor) == 2.0


def test_a_ratio_leaves_out_rounds_that_only_one_took_part_in() -> None:
    assert ratio(_series([2.0], [50.0]), _series([1.0], [])) == 2.0
    assert ratio(_series([2.0]), _series([])) is None


async def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    turns: list[str] = []

    def contender(name: str, every: int = 1) -> Contender:
        async def measure() -> list[tuple[float, ...]]:
            turns.append(name)
            return [(float(len(turns)),)]

        return Contender((Series(name, "ms"),), measure, every)

    contenders = [contender("a"), contender("b"), contender("rare", every=2)]
    await take_turns(3, contenders, lambda _: None)
    assert turns == ["a", "b", "rare", "a", "b", "rare", "b", "a", "rare", "a", "b"]
    assert [len(contender.series[0].samples) for contender in contenders] == [3, 3, 2]
    assert [len(contender.series[0].rounds) for contender in contenders] == [3, 3, 3]
