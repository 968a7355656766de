"""Help teaches by example, and says what scripts may rely on."""

from collections.abc import Iterator

import click
import pytest

from poolmgr import __main__ as program
from poolmgr.__main__ import cli
from poolmgr.cli import session
from tests.cli.conftest import CommandLine


def command_paths(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        for name, member in command.commands.items():
            yield from command_paths(member, (*path, name))


@pytest.mark.parametrize("path", list(command_paths()), ids=lambda path: " ".join(path) or "poolmgr")
def test_every_help_page_has_an_example_that_names_the_command(path: tuple[str, ...], poolmgr: CommandLine) -> None:
    result = poolmgr(*path, "--help")
    assert result.exit_code == 0
    _, found, examples = result.stdout.partition("Example")
    assert found
    assert " ".join(("poolmgr", *path)) in examples


def test_the_root_help_lists_every_exit_code(poolmgr: CommandLine) -> None:
    codes = {value for name, value in vars(session).items() if name.startswith("EXIT_")}
    _, _, listed = poolmgr("--help").stdout.partition("Exit codes:")
    assert {int(line.split()[0]) for line in listed.strip().splitlines()} == codes | {0}
    assert program.EXIT_REPLACED == session.EXIT_REPLACED


def test_version_is_printed_for_people_and_for_programs(poolmgr: CommandLine) -> None:
    assert poolmgr("version").stdout.startswith("poolmgr ")
    assert poolmgr("version").stdout.split()[1] == poolmgr.json("version")["poolmgr"]
