"""`bots` and `leave`: what became of the jobs, and a way to end one."""

import time
from datetime import UTC, datetime
from typing import Final, NoReturn

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text

from poolmgr.cli.secrecy import hide_links_in_record
from poolmgr.cli.session import (
    EXIT_INTERRUPTED,
    EXIT_NOT_FOUND,
    Session,
    fail,
    put_json,
    say,
    say_if_unled,
    with_session,
    with_waiting,
)
from poolmgr.cli.text import cell, clock_time, console, duration, epoch_of, literal, moment, status_cell, table
from poolmgr.cli.watch import watch_to_end
from poolmgr.core.events import LeaveRequested
from poolmgr.store.views import Views, is_ended

_SECTIONS: Final = (
    ("bot_id", "bot_name", "status", "state", "status_reason", "reason_detail", "attribution"),
    ("platform", "meeting_url", "join_at", "leave_requested"),
    ("vm_id", "worker_id", "attempt", "claimed", "screen", "rule"),
    ("participants", "audio_packets_received", "transcript_webhook_received", "audio_webhook_received"),
    ("user_id", "calendar_event_id", "owner", "custom_attributes", "callback_url"),
    ("deduplication_key", "priority", "queue_timeout", "seq", "automatic_leave", "bot_message"),
)
_TIMELINE: Final = {
    "created_at": "created",
    "assigned_at": "assigned",
    "first_request_at": "first request",
    "joining_at": "joining",
    "waiting_room_at": "waiting room",
    "inmeeting_at": "in meeting",
    "leaving_at": "leaving",
    "stopped_at": "stopped",
}
_SINCE: Final = {
    "assigned": "assigned_at",
    "joining": "joining_at",
    "waiting_room": "waiting_room_at",
    "in_meeting": "inmeeting_at",
    "leaving": "leaving_at",
}


@click.command(short_help="Show bots, or one of them.")
@click.argument("bot_id", required=False)
@click.option("--live", is_flag=True, help="Only bots that have not ended.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, metavar="N", help="At most N.")
@click.option("--show-link", is_flag=True, help="Show meeting links whole: whoever has one can join.")
@with_session
def bots(session: Session, bot_id: str | None, *, live: bool, limit: int, show_link: bool) -> None:
    """Show the newest bots, or everything about BOT_ID.

    Live bots come first, newest first, then those that ended, latest first. STATE is the fine state of a live bot
    and the reason of one that ended; TIME is how long it has been in that state, or, once it ended, how long it took
    in all. Times are UTC.

    Meeting links are redacted unless --show-link. What the client pushed (`payload`) is only in --json --show-link.

    \b
    Examples:
      poolmgr bots --live
      poolmgr bots 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d
      poolmgr bots --limit 500 --json | jq -r '.[] | select(.status == "Error") | .status_reason' | sort | uniq -c
    """
    if bot_id is None:
        records = session.ask(lambda views: views.bots(most=limit, live_only=live))
        shown = records if show_link else [hide_links_in_record(record) for record in records]
        if session.as_json:
            put_json(shown)
        elif shown:
            console().print(_list(shown, time.time()))
        else:
            say("there is no live bot" if live else "there is no bot yet (`poolmgr submit LINK` makes one)")
        return
    record = session.ask(lambda views: views.bot(bot_id)) or _not_found(bot_id)
    shown_record = record if show_link else hide_links_in_record(record)
    if session.as_json:
        put_json(shown_record)
    else:
        console().print(_one(shown_record), soft_wrap=True)


@click.command(short_help="End a bot.")
@click.argument("bot_id", metavar="BOT")
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
    after = await views.last_status_id()  # before the look at the bot, so that its end cannot come between
    record = await views.bot(bot_id) or _not_found(bot_id)
    ended = is_ended(record)
    if session.as_json:
        put_json({"bot_id": bot_id, "requested": not ended, "status": record.get("status", "")})
    if ended:
        say(f"bot {bot_id} has ended already: {record.get('status', '')}, {record.get('status_reason', '')}")
        return
    await views.request(LeaveRequested(bot_id))
    if not session.as_json:
        click.echo(f"{literal(bot_id)}: asked to leave")
    say_if_unled((await views.standing()).leader, "the bot stays")
    if wait:
        await watch_to_end(session, views, bot_id, after, timeout_s=timeout_s)


def _not_found(bot_id: str) -> NoReturn:
    fail(f"there is no bot {bot_id} (a job that no manager has taken yet is not a bot)", EXIT_NOT_FOUND)


def _list(records: list[dict[str, str]], now: float) -> Table:
    headings = ("BOT", "NAME", "STATUS", "STATE", "VM", "CREATED", "TIME")
    # On a narrow terminal the name and the VM are cut: what tells bots apart and what became of them is not.
    grid = table(*headings, right=("TIME",), whole=("BOT", "STATUS", "STATE", "CREATED", "TIME"), gap=1)
    for record in records:
        field = record.get
        grid.add_row(
            Text(literal(field("bot_id", "")), overflow="fold"),
            cell(field("bot_name", "")),
            status_cell(field("status", "")),
            _state(record),
            cell(field("vm_id", "")),
            Text(moment(field("created_at", ""), now), "dim", no_wrap=True),
            Text(_time_taken(record, now), no_wrap=True),
        )
    return grid


def _state(record: dict[str, str]) -> Text:
    state, reason = record.get("state", ""), record.get("status_reason", "")
    if is_ended(record):
        return cell(reason)
    return cell(f"{state} ({reason})" if reason else state)


def _time_taken(record: dict[str, str], now: float) -> str:
    created = epoch_of(record.get("created_at", ""))
    if is_ended(record):
        until = epoch_of(record.get("stopped_at", ""))
        return duration(until - created) if until and created else ""
    due = epoch_of(record.get("join_at", ""))
    if record.get("state") == "scheduled" and due and due > now:
        return f"in {duration(due - now)}"
    since = epoch_of(record.get(_SINCE.get(record.get("state", ""), "created_at"), ""))
    return duration(max(0.0, now - since)) if since else ""


def _one(record: dict[str, str]) -> Group:
    """Every field of the record under the name it has in Redis, and its way as a timeline."""
    known = {name for section in _SECTIONS for name in section} | _TIMELINE.keys() | {"payload"}
    others = tuple(sorted(record.keys() - known))
    fields = Table.grid(padding=(0, 2, 0, 0))
    fields.add_column(no_wrap=True)
    fields.add_column(overflow="fold")
    for section in (*_SECTIONS, others):
        present = [name for name in section if name in record]
        for name in present:
            shown = status_cell(record[name]) if name == "status" else cell(record[name])
            shown.no_wrap, shown.overflow = False, "fold"
            fields.add_row(Text(literal(name), "bold"), shown)
        if present:
            fields.add_row()
    return Group(fields, _timeline(record))


def _timeline(record: dict[str, str]) -> Table:
    grid = table("TIMELINE (UTC)", "", "STEP", "SINCE CREATED", right=("STEP", "SINCE CREATED"))
    times = {step: epoch_of(record.get(name, "")) for name, step in _TIMELINE.items()}
    steps = sorted(((at, step) for step, at in times.items() if at is not None), key=lambda pair: pair[0])
    for (before, _), (at, step) in zip([(0.0, ""), *steps], steps, strict=False):
        is_first = not before
        shown = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d ") if is_first else ""
        deltas = ("", "") if is_first else (f"+{duration(at - before)}", f"+{duration(at - steps[0][0])}")
        grid.add_row(step, Text(f"{shown}{clock_time(at)}", justify="right"), *(Text(delta) for delta in deltas))
    return grid
