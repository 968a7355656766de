"""The screen as lines of a terminal, in whatever size it has. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size

from common.runtime.cli.text import count, duration, literal
from common.wire.vocabulary import BotState, WorkerState
from poolmgr.cli.text import clock_time
from poolmgr.cli.top.columns import BAD, BOLD, CHOSEN, DIM, PLAIN, Cell, Column, Facts
from poolmgr.cli.top.screen import Screen, Tab
from poolmgr.page.outlook import Head

Line = Sequence[Cell]

_SMALLEST: Final = (40, 10)
_AROUND: Final = 7
"""Lines of the screen that show no row."""
_KEYS: Final = "q quit  Tab turn  s sort  r reverse  / find  f state  v VM  l leave  d drain  ?"
_HELP: Final = (
    ("q, Ctrl-C", "quit"),
    ("Tab", "VMs, or bots"),
    ("arrows, j, k", "choose a row; page up and down, home, end"),
    ("Enter", "the bots of the chosen VM"),
    ("s, r", "sort by the next column; the other way round"),
    ("/", "only rows that hold a text; Enter keeps it, Esc drops it"),
    ("f", "only one state: the next one"),
    ("v", "only bots on the chosen bot's VM; once more, all"),
    ("Esc", "all rows again"),
    ("l", "have the chosen bot leave, once you confirm it"),
    ("d", "drain the chosen VM, or take it back, once you confirm it"),
)


class Size(NamedTuple):
    columns: int
    lines: int


def draw(screen: Screen, size: Size, facts: Facts, fault: str = "") -> list[Line]:
    """At most `size.lines` lines of at most `size.columns` cells. `fault`: why the rows are not up to date."""
    if size < _SMALLEST or size.lines < _SMALLEST[1]:
        small: list[Line] = [[Cell(set_cell_size(text, size.columns).rstrip())] for text in _too_small()]
        return small[: size.lines]
    screen.page = size.lines - _AROUND
    head = [_fit([cell] if cell.text else [], size.columns) for cell in _head(screen, facts, fault)]
    body = _help(size) if screen.helps else _table(screen, size, facts)
    blank: list[Line] = [[] for _ in range(size.lines - len(head) - len(body) - 1)]
    return [*head, *body, *blank, _fit([_foot(screen)], size.columns - 1)]  # a terminal may scroll on its last cell


def _too_small() -> tuple[str, ...]:
    return f"needs {_SMALLEST[0]} x {_SMALLEST[1]}", "q quits"


def _head(screen: Screen, facts: Facts, fault: str) -> list[Cell]:
    head = screen.outlook.head_now()
    now = f"poolmgr top  {clock_time(facts.now)[:8]} UTC"
    if head is None:
        return [Cell(now, BOLD), Cell(""), Cell(""), Cell(fault or "reads what there is", BAD if fault else DIM)]
    lead = f"led by {literal(head.leader)}, epoch {head.epoch}" if head.leader else "no manager leads: jobs wait"
    return [
        Cell(f"{now}  {lead}", BOLD if head.leader else BAD),
        Cell(_of_vms(head)),
        Cell(_of_bots(head, facts)),
        Cell(fault, BAD) if fault else Cell(_of_hour(screen), DIM),
    ]


def _of_vms(head: Head) -> str:
    states = _each(head.vms)
    workers = ", ".join(
        f"{number}/{head.target} idle" if state == WorkerState.IDLE else f"{number} {state}"
        for state, number in head.workers.items()
        if number or state == WorkerState.IDLE
    )
    return f"{count(sum(head.vms.values()), 'VM')}{states}   {workers}"


def _of_bots(head: Head, facts: Facts) -> str:
    waits = f", the first since {duration(max(0.0, facts.now - head.oldest_since))}" if head.oldest_since else ""
    order = {state: place for place, state in enumerate(BotState)}
    states = dict(sorted(head.bots.items(), key=lambda item: order.get(BotState(item[0]), 0)))
    jobs = f"   {count(head.jobs_waiting, 'job')} to be taken" if head.jobs_waiting else ""
    return f"{count(head.bots_live, 'live bot')}{_each(states)}{waits}{jobs}"


def _of_hour(screen: Screen) -> str:
    minutes = screen.outlook.hour.all()
    given, hits = sum(minute.given for minute in minutes), sum(minute.hits for minute in minutes)
    joined = [minute for minute in minutes if minute.joined]
    words = [f"last hour: {hits / given:.0%} of {count(given, 'bot')} found an idle worker"] if given else []
    if joined:
        words.append(f"joining took {duration(joined[-1].median_s)} (median), {duration(joined[-1].slow_s)} (95 %)")
    return "; ".join(words) or "no bot in the last hour"


def _each(counts: Mapping[str, int]) -> str:
    return f": {', '.join(f'{number} {word}' for word, number in counts.items())}" if counts else ""


def _table(screen: Screen, size: Size, facts: Facts) -> list[Line]:
    rows, columns = screen.rows(), screen.columns()
    widths = _widths(columns, size.columns)
    place = screen.place(rows)
    first = min(max(0, place - screen.page // 2), max(0, len(rows) - screen.page))
    shown = rows[first : first + screen.page]
    lines: list[Line] = [_fit([Cell(_what_is_shown(screen, len(rows)), BOLD)], size.columns), _titles(screen, widths)]
    for number, row in enumerate(shown):
        cells = [column.cell(row, facts) for column in columns]
        lines.append(_row(cells, columns, widths, CHOSEN if first + number == place else None))
    if not rows:
        lines.append([Cell(_nothing(screen), DIM)])
    return lines


def _nothing(screen: Screen) -> str:
    if screen.text or screen.vm_id or screen.state[screen.tab]:
        return "  no row is so: Esc shows all"
    if screen.tab is Tab.BOTS:
        return "  no bot yet (`poolmgr submit LINK` makes one)"
    return "  no VM yet: an agent registers its own (`poolmgr-worker run`)"


def _what_is_shown(screen: Screen, number: int) -> str:
    order, columns = screen.order[screen.tab], screen.columns()
    way = "down" if order.down else "up"
    newest = ", the newest" if screen.tab is Tab.BOTS else ""
    words = [f"{number} {screen.tab}{newest}, by {columns[order.column].title.lower()} ({way})"]
    words += [f"in state {screen.state[screen.tab]}"] if screen.state[screen.tab] else []
    words += [f"on {literal(screen.vm_id)}"] if screen.vm_id and screen.tab is Tab.BOTS else []
    words += [f"with {literal(screen.text)!r}"] if screen.text else []
    return ", ".join(words)


def _titles(screen: Screen, widths: Sequence[int]) -> Line:
    order, columns = screen.order[screen.tab], screen.columns()
    mark = "v" if order.down else "^"
    titles = [
        Cell(f"{column.title}{mark}"[: column.width or None] if place == order.column else column.title)
        for place, column in enumerate(columns)
    ]
    return _row(titles, columns, widths, CHOSEN)


def _row(cells: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int], style: str | None) -> Line:
    line: list[Cell] = []
    for cell, column, width in zip(cells, columns, widths, strict=False):
        text = _cut(literal(cell.text), width)
        blank = " " * (width - cell_len(text))
        shown = blank + text if column.right else text + blank
        line += [Cell(shown, cell.style if style is None else style), Cell(" ", style or PLAIN)]
    return line[:-1]


def _widths(columns: Sequence[Column], whole: int) -> list[int]:
    """The widths of the first columns that fit. The widest gets the room that is left."""
    fixed = sum(column.width for column in columns) + len(columns) - 1
    rest = max(10, whole - fixed)
    widths: list[int] = []
    left = whole
    for column in columns:
        if left > 0:
            widths.append(min(column.width or rest, left))
            left -= widths[-1] + 1
    return widths


def _cut(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 1 else set_cell_size(text, max(0, width))


def _fit(line: Sequence[Cell], columns: int) -> Line:
    return [Cell(_cut(cell.text, columns), cell.style) for cell in line]


def _help(size: Size) -> list[Line]:
    lines: list[Line] = [[], *([Cell(f"  {keys:<14}", BOLD), Cell(what)] for keys, what in _HELP)]
    cut = [[Cell(_cut("".join(cell.text for cell in line), size.columns))] for line in lines]
    return list(cut[: size.lines - _AROUND + 2])


def _foot(screen: Screen) -> Cell:
    if screen.asked:
        return Cell(f"{screen.asked.question} y does it, any other key does not", BAD)
    if screen.types:
        return Cell(f"/{literal(screen.text)}_   Enter keeps it, Esc drops it", BOLD)
    if screen.helps:
        return Cell("any key goes back", BOLD)
    return Cell(screen.said, BOLD) if screen.said else Cell(_KEYS, DIM)
