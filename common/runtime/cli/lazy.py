"""A group of commands that imports only the one that is called.

Imports take most of the time of a command's start.
"""

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import click
from click.shell_completion import CompletionItem


class Command(NamedTuple):
    """A command. `where`: its place as `module:attribute`. `help`: its line in the group's help."""

    where: str
    help: str


class LazyGroup(click.Group):
    """A group. `lazy`: its commands by name. The group's own help and completion import none of them."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, Command], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self._lazy, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._lazy and cmd_name not in self.commands:
            module, _, attribute = self._lazy[cmd_name].where.partition(":")
            command = cast(click.Command, getattr(importlib.import_module(module), attribute))
            command.short_help = self._lazy[cmd_name].help
            self.add_command(command, cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._help_of(name)) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=self._help_of(name)) for name in names), *options]

    def _help_of(self, name: str) -> str:
        return self._lazy[name].help if name in self._lazy else self.commands[name].get_short_help_str()
