"""Every program of the fleet is killed, one after the other, with calls under way; systemd starts each again."""

import time
from random import Random
from typing import Final

from lab.systemd.fleet import steps
from lab.systemd.fleet.calls import calls
from lab.systemd.fleet.fleet import AGENTS, CORES, MANAGERS, Fleet
from lab.systemd.inside import AGENT, MANAGER

_UNITS: Final = (
    *((name, MANAGER) for name in MANAGERS),
    *((name, AGENT) for name in AGENTS),
    *((name, unit) for name in CORES for unit in ("redis-server", "redis-sentinel")),
)
_BETWEEN_S: Final = (1.0, 6.0)


def everything(fleet: Fleet) -> None:
    """In an order by chance, without waiting until the fleet is whole again. Some are gone at the same time so."""
    chance = Random(1)
    with calls(fleet, "kills") as going:
        for name, unit in chance.sample(_UNITS, len(_UNITS)):
            fleet.report.line(f"# systemctl kill -s KILL {unit}, on {name}")
            fleet.computers[name].machine.do("systemctl", "kill", "-s", "KILL", "--kill-whom=main", unit)
            time.sleep(chance.uniform(*_BETWEEN_S))
        began = time.monotonic()
        fleet.await_whole()
        fleet.report.check("the fleet is whole again", True, f"{time.monotonic() - began:.1f} s after the last one")
        steps.a_whole_job(fleet, "kills-later")
        going.undisturbed()
