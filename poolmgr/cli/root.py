"""The root of the command line. It names the module of each command and imports none of them."""

from typing import Final

import click

from common.runtime.cli.lazy import Command, LazyGroup
from common.runtime.cli.session import Session, with_session
from common.runtime.cli.version import with_version
from common.runtime.exits import epilog

PROGRAM: Final = "poolmgr"
_COMMANDS: Final = {
    "up": Command("poolmgr.cli.program.up:up", "Run manager, agent and a Redis on this machine."),
    "serve": Command("poolmgr.cli.program.serve:serve", "Run the manager."),
    "mirror": Command("poolmgr.cli.program.mirror:mirror", "Copy session records into DynamoDB."),
    "submit": Command("poolmgr.cli.bot.submit:submit", "Send a bot into a meeting."),
    "bots": Command("poolmgr.cli.bot.bots:bots", "Show bots, or one of them."),
    "tail": Command("poolmgr.cli.bot.tail:tail", "Print what happens to bots, as it happens."),
    "explain": Command("poolmgr.cli.bot.explain:explain", "Say what happened to a bot, and why."),
    "support": Command("poolmgr.cli.bot.support:support", "Pack what a bug report needs, without secrets."),
    "recording": Command("poolmgr.cli.bot.recording:recording", "Say what is recorded of a meeting; save or play it."),
    "probe": Command("poolmgr.cli.bot.probe:probe", "Try whether a bot gets into a meeting."),
    "leave": Command("poolmgr.cli.bot.bots:leave", "End a bot."),
    "fleet": Command("poolmgr.cli.fleet.fleet:fleet", "Show the VMs and their workers."),
    "top": Command("poolmgr.cli.top.command:top", "Show the fleet on the full screen, as it changes."),
    "drain": Command("poolmgr.cli.fleet.fleet:drain", "Take a VM out of service."),
    "actions": Command("poolmgr.cli.fleet.actions:actions", "Print who asked what of the fleet."),
    "probes": Command("poolmgr.cli.fleet.probes:probes", "Show what came of the manager's own probes."),
    "usage": Command("poolmgr.cli.fleet.usage:usage", "Print what each API token used."),
    "audit": Command("poolmgr.cli.fleet.audit:audit", "Look for what is overdue, or belongs to nobody."),
    "doctor": Command("poolmgr.cli.program.doctor:doctor", "Look for what keeps a manager from its work."),
    "dead": Command("poolmgr.cli.bot.dead:dead", "Show rejected jobs; put them back."),
    "webhooks": Command("poolmgr.cli.bot.webhooks:webhooks", "Show a bot's webhooks, or those given up; resend them."),
    "token": Command("poolmgr.cli.program.token:token", "Make a token for the HTTP API."),
    "simulate": Command("poolmgr.cli.program.simulate:simulate", "Try settings on a made-up day."),
    "completion": Command("poolmgr.cli.common:completion", "Print the script by which a shell completes."),
    "config": Command("poolmgr.cli.common:config", "Check or show the configuration."),
    "version": Command("poolmgr.cli.common:version", "Print the version."),
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
    """Keep a fleet of warm browsers and send bots into meetings with them.

    Every command takes --config FILE (or POOLMGR_CONFIG) and, for programs, --json. Results go to standard output,
    messages for people to standard error.

    \b
    Examples:
      poolmgr serve --config /etc/poolmgr/config.toml
      poolmgr submit http://127.0.0.1:8090/r/standup --wait
      poolmgr bots --live
      poolmgr top
      poolmgr token crm
    """
