"""Help teaches by example, and says what scripts may rely on."""

import pytest

from poolmgr.cli.root import cli
from runtime import exits
from tests.cli.conftest import CommandLine
from tests.commands import paths


@pytest.mark.parametrize("path", list(paths(cli)), ids=lambda path: " ".join(path) or "poolmgr")
def test_every_help_page_has_an_example_that_names_the_command(path: tuple[str, ...], poolmgr: CommandLine) -> None:
    result = poolmgr(*path, "--help")
    assert result.exit_code == 0
    _, found, examples = result.stdout.partition("Example")
    assert found
    assert " ".join(("poolmgr", *path)) in examples


def test_the_root_help_lists_every_exit_code(poolmgr: CommandLine) -> None:
    codes = {value for name, value in vars(exits).items() if name.startswith("EXIT_")}
    _, _, listed = poolmgr("--help").stdout.partition("Exit codes:")
    assert {int(line.split()[0]) for line in listed.strip().splitlines()} == codes | {0}


def test_version_is_printed_for_people_and_for_programs(poolmgr: CommandLine) -> None:
    assert poolmgr("version").stdout.startswith("poolmgr ")
    assert poolmgr("version").stdout.split()[1] == poolmgr.json("version")["poolmgr"]
