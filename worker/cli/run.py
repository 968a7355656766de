"""`run`: runs the agent. The configuration is checked before the rest of the agent is imported."""

import click

from common.runtime import collector
from common.runtime.cli.session import Session, with_session
from common.runtime.cli.start import begin
from worker.cli.root import PROGRAM


@click.command
@with_session
def run(session: Session) -> None:
    """Run the agent until SIGTERM or Ctrl-C.

    \b
    Example, on a machine with Redis and Chromium:
      POOLMGR_WORKER__STATE_DIR=/tmp/poolmgr poolmgr-worker run
    With a file, as the systemd unit does it:
      poolmgr-worker run --config /etc/poolmgr/config.toml

    Every key of the file can be overridden from the environment, as POOLMGR_SECTION__KEY.

    The first signal lets the calls that are under way end (up to worker.drain_timeout_s), a second one makes them
    leave now; SIGHUP, as from a terminal that closes, only ever lets them end, and is ignored under nohup. SIGUSR1 ends
    the agent alone: the next one finds its browsers again, and no call notices.

    Exit code 0 after an orderly end, 2 when something has to be put right before it can start.
    """
    settings = begin(session, PROGRAM)
    with collector.held():
        from worker.cli.daemon import run
    run(settings)
