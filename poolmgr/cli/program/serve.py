"""`serve`: reports faults of the configuration before the rest of the manager is imported."""

import click

from common.runtime import collector
from common.runtime.cli.session import Session, with_session
from common.runtime.cli.start import begin
from poolmgr.cli.root import PROGRAM


@click.command
@with_session
def serve(session: Session) -> None:
    """Run the manager until SIGTERM or SIGINT.

    Any number may run against one Redis: one leads, the others stand by. On SIGTERM it takes no further job, makes
    durable what it has taken and gives up the lead; meetings go on with their agents. On SIGUSR1 (`systemctl reload`)
    it takes api.tokens and webhooks.secrets anew from the configuration, and nothing else.

    \b
    Example:
      poolmgr serve --config /etc/poolmgr/config.toml
    """
    settings = begin(session, PROGRAM)
    with collector.held():
        from poolmgr.cli.program.daemon import run
    run(settings, session.read_again)
