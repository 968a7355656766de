"""One call of a command line: its configuration and its output.

A user's mistake ends the program with one readable line and an exit code.
"""

import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import click
from click.core import ParameterSource

from common.config import variables
from common.runtime import collector
from common.runtime.cli.text import literal
from common.runtime.exits import EXIT_USAGE
from common.wire.text import NOT_TEXT, is_text

if TYPE_CHECKING:
    from common.config.settings import Settings


_OPTION: Final = "--config"


class Session:
    """One call. `as_json`: print for programs. `path`: the configuration file, if there is one. `named_by`: --config or
    the variable that names it.
    """

    def __init__(self, path: Path | None, *, as_json: bool = False, named_by: str = "") -> None:
        self.path = path
        self.as_json = as_json
        self.named_by = named_by

    @property
    def settings(self) -> "Settings":
        """The settings. Ends the program when they cannot be used."""
        if isinstance(self._read, list):
            for fault in self._read:
                say(fault)
            raise SystemExit(EXIT_USAGE)
        return self._read

    @property
    def faults(self) -> list[str]:
        """Why the settings cannot be used, a sentence each."""
        return self._read if isinstance(self._read, list) else []

    def read_again(self) -> "Settings":
        """The settings as file and environment say now. Raises: BadSettingsError."""
        from common.runtime import config

        return config.load(self.path)

    @cached_property
    def _read(self) -> "Settings | list[str]":
        with collector.held():  # imported here, for commands that need no settings
            from common.config.settings import BadSettingsError
            from common.runtime import config

        try:
            return config.load(self.path, named_by=variables.CONFIG if self.named_by == variables.CONFIG else "")
        except BadSettingsError as error:
            return error.faults


def sessions(kind: type[Session]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that gives a command the options that all commands share, and a session of `kind` as its first
    argument.

    Options of a group (`poolmgr dead --config FILE put-back ...`) count for its commands too.
    """

    def with_session(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            _OPTION,
            "config_path",
            metavar="FILE",
            type=click.Path(path_type=Path, dir_okay=False),
            envvar=variables.CONFIG,
            show_envvar=True,
            help="TOML file; without one every key has its default (see config.example.toml).",
        )
        @click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of text for people.")
        @click.pass_context
        @functools.wraps(command)
        def wrapped(
            context: click.Context, /, *args: Any, config_path: Path | None, as_json: bool, **options: Any
        ) -> Any:
            said_here = context.get_parameter_source("config_path") is ParameterSource.COMMANDLINE
            named_by = _OPTION if said_here else variables.CONFIG if config_path else ""
            above = context.parent.find_object(Session) if context.parent else None
            if above:
                config_path, named_by = (config_path, named_by) if said_here else (above.path, above.named_by)
                as_json = as_json or above.as_json
            context.obj = kind(config_path, as_json=as_json, named_by=named_by)
            collector.release()  # a program's main has switched the collector off
            for value in _texts([*args, *options.values()]):
                if not is_text(value):
                    fail(f"cannot use {value!r}: it {NOT_TEXT}", EXIT_USAGE)
            return command(context.obj, *args, **options)

        return wrapped

    return with_session


with_session = sessions(Session)


def _texts(values: Iterable[Any]) -> Iterator[str]:
    """The values given on the command line or in the environment, except names of files, which may be any bytes."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from _texts(cast(tuple[Any, ...], value))


def line_of_input() -> str:
    """The first line of standard input. Ends the program for one that is not UTF-8."""
    try:
        return sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        fail(f"cannot use what came in: it {NOT_TEXT}", EXIT_USAGE)


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
    """The program's name, the same however it was started (`python -m worker`)."""
    return click.get_current_context().find_root().command.name or ""
