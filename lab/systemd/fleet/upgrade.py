"""An upgrade of everything while calls are under way: managers, agents, Redis and sentinels, one after the other."""

import time
from functools import partial
from typing import Any, Final

from lab.systemd.fleet import steps
from lab.systemd.fleet.calls import SETTLE_S, calls
from lab.systemd.fleet.fleet import AGENTS, CORES, MANAGERS, Fleet
from lab.systemd.inside import AGENT, MANAGER, until

VENV: Final = "/opt/poolmgr/earlier-fleet"
"""Of the release before."""
SINCE: Final = "f8edbf0"
"""The first release whose fleet can be like this one: sentinels, and labels."""

_OF_EACH_AGENT: Final = 4
_SIMULATED: Final = 200
_PROGRAM: Final = {MANAGER: "poolmgr serve", AGENT: "poolmgr-worker run"}


def of_everything(fleet: Fleet) -> None:
    """From the release before to this one. Both releases run side by side for a while."""
    for name in (*MANAGERS, *AGENTS):
        unit = _unit(name)
        drop_in = f"[Service]\nExecStart=\nExecStart={VENV}/bin/{_PROGRAM[unit]} --config /etc/poolmgr/config.toml\n"
        folder = f"/etc/systemd/system/{unit}.service.d"
        machine = fleet.computers[name].machine
        machine.do("sh", "-c", f'mkdir -p {folder}; printf "%s" "$1" >{folder}/earlier.conf', "sh", drop_in)
        machine.do("systemctl", "daemon-reload")
        machine.do("systemctl", "restart", unit, timeout_s=SETTLE_S)
    fleet.await_whole()
    fleet.report.check("all managers and agents are of the release before", are_all_earlier(fleet), _programs(fleet))
    with calls(fleet, "upgrade", of_each_agent=_OF_EACH_AGENT, simulated=_SIMULATED) as going:
        leader = fleet.leader()
        for name in sorted(MANAGERS, key=lambda name: name == leader):
            _upgrade(fleet, name, "restart")
        going.undisturbed()
        steps.a_whole_job(fleet, "upgrade-managers-new")
        for name in AGENTS:
            before = adopted(fleet, name)
            _upgrade(fleet, name, "reload")
            until(SETTLE_S, f"{name} takes its browsers over", partial(took_over, fleet, name, before))
            going.undisturbed()
        primary = fleet.primary()
        for name in sorted(CORES, key=lambda name: name == primary):
            until(SETTLE_S, f"Redis of {name} has written its file anew", partial(_obeys, fleet, name))
            machine = fleet.computers[name].machine
            if name == primary:
                # Not SENTINEL FAILOVER, after which it would take writes that are undone (docs/operations.md).
                fleet.report.line(f"# systemctl stop redis-server, on {name}")
                machine.do("systemctl", "stop", "redis-server", timeout_s=SETTLE_S)
                until(SETTLE_S, "another Redis takes writes", lambda: fleet.primary() not in ("", primary))
            for unit in ("redis-server", "redis-sentinel"):
                fleet.report.line(f"# systemctl restart {unit}, on {name}")
                machine.do("systemctl", "restart", unit, timeout_s=SETTLE_S)
            fleet.await_whole()
        fleet.report.check("all are of this release", are_all_new(fleet), _programs(fleet))
        began = time.monotonic()
        served_s = going.served_after(began) - began
        fleet.report.check("a new bot is in its meeting", True, f"{served_s:.1f} s after it was pushed")
        steps.a_whole_job(fleet, "upgrade-later")
        going.undisturbed()


def _obeys(fleet: Fleet, name: str) -> bool:
    """While a replica writes its append-only file for the first time, it obeys no SIGTERM, and forgets it."""
    told: dict[str, Any] = fleet.ask(name, "INFO", "persistence") or {"aof_rewrite_in_progress": 1}
    return not told["aof_rewrite_in_progress"]


def _upgrade(fleet: Fleet, name: str, how: str) -> None:
    unit, machine = _unit(name), fleet.computers[name].machine
    fleet.report.line(f"# systemctl {how} {unit}, on {name}")
    before = fleet.computers[name].inside.unit(unit).main_pid
    machine.do("rm", f"/etc/systemd/system/{unit}.service.d/earlier.conf")
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", how, unit, timeout_s=SETTLE_S)

    def runs() -> bool:
        now = fleet.computers[name].inside.unit(unit)
        return now.active == "active" and now.main_pid not in (0, before)

    until(SETTLE_S, f"{unit} runs again on {name}", runs)
    fleet.await_whole()


def adopted(fleet: Fleet, name: str) -> int:
    """How many browsers in calls its agents have taken over so far."""
    events = fleet.computers[name].inside.events(AGENT, "worker_adopted")
    return sum(bool(event["bot_id"]) for event in events)


def took_over(fleet: Fleet, name: str, before: int) -> bool:
    """Whether it has taken over all browsers in calls since `adopted` said `before`."""
    return adopted(fleet, name) - before >= _OF_EACH_AGENT


def _unit(name: str) -> str:
    return MANAGER if name in MANAGERS else AGENT


def _programs(fleet: Fleet) -> str:
    return ", ".join(sorted(set(_paths(fleet))))


def _paths(fleet: Fleet) -> list[str]:
    found: list[str] = []
    for name in (*MANAGERS, *AGENTS):
        pid = fleet.computers[name].inside.unit(_unit(name)).main_pid
        found.append(fleet.computers[name].machine.do("cat", f"/proc/{pid}/cmdline").split("\0")[1])
    return found


def are_all_earlier(fleet: Fleet) -> bool:
    return all(path.startswith(VENV) for path in _paths(fleet))


def are_all_new(fleet: Fleet) -> bool:
    return not any(path.startswith(VENV) for path in _paths(fleet))
