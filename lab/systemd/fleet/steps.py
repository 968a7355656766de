"""What several scenes do to the fleet, and wait for."""

import time
from collections.abc import Callable
from typing import Final

from lab.systemd.fleet.calls import SETTLE_S
from lab.systemd.fleet.fleet import CORES, MANAGERS, Fleet
from lab.systemd.inside import MANAGER, until

_FAILED_OVER_S: Final = 30.0


def a_whole_job(fleet: Fleet, name: str, agent: str = "") -> None:
    """Of a bot with a browser. `agent`: the machine that it is to be on."""
    began = time.monotonic()
    fleet.enter(name, agent)
    fleet.await_entered(name)
    took_s = time.monotonic() - began
    vm_id = fleet.bot(name).get("vm_id")
    fleet.end_meeting(name)
    reason = until(SETTLE_S, f"{name} has ended", lambda: fleet.bot(name).get("status_reason"))
    seen = f"in after {took_s:.1f} s, from {vm_id}, {reason}"
    fleet.report.check("a whole job with a browser", reason == "meeting_ended", seen)


def fails_over(fleet: Fleet, fault: Callable[[str], None], served_after: Callable[[float], float]) -> str:
    """Do this to the primary's machine, and check that another Redis takes writes and all goes on there. Returns
    the machine's name.
    """
    primary = fleet.primary()
    epoch = fleet.epoch(primary)
    began = time.monotonic()
    fault(primary)
    struck = time.monotonic()
    after = until(SETTLE_S, "another Redis takes writes", lambda: _other_primary(fleet, primary))
    promoted_s = time.monotonic() - began
    until(SETTLE_S, "a manager leads there", lambda: fleet.epoch(after) > epoch)
    led_s = time.monotonic() - began
    served_s = served_after(struck) - began
    fleet.report.check(
        "another Redis takes writes, a manager leads, a new bot is in",
        served_s < _FAILED_OVER_S,
        f"{promoted_s:.1f}, {led_s:.1f} and {served_s:.1f} s later: {after}",
    )
    return primary


def _other_primary(fleet: Fleet, before: str) -> str:
    for name in CORES:
        role = fleet.ask(name, "ROLE") if name != before else None
        if role and role[0] == "master":
            return name
    return ""


def until_led(fleet: Fleet, before: str) -> float:
    """When another manager leads."""
    until(SETTLE_S, "another manager leads", lambda: fleet.leader() not in ("", before))
    return time.monotonic()


def part_leader_and_primary(fleet: Fleet) -> None:
    """Afterwards they are on two machines."""
    if fleet.leader() == fleet.primary():
        pass_on_the_lead(fleet)


def join_leader_and_primary(fleet: Fleet) -> None:
    """Afterwards they are on one machine."""
    if fleet.primary() not in MANAGERS:
        fleet.report.line("# SENTINEL FAILOVER poolmgr")
        until(SETTLE_S, "the sentinels begin a failover", fleet.fail_over)
        until(SETTLE_S, "the primary is beside a manager", lambda: fleet.primary() in MANAGERS)
        fleet.await_whole()
    if fleet.leader() != fleet.primary():
        pass_on_the_lead(fleet)


def pass_on_the_lead(fleet: Fleet) -> None:
    leader = fleet.leader()
    fleet.report.line(f"# systemctl restart poolmgr, on {leader}")
    fleet.computers[leader].machine.do("systemctl", "restart", MANAGER, timeout_s=SETTLE_S)
    until_led(fleet, leader)
    fleet.await_whole()
