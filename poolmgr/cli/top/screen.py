"""What one operator looks at, and what each key does to it. Pure: no terminal, no Redis; time is handed in.

The chosen row is remembered by its id, so the choice stays with a row that moves. The question whether to do
something names a bot or VM, and the answer counts for that one, whatever moves meanwhile.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from common.config.settings import PoolSettings
from common.runtime.cli.text import literal
from common.wire.vocabulary import BotState, VmState
from poolmgr.cli.top.columns import BOT_COLUMNS, VM_COLUMNS, Column
from poolmgr.core.requests import DrainRequested, LeaveRequested, Request
from poolmgr.page.outlook import BotRow, Outlook
from poolmgr.store.reading.views import VmView

MOST_WANTED: Final = 100
"""Bots beyond the newest that a filter asks for at a time."""
LONGEST_TEXT: Final = 64


class Tab(StrEnum):
    VMS = "VMs"
    BOTS = "bots"


_STATES: Final[dict[Tab, tuple[str, ...]]] = {Tab.VMS: tuple(VmState), Tab.BOTS: tuple(BotState)}


class Key(StrEnum):
    """Keys that are no characters."""

    UP = "up"
    DOWN = "down"
    PAGE_UP = "page_up"
    PAGE_DOWN = "page_down"
    FIRST = "first"
    LAST = "last"
    ENTER = "enter"
    ESCAPE = "escape"
    RUB_OUT = "rub_out"
    TAB = "tab"


class Asked(NamedTuple):
    """The action that the next `y` confirms."""

    question: str
    request: Request


class Order(NamedTuple):
    """`column`: its place in the table. `down`: the highest first."""

    column: int
    down: bool


class Screen:
    """`page`: how many rows are shown at a time; the drawing sets it. `said`: the result of the last action."""

    def __init__(self) -> None:
        self.tab = Tab.VMS
        self.order = {Tab.VMS: Order(0, down=False), Tab.BOTS: Order(0, down=False)}
        self.chosen = {Tab.VMS: "", Tab.BOTS: ""}
        self.text = ""
        self.state = {Tab.VMS: "", Tab.BOTS: ""}
        self.vm_id = ""
        self.types = False
        self.asked: Asked | None = None
        self.helps = False
        self.said = ""
        self.is_done = False
        self.page = 1
        self.outlook = Outlook(PoolSettings())
        self.others: Mapping[str, BotRow] = {}

    # What there is to see

    def wanted(self) -> list[str]:
        """The bots that the filter asks for. They need not be among the newest."""
        if self.tab is not Tab.BOTS:
            return []
        if self.vm_id:
            vm = self.outlook.vms.get(self.vm_id)
            return vm.bots[:MOST_WANTED] if vm else []
        if state := self.state[Tab.BOTS]:
            return self.outlook.in_state(state, MOST_WANTED)
        return self.outlook.find(self.text, MOST_WANTED)[1] if self.text else []

    def columns(self) -> Sequence[Column]:
        return VM_COLUMNS if self.tab is Tab.VMS else BOT_COLUMNS

    def rows(self) -> Sequence[VmView] | Sequence[BotRow]:
        """The rows that pass the filter, sorted."""
        order, columns = self.order[self.tab], self.columns()
        found: list[Any] = self._vms() if self.tab is Tab.VMS else self._bots()
        by = columns[order.column].by
        found.sort(key=name_of)
        found.sort(key=by, reverse=order.down)
        return found

    def _vms(self) -> list[VmView]:
        state, wanted = self.state[Tab.VMS], self.text.casefold()
        return [
            vm
            for vm in self.outlook.vms.values()
            if state in ("", vm.state) and (wanted in vm.vm_id.casefold() or wanted in vm.state)
        ]

    def _bots(self) -> list[BotRow]:
        state, wanted = self.state[Tab.BOTS], self.text.casefold()
        return [
            bot
            for bot in {**self.others, **self.outlook.bots}.values()
            if state in ("", bot.state)
            and self.vm_id in ("", bot.vm)
            and any(wanted in word.casefold() for word in (bot.id, bot.name, bot.platform, bot.vm, bot.reason))
        ]

    def place(self, rows: Sequence[VmView] | Sequence[BotRow]) -> int:
        """The chosen row's position. The first row's if it is gone, or if none was chosen."""
        chosen = self.chosen[self.tab]
        return next((place for place, row in enumerate(rows) if name_of(row) == chosen), 0)

    # What keys do

    def press(self, key: str) -> Request | None:
        """Take a key. Returns the action that the operator confirmed by it, if any."""
        self.said = ""
        if self.asked:
            asked, self.asked = self.asked, None
            if key in ("y", "Y"):
                return asked.request
            self.said = "nothing was done"
        elif self.types:
            self._type(key)
        elif self.helps:
            self.helps = False
        elif deed := _DEEDS.get(key):
            deed(self)
        return None

    def _type(self, key: str) -> None:
        match key:
            case Key.ENTER:
                self.types = False
            case Key.ESCAPE:
                self.types, self.text = False, ""
            case Key.RUB_OUT:
                self.text = self.text[:-1]
            case _ if len(key) == 1 and key.isprintable() and len(self.text) < LONGEST_TEXT:
                self.text += key
            case _:
                pass

    def step(self, by: int) -> None:
        rows = self.rows()
        if rows:
            place = min(max(0, self.place(rows) + by), len(rows) - 1)
            self.chosen[self.tab] = name_of(rows[place])

    def turn(self) -> None:
        self.tab = Tab.BOTS if self.tab is Tab.VMS else Tab.VMS

    def sort_by_next(self) -> None:
        column = (self.order[self.tab].column + 1) % len(self.columns())
        self.order[self.tab] = Order(column, self.columns()[column].right)

    def reverse(self) -> None:
        order = self.order[self.tab]
        self.order[self.tab] = order._replace(down=not order.down)

    def filter_next_state(self) -> None:
        words = ("", *_STATES[self.tab])
        self.state[self.tab] = words[(words.index(self.state[self.tab]) + 1) % len(words)]

    def filter_vm(self) -> None:
        """Show only the VM of the chosen bot. Show all VMs again, if one alone is shown."""
        if self.tab is Tab.BOTS:
            self.vm_id = "" if self.vm_id else getattr(self._chosen(), "vm", "")

    def clear(self) -> None:
        self.text, self.vm_id, self.state[self.tab] = "", "", ""

    def open(self) -> None:
        """Show the bots of the chosen VM."""
        if self.tab is Tab.VMS and (vm := self._chosen()):
            self.clear()
            self.tab, self.vm_id, self.state[Tab.BOTS] = Tab.BOTS, name_of(vm), ""

    def ask_leave(self) -> None:
        bot = self._chosen()
        if not isinstance(bot, BotRow):
            self.said = "choose a bot first: Tab shows them"
        elif bot.state == BotState.STOPPED:
            self.said = f"{literal(bot.name)} has ended already"
        else:
            self.asked = Asked(f"Have {literal(bot.name)} ({literal(bot.id)}) leave?", LeaveRequested(bot.id))

    def ask_drain(self) -> None:
        vm = self._chosen()
        if not isinstance(vm, VmView):
            self.said = "choose a VM first: Tab shows them"
        else:
            question = "Take {} back into service?" if vm.draining else "Drain {}? Its meetings go on to their end."
            request = DrainRequested(vm.vm_id, draining=not vm.draining)
            self.asked = Asked(question.format(literal(vm.vm_id)), request)

    def _chosen(self) -> VmView | BotRow | None:
        rows = self.rows()
        return rows[self.place(rows)] if rows else None

    def quit(self) -> None:
        self.is_done = True

    def type(self) -> None:
        self.types = True

    def help(self) -> None:
        self.helps = True


def name_of(row: VmView | BotRow) -> str:
    return row.vm_id if isinstance(row, VmView) else row.id


_DEEDS: Final[dict[str, Callable[[Screen], None]]] = {
    "q": Screen.quit,
    "Q": Screen.quit,
    Key.TAB: Screen.turn,
    Key.UP: lambda screen: screen.step(-1),
    "k": lambda screen: screen.step(-1),
    Key.DOWN: lambda screen: screen.step(1),
    "j": lambda screen: screen.step(1),
    Key.PAGE_UP: lambda screen: screen.step(-screen.page),
    Key.PAGE_DOWN: lambda screen: screen.step(screen.page),
    Key.FIRST: lambda screen: screen.step(-1_000_000),
    Key.LAST: lambda screen: screen.step(1_000_000),
    Key.ENTER: Screen.open,
    Key.ESCAPE: Screen.clear,
    "s": Screen.sort_by_next,
    "r": Screen.reverse,
    "f": Screen.filter_next_state,
    "v": Screen.filter_vm,
    "/": Screen.type,
    "l": Screen.ask_leave,
    "d": Screen.ask_drain,
    "?": Screen.help,
    "h": Screen.help,
}
