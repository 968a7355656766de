"""Every program of the fleet is killed, one after the other, with calls under way; systemd starts each again."""

import time
from random import Random
from typing import Final

from lab.systemd.fleet import steps
from lab.systemd.fleet.calls import SETTLE_S, calls
from lab.systemd.fleet.fleet import AGENTS, CORES, MANAGERS, Fleet
from lab.systemd.inside import AGENT, MANAGER, until

_UNITS: Final = (
    *((name, MANAGER) for name in MANAGERS),
    *((name, AGENT) for name in AGENTS),
    *((name, unit) for name in CORES for unit in ("redis-server", "redis-sentinel")),
)
_BETWEEN_S: Final = (1.0, 6.0)


def everything(fleet: Fleet) -> None:
    """In an order by chance, some at the same time. Only Redis is let recover before more of it is killed: where two of
    three are away at once, a failover may undo what both had confirmed (docs/operations.md).
    """
    chance = Random(1)
    with calls(fleet, "kills") as going:
        for name, unit in chance.sample(_UNITS, len(_UNITS)):
            if unit not in (MANAGER, AGENT):
                until(SETTLE_S, "Redis is whole", lambda: not fleet.ailments_of_redis())
            fleet.report.line(f"# systemctl kill -s KILL {unit}, on {name}")
            fleet.computers[name].machine.do("systemctl", "kill", "-s", "KILL", "--kill-whom=main", unit)
            time.sleep(chance.uniform(*_BETWEEN_S))
        began = time.monotonic()
        fleet.await_whole()
        fleet.report.check("the fleet is whole again", True, f"{time.monotonic() - began:.1f} s after the last one")
        steps.a_whole_job(fleet, "kills-later")
        going.undisturbed()
