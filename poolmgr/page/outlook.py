"""What the page shows of the whole fleet, and what of it changed since the last call. Pure: time is handed in.

Memory is bounded by the fleet: one row a VM, a short record a live bot, and the newest bots.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from heapq import nsmallest
from typing import Final, NamedTuple

import msgspec

from common.config.settings import PoolSettings
from common.jobs.record import epoch
from common.wire.vocabulary import BotState, VmState, WorkerState
from poolmgr.page.hour import Hour, Minute
from poolmgr.store.reading.views import Standing, StatusChange, VmView
from poolmgr.store.record import TIME_FIELD

MOST_BOTS: Final = 100
"""How many of the newest bots are shown. Others are found by searching."""
_FIRST: Final = 40
"""Rows of each table in the first message: more than a screen shows, and as many for any size of the fleet."""
_SLICE: Final = 250
_WORST_FIRST: Final = (VmState.LOST, VmState.SILENT, VmState.STOPPING, VmState.DRAINING, VmState.RESTING)
_NUMBERS: Final = re.compile(r"(\d+)")


class VmRow(msgspec.Struct, frozen=True):
    """`workers`: how many are warming, idle, reserved, busy and retiring. `rank`: 0 for those that need somebody most;
    VMs of a higher rank are shown after them. `displays`: those of the workers that have one.
    """

    id: str
    state: str
    workers: tuple[int, ...]
    drains: bool
    rank: int
    displays: tuple[int, ...]


class BotRow(msgspec.Struct, frozen=True):
    """Times are epoch seconds; 0: never. `since`: when its state began. `join_s`: from its assignment to its
    meeting.
    """

    id: str
    name: str
    platform: str
    state: str
    status: str
    reason: str
    whose: str
    attempt: int
    vm: str
    screen: str
    created: float
    since: float
    join_s: float | None


class Head(msgspec.Struct, frozen=True):
    """The fleet's numbers. `target`: how many idle workers there should be. `vms_there`: how many VMs there are; while
    fewer were read, `vms`, `workers` and `target` are of those. `counted`: whether `bots` and the queue are complete.
    `oldest_since`: since when the bot waits that has waited longest; 0: none waits.
    """

    leader: str
    epoch: int
    jobs_waiting: int
    bots_live: int
    min_idle: int
    target: int
    workers: dict[str, int]
    vms: dict[str, int]
    vms_there: int
    bots: dict[str, int]
    queued: int
    oldest_since: float
    counted: bool


class Everything(msgspec.Struct, frozen=True, tag_field="kind", tag="all"):
    """What is seen first, of any fleet: the VMs that need somebody most, and the newest bots. The rest follows as
    differences, up to the first with `whole`. `whole`: nothing follows.
    """

    at: float
    head: Head | None
    vms: list[VmRow]
    bots: list[BotRow]
    hour: list[Minute]
    whole: bool


class Difference(msgspec.Struct, frozen=True, tag_field="kind", tag="change", omit_defaults=True):
    """Everything that changed, as complete rows. `gone`: removed VMs. `no_more`: bots that are not shown any more.
    `whole`: from here on, all VMs and bots that are shown were told.
    """

    at: float
    head: Head | None = None
    vms: list[VmRow] = []
    gone: list[str] = []
    bots: list[BotRow] = []
    no_more: list[str] = []
    hour: list[Minute] = []
    whole: bool = False


class _Brief(NamedTuple):
    """What is kept of a live bot. `since`: when its state began, epoch seconds."""

    name: str
    state: str
    since: float
    assigned: float


class Outlook:
    """The whole fleet. `pool`: what each VM that is up is to have. `whole`: whether all of its VMs were read."""

    def __init__(self, pool: PoolSettings) -> None:
        self.vms: dict[str, VmView] = {}
        self.bots: dict[str, BotRow] = {}
        self.hour = Hour()
        self.counted = False
        self.whole = False
        self._pool = pool
        self._with_displays = 0  # VMs that are up and make workers with a display
        self._standing: Standing | None = None
        self._vms_there = 0
        self._told_whole = False
        self._live: dict[str, _Brief] = {}
        self._bots: Counter[str] = Counter()  # live ones by state
        self._queued: dict[str, float] = {}  # since when
        self._vms: Counter[str] = Counter()  # by state
        self._workers: Counter[str] = Counter(dict.fromkeys((state.value for state in WorkerState), 0))
        self._head: Head | None = None
        self._changed_vms: set[str] = set()
        self._changed_bots: set[str] = set()

    # What was read

    def put_standing(self, standing: Standing) -> None:
        self._standing = standing

    def put_vm(self, vm: VmView) -> None:
        if self.vms.get(vm.vm_id) != vm:
            self._set_vm(vm.vm_id, vm)

    def keep_vms(self, vm_ids: Iterable[str]) -> list[str]:
        """Drop all other VMs. Returns the ids of those that are new here."""
        there = set(vm_ids)
        self._vms_there = len(there)
        for vm_id in self.vms.keys() - there:
            self._set_vm(vm_id, None)
        return sorted(there - self.vms.keys(), key=_natural)

    def put_bot(self, record: Mapping[str, str]) -> None:
        """Take a bot's record. The bot is shown if it is among the newest."""
        row = row_of(record)
        if row.state == BotState.STOPPED:
            self._set_live(row.id, None)
        else:
            assigned = _time(record, "assigned_at")
            before = self._live.get(row.id)
            queued = before and before.state == row.state == BotState.QUEUED
            since = before.since if before and queued else row.since  # a record does not say when it was requeued
            self._set_live(row.id, _Brief(row.name, row.state, since, assigned))
        if self.bots.get(row.id) != row:
            self.bots[row.id] = row
            self._changed_bots.add(row.id)
        if len(self.bots) > MOST_BOTS:
            oldest = min(self.bots.values(), key=lambda bot: (bot.created, bot.id))
            del self.bots[oldest.id]
            self._changed_bots.add(oldest.id)

    def put_live(self, record: Mapping[str, str]) -> None:
        """Take a live bot, which need not be among the newest."""
        row = row_of(record)
        if row.state != BotState.STOPPED and row.id not in self._live:
            self._set_live(row.id, _Brief(row.name, row.state, row.since, _time(record, "assigned_at")))

    def keep_live(self, live: Iterable[str]) -> list[str]:
        """Drop all other live bots. Returns the ids of those that are new here."""
        there = set(live)
        for bot_id in self._live.keys() - there:
            self._set_live(bot_id, None)
        return sorted(there - self._live.keys())

    def happened(self, change: StatusChange) -> None:
        """Take a status change. If the bot has joined, count how long that took."""
        bot_id, state = change.fields["bot_id"], change.fields.get("state", "")
        at = _time(change.fields, "at")
        before = self._live.get(bot_id, _Brief("", "", 0.0, 0.0))
        if state == BotState.STOPPED:
            self._set_live(bot_id, None)
        elif state in _LIVE:
            if state == BotState.IN_MEETING and before.assigned:
                self.hour.joined(at, max(0.0, at - before.assigned))
            assigned = at if state == BotState.ASSIGNED else before.assigned
            self._set_live(bot_id, before._replace(state=state, since=at, assigned=assigned))

    # What is shown

    def find(self, text: str, most: int) -> tuple[list[str], list[str]]:
        """The ids of VMs, and of bots by name or id, that contain `text` in any case."""
        wanted = text.casefold()
        vms = sorted(vm_id for vm_id in self.vms if wanted in vm_id.casefold())[:most]
        names = {bot.id: bot.name for bot in self.bots.values()} | {
            bot_id: bot.name for bot_id, bot in self._live.items()
        }
        bots = [bot_id for bot_id, name in names.items() if wanted in name.casefold() or wanted in bot_id.casefold()]
        return vms, bots[:most]

    def in_state(self, state: str, most: int) -> list[str]:
        """Ids of live bots in `state`. Those that are in it longest come first."""
        found = [(bot.since, bot_id) for bot_id, bot in self._live.items() if bot.state == state]
        return [bot_id for _, bot_id in nsmallest(most, found)]

    def everything(self, now: float) -> tuple[Everything, list[Difference]]:
        """What is seen first, and the rest in slices."""
        vms = sorted(map(_vm_row, self.vms.values()), key=lambda vm: (vm.rank, _natural(vm.id)))
        bots = sorted(self.bots.values(), key=lambda bot: (bot.created, bot.id), reverse=True)
        more = [vms[start : start + _SLICE] for start in range(_FIRST, len(vms), _SLICE)]
        rest = [Difference(now, vms=rows) for rows in more]
        if later := bots[_FIRST:]:
            rest.insert(0, Difference(now, bots=later))
        if rest and self.whole:
            rest[-1] = msgspec.structs.replace(rest[-1], whole=True)
        whole = self.whole and not rest
        return Everything(now, self.head_now(), vms[:_FIRST], bots[:_FIRST], self.hour.all(), whole), rest

    def take_difference(self, now: float) -> Difference | None:
        """What changed since the last call; None: nothing."""
        head, before = self.head_now(), self._head
        vms, bots = self._changed_vms, self._changed_bots
        self._head, self._changed_vms, self._changed_bots = head, set(), set()
        whole, self._told_whole = self.whole and not self._told_whole, self.whole
        difference = Difference(
            now,
            head if head != before else None,
            [_vm_row(self.vms[vm_id]) for vm_id in sorted(vms & self.vms.keys())],
            sorted(vms - self.vms.keys()),
            [self.bots[bot_id] for bot_id in sorted(bots & self.bots.keys())],
            sorted(bots - self.bots.keys()),
            self.hour.take_changed(),
            whole,
        )
        return difference if any(list(_parts(difference))[1:]) else None

    # Counters are kept up to date, because a fleet may have thousands of VMs and bots

    def _set_vm(self, vm_id: str, vm: VmView | None) -> None:
        if before := self.vms.pop(vm_id, None):
            self._vms[before.state] -= 1
            self._workers.subtract(before.workers)
            self._with_displays -= _makes_displays(before)
        if vm:
            self.vms[vm_id] = vm
            self._vms[vm.state] += 1
            self._workers.update(vm.workers)
            self._with_displays += _makes_displays(vm)
        self._changed_vms.add(vm_id)

    def _set_live(self, bot_id: str, bot: _Brief | None) -> None:
        if before := self._live.pop(bot_id, None):
            self._bots[before.state] -= 1
            self._queued.pop(bot_id, None)
        if bot:
            self._live[bot_id] = bot
            self._bots[bot.state] += 1
            if bot.state == BotState.QUEUED:
                self._queued[bot_id] = bot.since

    def head_now(self) -> Head | None:
        """The fleet's numbers; None until they were read."""
        if self._standing is None:
            return None
        standing = self._standing
        facts = (standing.leader, standing.epoch, standing.jobs_waiting, standing.bots_live)
        pool = self._pool
        target = self._vms["up"] * pool.min_idle + self._with_displays * pool.min_idle_display
        counts = (dict(self._workers), _some(self._vms), self._vms_there, _some(self._bots))
        oldest = min(self._queued.values(), default=0.0)
        return Head(*facts, pool.min_idle, target, *counts, len(self._queued), oldest, self.counted)


