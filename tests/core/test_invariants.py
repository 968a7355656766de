"""The rules that hold after every event: each of them can be broken, and is then told."""

import pytest

from common.wire.vocabulary import BotState
from poolmgr.core.invariants import broken_invariants
from poolmgr.core.load import JobKind
from poolmgr.core.pool import Pool
from tests.core.builders import IDLE, full


def break_it(how: str) -> Pool:
    sc = full(min_idle=2)
    sc.submit("a", "b")
    sc.fill()
    pool, vm = sc.pool, sc.vm()
    a, b = pool.bots["a"], pool.bots["b"]
    match how:
        case "ended":
            a.state = BotState.STOPPED
        case "not in line":
            a.state = BotState.QUEUED
        case "no worker":
            pool.fleet.drop_worker(vm, vm.workers[a.worker_id])
        case "another's worker":
            a.worker_id = b.worker_id
        case "waits":
            a.state = BotState.QUEUED
            pool.queue.add(a)
        case "not listed":
            vm.idle.popitem()
        case "not in order":
            vm.idle[next(iter(vm.idle))].since += 1e9
        case "miscounted on its VM":
            vm.warming += 1
        case "miscounted kinds":
            vm.carried[JobKind.PICTURE] += 1
        case "another place":
            del pool.fleet.everywhere.vms["vm"]
        case "miscounted in a place":
            pool.fleet.everywhere.others.warming += 1
        case "miscounted displays":
            vm.idle_displays += 1
        case "miscounted displays of all":
            pool.fleet.displays[IDLE] += 1
        case "miscounted displays in a place":
            pool.fleet.everywhere.others.warming_displays += 1
        case "another kind":
            vm.workers[a.worker_id].kind = JobKind.PICTURE
        case _:
            pool.fleet.workers[IDLE] += 1
    return pool


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("ended", "bot a has ended but is still known"),
        ("not in line", "bot a is queued, but in the queue: False"),
        ("no worker", "bot a is assigned without a busy worker of its own"),
        ("another's worker", "has two bots: a and b"),
        ("waits", "bot a waits although it has worker"),
        ("waits", "somebody waits although a worker is idle"),
        ("not listed", "the idle list of vm is not its idle workers"),
        ("not in order", "the idle list of vm is not oldest first"),
        ("miscounted on its VM", "workers of vm are warming, "),
        ("miscounted kinds", "vm carries "),
        ("another kind", "its bot is "),
        ("miscounted displays", "vm has "),
        ("miscounted displays of all", " have a display, "),
        ("miscounted displays in a place", "0 with a display warm where VMs have [], 1 are counted"),
        ("another place", "1 VMs have [], 0 are known to"),
        ("miscounted in a place", "0 workers warm where VMs have [], 1 are counted"),
        ("miscounted", "2 workers are idle, 3 are counted"),
    ],
)
def test_a_broken_rule_is_told(how: str, told: str) -> None:
    assert any(told in fault for fault in broken_invariants(break_it(how)))
