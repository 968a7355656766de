"""Watches one bot until it has ended, and prints a line for each status change. Changes nothing."""

import time
from contextlib import aclosing
from typing import Final

from rich.text import Text

from common.runtime.cli.session import put_json
from common.runtime.cli.text import duration, literal
from poolmgr.cli.session import Session, in_time
from poolmgr.cli.tables import console, status_cell
from poolmgr.cli.text import NOTHING, clock_time, epoch_of
from poolmgr.store.reading.views import Views

REJECTED: Final = "rejected"
_ENDS: Final = ("stopped", REJECTED)


async def watch_to_end(
    session: Session, views: Views, bot_id: str, after: str, *, timeout_s: float | None
) -> dict[str, str]:
    """Print the changes of the bot that come after the stream position `after`. Returns the last one, its end.

    Ends the program with EXIT_TIMEOUT when `timeout_s` have passed.
    """
    overdue = f"bot {bot_id} has not ended within {timeout_s or 0:g} s; it goes on"
    return await in_time(timeout_s, _watch(session, views, bot_id, after), overdue=overdue)


async def _watch(session: Session, views: Views, bot_id: str, after: str) -> dict[str, str]:
    began = time.monotonic()
    fields: dict[str, str] = {}
    async with aclosing(views.follow(after, bot_id=bot_id)) as changes:
        async for _, fields in changes:
            _put(session, fields, time.monotonic() - began)
            if fields.get("state") in _ENDS:
                break
    return fields


def _put(session: Session, fields: dict[str, str], elapsed_s: float) -> None:
    if session.as_json:
        put_json({**fields, "elapsed_s": round(elapsed_s, 3)})
        return
    at = epoch_of(fields.get("at", ""))
    place = "/".join(filter(None, (fields.get("vm_id", ""), fields.get("worker_id", ""))))
    line = Text(clock_time(at) if at else NOTHING, "dim")
    line.append(f"  {'+' + duration(elapsed_s):>9}  ", "default not dim")
    line.append(f"{literal(fields.get('status', '')):<13}", status_cell(fields.get("status", "")).style)
    line.append(f"  {literal(fields.get('state', '')):<12}  ", "default not dim")
    line.append(f"{literal(fields.get('reason', '')) or NOTHING:<20}  ", "default not dim")
    line.append(literal(place) or NOTHING)
    console().print(line, soft_wrap=True)
