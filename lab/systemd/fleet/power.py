"""Machines that lose power, and one that is rebooted. What the kernel had of their files is there afterwards, since it
is this machine's kernel, which goes on.
"""

import time
from typing import Final

from lab.systemd.fleet import steps
from lab.systemd.fleet.calls import SETTLE_S, calls
from lab.systemd.fleet.fleet import Fleet
from lab.systemd.inside import AGENT, throughout, until

_LEASE_S: Final = 3.0
_LED_S: Final = _LEASE_S + 5.0
"""What the loss of a leader may take: its lease, and a standby that shares two processors with everything here."""
_DRAINS_ON_S: Final = 5.0


def of_leader(fleet: Fleet) -> None:
    """Redis' primary is on another machine."""
    steps.part_leader_and_primary(fleet)
    with calls(fleet, "leader-power") as going:
        leader = fleet.leader()
        began = time.monotonic()
        _cut(fleet, leader)
        struck = time.monotonic()
        led_s = steps.until_led(fleet, leader) - began
        seen = f"{led_s:.1f} s after the cut, lease.ttl_s {_LEASE_S:g}"
        fleet.report.check("the other one leads", led_s < _LED_S, seen)
        served_s = going.served_after(struck) - began
        fleet.report.check("a new bot is in its meeting", served_s < _LED_S, f"{served_s:.1f} s after the cut")
        steps.a_whole_job(fleet, "leader-power-later")
        going.undisturbed()


def of_primary(fleet: Fleet) -> None:
    """The leader is on another machine."""
    steps.part_leader_and_primary(fleet)
    _lose_primary(fleet, "primary-power")


def of_both(fleet: Fleet) -> None:
    """The worst single machine to lose."""
    steps.join_leader_and_primary(fleet)
    _lose_primary(fleet, "both-power")


def reboot(fleet: Fleet) -> None:
    """Of an agent's machine with a call, which it lets end."""
    name = "agent-1"
    with calls(fleet, "reboot") as going:
        computer = fleet.computers[name]
        [mine] = [bot_id for bot_id in going.real if f"-{name}-" in bot_id]
        fleet.report.line(f"# systemctl reboot, on {name}")
        computer.machine.do("systemctl", "reboot")
        until(SETTLE_S, "its agent drains", lambda: computer.inside.unit(AGENT).active == "deactivating")
        went_on = throughout(_DRAINS_ON_S, lambda: fleet.attendance(mine) == [f"came: {mine}"])
        steps.a_whole_job(fleet, "reboot-meanwhile")
        went_on &= computer.inside.unit(AGENT).active == "deactivating"
        fleet.report.check("it waits for the call, others take new work", went_on, f"{mine} is {fleet.state(mine)}")
        fleet.end_meeting(mine)
        began = time.monotonic()
        computer.await_end(SETTLE_S)
        off_s, began = time.monotonic() - began, time.monotonic()
        computer.switch_on()
        computer.await_up()
        fleet.await_whole()
        back_s = time.monotonic() - began
        seen = f"off {off_s:.1f} s after the call's end, warm again {back_s:.1f} s later"
        fleet.report.check("then it goes, and is back with warm browsers", True, seen)
        steps.a_whole_job(fleet, "reboot-later", name)
        going.ended(mine)
        going.undisturbed()


def _lose_primary(fleet: Fleet, scene: str) -> None:
    with calls(fleet, scene) as going:
        steps.fails_over(fleet, lambda primary: _cut(fleet, primary), going.served_after)
        steps.a_whole_job(fleet, f"{scene}-later")
        going.undisturbed()


def _cut(fleet: Fleet, name: str) -> None:
    fleet.computers[name].cut_power()
    fleet.report.line(f"{name} has no power")
