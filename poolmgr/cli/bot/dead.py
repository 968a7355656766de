"""`dead`: shows the jobs that were rejected and why, and hands them in again."""

import re
import time
from typing import Final

import click
from rich.table import Table
from rich.text import Text

from common.runtime.cli.session import fail, put_json, say
from common.runtime.cli.text import count, literal
from common.runtime.exits import EXIT_NOT_FOUND, EXIT_USAGE
from poolmgr.cli.session import Session, say_if_unled, with_session
from poolmgr.cli.tables import console
from poolmgr.cli.text import moment
from poolmgr.store.actions import By
from poolmgr.store.reading.views import DeadJob, Standing, Views
from poolmgr.telling.secrecy import hide_links, hide_links_in_payload

_PAYLOAD_SHOWN: Final = 60
_ENTRY_ID: Final = re.compile(r"\d{1,20}-\d{1,20}")


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, metavar="N", help="At most N.")
@with_session
@click.pass_context
def dead(context: click.Context, session: Session, *, limit: int) -> None:
    """Show the jobs that were rejected, latest first, each with the reason. Times are UTC, links redacted.

    \b
    Examples:
      poolmgr dead
      poolmgr dead --limit 1000 --json | jq -r '.[].reason' | sort | uniq -c
      poolmgr dead put-back 1764000000000-0
      poolmgr dead put-back --all
    """
    if context.invoked_subcommand:
        return
    jobs = session.ask(lambda views: views.dead(most=limit))
    if session.as_json:
        put_json([_as_json(job) for job in jobs])
        return
    if not jobs:
        say("no job stands rejected")
    for job in jobs:
        _put(job)


@dead.command("put-back", short_help="Hand rejected jobs in again.")
@click.argument("entry_id", required=False)
@click.option("--all", "everything", is_flag=True, help="All that stand rejected now, oldest first.")
@with_session
def put_back(session: Session, entry_id: str | None, *, everything: bool) -> None:
    """Hand the job of ENTRY_ID in again as it was, for instance after [meetings] room_hosts was put right.

    It leaves the list; if it is rejected once more it comes back under a new entry id. A payload over 256 KiB is kept
    only by its beginning and is no job any more. Exit code 4 when there is no such entry.

    \b
    Examples:
      poolmgr dead put-back 1764000000000-0
      poolmgr dead put-back --all
    """
    if everything == (entry_id is not None):
        raise click.UsageError("say either an ENTRY_ID or --all")
    if entry_id is not None and not _ENTRY_ID.fullmatch(entry_id):
        fail(f"{entry_id!r} is no entry id (one looks like 1764000000000-0; `poolmgr dead` lists them)", EXIT_USAGE)
    done, standing = session.ask(lambda views: _put_back(views, entry_id, session.by))
    if not done and entry_id:
        fail(f"no rejected job has the entry id {entry_id} (`poolmgr dead` lists them)", EXIT_NOT_FOUND)
    if session.as_json:
        put_json({"put_back": done})
    else:
        click.echo(f"put back {count(len(done), 'job')}")
    if done:
        say_if_unled(standing.leader, "it waits in the queue" if len(done) == 1 else "they wait in the queue")


async def _put_back(views: Views, entry_id: str | None, by: By) -> tuple[list[str], Standing]:
    if entry_id is None:
        return await views.put_all_back(by), await views.standing()
    return [entry_id] if await views.put_back(entry_id, by) else [], await views.standing()


def _as_json(job: DeadJob) -> dict[str, str]:
    return {
        "entry_id": job.entry_id,
        "at": job.at,
        "reason": job.reason,
        "detail": hide_links(job.detail),
        "bot_id": job.bot_id,
        "payload": hide_links_in_payload(job.payload),
    }


def _put(job: DeadJob) -> None:
    out = console()
    head = Text(f"{literal(job.entry_id)}  ", "bold")
    head.append(moment(job.at, time.time()), "not bold dim").append("  ").append(literal(job.reason), "red")
    out.print(head, soft_wrap=True)
    payload = hide_links_in_payload(job.payload)
    if len(payload) > _PAYLOAD_SHOWN:
        payload = payload[: _PAYLOAD_SHOWN - 1] + "…"
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in (("detail", hide_links(job.detail)), ("bot", job.bot_id), ("payload", payload)):
        if value:
            facts.add_row(Text(f"  {name:<7}", "dim"), Text(literal(value)))
    out.print(facts)
