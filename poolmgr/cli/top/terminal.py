"""Takes the terminal over, draws lines on it, reads its keys, and restores it. Decides nothing."""

import contextlib
import curses
import locale
import os
import sys
from collections.abc import Generator, Sequence
from typing import Any, Final

from common.errors import ManagerError
from poolmgr.cli.top.columns import BAD, BOLD, CHOSEN, DIM, GOOD, SOON, Cell
from poolmgr.cli.top.lines import Size
from poolmgr.cli.top.screen import Key

_ESCAPE_MS: Final = 25
"""How long after ESC the rest of a key's sequence may come."""
_KEYS: Final[dict[int | str, Key]] = {
    curses.KEY_UP: Key.UP, curses.KEY_DOWN: Key.DOWN, curses.KEY_PPAGE: Key.PAGE_UP, curses.KEY_NPAGE: Key.PAGE_DOWN,
    curses.KEY_HOME: Key.FIRST, curses.KEY_END: Key.LAST, curses.KEY_ENTER: Key.ENTER, "\n": Key.ENTER,
    "\r": Key.ENTER, curses.KEY_BACKSPACE: Key.RUB_OUT, "\x7f": Key.RUB_OUT, "\b": Key.RUB_OUT, "\x1b": Key.ESCAPE,
    "\t": Key.TAB,
}  # fmt: skip


class CannotShowError(ManagerError):
    """There is no terminal, or none that can be drawn on. Its text says what to do."""


class Terminal:
    """`keys_from`: the file descriptor that is readable once there are keys."""

    def __init__(self, window: Any) -> None:
        self._window = window
        self._styles = _styles()
        self.keys_from: Final = sys.stdin.fileno()

    @property
    def size(self) -> Size:
        lines, columns = self._window.getmaxyx()
        return Size(columns, lines)

    def resized(self) -> None:
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        curses.resizeterm(lines, columns)
        self._window.clear()  # a terminal may move the old lines when its size changes

    def keys(self) -> list[str]:
        """The keys that were pressed since the last call: characters and members of Key."""
        found: list[str] = []
        while True:
            try:
                raw: int | str = self._window.get_wch()
            except curses.error:
                return found
            key = _KEYS.get(raw, raw)
            if isinstance(key, str):
                found.append(key)

    def draw(self, lines: Sequence[Sequence[Cell]]) -> None:
        """Draw the lines that differ from those of the last drawing."""
        self._window.erase()
        for y, line in enumerate(lines):
            with contextlib.suppress(curses.error):  # the terminal has just become smaller: the next drawing fits
                self._window.move(y, 0)
                for cell in line:
                    self._window.addstr(cell.text, self._styles.get(cell.style, curses.A_NORMAL))
        self._window.refresh()


@contextlib.contextmanager
def taken() -> Generator[Terminal]:
    """Raises: CannotShowError. Afterwards the terminal is as it was, whatever happened."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CannotShowError("needs a terminal; `poolmgr fleet` and `poolmgr bots` print the same, also with --json")
    locale.setlocale(locale.LC_ALL, "")
    try:
        curses.setupterm()  # initscr ends the process instead of raising
        if not curses.tigetstr("cup"):
            raise CannotShowError(_unusable())
    except curses.error as error:
        raise CannotShowError(_unusable()) from error
    curses.set_escdelay(_ESCAPE_MS)
    window: Any = curses.initscr()
    try:
        curses.noecho()
        curses.cbreak()
        window.keypad(True)
        window.nodelay(True)
        with contextlib.suppress(curses.error):  # a terminal that cannot hide its cursor
            curses.curs_set(0)
        yield Terminal(window)
    finally:
        window.keypad(False)
        curses.nocbreak()
        curses.echo()
        curses.endwin()


def _unusable() -> str:
    named = os.environ.get("TERM", "")
    return f"cannot draw on a terminal of the type {named!r}: set TERM to what it is, such as xterm-256color"


def _styles() -> dict[str, int]:
    styles = {BOLD: curses.A_BOLD, DIM: curses.A_DIM, CHOSEN: curses.A_REVERSE, BAD: curses.A_BOLD}
    if "NO_COLOR" in os.environ or not _has_colours():
        return styles
    colours = ((GOOD, curses.COLOR_GREEN), (SOON, curses.COLOR_YELLOW), (BAD, curses.COLOR_RED))
    for number, (style, colour) in enumerate(colours, start=1):
        curses.init_pair(number, colour, -1)
        styles[style] = curses.color_pair(number)
    styles[BAD] |= curses.A_BOLD
    return styles


def _has_colours() -> bool:
    try:
        curses.start_color()
        curses.use_default_colors()
    except curses.error:
        return False
    return curses.has_colors()
