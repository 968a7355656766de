"""Every state has a row in the table of backstops, and every timer a place in it or in the table of deadlines."""

import re
from pathlib import Path
from typing import Final

import pytest

from common.config.settings import PoolSettings
from common.runtime.clock import Clock
from common.wire.vocabulary import BotState, WorkerState
from poolmgr.core.pool import Pool
from poolmgr.core.timers import Timer
from poolmgr.observe.metrics import PoolGauges

ARCHITECTURE: Final = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()


def section(title: str) -> str:
    return re.split(r"^#+ ", ARCHITECTURE.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(title: str, width: int) -> list[list[str]]:
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert {len(row) for row in cells} == {width}
    return cells[2:]


def vm_states() -> set[str]:
    gauges = PoolGauges(Clock())
    gauges.pool = Pool(PoolSettings())
    [vms] = [family for family in gauges.collect() if family.name == "poolmgr_vms"]
    return {sample.labels["state"] for sample in vms.samples}


STATES: Final[dict[str, set[str]]] = {"bot": {*BotState}, "worker": {*WorkerState}, "VM": vm_states()}


@pytest.mark.parametrize(("of", "states"), STATES.items(), ids=STATES)
def test_every_state_has_a_deadline_and_a_backstop(of: str, states: set[str]) -> None:
    of_kind = [row for row in rows("Backstops", 4) if row[0] == of]
    assert sorted(row[1] for row in of_kind) == sorted(f"`{state}`" for state in states)
    assert all(own and behind for _, _, own, behind in of_kind)


def test_every_timer_of_the_manager_has_its_row() -> None:
    named = [row[0] for row in re.findall(r"^\| `(\w+)` \|() ", section("Deadlines"), re.MULTILINE)]
    assert sorted(named) == sorted(Timer)


def test_every_timer_that_ends_something_stands_in_the_table_of_backstops() -> None:
    """Those of reserving do not end anything: they begin."""
    named = set(re.findall(r"`(\w+)`", section("Backstops")))
    assert {str(timer) for timer in Timer} - named == {Timer.RESERVE}
