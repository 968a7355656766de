"""How things look: values from outside made harmless, tables, times and durations. Asks nobody anything.

What comes from Redis was written by clients, browsers and pages. It is printed as it is, never obeyed: neither
control sequences of the terminal nor markup of the table library.
"""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

NOTHING: Final = "–"
_UNLIMITED: Final = 10_000
_STATUS_STYLES: Final = {
    "InMeeting": "green",
    "InWaitingRoom": "yellow",
    "Joining": "cyan",
    "Leaving": "cyan",
    "Scheduled": "blue",
    "Stopped": "dim",
    "Denied": "red",
    "NotAllowed": "red",
    "Error": "red",
}


def literal(text: str) -> str:
    """`text` with everything that is no visible character written as an escape: controls, ESC, bidi overrides."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def console() -> Console:
    """Standard output. A program that reads it gets whole lines, however long; a terminal gets what fits."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _UNLIMITED
    return Console(width=width, highlight=False, markup=False, emoji=False)


def cell(value: str, style: str = "") -> Text:
    """A value from outside, on one line; a dash when there is none."""
    return Text(literal(value), style, no_wrap=True, overflow="ellipsis") if value else Text(NOTHING, "dim")


def status_cell(status: str) -> Text:
    return cell(status, _STATUS_STYLES.get(status, ""))


def table(*headings: str, right: Sequence[str] = (), whole: Sequence[str] = (), gap: int = 2) -> Table:
    """A table without lines. `right`: columns of numbers; `whole`: columns that are never cut."""
    grid = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for heading in headings:
        justify = "right" if heading in right else "left"
        grid.add_column(heading, justify=justify, no_wrap=heading in whole)
    return grid


def epoch_of(iso: str) -> float | None:
    """Epoch seconds of an ISO 8601 time in Redis; None when it is empty or none."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def clock_time(at: float) -> str:
    """UTC, to the millisecond, as the logs have it."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def moment(iso: str, now: float) -> str:
    """UTC, to the second; with the date when that is not today's."""
    at = epoch_of(iso)
    if at is None:
        return literal(iso)
    then, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    return then.strftime("%H:%M:%S" if then.date() == today.date() else "%Y-%m-%d %H:%M")


def duration(seconds: float) -> str:
    """At most seven characters or so: `12 ms`, `2.13 s`, `4m 05s`, `3h 20m`, `5d 02h`."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if hours < 1:
        return f"{minutes}m {whole % 60:02}s"
    if days < 2:
        return f"{hours}h {minutes % 60:02}m"
    return f"{days}d {hours % 24:02}h"


def count(number: int, one: str, many: str = "") -> str:
    """`1 bot`, `2 bots`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
