"""`actions`: who did what."""

import time
from contextlib import aclosing

import click
from rich.text import Text

from common.runtime.cli.session import fail, put_json, say
from common.runtime.cli.text import literal
from common.runtime.exits import EXIT_INTERRUPTED
from poolmgr.cli.session import Session, with_session
from poolmgr.cli.tables import console
from poolmgr.cli.text import Ago, moment
from poolmgr.store.actions import Action, Verb, is_so
from poolmgr.store.reading.views import Views


@click.command
@click.option("--since", "since_s", type=Ago(), help="Begin so long ago: 90s, 30m, 1h, 2d.  [default: the oldest]")
@click.option("--who", metavar="NAME", default="", help="Only of this token or user; ana is ana@anywhere, too.")
@click.option("--what", type=click.Choice([verb.value for verb in Verb]), help="Only this.")
@click.option("--of", metavar="ID", default="", help="Only what was done to this bot, VM or entry.")
@click.option("--limit", type=click.IntRange(1, 50_000), default=100, show_default=True, metavar="N", help="At most N.")
@click.option("--follow", is_flag=True, help="Then print what is done from now on, until Ctrl-C.")
@with_session
def actions(
    session: Session,
    *,
    since_s: float | None,
    who: str,
    what: str | None,
    of: str,
    limit: int,
    follow: bool,
) -> None:
    """Print who did what to the fleet, by the HTTP API, the page and this command line. Times are UTC.

    WHO is the name of a token, or a user and the machine; behind sudo, who called it. Written in the same step as what
    was asked, and kept in Redis: the last 50,000, for 400 days after the last. A job that somebody pushed by LPUSH is
    not in it, nor what the manager does by itself.

    \b
    Examples:
      poolmgr actions --since 1h
      poolmgr actions --who ana --what drain
      poolmgr actions --of 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d
      poolmgr actions --follow --json | jq -r 'select(.what == "leave") | .who'
    """
    at = max(0.0, time.time() - since_s) if since_s is not None else 0.0

    async def show(views: Views) -> None:
        after = await views.actions.position()  # before they are read, so that none is missed between
        found = await views.actions.since(at, who=who, what=what or "", of=of, most=limit)
        shown = {action.entry_id for action in found}
        for action in found:
            _put(session, action)
        if not found and not session.as_json and not follow:
            say("nobody did anything that is so")
        if not follow:
            return
        async with aclosing(views.actions.follow(after)) as coming:
            async for action in coming:
                if action.entry_id not in shown and is_so(action, who, what or "", of):
                    _put(session, action)

    try:
        session.ask(show)
    except KeyboardInterrupt:
        fail("stopped", EXIT_INTERRUPTED)


def _put(session: Session, action: Action) -> None:
    if session.as_json:
        put_json({name: getattr(action, name) for name in action.__struct_fields__})
        return
    line = Text(moment(action.at, time.time()), "dim")
    line.append(f"  {literal(action.who):<24}", "default not dim")
    line.append(f"  {literal(action.what):<10}", "default not dim bold")
    line.append(f"  {literal(action.of)}", "default not dim")
    line.append(f"  {literal(action.detail)}" if action.detail else "")
    console().print(line, soft_wrap=True)
