"""The choices, as tables."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config.settings import PoolSettings
from common.wire.vocabulary import BotState, OnWorkerLost, Reason, WorkerState
from poolmgr.core.fleet import Fleet
from poolmgr.core.load import JobKind
from poolmgr.core.model import Bot, Vm, Worker
from poolmgr.core.policy import (
    backoff_s,
    can_warm,
    is_sent_in_again,
    leave_when_cut_off_s,
    most_lost_at_once,
    pick_worker,
    recycled_first,
    shortfall,
    surplus,
    to_trim,
    vm_to_finish,
)
from tests.core.builders import job

NOW = 1000.0
LETTERS = {
    "w": WorkerState.WARMING,
    "i": WorkerState.IDLE,
    "d": WorkerState.IDLE,  # idle, with a display
    "v": WorkerState.WARMING,  # will have one
    "o": WorkerState.IDLE,  # idle and too old
    "r": WorkerState.RESERVED,
    "b": WorkerState.BUSY,
    "x": WorkerState.RETIRING,
}


def vm_with(workers: str = "", *, room: int = 99, since: list[float] | None = None, **facts: Any) -> Vm:
    """One worker a letter; `since` of the idle ones, oldest first."""
    vm = Vm("vm", "s", NOW, room=room, **facts)
    fleet = Fleet(PoolSettings())
    times = iter(since or [])
    for n, letter in enumerate(workers):
        at = next(times, NOW) if letter in "iod" else NOW
        worker = Worker(f"w{n}", "vm", LETTERS[letter], at, at, aged=letter == "o", display=letter in "dv")
        fleet.add_worker(vm, worker)
    return vm


@pytest.mark.parametrize(
    ("vm", "expected"),
    [
        (vm_with(), True),
        (vm_with("w"), True),
        (vm_with("ww"), False),  # warmups_at_once
        (vm_with("bbb"), True),
        (vm_with("bbbb"), False),  # max_workers
        (vm_with("bbxx"), False),  # one that is ending still has its memory
        (vm_with("ii", room=1), True),
        (vm_with(room=0), False),
        (vm_with(room=-1), False),
        (vm_with(draining=True), False),
        (vm_with(stopping=True), False),
        (vm_with(silent=True), False),
        (vm_with(lost=True), False),
        (vm_with(backoff_until=NOW), True),
        (vm_with(backoff_until=NOW + 0.001), False),
    ],
)
def test_a_warm_up_keeps_every_limit(vm: Vm, expected: bool) -> None:
    assert can_warm(vm, PoolSettings(max_workers=4, warmups_at_once=2), NOW) is expected


@pytest.mark.parametrize(
    ("workers", "lacks"),
    [
        ("", 3),
        ("i", 2),
        ("iw", 1),
        ("www", 0),
        ("iii", 0),
        ("iiii", -1),
        ("bbb", 3),
        ("rrx", 3),
        ("iio", 1),  # the old one's replacement comes first
        ("oow", 2),
    ],
)
def test_a_vm_lacks_what_is_neither_idle_and_young_nor_on_its_way(workers: str, lacks: int) -> None:
    assert shortfall(vm_with(workers), PoolSettings(min_idle=3)) == lacks


@pytest.mark.parametrize(("workers", "above"), [("", -2), ("ii", 0), ("iio", 1), ("iiwb", 0), ("iiii", 2)])
def test_surplus_is_every_idle_worker_above_min_idle(workers: str, above: int) -> None:
    assert surplus(vm_with(workers), PoolSettings(min_idle=2)) == above


@pytest.mark.parametrize(
    ("workers", "since", "trimmed"),
    [
        ("ii", [0, 0], []),  # no surplus, however long they stand
        ("iii", [0, 0, 0], ["w0"]),  # the oldest
        ("iiii", [0, 0, 0, 0], ["w0", "w1"]),
        ("iii", [901, 902, 903], []),  # not yet
        ("iii", [900, 950, 990], ["w0"]),  # exactly
        ("iiii", [900, 901, 990, 990], ["w0"]),
        ("iio", [0, 0, 999], ["w2"]),  # the old one first, whenever it became idle
        ("ooi", [0, 0, 999], ["w0"]),  # the other old one waits for its replacement
        ("oo", [0, 0], []),
        ("iibbb", [0, 0], []),
        ("", [], []),
    ],
)
def test_only_the_surplus_is_trimmed_oldest_first(workers: str, since: list[float], trimmed: list[str]) -> None:
    settings = PoolSettings(min_idle=2, idle_ttl_s=100)
    assert [w.worker_id for w in to_trim(vm_with(workers, since=since), settings, NOW)] == trimmed


@given(st.text("iowrbx", max_size=12), st.integers(0, 6), st.integers(0, 2000))
def test_trimming_never_goes_below_min_idle(workers: str, min_idle: int, now: int) -> None:
    vm = vm_with(workers)
    trimmed = list(to_trim(vm, PoolSettings(min_idle=min_idle), now))
    assert len(vm.idle) - len(trimmed) >= min(min_idle, len(vm.idle))


@pytest.mark.parametrize(
    ("workers", "first"),
    [
        ("iio", "w2"),
        ("ooi", "w0"),
        ("iii", None),
        ("io", None),  # there is room for its replacement
        ("iob", None),  # the busy one will make room
        ("iow", None),
        ("iox", None),
    ],
)
def test_an_old_worker_goes_before_its_replacement_only_when_it_never_fits(workers: str, first: str | None) -> None:
    chosen = recycled_first(vm_with(workers), PoolSettings(min_idle=3, max_workers=3))
    assert (chosen.worker_id if chosen else None) == first


def test_the_newest_idle_worker_gets_the_bot() -> None:
    assert pick_worker(vm_with("wiibi", since=[1, 2, 3]), JobKind.LISTENS).worker_id == "w4"


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, 30), (6, 30), (1000, 30), (10**9, 30)]
)
def test_backoff_doubles_up_to_its_longest(failures: int, seconds: float) -> None:
    assert backoff_s(failures, PoolSettings(backoff_s=2, backoff_max_s=30)) == seconds


E, R = OnWorkerLost


@pytest.mark.parametrize(("state", "told_to"), [(BotState.LEAVING, False), (BotState.IN_MEETING, True)])
def test_nobody_is_sent_in_again_who_is_to_be_out(state: BotState, *, told_to: bool) -> None:
    bot = Bot("a", job(on_worker_lost=R), 1, 0.0, state, leave_requested=told_to)
    assert not is_sent_in_again(bot, PoolSettings(), Reason.WORKER_LOST, is_out=True)


@pytest.mark.parametrize(
    ("asked", "by_default", "state", "is_out", "again"),
    [
        (None, E, BotState.WAITING_ROOM, True, True),
        (None, E, BotState.WAITING_ROOM, False, False),  # it may still be in the lobby over there
        (None, E, BotState.IN_MEETING, True, False),
        (None, E, BotState.IN_MEETING, False, False),
        (None, R, BotState.IN_MEETING, True, True),
        (None, R, BotState.IN_MEETING, False, True),  # it has left by itself meanwhile
        (E, R, BotState.IN_MEETING, True, False),
        (R, E, BotState.WAITING_ROOM, False, True),
    ],
)
def test_who_is_sent_in_again(
    asked: OnWorkerLost | None, by_default: OnWorkerLost, state: BotState, *, is_out: bool, again: bool
) -> None:
    bot = Bot("a", job(on_worker_lost=asked), 1, 0.0, state)
    settings = PoolSettings(on_worker_lost=by_default, max_attempts=2, lost_after_s=60)
    assert is_sent_in_again(bot, settings, Reason.WORKER_LOST, is_out=is_out) is again
    bot.failed = 2
    assert not is_sent_in_again(bot, settings, Reason.WORKER_LOST, is_out=is_out)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.end.retry])
def test_who_was_in_the_meeting_rejoins_it_only_when_its_worker_was_lost(reason: Reason) -> None:
    page = (Reason.PAGE_LOAD_FAILED, Reason.UI_ELEMENT_NOT_FOUND, Reason.UNEXPECTED_REDIRECT, Reason.CONNECTION_LOST)
    bot = Bot("a", job(on_worker_lost=R), 1, 0.0, BotState.IN_MEETING)
    assert is_sent_in_again(bot, PoolSettings(), reason, is_out=True) is (reason not in page)
    bot.state = BotState.WAITING_ROOM
    assert is_sent_in_again(bot, PoolSettings(), reason, is_out=True)


@pytest.mark.parametrize(
    ("asked", "by_default", "seconds"), [(None, E, 0.0), (None, R, 30.0), (E, R, 0.0), (R, E, 30.0), (R, R, 30.0)]
)
def test_only_who_would_be_sent_in_again_leaves_when_cut_off_and_in_time(
    asked: OnWorkerLost | None, by_default: OnWorkerLost, seconds: float
) -> None:
    settings = PoolSettings(on_worker_lost=by_default, lost_after_s=60)
    assert leave_when_cut_off_s(Bot("a", job(on_worker_lost=asked), 1, 0.0, BotState.QUEUED), settings) == seconds


@pytest.mark.parametrize(("vms", "most"), [(0, 2), (1, 2), (3, 2), (20, 2), (21, 3), (1000, 100)])
def test_few_vms_are_given_up_at_a_time(vms: int, most: int) -> None:
    assert most_lost_at_once(vms, PoolSettings(lost_share=0.1)) == most


@pytest.mark.parametrize(
    ("vms", "chosen"),
    [
        ({"own": {}, "b": {}}, "own"),
        ({"own": {"draining": True, "stopping": True}, "b": {}}, "own"),  # its disk has more
        ({"own": {"silent": True}, "b": {}}, "b"),
        ({"own": {"lost": True}, "b": {"bots": 2}, "c": {"bots": 1}}, "c"),
        ({"b": {"draining": True}, "c": {"silent": True}}, None),
        ({}, None),
    ],
)
def test_files_that_do_not_come_are_made_where_the_disk_is_or_where_fewest_bots_are(
    vms: dict[str, dict[str, Any]], chosen: str | None
) -> None:
    def vm(vm_id: str, bots: int = 0, **facts: Any) -> Vm:
        made = Vm(vm_id, "s", NOW, **facts)
        made.carried[JobKind.LISTENS] = bots
        return made

    assert vm_to_finish([vm(vm_id, **facts) for vm_id, facts in vms.items()], "own") == chosen


def test_files_that_a_vm_cannot_make_another_one_makes_if_there_is_one() -> None:
    vms = [Vm(vm_id, "s", NOW) for vm_id in ("own", "b", "c")]
    assert vm_to_finish(vms, "own", "own") in ("b", "c")
    assert vm_to_finish(vms[1:], "own", "b") == "c"
    assert vm_to_finish(vms, "own", "b") == "own"
    assert vm_to_finish(vms[:1], "own", "own") == "own", "of what the store has, which it may not have tried"
