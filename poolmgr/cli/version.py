"""`version`."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import click

from runtime.cli.session import Session, put_json, with_session


@click.command
@with_session
def version(session: Session) -> None:
    """Print the version of poolmgr.

    \b
    Example:
      poolmgr version
    """
    try:
        release = installed_version("poolmgr")
    except PackageNotFoundError:
        release = "0+source"  # run from a source tree that was never installed
    if session.as_json:
        put_json({"poolmgr": release, "python": platform.python_version()})
    else:
        click.echo(f"poolmgr {release}")
