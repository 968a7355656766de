"""The design's limits are judged on what was measured, also on kept results, and each concerns a row."""

import msgspec
import pytest

from lab.bench.__main__ import DOCS, LATEST
from lab.bench.limits import LIMITS, Limit, judged
from lab.bench.report import Budget, from_json, to_markdown
from lab.bench.rows import ROWS
from tests.lab.bench.test_report import a_run


def test_a_limit_is_judged_beside_the_budgets_of_its_row() -> None:
    run = a_run()
    [dispatch, failed] = judged(run).measurements
    assert dispatch.budgets == [*run.measurements[0].budgets, Budget("design: ratio", "x", 2.0, 1.3)]
    assert dispatch.budgets[-1].verdict == "MISSED"
    assert failed == run.measurements[1], "a row without numbers has nothing to judge"
    without = msgspec.structs.replace(run, measurements=[msgspec.structs.replace(run.measurements[0], ratio=None)])
    assert judged(without) == without


def test_a_limit_may_be_a_least_value_of_one_unit_and_of_one_measurement() -> None:
    subject = a_run().measurements[0].subject
    assert subject
    burst, calls, idle = (
        msgspec.structs.replace(a_run().measurements[0], row=row, subject=msgspec.structs.replace(subject, unit=unit))
        for row, unit in (("burst", "jobs/s"), ("calls", "% of a core"), ("warm_join", "ms"))
    )
    run = msgspec.structs.replace(a_run(), measurements=[burst, calls, idle])
    found = [measurement.budgets[len(measurement_budgets()) :] for measurement in judged(run).measurements]
    assert found == [
        [Budget("design: ratio", "x", 2.0, 3.0, at_least=True)],
        [Budget("design: p50", "%", 2.0, 10.0)],
        [],
    ], "the limit of warm_join is that of its first request"


def measurement_budgets() -> list[Budget]:
    return a_run().measurements[0].budgets


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.row} {limit.unit}")
def test_each_limit_concerns_what_was_measured(limit: Limit) -> None:
    assert limit.row in ROWS
    [_] = [measurement for measurement in from_json(LATEST.read_bytes()).measurements if limit.concerns(measurement)]


def test_the_document_has_the_verdicts_of_todays_limits() -> None:
    assert DOCS.read_text() == to_markdown(judged(from_json(LATEST.read_bytes()))), "run: ./dev bench --write-docs"
