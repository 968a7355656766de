"""The command's own face."""

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


def test_a_long_row_is_measured_only_when_it_is_asked_for() -> None:
    long = [name for name, row in ROWS.items() if row.long]
    assert long
    assert not set(chosen((), long=False)) & set(long)
    assert set(chosen((), long=True)) == set(ROWS)
    assert chosen(("burst", *long), long=False) == ("burst", *long)
    assert chosen(("burst",), long=True) == ("burst", *long)
    assert chosen(tuple(long), long=True) == tuple(long)
