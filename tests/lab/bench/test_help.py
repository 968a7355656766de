"""The command's own face."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.bench.__main__ import main
from lab.bench.rows import ROWS, chosen


def test_help_names_every_row() -> None:
    text = " ".join(CliRunner().invoke(main, ["--help"]).output.split())
    assert all(f"{name} (" in text for name in ROWS)


def test_an_unknown_row_is_refused() -> None:
    answer = CliRunner().invoke(main, ["speed"])
    assert answer.exit_code == 2
    assert "dispatch" in answer.output


@pytest.mark.parametrize("asked", [["warm_join"], [], ["calls", "idle"], ["calls", "--anew"]], ids=" ".join)
def test_another_checkout_is_measured_beside_calls_alone_and_keeps_nothing(asked: list[str], tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, [*asked, "--beside", str(tmp_path)])
    assert (answer.exit_code, "calls alone" in answer.output) == (2, True)


def test_a_long_row_is_measured_only_when_it_is_asked_for() -> None:
    long = [name for name, row in ROWS.items() if row.long]
    assert long
    assert not set(chosen((), long=False)) & set(long)
    assert set(chosen((), long=True)) == set(ROWS)
    assert chosen(("burst", *long), long=False) == ("burst", *long)
    assert chosen(("burst",), long=True) == ("burst", *long)
    assert chosen(tuple(long), long=True) == tuple(long)
