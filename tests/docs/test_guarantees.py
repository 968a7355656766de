"""Of each guarantee in docs/set-up.md there is a test that `./dev test` carries out."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
SECTION: Final = (TESTS.parent / "docs" / "set-up.md").read_text().split("of each guarantee\n\n")[-1].split("\n## ")[0]
ROWS: Final = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in SECTION.splitlines() if line.startswith("| ")
][2:]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`\s]+\.py::test_\w+)`", cell)


def marks(test: str) -> list[str] | None:
    """The decorators of a test and the marks of its file; None where it is not there."""
    path, _, name = test.partition("::")
    file = TESTS / path
    if not file.is_file():
        return None
    body = ast.parse(file.read_text()).body
    ours = [one for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == name]
    of_file = [ast.unparse(one) for one in body if ast.unparse(one).startswith("pytestmark")]
    return of_file + [ast.unparse(one) for one in ours[0].decorator_list] if ours else None


def is_long(marks: list[str]) -> bool:
    """One of which some cases only are long is not."""
    return any(re.search(r"^(?!pytest\.mark\.parametrize).*mark\.long", mark) for mark in marks)


def test_the_guarantees_of_the_design_come_first() -> None:
    assert [row[0].partition(".")[0] for row in ROWS[:10]] == [str(number) for number in range(1, 11)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_it_is_tried_without_long_tests(row: list[str]) -> None:
    _, quick, besides = row
    assert named(quick)
    found = {test: marks(test) for test in named(quick) + named(besides)}
    assert [test for test, its in found.items() if its is None] == []
    assert [test for test in named(quick) if is_long(found[test] or [])] == []


def test_a_long_test_is_known() -> None:
    file = "lab/chaos/test_short.py"
    assert is_long(marks(f"{file}::test_a_job_over_which_managers_end_is_set_aside") or [])
    assert is_long(marks("worker/capture/test_lost.py::test_nothing_is_missing_when_the_driver_is_killed") or [])
    assert not is_long(marks("manager/test_steps.py::test_what_a_manager_that_died_left_half_done_is_done_once") or [])
    assert marks(f"{file}::test_that_is_not_there") is marks("nowhere.py::test_x") is None
