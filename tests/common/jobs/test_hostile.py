"""Jobs that were made to be slow to read cost as much work as their bytes are worth, whatever they hold.

Work is counted, not timed: every call of Python or C code is one, and what one call may do is bounded by the
expressions, which are looked at themselves. Times are in `./dev bench reading`.
"""

import re
import sys
from collections.abc import Iterator
from typing import Any, Final, cast

import pytest

from common.jobs import job
from common.jobs.job import MAX_JOB_BYTES, BadJobError, JobRules, parse_job
from common.links import links
from common.links import shapes as link_shapes
from common.links import text as link_text
from common.links import wrappers as link_wrappers
from lab.bench import hostile

RULES: Final = JobRules()
MOST_CALLS: Final = 2_500
"""For the link of a job, of 16 KB and less."""


def calls_to_read(payload: bytes) -> int:
    """How many functions were called, of Python and of C."""
    count = 0

    def look(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    earlier = sys.getprofile()
    sys.setprofile(look)
    try:
        parse_job(payload, 0.0, RULES)
    except BadJobError:
        pass
    finally:
        sys.setprofile(earlier)
    return count


def everything(scale: float) -> list[hostile.Hostile]:
    return [*hostile.jobs(scale), hostile.odd_keys(int(MAX_JOB_BYTES * scale))]


def test_a_link_is_read_in_a_bounded_number_of_steps_and_a_document_in_proportion_to_its_bytes() -> None:
    for case in everything(1.0):
        calls = calls_to_read(case.payload)
        objects = case.payload.count(b"{") if case.name not in hostile.NO_JSON else 0
        assert calls <= MOST_CALLS + 3 * objects, f"{case.name}: {calls} calls"


@pytest.mark.long
def test_four_times_the_bytes_cost_no_more_than_four_times_the_steps() -> None:
    small = {case.name: calls_to_read(case.payload) for case in everything(0.25)}
    for case in everything(1.0):
        assert calls_to_read(case.payload) <= 4.5 * small[case.name] + 200, case.name


def test_every_shape_is_as_large_as_the_limits_let_it_be() -> None:
    for case in everything(1.0):
        assert len(case.payload) <= MAX_JOB_BYTES
        assert len(case.payload) > 3_000 or "in each other" in case.name or "layers" in case.name, case.name


MODULES: Final = (links, link_shapes, link_text, link_wrappers, job)
EXPRESSIONS: Final = {
    f"{module.__name__}.{name}": cast("re.Pattern[str]", value)
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, re.Pattern)
}
PARSER: Final[Any] = vars(re)["_parser"]  # whose tree of an expression is looked at
UNBOUNDED: Final = int(PARSER.MAXREPEAT)


def repeats(tree: Any, times: int = 1) -> Iterator[tuple[str, int]]:
    """Every repeat that can give back what it took, with how often it may be begun, and how often it may repeat."""
    for operator, argument in tree:
        name = str(operator)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            most = int(argument[1])
            yield name, times * most
            yield from repeats(argument[2], times * most)
        elif name == "POSSESSIVE_REPEAT":  # gives nothing back
            yield from repeats(argument[2])
        elif name in ("SUBPATTERN", "ASSERT", "ASSERT_NOT"):
            yield from repeats(argument[-1], times)
        elif name == "BRANCH":
            for branch in argument[1]:
                yield from repeats(branch, times)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_no_expression_repeats_without_bound_what_repeats(name: str) -> None:
    """So that none backtracks: a repeat inside of another is bounded with it. Those without bound stand alone, each
    of a class that does not hold what follows it.
    """
    expression = EXPRESSIONS[name]
    for kind, most in repeats(PARSER.parse(expression.pattern, expression.flags)):
        assert most <= UNBOUNDED, f"{kind} inside of another without bound"


def test_expressions_are_found_and_one_that_backtracks_would_be() -> None:
    assert len(EXPRESSIONS) > 30
    assert max(most for _, most in repeats(PARSER.parse("(?:a+)+"))) > UNBOUNDED
