"""Shows bots as a table, and one bot's history as a timeline, for people."""

from datetime import UTC, datetime
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from common.jobs.record import Record
from common.runtime.cli.text import duration, literal
from poolmgr.cli.tables import cell, console, status_cell, table
from poolmgr.cli.text import clock_time, epoch_of, moment

_SECTIONS: Final = (
    ("bot_id", "bot_name", "status", "state", "status_reason", "reason_detail", "attribution"),
    ("platform", "meeting_url", "join_at", "leave_requested"),
    ("vm_id", "worker_id", "attempt", "claimed", "screen", "rule"),
    ("participants", "audio_packets_received", "transcript_webhook_received", "audio_webhook_received"),
    ("user_id", "calendar_event_id", "owner", "custom_attributes", "callback_url"),
    ("deduplication_key", "priority", "requires", "queue_timeout", "seq", "automatic_leave", "bot_message"),
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


def show_list(records: list[Record], now: float) -> None:
    console().print(_table(records, now))


def show(record: Record) -> None:
    console().print(_all_of(record), soft_wrap=True)


def _table(records: list[Record], now: float) -> Table:
    headings = ("BOT", "NAME", "STATUS", "STATE", "VM", "CREATED", "TIME")
    # On a narrow terminal the name and the VM are cut, and not the id and the state.
    grid = table(*headings, right=("TIME",), whole=("BOT", "STATUS", "STATE", "CREATED", "TIME"), gap=1)
    for record in records:
        grid.add_row(
            Text(literal(record.bot_id), overflow="fold"),
            cell(record.bot_name),
            status_cell(record.status),
            _state(record),
            cell(record.vm_id),
            Text(moment(record.created_at, now), "dim", no_wrap=True),
            Text(_time_taken(record, now), no_wrap=True),
        )
    return grid


def _state(record: Record) -> Text:
    state, reason = record.state, record.status_reason
    if record.is_over:
        return cell(reason)
    return cell(f"{state} ({reason})" if reason else state)


def _time_taken(record: Record, now: float) -> str:
    created = epoch_of(record.created_at)
    if record.is_over:
        until = epoch_of(record.stopped_at)
        return duration(until - created) if until and created else ""
    due = record.join_at
    if record.state == "scheduled" and due and due > now:
        return f"in {duration(due - now)}"
    since = epoch_of(getattr(record, _SINCE.get(record.state, "created_at")))
    return duration(max(0.0, now - since)) if since else ""


def _all_of(record: Record) -> Group:
    """Every field of the record by its name in Redis, and a timeline of its states."""
    texts = record.texts()
    shown = {name for section in _SECTIONS for name in section} | _TIMELINE.keys() | {"payload"}
    others = tuple(sorted(texts.keys() - shown))
    fields = Table.grid(padding=(0, 2, 0, 0))
    fields.add_column(no_wrap=True)
    fields.add_column(overflow="fold")
    for section in (*_SECTIONS, others):
        present = [name for name in section if name in texts]
        for name in present:
            shown = status_cell(texts[name]) if name == "status" else cell(texts[name])
            shown.no_wrap, shown.overflow = False, "fold"
            fields.add_row(Text(literal(name), "bold"), shown)
        if present:
            fields.add_row()
    return Group(fields, _timeline(record))


def _timeline(record: Record) -> Table:
    grid = table("TIMELINE (UTC)", "", "STEP", "SINCE CREATED", right=("STEP", "SINCE CREATED"))
    times = {step: epoch_of(getattr(record, name)) for name, step in _TIMELINE.items()}
    steps = sorted(((at, step) for step, at in times.items() if at is not None), key=lambda pair: pair[0])
    for (before, _), (at, step) in zip([(0.0, ""), *steps], steps, strict=False):
        is_first = not before
        shown = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d ") if is_first else ""
        deltas = ("", "") if is_first else (f"+{duration(at - before)}", f"+{duration(at - steps[0][0])}")
        grid.add_row(step, Text(f"{shown}{clock_time(at)}", justify="right"), *(Text(delta) for delta in deltas))
    return grid
