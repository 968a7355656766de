"""`bots` and `leave`: shows what became of jobs, and ends a bot."""

import time
from typing import Final, NoReturn

import click

from common.jobs.record import Record
from common.runtime.cli.session import fail, put_json, say
from common.runtime.cli.text import literal
from common.runtime.exits import EXIT_INTERRUPTED, EXIT_NOT_FOUND
from common.wire.vocabulary import Reason
from poolmgr.cli.names import bot_ids
from poolmgr.cli.session import Session, say_if_unled, with_session, with_waiting
from poolmgr.cli.text import Ago, Word, epoch_of
from poolmgr.core.requests import LeaveRequested
from poolmgr.store.reading.views import Views
from poolmgr.telling.secrecy import hide_links_in_record

_CHOSEN_FROM: Final = 10_000


@click.command
@click.argument("bot_id", required=False, shell_complete=bot_ids())
@click.option("--live", is_flag=True, help="Only bots that have not ended.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, metavar="N", help="At most N.")
@click.option("--since", "since_s", type=Ago(), help="Only bots that were made so long ago or later: 90s, 30m, 1h, 2d.")
@click.option("--reason", type=Word("reason", Reason), help="Only bots with this reason, such as browser_crashed.")
@click.option("--show-link", is_flag=True, help="Show meeting links whole: whoever has one can join.")
@with_session
def bots(
    session: Session,
    bot_id: str | None,
    *,
    live: bool,
    limit: int,
    since_s: float | None,
    reason: str | None,
    show_link: bool,
) -> None:
    """Show the newest bots, or everything about BOT_ID.

    Live bots come first, newest first, then those that ended, latest first. STATE is the fine state of a live bot
    and the reason of one that ended; TIME is how long it has been in that state, or, once it ended, how long it took
    in all. Times are UTC.

    --since and --reason choose from the 10,000 newest. Meeting links are redacted unless --show-link. What the client
    pushed (`payload`) is only in --json --show-link.

    \b
    Examples:
      poolmgr bots --live
      poolmgr bots --since 1h --reason browser_crashed
      poolmgr bots 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d
      poolmgr bots --limit 500 --json | jq -r '.[] | select(.status == "Error") | .status_reason' | sort | uniq -c
    """
    if bot_id is None:
        chooses = since_s is not None or reason is not None
        most = max(limit, _CHOSEN_FROM) if chooses else limit
        records = session.ask(lambda views: views.bots(most=most, live_only=live))
        if chooses:
            records = _chosen(records, time.time() - (since_s or time.time()), reason)[:limit]
        shown = records if show_link else [hide_links_in_record(record) for record in records]
        if session.as_json:
            put_json([record.texts() for record in shown])
        elif shown:
            from poolmgr.cli.bot import bot_tables

            bot_tables.show_list(shown, time.time())
        elif chooses:
            say("there is no such bot")
        else:
            say("there is no live bot" if live else "there is no bot yet (`poolmgr submit LINK` makes one)")
        return
    record = session.ask(lambda views: views.bot(bot_id)) or _not_found(bot_id)
    shown_record = record if show_link else hide_links_in_record(record)
    if session.as_json:
        put_json(shown_record.texts())
    else:
        from poolmgr.cli.bot import bot_tables

        bot_tables.show(shown_record)


def _chosen(records: list[Record], since: float, reason: str | None) -> list[Record]:
    return [
        record
        for record in records
        if (epoch_of(record.created_at) or 0) >= since and reason in (None, record.status_reason)
    ]


@click.command
@click.argument("bot_id", metavar="BOT", shell_complete=bot_ids(live_only=True))
@with_waiting("until the bot has ended; print each status change")
@with_session
def leave(session: Session, bot_id: str, *, wait: bool, timeout_s: float | None) -> None:
    """Have BOT leave its meeting, or never enter it.

    The wish is durable when this returns, and carried out by the leading manager. Exit code 0 also when the bot has
    ended already, 4 when there is no such bot, 6 on --timeout.

    \b
    Examples:
      poolmgr leave 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d
      poolmgr leave 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d --wait --timeout 30
    """
    try:
        session.ask(lambda views: _leave(session, views, bot_id, wait=wait, timeout_s=timeout_s))
    except KeyboardInterrupt:
        fail(f"stopped watching; bot {bot_id} has been asked to leave", EXIT_INTERRUPTED)


async def _leave(session: Session, views: Views, bot_id: str, *, wait: bool, timeout_s: float | None) -> None:
    after = await views.last_status_id()  # before the bot is read, so that its end is not missed
    record = await views.bot(bot_id) or _not_found(bot_id)
    ended = record.is_over
    if session.as_json:
        put_json({"bot_id": bot_id, "requested": not ended, "status": record.status})
    if ended:
        say(f"bot {bot_id} has ended already: {record.status}, {record.status_reason}")
        return
    await views.request(LeaveRequested(bot_id), session.by)
    if not session.as_json:
        click.echo(f"{literal(bot_id)}: asked to leave")
    say_if_unled((await views.standing()).leader, "the bot stays")
    if wait:
        from poolmgr.cli.bot.watch import watch_to_end

        await watch_to_end(session, views, bot_id, after, timeout_s=timeout_s)


def _not_found(bot_id: str) -> NoReturn:
    fail(f"there is no bot {bot_id} (a job that no manager has taken yet is not a bot)", EXIT_NOT_FOUND)
