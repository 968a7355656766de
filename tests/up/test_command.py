"""`up` refuses before it starts anything: in one line that says what to do, exit code 2."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from poolmgr.__main__ import cli
from poolmgr.one_machine.folder import StateFolder


def refused(*options: str, **environment: str) -> Result:
    result = CliRunner().invoke(cli, ["up", *options], env=environment, prog_name="poolmgr")
    assert result.exit_code == 2
    return result


def test_a_wrong_configuration_is_shown_with_all_its_faults(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[pool]\nmin_idel = 2\n[api]\nlisten = "nowhere"\n')
    said = refused("--config", str(config), "--state-dir", str(tmp_path / "state")).stderr
    assert "pool.min_idel: unknown key" in said
    assert "api.listen" in said
    assert not (tmp_path / "state").exists()


def test_more_warm_browsers_than_there_may_be_are_refused(tmp_path: Path) -> None:
    said = refused("--min-idle", "13", "--state-dir", str(tmp_path)).stderr
    assert "cannot keep 13 browsers warm: pool.max_workers is 12" in said


def test_a_second_one_is_refused_while_the_first_one_runs(tmp_path: Path) -> None:
    with StateFolder(tmp_path).held():
        assert "`poolmgr up` runs on" in refused("--state-dir", str(tmp_path)).stderr


def test_a_machine_without_redis_is_told_what_to_install(folder: Path) -> None:
    said = refused("--state-dir", str(folder), PATH="/nonexistent").stderr
    assert "apt install redis-server" in said


def test_a_folder_that_is_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    said = refused("--state-dir", str(tmp_path / ("x" * 100))).stderr
    assert "name a shorter folder with --state-dir" in said


@pytest.mark.parametrize("options", [("--min-idle", "-1"), ("--min-idle", "many"), ("--nothing",)])
def test_wrong_words_are_refused(options: tuple[str, ...]) -> None:
    assert "poolmgr up --help" in refused(*options).stderr
