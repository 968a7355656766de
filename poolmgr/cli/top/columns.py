"""The columns of the two tables: their texts, their order when sorted, their widths. Pure."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from common.runtime.cli.text import duration
from common.wire.vocabulary import BotState, Status, VmState, WorkerState
from poolmgr.cli.text import NOTHING
from poolmgr.page.outlook import BotRow
from poolmgr.store.reading.views import VmView

PLAIN: Final = ""
BOLD: Final = "bold"
DIM: Final = "dim"
GOOD: Final = "good"
SOON: Final = "soon"
BAD: Final = "bad"
CHOSEN: Final = "chosen"
"""A key that sorts in reverse."""

_VM_STYLES: Final = {VmState.UP: GOOD, VmState.SILENT: BAD, VmState.LOST: BAD}
_BOT_STYLES: Final = {
    Status.IN_MEETING: GOOD, Status.IN_WAITING_ROOM: SOON, Status.STOPPED: DIM,
    Status.DENIED: BAD, Status.NOT_ALLOWED: BAD, Status.ERROR: BAD,
}  # fmt: skip
_VM_PLACES: Final = {state: place for place, state in enumerate(VmState)}
_BOT_PLACES: Final = {state: place for place, state in enumerate(BotState)}


class Cell(NamedTuple):
    text: str
    style: str = PLAIN


class Facts(NamedTuple):
    """Facts that cells need beside their row. `now`: epoch seconds."""

    now: float
    min_idle: int
    max_workers: int
    min_idle_display: int = 0


class Column(NamedTuple):
    """A column. `width`: cells of the terminal; 0: the width that the other columns leave. `by`: the key by which it is
    sorted by.
    """

    title: str
    width: int
    by: Callable[[Any], str | float]
    cell: Callable[[Any, Facts], Cell]
    right: bool = False


def _idle(vm: VmView, facts: Facts) -> Cell:
    """Of workers without a display, and after a + of those with one."""
    if not vm.state.has_target:
        return Cell(str(vm.workers[WorkerState.IDLE]), DIM)
    pairs = vm.idle_against(facts.min_idle, facts.min_idle_display)
    is_short = any(idle < target for idle, target in pairs)
    return Cell("+".join(f"{idle}/{target}" for idle, target in pairs), BAD if is_short else GOOD)


def _of_vm(
    title: str,
    width: int,
    by: Callable[[VmView], str | float],
    cell: Callable[[VmView, Facts], Cell],
    *,
    right: bool = False,
) -> Column:
    return Column(title, width, by, cell, right)


def _of_bot(
    title: str,
    width: int,
    by: Callable[[BotRow], str | float],
    cell: Callable[[BotRow, Facts], Cell],
    *,
    right: bool = False,
) -> Column:
    return Column(title, width, by, cell, right)


def _workers_in(state: WorkerState) -> Column:
    return _of_vm(state.upper(), 8, lambda vm: vm.workers[state], lambda vm, _: _number(vm.workers[state]), right=True)


def _number(number: int) -> Cell:
    return Cell(str(number), PLAIN if number else DIM)


def _state(bot: BotRow, _: Facts) -> Cell:
    """The state of a live bot, or the reason of one that has ended."""
    style = _BOT_STYLES.get(Status(bot.status), PLAIN) if bot.status in set(Status) else PLAIN
    ended = bot.state == BotState.STOPPED
    return Cell((bot.reason or bot.status) if ended else bot.state, style)


def _since(bot: BotRow, facts: Facts) -> Cell:
    if not bot.since:
        return Cell(NOTHING, DIM)
    ended = bot.state == BotState.STOPPED
    return Cell(duration(max(0.0, facts.now - bot.since)), DIM if ended else PLAIN)


def _join(bot: BotRow, _: Facts) -> Cell:
    return Cell(NOTHING, DIM) if bot.join_s is None else Cell(duration(bot.join_s))


VM_COLUMNS: Final[tuple[Column, ...]] = (
    _of_vm("VM", 0, lambda vm: vm.vm_id, lambda vm, _: Cell(vm.vm_id)),
    _of_vm("STATE", 8, lambda vm: _VM_PLACES[vm.state], lambda vm, _: Cell(vm.state, _VM_STYLES.get(vm.state, SOON))),
    _of_vm("IDLE", 9, lambda vm: vm.workers[WorkerState.IDLE], _idle, right=True),
    *(_workers_in(state) for state in WorkerState if state is not WorkerState.IDLE),
    _of_vm(
        "WORKERS",
        8,
        lambda vm: sum(vm.workers.values()),
        lambda vm, facts: Cell(f"{sum(vm.workers.values())}/{facts.max_workers}"),
        right=True,
    ),
    _of_vm("BOTS", 5, lambda vm: len(vm.bots), lambda vm, _: _number(len(vm.bots)), right=True),
)

BOT_COLUMNS: Final[tuple[Column, ...]] = (
    _of_bot("AGE", 7, lambda bot: -bot.created, lambda bot, facts: _age(bot.created, facts), right=True),
    _of_bot("BOT", 8, lambda bot: bot.id, lambda bot, _: Cell(bot.id)),
    _of_bot("NAME", 0, lambda bot: bot.name.casefold(), lambda bot, _: Cell(bot.name)),
    _of_bot("PLATFORM", 11, lambda bot: bot.platform, lambda bot, _: Cell(bot.platform or NOTHING)),
    _of_bot("STATE", 13, lambda bot: _bot_place(bot), _state),
    _of_bot("VM", 9, lambda bot: bot.vm, lambda bot, _: Cell(bot.vm) if bot.vm else Cell(NOTHING, DIM)),
    _of_bot("SINCE", 7, lambda bot: bot.since, _since, right=True),
    _of_bot("JOIN", 7, lambda bot: -1.0 if bot.join_s is None else bot.join_s, _join, right=True),
)


def _bot_place(bot: BotRow) -> float:
    """A key that sorts live bots by how far they are. Bots that have ended come last."""
    return _BOT_PLACES[BotState(bot.state)] if bot.state in set(BotState) else -1.0


def _age(created: float, facts: Facts) -> Cell:
    return Cell(duration(max(0.0, facts.now - created))) if created else Cell(NOTHING, DIM)
