"""The root of the command line. `serve` joins it in __main__.py, the other commands below."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import click

from poolmgr.cli.bots import bots, leave
from poolmgr.cli.config import config
from poolmgr.cli.dead import dead
from poolmgr.cli.explain import explain
from poolmgr.cli.fleet import drain, fleet
from poolmgr.cli.probe import probe
from poolmgr.cli.session import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_NOT_FOUND,
    EXIT_REFUSED,
    EXIT_REPLACED,
    EXIT_TIMEOUT,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    Session,
    put_json,
    with_session,
)
from poolmgr.cli.simulate import simulate
from poolmgr.cli.submit import submit
from poolmgr.cli.token import token
from poolmgr.cli.webhooks import webhooks

_EXIT_CODES = {
    0: "done",
    EXIT_FAILED: "it did not succeed: the bot ended in Error, Denied or NotAllowed, or was rejected",
    EXIT_USAGE: "wrong words or a wrong configuration",
    EXIT_REPLACED: "serve: another manager took over",
    EXIT_NOT_FOUND: "there is no such bot, VM or entry",
    EXIT_UNREACHABLE: "Redis is away, or refused",
    EXIT_TIMEOUT: "--timeout passed",
    EXIT_REFUSED: "probe: the meeting did not take the bot, by what its host or the link says",
    EXIT_INTERRUPTED: "Ctrl-C while watching",
}
_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in _EXIT_CODES.items())


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=_EPILOG)
def cli() -> None:
    """Keep a fleet of warm browsers and send bots into meetings with them.

    Every command takes --config FILE (or POOLMGR_CONFIG) and, for programs, --json. Results go to standard output,
    messages for people to standard error.

    \b
    Examples:
      poolmgr serve --config /etc/poolmgr/config.toml
      poolmgr submit http://127.0.0.1:8090/r/standup --wait
      poolmgr bots --live
      poolmgr fleet --watch
      poolmgr token crm
    """


@cli.command(short_help="Print the version.")
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


for command in (submit, bots, explain, probe, leave, fleet, drain, dead, webhooks, token, simulate, config):
    cli.add_command(command)
