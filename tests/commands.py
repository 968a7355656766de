"""Walks the commands of a program, importing each."""

from collections.abc import Iterator

import click


def members(group: click.Group) -> dict[str, click.Command]:
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command}


def paths(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words that call each command and group, the program itself with none."""
    yield path
    if isinstance(command, click.Group):
        for name, member in members(command).items():
            yield from paths(member, (*path, name))
