"""Clocks that are five minutes off, in mid-call. What manager and agent read as calendar time, `time.time`, is shifted
by a file that can be changed while they run; durations go on as they were. Browsers, logs, Redis have the right time.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from lab.systemd.fleet import steps
from lab.systemd.fleet.calls import SETTLE_S, calls
from lab.systemd.fleet.fleet import AGENTS, MANAGERS, Fleet
from lab.systemd.inside import AGENT, MANAGER, throughout

_OFF_S: Final = 300
_STAYS_S: Final = 10.0
_WITHIN_S: Final = 30.0
_FILE: Final = "/etc/poolmgr/clock"
_SHIFT: Final = """
import os, time
real, place = time.time, os.environ.get("FLEET_CLOCK")
def shifted():
    with open(place) as shift:
        return real() + float(shift.read() or 0)
if place:
    time.time = shifted
"""
_AT_START: Final = "import fleet_clock\n"
_DROP_IN: Final = f"[Service]\nEnvironment=FLEET_CLOCK={_FILE}\n"


def off(fleet: Fleet) -> None:
    """Of the leader, ahead and behind; of one agent, ahead and behind; a takeover by a manager whose clock is right."""
    with _shiftable(fleet), calls(fleet, "clock") as going:
        leader = fleet.leader()
        for name in (leader, "agent-1"):
            for off_s in (_OFF_S, -_OFF_S):
                _set(fleet, name, off_s)
                steady = throughout(_STAYS_S, lambda: fleet.leader() == leader)
                bot_id = f"clock-{name}-{'ahead' if off_s > 0 else 'behind'}"
                began = datetime.now(UTC)
                steps.a_whole_job(fleet, bot_id, "agent-1")
                record = fleet.bot(bot_id)
                told = {of: _seconds(record[of], began) for of in ("created_at", "joining_at")}
                there = any(abs(late_s - off_s) < _WITHIN_S for late_s in told.values())
                seen = ", ".join(f"{of} {late_s:+.0f} s" for of, late_s in told.items())
                fleet.report.check(f"{name} is {off_s:+d} s off; the leader stays", steady and there, seen)
                going.undisturbed()
            _set(fleet, name, 0)
        _set(fleet, leader, _OFF_S)
        fleet.computers[leader].machine.do("systemctl", "kill", "-s", "KILL", "--kill-whom=main", MANAGER)
        killed = time.monotonic()
        led_s = steps.until_led(fleet, leader) - killed
        served_s = going.served_after(killed) - killed
        fleet.report.check("one whose clock is right takes over", True, f"{led_s:.1f} s, a new bot {served_s:.1f} s")
        going.undisturbed()
        _set(fleet, leader, 0)


@contextmanager
def _shiftable(fleet: Fleet) -> Generator[None]:
    """Manager and agents run with a clock that can be set."""
    for name in (*MANAGERS, *AGENTS):
        computer, unit = fleet.computers[name], MANAGER if name in MANAGERS else AGENT
        [packages] = computer.disk.glob("opt/poolmgr/venv/lib/python3*/site-packages")
        (packages / "fleet_clock.py").write_text(_SHIFT)
        (packages / "fleet_clock.pth").write_text(_AT_START)
        folder = f"/etc/systemd/system/{unit}.service.d"
        computer.machine.do("sh", "-c", f'mkdir -p {folder}; printf "%s" "$1" >{folder}/clock.conf', "sh", _DROP_IN)
        _set(fleet, name, 0)
    _restart(fleet)
    try:
        yield
    finally:
        for name in (*MANAGERS, *AGENTS):
            unit = MANAGER if name in MANAGERS else AGENT
            fleet.computers[name].machine.ask("rm", f"/etc/systemd/system/{unit}.service.d/clock.conf")
        _restart(fleet)


def _restart(fleet: Fleet) -> None:
    for name in (*MANAGERS, *AGENTS):
        machine = fleet.computers[name].machine
        machine.do("systemctl", "daemon-reload")
        machine.do("systemctl", "restart", MANAGER if name in MANAGERS else AGENT, timeout_s=SETTLE_S)
    fleet.await_whole()


def _set(fleet: Fleet, name: str, off_s: int) -> None:
    fleet.computers[name].machine.do("sh", "-c", f"echo {off_s} >{_FILE}.new; mv {_FILE}.new {_FILE}")


def _seconds(at: str, since: datetime) -> float:
    return (datetime.fromisoformat(at) - since).total_seconds()
