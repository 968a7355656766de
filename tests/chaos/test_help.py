"""The command's own face."""

from click.testing import CliRunner

from chaos.__main__ import main
from chaos.faults import FAULTS


def test_it_names_the_faults() -> None:
    assert CliRunner().invoke(main, ["--only", "list"]).output.splitlines() == [fault.name for fault in FAULTS]


def test_a_fault_or_a_step_that_is_none_is_refused() -> None:
    for option in ("--only", "--steps"):
        answer = CliRunner().invoke(main, [option, "earthquake"])
        assert answer.exit_code == 2
        assert "earthquake" in answer.output
