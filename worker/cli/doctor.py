"""`doctor`: checks what on this VM keeps bots from joining."""

import click
from msgspec.structs import replace

from common.runtime import log
from common.runtime.cli.doctor import report
from common.runtime.cli.session import Session, with_session
from worker import doctor as vm
from worker.cli.root import PROGRAM


@click.command
@click.option(
    "--offline", is_flag=True, help="Leave out what needs the network, Redis too: for an image that is built."
)
@with_session
def doctor(session: Session, *, offline: bool) -> None:
    """Look for what keeps bots from joining from this VM, and say what to do about it.

    Whether a worker becomes warm with the browser, its sandbox and whether it is really on, memory and limits,
    /dev/shm, fonts, the disk; Redis and the clock; names, TLS and UDP to the platforms. All side by side, each with its
    own deadline. Reads only, and may run beside an agent. Run it as the agent's user: for root there is no sandbox.

    A warning means that bots join and something is worse than it could be; an error, that they will not join or will be
    lost.

    \b
    Examples:
      poolmgr-worker doctor --config /etc/poolmgr/config.toml
      runuser -u poolmgr-worker -- /opt/poolmgr/venv/bin/poolmgr-worker doctor --offline
      poolmgr-worker doctor --json | jq -r '.checks[] | select(.severity == "error") | .todo'

    Exit code 0 without an error, 1 with one.
    """
    settings = session.settings
    log.configure(replace(settings.log, level="error"), program=PROGRAM)  # the report says the rest
    report(session, vm.checks(settings), offline=offline)
