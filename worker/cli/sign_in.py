"""`sign-in`: lets a person sign in to an account, and saves its state file."""

import asyncio
import sys

import click
import uvloop
from click.shell_completion import CompletionItem

from common.runtime import log
from common.runtime.cli.completion import session_of
from common.runtime.cli.session import Session, fail, put_json, with_session
from common.runtime.exits import EXIT_USAGE
from worker.chromium import sign_in as by_hand
from worker.chromium.sign_in import CannotSignInError, account_named
from worker.cli.root import PROGRAM


def _accounts(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    session = session_of(context)
    accounts = [] if session.faults else session.settings.worker.accounts
    return [CompletionItem(account.name) for account in accounts if account.name.startswith(begun)]


@click.command
@click.argument("name", shell_complete=_accounts)
@with_session
def sign_in(session: Session, name: str) -> None:
    """Sign in to the account NAME of worker.accounts, by hand, and keep its state file.

    Shows a browser (DISPLAY says where) at the platform's sign-in page. Sign in there, come back and press Enter. Bots
    for that platform then join as this person, one at a time. Run it as the agent's user: only that may read the file.

    \b
    Example:
      sudo -u poolmgr-worker DISPLAY=:0 poolmgr-worker sign-in ann --config /etc/poolmgr/config.toml
    """
    settings = session.settings
    log.configure(settings.log, program=PROGRAM)
    try:
        account = account_named(name, settings.worker)
        click.echo("Press Enter when you are signed in.", err=True)
        uvloop.run(by_hand.sign_in(account, settings.worker, lambda: asyncio.to_thread(sys.stdin.readline)))
    except CannotSignInError as error:
        fail(str(error), EXIT_USAGE)
    if session.as_json:
        put_json({"account": account.name, "state_file": account.state_file})
    else:
        click.echo(f"saved {account.state_file}")
