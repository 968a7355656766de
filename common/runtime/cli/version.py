"""The command `version` and the option `--version` of both programs."""

from typing import Any

import click

from common.runtime.cli.session import Session, put_json, with_session

_HELP = """Print the version of {program}.

    \b
    Example:
      {program} version
    """


def version_of(program: str) -> click.Command:
    """The command `version` of `program`."""

    @click.command(help=_HELP.format(program=program))
    @with_session
    def version(session: Session) -> None:
        if session.as_json:
            import platform

            put_json({"program": program, "poolmgr": release(), "python": platform.python_version()})
        else:
            click.echo(f"{program} {release()}")

    return version


def with_version(program: str) -> Any:
    """Gives a group `--version`."""

    def put(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
        if wanted:
            click.echo(f"{program} {release()}")
            context.exit()

    return click.option(
        "--version", is_flag=True, is_eager=True, expose_value=False, callback=put, help="Print the version."
    )


def release() -> str:
    """The version of this package, as it is installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    try:
        return version("poolmgr")
    except PackageNotFoundError:
        return "0+source"  # run from a source tree that was never installed
