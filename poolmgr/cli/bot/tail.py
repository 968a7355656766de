"""`tail`: prints the status changes of all bots as they happen."""

import time
from contextlib import aclosing

import click
from rich.text import Text

from common.runtime.cli.session import fail, put_json
from common.runtime.cli.text import literal
from common.runtime.exits import EXIT_INTERRUPTED
from common.wire.vocabulary import Reason, Status
from poolmgr.cli.names import bot_ids, vm_ids
from poolmgr.cli.session import Session, with_session
from poolmgr.cli.tables import console, status_cell
from poolmgr.cli.text import NOTHING, Ago, Word, clock_time, epoch_of
from poolmgr.store.reading.views import Views


@click.command
@click.option("--bot", "bot_id", metavar="BOT", default="", shell_complete=bot_ids(), help="Only of this bot.")
@click.option("--status", type=Word("status", Status), help="Only changes to this status, such as Error, in any case.")
@click.option("--reason", type=Word("reason", Reason), help="Only changes with this reason, such as browser_crashed.")
@click.option("--vm", "vm_id", metavar="VM", shell_complete=vm_ids(), help="Only of bots on this VM.")
@click.option("--since", "since_s", type=Ago(), help="Begin so long ago: 90s, 30m, 1h, 2d.  [default: now]")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N changes.")
@with_session
def tail(
    session: Session,
    *,
    bot_id: str,
    status: str | None,
    reason: str | None,
    vm_id: str | None,
    since_s: float | None,
    count: int | None,
) -> None:
    """Print each status change of each bot until Ctrl-C. Times are UTC.

    How far back --since reaches is decided by [retention] stream_entries.

    \b
    Examples:
      poolmgr tail
      poolmgr tail --status error --since 1h
      poolmgr tail --json | jq -r 'select(.state == "in_meeting") | .bot_id'
    """
    wanted = {"reason": reason, "vm_id": vm_id, "status": status}

    async def follow(views: Views) -> None:
        after = f"{int((time.time() - since_s) * 1000)}-0" if since_s is not None else await views.last_status_id()
        left = count
        async with aclosing(views.follow(after, bot_id=bot_id)) as changes:
            async for _, fields in changes:
                if all(
                    value is None or fields.get(name, "").casefold() == value.casefold()
                    for name, value in wanted.items()
                ):
                    _put(session, fields)
                    left = left and left - 1
                    if left == 0:
                        return

    try:
        session.ask(follow)
    except KeyboardInterrupt:
        fail("stopped", EXIT_INTERRUPTED)


def _put(session: Session, fields: dict[str, str]) -> None:
    if session.as_json:
        put_json(fields)
        return
    at = epoch_of(fields.get("at", ""))
    place = "/".join(filter(None, (fields.get("vm_id", ""), fields.get("worker_id", ""))))
    line = Text(clock_time(at) if at else NOTHING, "dim")
    line.append(f"  {literal(fields.get('bot_id', '')):<32}", "default not dim")
    line.append(f"  {literal(fields.get('status', '')):<13}", status_cell(fields.get("status", "")).style)
    line.append(f"  {literal(fields.get('state', '')):<12}  ", "default not dim")
    line.append(f"{literal(fields.get('reason', '')) or NOTHING:<20}  ", "default not dim")
    line.append(literal(place) or NOTHING)
    console().print(line, soft_wrap=True)