_LIVE: Final = frozenset(state for state in BotState if state is not BotState.STOPPED)


def _parts(difference: Difference) -> Iterator[object]:
    return (getattr(difference, name) for name in difference.__struct_fields__)


def _some(counts: Counter[str]) -> dict[str, int]:
    return {word: number for word, number in counts.items() if number}


def _vm_row(vm: VmView) -> VmRow:
    workers = tuple(vm.workers[state] for state in WorkerState)
    displays = tuple(vm.displays.get(state, 0) for state in WorkerState) if vm.displays else ()
    return VmRow(vm.vm_id, vm.state, workers, vm.draining, _rank(vm), displays)


def _makes_displays(vm: VmView) -> bool:
    return vm.makes_displays and vm.state is VmState.UP


def _rank(vm: VmView) -> int:
    if vm.state in _WORST_FIRST:
        return _WORST_FIRST.index(vm.state)
    return len(_WORST_FIRST) + bool(vm.workers[WorkerState.IDLE])


def _natural(name: str) -> list[str | int]:
    """A key to sort names by, in which vm-9 comes before vm-10."""
    return [int(part) if number % 2 else part for number, part in enumerate(_NUMBERS.split(name))]


def row_of(record: Mapping[str, str]) -> BotRow:
    state = record["state"]
    assigned, joined = _time(record, "assigned_at"), _time(record, "inmeeting_at")
    field = TIME_FIELD.get(BotState(state), "") if state in set(BotState) else ""
    begun = max(_time(record, "created_at"), _time(record, "join_at") if state != BotState.SCHEDULED else 0.0)
    return BotRow(
        record["bot_id"],
        record["bot_name"],
        record["platform"],
        state,
        record["status"],
        record["status_reason"],
        record["attribution"],
        int(record["attempt"] or 0),
        record["vm_id"],
        record["screen"],
        _time(record, "created_at"),
        _time(record, field) or begun,
        round(joined - assigned, 2) if joined and assigned else None,
    )


def _time(fields: Mapping[str, str], name: str) -> float:
    """Epoch seconds of a time in a record; 0 if it is missing or unreadable."""
    try:
        return epoch(fields[name])
    except (KeyError, ValueError):
        return 0.0
