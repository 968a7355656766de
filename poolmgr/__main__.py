"""The program `poolmgr`: the command line, and `serve`, which is the one place where uvloop is chosen."""

import asyncio

import uvloop

from poolmgr.api.listen import CannotListenError
from poolmgr.app import Manager
from poolmgr.cli.root import cli
from poolmgr.cli.session import EXIT_FAILED, EXIT_REPLACED, Session, fail, with_session
from poolmgr.loops.leadership import LeaseLostError
from poolmgr.loops.sqs import CannotReadSqsError
from poolmgr.store.ledger import StaleEpochError
from runtime import log
from runtime.waiting import stop_on_signals


@cli.command(short_help="Run the manager.")
@with_session
def serve(session: Session) -> None:
    """Run the manager until SIGTERM or SIGINT.

    Any number may run against one Redis: one leads, the others stand by. On SIGTERM it takes no further job, makes
    durable what it has taken and gives up the lead; meetings go on with their agents.

    \b
    Example:
      poolmgr serve --config /etc/poolmgr/config.toml
    """
    settings = session.settings
    log.configure(settings.log, program="poolmgr")
    fault, exit_code = "", 0
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(Manager(settings)))
    except* (CannotListenError, CannotReadSqsError) as group:
        fault, exit_code = str(group.exceptions[0]), EXIT_FAILED
    except* (LeaseLostError, StaleEpochError):
        fault = "another manager leads now; exiting so that this one can start over as standby"
        exit_code = EXIT_REPLACED
    if exit_code:  # not raised above: what is raised in an except* leaves it in a group
        fail(fault, exit_code)


async def _serve(manager: Manager) -> None:
    await manager.run(stop_on_signals())


def main() -> None:
    cli(prog_name="poolmgr")


if __name__ == "__main__":
    main()
