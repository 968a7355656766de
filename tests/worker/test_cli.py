"""The agent's command line answers programs as well as people, and says what is wrong in one line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from common.runtime.exits import EXIT_USAGE
from lab.parts.environment import CHROMIUM
from worker.cli.root import cli


def run(*words: str, **environment: str | None) -> Result:
    return CliRunner().invoke(cli, words, env=environment)


def test_check_counts_screens_and_popups_for_programs_as_for_people() -> None:
    told, counted = (run("check", *how, **{CHROMIUM: None}).stdout for how in ((), ("--json",)))
    counted = json.loads(counted)
    lines = [
        f"{name}: {item['screens']} screens, {item['popups']} popups" for name, item in counted["adapters"].items()
    ]
    assert (counted["ok"], counted["file"]) == (True, None)
    assert told.splitlines() == ["ok: the defaults (no file was named)", *lines]
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("words", "code"), [(("sweep",), 0), (("once", "--job", "{}"), EXIT_USAGE)], ids=["sweep", "once"]
)
def test_what_acts_on_its_machine_says_first_which_file_it_goes_by(
    tmp_path: Path, words: tuple[str, ...], code: int
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[worker]\nstate_dir = "{tmp_path}"\n')
    result = run(*words, "--config", str(file))
    said = json.loads(result.stderr.splitlines()[0])
    assert (result.exit_code, said["event"], said["file"]) == (code, "configuration_read", str(file))


def test_sweep_lists_what_it_ended(tmp_path: Path) -> None:
    nothing = run("sweep", "--json", POOLMGR_WORKER__STATE_DIR=str(tmp_path))
    assert (nothing.exit_code, json.loads(nothing.stdout)) == (0, {"ended": []})


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("sign-in", "nobody"), "poolmgr-worker: "),
        (("probe", "http://127.0.0.1:8090/r/x", "--log-level", "loud"), "'loud' is not one of"),
        (("check", "--adapters", "/nowhere"), "poolmgr-worker: cannot use "),
        (("sweep", "now"), "unexpected extra argument"),
        (("walk",), "No such command 'walk'"),
    ],
)
def test_wrong_words_are_told_and_end_with_2(words: tuple[str, ...], fault: str) -> None:
    result = run(*words)
    assert result.exit_code == EXIT_USAGE
    assert fault in result.stderr
    assert not isinstance(result.exception, Exception)
