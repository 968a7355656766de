"""The root of the agent's command line. It names the module of each command and imports none of them."""

from typing import Final

import click

from common.runtime.cli.lazy import Command, LazyGroup
from common.runtime.cli.session import Session, with_session
from common.runtime.cli.version import with_version
from common.runtime.exits import epilog

PROGRAM: Final = "poolmgr-worker"
_COMMANDS: Final = {
    "run": Command("worker.cli.run:run", "Run the agent."),
    "once": Command("worker.cli.once:once", "Join one meeting, without a manager."),
    "sweep": Command("worker.cli.sweep:sweep", "End the browsers that an agent left behind."),
    "sign-in": Command("worker.cli.sign_in:sign_in", "Sign in to an account, by hand."),
    "probe": Command("worker.cli.probe:probe", "Try whether a bot gets into a meeting from here."),
    "audit": Command("worker.cli.audit:audit", "Look for what is overdue on this VM, or belongs to nobody."),
    "doctor": Command("worker.cli.doctor:doctor", "Look for what keeps bots from joining from this VM."),
    "check": Command("worker.cli.check:check", "Check the configuration, the adapters and their rules."),
    "completion": Command("worker.cli.common:completion", "Print the script by which a shell completes."),
    "config": Command("worker.cli.common:config", "Check or show the configuration."),
    "version": Command("worker.cli.common:version", "Print the version."),
}


@click.group(
    PROGRAM,
    cls=LazyGroup,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=epilog(PROGRAM),
)
@with_version(PROGRAM)
@with_session
def cli(session: Session) -> None:
    """The agent of one VM: keeps browsers warm and takes meeting bots into their calls.

    It does what the manager (`poolmgr serve`) orders over Redis. Run one agent on each VM.

    \b
    Examples:
      poolmgr-worker run --config /etc/poolmgr/config.toml
      poolmgr-worker check --config /etc/poolmgr/config.toml
      poolmgr-worker probe http://127.0.0.1:8090/r/standup
    """
