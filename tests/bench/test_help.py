"""The command's own face."""

from click.testing import CliRunner

from bench.__main__ import main
from bench.rows import ROWS


def test_help_names_every_row() -> None:
    text = " ".join(CliRunner().invoke(main, ["--help"]).output.split())
    assert all(f"{name} (" in text for name in ROWS)


def test_an_unknown_row_is_refused() -> None:
    answer = CliRunner().invoke(main, ["speed"])
    assert answer.exit_code == 2
    assert "dispatch" in answer.output
