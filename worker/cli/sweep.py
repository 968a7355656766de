"""`sweep`: ends the browsers that an agent left behind, on a VM where no agent will be started again."""

import click

from common.runtime.cli.session import Session, fail, put_json, with_session
from common.runtime.cli.start import begin
from common.runtime.exits import EXIT_USAGE
from worker.agent import CannotStartError, sweep_left
from worker.cli.root import PROGRAM


@click.command
@with_session
def sweep(session: Session) -> None:
    """End all browsers that an agent left behind, with the calls they are in, and print the ids of their workers.

    For a VM where no agent is to be started again: otherwise the next one finds them by itself. Refuses while an agent
    runs.

    \b
    Example:
      poolmgr-worker sweep --config /etc/poolmgr/config.toml
    """
    settings = begin(session, PROGRAM)
    try:
        ended = sweep_left(settings)
    except CannotStartError as error:
        fail(str(error), EXIT_USAGE)
    if session.as_json:
        put_json({"ended": ended})
        return
    for worker_id in ended:
        click.echo(worker_id)
