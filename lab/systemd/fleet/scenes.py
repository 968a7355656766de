"""What is done to the fleet, one scene after the other. Each finds it whole and leaves it so, and can be run alone."""

from collections.abc import Callable
from typing import Final, NamedTuple

from lab.systemd.fleet import cables, clocks, kills, power, shortages, upgrade
from lab.systemd.fleet.fleet import Fleet


class Scene(NamedTuple):
    title: str
    play: Callable[[Fleet], None]


UPGRADE: Final = "upgrade"
SCENES: Final = {
    "leader-power": Scene("the machine of the leading manager loses power", power.of_leader),
    "primary-power": Scene("the machine of Redis' primary loses power", power.of_primary),
    "both-power": Scene("the machine with both loses power", power.of_both),
    "reboot": Scene("an agent's machine is rebooted in mid-call", power.reboot),
    "agent-cable": Scene("the cable of an agent's machine is out, for seconds and for a minute", cables.of_agent),
    "leader-cable": Scene("the cable of the leading manager's machine is out for a minute", cables.of_leader),
    "both-cable": Scene("the cable of the machine with leader and primary is out for a minute", cables.of_both),
    "disk": Scene("the disk of an agent's machine is full", shortages.disk),
    "disk-recorded": Scene("the disk of an agent's machine is full while a bot there records", shortages.recording),
    "memory": Scene("an agent's machine has no memory left", shortages.memory),
    "kills": Scene("every program is killed, one after the other", kills.everything),
    "clock": Scene("a clock is five minutes off", clocks.off),
    UPGRADE: Scene("all programs are upgraded under 8 calls with browsers and 200 without", upgrade.of_everything),
}


def play(name: str, fleet: Fleet) -> None:
    """If it cannot go on, that is noted, with the ends of the journals, and the fleet is made whole for the next scene.
    Raises: FleetError when that fails.
    """
    failed = fleet.report.failed
    with fleet.report.part(f"{name}: {SCENES[name].title}"):
        SCENES[name].play(fleet)
    if fleet.report.failed > failed:
        fleet.last_words()
        fleet.heal()
