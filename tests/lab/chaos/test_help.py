"""The command's own face."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.chaos.__main__ import main
from lab.chaos.faults.catalogue import FAULTS, OF_SENTINELS


def test_it_names_the_faults() -> None:
    assert CliRunner().invoke(main, ["--only", "list"]).output.splitlines() == [
        fault.name for fault in (*FAULTS, *OF_SENTINELS)
    ]


def test_a_fault_or_a_step_that_is_none_is_refused() -> None:
    for option in ("--only", "--steps"):
        answer = CliRunner().invoke(main, [option, "earthquake"])
        assert answer.exit_code == 2
        assert "earthquake" in answer.output


def test_a_file_that_is_no_round_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "round.json").write_text('{"format": 1, "seed": "x"}')
    for name, complaint in (("round.json", "Expected `int`, got `str` - at `$.seed`"), ("none.json", "cannot read")):
        answer = CliRunner().invoke(main, ["--replay", str(tmp_path / name)])
        assert answer.exit_code == 2
        assert complaint in answer.output.replace("\n", " ")


def test_a_replay_is_of_a_round_and_of_no_step(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["--replay", str(tmp_path / "round.json"), "--steps"])
    assert answer.exit_code == 2
    assert "--replay and --steps do not go together" in answer.output


@pytest.mark.parametrize("words", ["--wait-replicas 1", "--scene sentinels --old-copy 20", "--scene sentinels --core"])
def test_what_does_not_go_together_is_told(words: str) -> None:
    done = CliRunner().invoke(main, words.split())
    assert done.exit_code == 2
    assert "--scene sentinels" in done.output
