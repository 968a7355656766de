"""Tables for a terminal, and the values in them. Does no I/O.

Values from Redis were written by clients, browsers and pages. They are printed as plain text: terminal control
sequences and the table library's markup have no effect. That library is slow to import, so a command that prints JSON
does not import this module.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.runtime.cli.text import literal
from poolmgr.cli.text import NOTHING

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


def console() -> Console:
    """Standard output. A program that reads it gets whole lines; on a terminal they are cut to its width."""
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
