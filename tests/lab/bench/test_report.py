"""The table, the kept results and the document say what was measured, what was not, and which budgets were missed."""

import io

import msgspec
from rich.console import Console

from lab.bench.report import (
    Budget,
    Machine,
    Measurement,
    Run,
    from_json,
    merged,
    number,
    print_table,
    to_json,
    to_markdown,
)
from lab.bench.sample import Series


def a_run() -> Run:
    ours, floor = Series("ours", "ms"), Series("a bare floor", "ms")
    ours.add([1.0, 2.0, 30.0])
    floor.add([0.5, 1.0, 1.5])
    summary = ours.summary()
    measured = Measurement(
        "dispatch",
        "one job",
        summary,
        [floor.summary()],
        2.0,
        [Budget("p50", "ms", summary.p50, 4.0), Budget("p99", "ms", summary.p99, 4.0), Budget("share", "MB", 12.3)],
        conditions="quietly",
        limited_by="physics",
    )
    machine = Machine("a processor", 2, 1024, "a system", "3.11", "7.0", "Chromium 1", 0.1, 0.2)
    failed = Measurement("rewarm", "a slot", why_not="StageError: no browser")
    return Run("2030-01-31T09:00:00+00:00", "./dev bench", "abc", False, 60.0, machine, [measured, failed])


def test_kept_results_come_back_as_they_were() -> None:
    run = a_run()
    assert from_json(to_json(run)) == run


def test_a_missed_budget_and_a_row_without_numbers_are_told() -> None:
    assert a_run().missed == ["rewarm: StageError: no browser", "dispatch: one job: p99 ≤ 4.00 ms, measured 30.0 ms"]


def test_a_budget_may_be_a_least_value_or_none_at_all() -> None:
    assert Budget("p50", "1/s", 5.0, 4.0, at_least=True).verdict == "kept"
    assert Budget("p50", "1/s", 3.0, 4.0, at_least=True).verdict == "MISSED"
    assert Budget("p50", "MB", 3.0).verdict == "not judged"
    assert Budget("p50", "%", 3.0, 2.0, judged=False).verdict == "not judged"


def test_a_budget_says_how_much_of_it_is_used_up() -> None:
    assert Budget("p50", "ms", 3.0, 4.0).used == 0.75
    assert Budget("p50", "1/s", 8.0, 4.0, at_least=True).used == 0.5
    assert Budget("p50", "MB", 3.0).used is None
    assert Budget("mean", "%", 0.0, 2.0).used == 0.0
    kept = from_json(to_json(a_run())).measurements[0].budgets
    assert [budget.used for budget in kept] == [0.5, 7.5, None]
    assert b'"used": 7.5' in to_json(a_run())


def test_the_table_shows_subject_floor_ratio_and_verdict() -> None:
    console = Console(file=io.StringIO(), width=160)
    print_table(a_run(), console)
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
    for words in ("a bare floor", "2.00", "used 7.50", "kept", "MISSED", "not measured", "no browser"):
        assert words in text


def test_the_document_names_machine_date_command_and_limits() -> None:
    text = to_markdown(a_run())
    for words in (
        "a processor",
        "2030-01-31",
        "`./dev bench`",
        "`abc`",
        "physics",
        "quietly",
        "Not measured: StageError",
    ):
        assert words in text
    assert "| dispatch | one job | p99 ≤ 4.00 ms | 30.0 ms | 7.50 | MISSED |" in text


def test_numbers_have_three_digits() -> None:
    assert [number(value) for value in (1886.4, 42.84, 1.234, 0.2)] == ["1,886", "42.8", "1.23", "0.20"]


def test_a_row_that_was_measured_anew_takes_its_place_and_says_when() -> None:
    run = a_run()
    [measured, failed] = run.measurements
    again = msgspec.structs.replace(failed, why_not="", subject=measured.subject)
    later = msgspec.structs.replace(run, at="2030-02-01T10:00:00+00:00", commit="def", measurements=[again, again])
    together = merged(run, later)
    assert (together.at, together.commit) == (run.at, run.commit)
    assert [measurement.row for measurement in together.measurements] == ["dispatch", "rewarm", "rewarm"]
    assert together.measurements[0] == measured
    text = to_markdown(together)
    anew = "Measured anew, after the run above: 2030-02-01T10:00:00+00:00, commit `def`"
    assert text.partition("## rewarm")[2].count(anew) == text.count(anew) == 2
    assert not together.measurements[1].anew.endswith("cores")
    elsewhere = msgspec.structs.replace(
        later, machine=msgspec.structs.replace(run.machine, processor="another", cores=8)
    )
    assert merged(run, elsewhere).measurements[1].anew.endswith(", on another, 8 cores")


def test_a_row_that_was_not_in_the_run_comes_last() -> None:
    run = a_run()
    new = msgspec.structs.replace(run.measurements[0], row="another")
    together = merged(run, msgspec.structs.replace(run, measurements=[new]))
    assert [measurement.row for measurement in together.measurements] == ["dispatch", "rewarm", "another"]
