"""`webhooks`: shows a bot's sent and waiting webhooks and those that were given up, and sends one once more."""

import re
import time
from typing import Any, Final

import click
import msgspec

from common.jobs.outgoing import Delivery, host_of
from common.jobs.record import iso
from common.runtime.cli.session import fail, put_json, say
from common.runtime.cli.text import count, duration, literal
from common.runtime.exits import EXIT_NOT_FOUND, EXIT_USAGE
from poolmgr.cli.names import bot_ids
from poolmgr.cli.session import Session, say_if_unled, with_session
from poolmgr.cli.tables import cell, console, table
from poolmgr.cli.text import moment
from poolmgr.store.actions import By
from poolmgr.store.reading.views import Standing, Views
from poolmgr.store.reading.webhooks import Attempt, DeadLetter, Waiting, line_life_s

_ENTRY_ID: Final = re.compile(r"\d{1,20}-\d{1,20}")


class _Webhooks(msgspec.Struct, frozen=True):
    """All webhooks of one bot."""

    waiting: list[Waiting]
    due_at: float | None
    log: list[Attempt]


@click.command
@click.argument("bot_id", required=False, shell_complete=bot_ids())
@click.option("--dead", is_flag=True, help="The webhooks that were given up, of all bots, latest first.")
@click.option("--replay", metavar="ID|all", help="Send what was given up once more: the entry ID, or all of them.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, metavar="N", help="At most N.")
@with_session
def webhooks(session: Session, bot_id: str | None, *, dead: bool, replay: str | None, limit: int) -> None:
    """Show the webhooks that are still to be sent for BOT_ID, in order, and the latest attempts, latest first.

    OUTCOME is the receiver's HTTP status, or why there is none: timeout, connection_failed, unanswered, tls_failed,
    redirected (none is followed), bad_answer, address_not_allowed (see [webhooks] allowed_networks). Only the host of a
    receiver is shown. Times are UTC.

    A webhook is given up when the receiver says 410, when its address may not be called, and after [webhooks]
    retry_for_s. --replay puts it at the end of its bot's line, with the same id and body, as if it were new; it leaves
    the list. Exit code 4 when there is no such bot or entry.

    \b
    Examples:
      poolmgr webhooks 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d
      poolmgr webhooks --dead
      poolmgr webhooks --dead --limit 1000 --json | jq -r '.[].host' | sort | uniq -c
      poolmgr webhooks --replay 1764000000000-0
      poolmgr webhooks --replay all
    """
    if (bot_id is not None) + dead + (replay is not None) != 1:
        raise click.UsageError("say one of BOT_ID, --dead and --replay")
    if bot_id is not None:
        _show_bot(session, bot_id, limit)
    elif replay is None:
        _show_dead(session, limit)
    else:
        _replay(session, replay)


def _show_bot(session: Session, bot_id: str, limit: int) -> None:
    webhooks = session.ask(lambda views: _webhooks_of(views, bot_id))
    if webhooks is None:
        fail(f"there is no bot {bot_id!r}, and no webhook of one (`poolmgr bots` lists bots)", EXIT_NOT_FOUND)
    if session.as_json:
        put_json(
            {
                "bot_id": bot_id,
                "next_at": iso(webhooks.due_at) if webhooks.due_at else "",
                "waiting": [{**_facts(webhook.delivery), "attempts": webhook.attempts} for webhook in webhooks.waiting],
                "log": [msgspec.to_builtins(attempt) for attempt in webhooks.log[:limit]],
            }
        )
        return
    now = time.time()
    if webhooks.waiting:
        due_in_s = (webhooks.due_at or now) - now
        when = f"in {duration(due_in_s)}" if due_in_s > 0 else "now"
        say(f"{count(len(webhooks.waiting), 'webhook')} to be delivered, the first one {when}")
        grid = table("WAITING", "HAPPENED", "ATTEMPTS", "HOST", right=("ATTEMPTS",), whole=("WAITING",))
        for webhook in webhooks.waiting[:limit]:
            happened = moment(iso(webhook.delivery.at), now)
            grid.add_row(
                cell(webhook.delivery.event), happened, str(webhook.attempts), cell(host_of(webhook.delivery.url))
            )
        console().print(grid)
    if not webhooks.log:
        say("none was sent so far")
        return
    grid = table(
        "SENT", "AT", "ATTEMPT", "OUTCOME", "TOOK", "HOST", right=("ATTEMPT", "TOOK"), whole=("SENT", "OUTCOME")
    )
    for webhook in webhooks.log[:limit]:
        style = "green" if webhook.outcome.startswith("2") else "red"
        sent, took = moment(webhook.at, now), duration(webhook.took_s)
        grid.add_row(
            cell(webhook.event), sent, str(webhook.attempt), cell(webhook.outcome, style), took, cell(webhook.host)
        )
    console().print(grid)


async def _webhooks_of(views: Views, bot_id: str) -> _Webhooks | None:
    waiting, due_at = await views.webhooks.waiting(bot_id)
    log = await views.webhooks.log(bot_id)
    if not waiting and not log and await views.bot(bot_id) is None:
        return None
    return _Webhooks(waiting, due_at, log)


def _show_dead(session: Session, limit: int) -> None:
    letters = session.ask(lambda views: views.webhooks.dead(most=limit))
    if session.as_json:
        put_json([_letter(letter) for letter in letters])
        return
    if not letters:
        say("no webhook was given up")
        return
    now = time.time()
    grid = table(
        "ENTRY", "AT", "BOT", "EVENT", "REASON", "OUTCOME", "TRIES", "HOST", right=("TRIES",), whole=("ENTRY",)
    )
    for letter in letters:
        event, host = cell(letter.delivery.event), cell(host_of(letter.delivery.url))
        at, bot = moment(letter.at, now), cell(letter.delivery.bot_id)
        grid.add_row(
            letter.entry_id,
            at,
            bot,
            event,
            cell(letter.reason, "red"),
            cell(letter.outcome),
            str(letter.attempts),
            host,
        )
    console().print(grid)


def _replay(session: Session, entry_id: str) -> None:
    if entry_id != "all" and not _ENTRY_ID.fullmatch(entry_id):
        fail(f"{entry_id!r} is no entry id (one looks like 1764000000000-0; --dead lists them)", EXIT_USAGE)
    life_s = line_life_s(session.settings)
    done, standing = session.ask(lambda views: _send_again(views, entry_id, life_s, session.by))
    if not done and entry_id != "all":
        fail(f"no webhook that was given up has the entry id {literal(entry_id)} (--dead lists them)", EXIT_NOT_FOUND)
    if session.as_json:
        put_json({"replayed": done})
    else:
        click.echo(f"put {count(len(done), 'webhook')} in line again")
    if done:
        say_if_unled(standing.leader, "it waits" if len(done) == 1 else "they wait")


async def _send_again(views: Views, entry_id: str, life_s: int, by: By) -> tuple[list[str], Standing]:
    now = time.time()
    if entry_id == "all":
        return await views.webhooks.send_all_again(now, life_s, by), await views.standing()
    there = await views.webhooks.send_again(entry_id, now, life_s, by)
    return [entry_id] if there else [], await views.standing()


def _letter(letter: DeadLetter) -> dict[str, Any]:
    facts = {"reason": letter.reason, "outcome": letter.outcome, "attempts": letter.attempts}
    return {
        "entry_id": letter.entry_id,
        "given_up_at": letter.at,
        "bot_id": letter.delivery.bot_id,
        **_facts(letter.delivery),
        **facts,
    }


def _facts(delivery: Delivery) -> dict[str, Any]:
    return {"id": delivery.id, "event": delivery.event, "at": iso(delivery.at), "host": host_of(delivery.url)}
