"""`poolmgr audit`: checks that the records in Redis agree with each other and with the agents. Changes nothing."""

import asyncio
import time

import click

from common.runtime.cli import options
from common.runtime.cli.session import put_json, say
from common.runtime.exits import EXIT_FAILED
from poolmgr.cli.session import Session, with_session
from poolmgr.store.reading import audit as rules
from poolmgr.store.reading.audit import Finding
from poolmgr.store.reading.views import Views


@click.command
@options.again_after
@with_session
def audit(session: Session, again_after_s: float) -> None:
    """Look for bots and workers that are overdue, workers without an order, and keys without an end.

    Compares what Redis holds with itself and with what each agent said last. Looks twice, since what is under way looks
    wrong for a moment. Reads only. How long anything may take is taken from the configuration: run it with the one of
    the manager. What is on a VM itself, `poolmgr-worker audit` looks at, there.

    \b
    Examples:
      poolmgr audit
      poolmgr audit --json --again-after 30

    Exit code 0 when nothing was found, 1 otherwise.
    """
    found = session.ask(lambda views: _both_times(session, views, again_after_s))
    if session.as_json:
        put_json({"findings": [finding._asdict() for finding in found]})
    elif found:
        from poolmgr.cli.tables import cell, console, table  # slow to import, and not needed for JSON

        grid = table("FINDING", "OF", "WHAT", whole=("OF",))
        for finding in found:
            grid.add_row(cell(finding.kind, "bold red"), cell(finding.of), cell(finding.sentence))
        console().print(grid)
        say(f'{len(found)} found: see "What an audit finds" in docs/operations.md')
    else:
        click.echo("nothing is overdue, and everything has an owner and an end")
    if found:
        raise SystemExit(EXIT_FAILED)


async def _both_times(session: Session, views: Views, again_after_s: float) -> list[Finding]:
    first = await views.audit(session.settings, time.time())
    if not first:
        return []
    if not session.as_json:
        say(f"{len(first)} to look at once more, in {again_after_s:g} s")
    await asyncio.sleep(again_after_s)
    return rules.in_both(first, await views.audit(session.settings, time.time()))
