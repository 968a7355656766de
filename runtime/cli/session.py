"""One call of a command line: its configuration, and how it speaks. A fault of the user's ends here, in one readable
line and an exit code.
"""

import functools
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from runtime import collector
from runtime.cli.text import literal
from runtime.exits import EXIT_USAGE

if TYPE_CHECKING:
    from wire.settings import Settings


class Session:
    """`as_json`: print for programs. `path`: the configuration file, if there is one."""

    def __init__(self, path: Path | None, *, as_json: bool = False) -> None:
        self.path = path
        self.as_json = as_json

    @cached_property
    def settings(self) -> "Settings":
        """Ends the program when they cannot be used."""
        from runtime import config  # who needs no settings need not wait for what reads them
        from wire.settings import BadSettingsError

        try:
            return config.load(self.path)
        except BadSettingsError as error:
            for fault in error.faults:
                say(fault)
            raise SystemExit(EXIT_USAGE) from error


def sessions(kind: type[Session]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that gives a command the options that all share, and a session of `kind` as its first argument.

    What was said to a group (`poolmgr dead --config FILE put-back ...`) counts for its commands too.
    """

    def with_session(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--config",
            "config_path",
            metavar="FILE",
            type=click.Path(path_type=Path, dir_okay=False),
            envvar="POOLMGR_CONFIG",
            help="TOML file; without one every key has its default (see config.example.toml).",
        )
        @click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of text for people.")
        @click.pass_context
        @functools.wraps(command)
        def wrapped(
            context: click.Context, /, *args: Any, config_path: Path | None, as_json: bool, **options: Any
        ) -> Any:
            above = context.parent.find_object(Session) if context.parent else None
            if above:
                said_here = context.get_parameter_source("config_path") is ParameterSource.COMMANDLINE
                config_path = config_path if said_here else above.path
                as_json = as_json or above.as_json
            context.obj = kind(config_path, as_json=as_json)
            collector.release()  # which a program's main holds
            return command(context.obj, *args, **options)

        return wrapped

    return with_session


with_session = sessions(Session)


def say(message: str) -> None:
    """A message for people, on standard error, with the program's name."""
    click.echo(f"{_program()}: {literal(message)}", err=True)


def fail(message: str, exit_code: int) -> NoReturn:
    say(message)
    raise SystemExit(exit_code)


def put_json(document: Any) -> None:
    """One line of JSON on standard output. Only ASCII, so that nothing in it can steer a terminal."""
    click.echo(json.dumps(document))


def _program() -> str:
    """However it was started (`python -m worker`), it goes by one name."""
    return click.get_current_context().find_root().command.name or ""
