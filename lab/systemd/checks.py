"""What has to be true of the two units on a booted systemd, in the order in which it is tried.

Each part leaves the pool as the next one needs it: bots in two meetings, which only the last part ends.
"""

import hashlib
import re
import secrets
import shlex
import time
from typing import Final, NamedTuple

from lab.systemd.amazon import Amazon
from lab.systemd.inside import (
    AGENT,
    MANAGER,
    MIRROR,
    STATE_DIR,
    Access,
    Browser,
    Inside,
    Unit,
    status,
    throughout,
    until,
)
from lab.systemd.manual import Section
from lab.systemd.mirror import Mirrored
from lab.systemd.nspawn import Machine
from lab.systemd.report import Report
from lab.systemd.tree import SOURCE

ROOM: Final = "127.0.0.1:8090"
MEETINGS: Final = ("daily", "weekly")
MIN_IDLE: Final = 2

_SETTLE_S: Final = 60.0
_RESTART_S: Final = 20.0
_WATCHDOG_S: Final = 30.0
_DRAINS_ON_S: Final = 3.0
_UNAWARE_S: Final = 5.0
_EXPOSED_AT_MOST: Final = {MANAGER: 1.2, AGENT: 3.9, MIRROR: 1.2}
_PYTHON: Final = "/opt/poolmgr/venv/bin/python"


class _Calls(NamedTuple):
    """The calls, which must not change while programs come and go."""

    browsers: list[Browser]
    attendance: list[list[str]]
    bots: list[tuple[str, str, str]]

    def __str__(self) -> str:
        pids = ", ".join(str(browser.pid) for browser in self.browsers)
        return f"browsers {pids}; " + ", ".join(f"{id_} {state} attempt {n}" for id_, state, n in self.bots)


class Checks:
    def __init__(
        self, machine: Machine, access: Access, manual: dict[int, Section], cloud: Amazon, report: Report
    ) -> None:
        self._inside = Inside(machine, access.password, access.token)
        self._machine = machine
        self._manual = manual
        self._cloud = cloud
        self._report = report
        self._mirror = Mirrored(machine, self._inside, cloud, report)
        self._bots = ["bot-daily"]

    def run(self) -> None:
        """Carry out all parts. Raises: FleetError when nothing further can be tried."""
        self.start()
        self.sandbox()
        self.join()
        self.mirror()
        with self._report.part("the agent is killed"):
            self.kill_agent()
        with self._report.part("an upgrade: pip, restart of the manager, reload of the agent"):
            self.upgrade()
        with self._report.part("the manager takes a new token without a restart"):
            self.reload_manager()
        with self._report.part("a program that stands still"):
            self.stand_still()
        with self._report.part("the manager is killed"):
            self.kill_manager()
        with self._report.part("stop drains the agent"):
            self.stop_agent()
        with self._report.part("an agent that died and is not to be started again"):
            self.sweep()
        with self._report.part("stop ends the manager in good order"):
            self.stop_manager()
        with self._report.part("and the mirror"):
            self._mirror.last()
        with self._report.part("exposure, by systemd-analyze security (0 is none, 10 is all)"):
            self.exposure()

    def start(self) -> None:
        self._report.heading("the services start")
        self._machine.do("systemctl", "start", "redis-server")
        until(_SETTLE_S, "Redis answers", lambda: self._inside.redis("PING") == "PONG")
        self._serve_room()
        for number in (3, 4):
            for command in self._manual[number].once_booted:
                self._report.line(f"# {command}")
                self._machine.do("sh", "-ec", command)
        warm = until(_SETTLE_S, "browsers are warm", self._warmed)
        units = {name: self._inside.unit(name) for name in ("redis-server", MANAGER, AGENT)}
        states = ", ".join(
            f"{name} {unit.active} ({unit.sub}), {unit.restarts} restarts" for name, unit in units.items()
        )
        good = all((unit.active, unit.sub, unit.restarts) == ("active", "running", 0) for unit in units.values())
        self._report.check("units are active and were started once", good, states)
        slices = {
            self._machine.do("systemctl", "show", "--property=Slice", "--value", name) for name in (MANAGER, AGENT)
        }
        target = self._machine.ask("systemctl", "is-active", "poolmgr.target").stdout.strip()
        good = (slices, target) == ({"poolmgr.slice"}, "active")
        self._report.check("both are in poolmgr.slice and of poolmgr.target", good, f"{slices}, {target}")
        took = ", ".join(f"{event['worker_id']} {event['took_s']} s" for event in warm)
        self._report.check("worker_warmed in the journal", len(warm) >= MIN_IDLE, took)
        shown, look = self._manual[5].commands
        status = self._machine.do("bash", "-ec", shown)
        good = all(f"{unit}.service" in status for unit in (MANAGER, AGENT))
        self._report.check("systemctl status shows both", good, f"{len(status.splitlines())} lines")
        # They look once a second whether there is something new to say.
        until(_RESTART_S, "the manager says that it leads", lambda: "leads, epoch" in self._inside.status(MANAGER))
        until(_RESTART_S, "the agent says what it has", lambda: "Redis reached" in self._inside.status(AGENT))
        lines = "; ".join(self._inside.status(unit) for unit in (MANAGER, AGENT))
        self._report.check("and what each does", True, lines)
        fleet = self._machine.do("bash", "-ec", look)
        self._report.check("poolmgr fleet shows the VM", "poolmgr-fleet" in fleet, fleet.splitlines()[1])

    def sandbox(self) -> None:
        self._report.heading("Chromium's sandbox, with an agent that is no root")
        agent = self._inside.unit(AGENT).main_pid
        user = self._machine.do("stat", "--format=%U", f"/proc/{agent}")
        self._report.check("the agent runs as poolmgr-worker", user == "poolmgr-worker", user)
        warnings = self._inside.events(AGENT, "sandbox_disabled")
        self._report.check("no sandbox_disabled in the journal", not warnings, f"{len(warnings)} times")
        renderers = self._inside.renderers()
        held = [pid for pid in renderers if self._inside.is_sandboxed(pid)]
        self._report.check(
            "every renderer has user, pid and network namespaces and a filter",
            bool(renderers) and held == renderers,
            f"{len(held)} of {len(renderers)} renderers",
        )
        tree = self._inside.tree()
        held = [process.pid for process in tree if status(process.pid, "NoNewPrivs") == ["1"]]
        self._report.check(
            "no process of a browser can gain privileges", len(held) == len(tree), f"{len(held)} of {len(tree)}"
        )

    def join(self) -> None:
        self._report.heading("a job by redis-cli")
        self._inside.push("bot-daily", f"http://{ROOM}/r/daily")
        pushed = time.monotonic()
        until(_SETTLE_S, "bot-daily is in the meeting", lambda: self._in_meeting("bot-daily"))
        took = time.monotonic() - pushed
        seen = f"{took:.1f} s; the meeting's host saw {self._inside.attendance('daily')}"
        self._report.check("it is in the meeting", self._inside.attendance("daily") == ["came: bot-daily"], seen)
        until(_SETTLE_S, "the pool is full again", self._is_full)
        self._report.heading("a job over HTTP")
        job = {"meeting_link": f"http://{ROOM}/r/hourly", "bot_name": "bot-hourly", "bot_id": "bot-hourly"}
        created = self._inside.call("bots/create_bot", job)
        self._report.check("it is taken", created.get("bot_id") == "bot-hourly", str(created.get("status")))
        status = until(_SETTLE_S, "bot-hourly is in the lobby", lambda: self._status_in_lobby("bot-hourly"))
        self._report.check("the API says that it waits to be let in", status == "InWaitingRoom", status)
        self._inside.call("bots/bot-hourly/remove_bot")
        reason = until(_SETTLE_S, "bot-hourly has left", lambda: self._reason("bot-hourly"))
        self._report.check("and it leaves when the API is told so", reason == "user_requested", reason)
        until(_SETTLE_S, "the pool is full again", self._is_full)

    def mirror(self) -> None:
        with self._report.part("the mirror of session records"):
            self._mirror.run(self._manual[8], f"http://{ROOM}/r/hourly")
            until(_SETTLE_S, "the pool is full again", self._is_full)

    def kill_agent(self) -> None:
        before = self._calls()
        old = self._inside.unit(AGENT)
        adopted = self._count("worker_adopted")
        for browser in before.browsers:
            self._inside.leave_marks(browser)
        self._machine.do("systemctl", "kill", "-s", "KILL", "--kill-whom=main", AGENT)
        new, took = self._restarted(AGENT, old.main_pid)
        good = new.restarts == old.restarts + 1
        self._report.check("systemd restarts it", good, f"after {took:.1f} s, {new.restarts} restarts in all")
        self._expect_adopted(adopted, len(before.browsers))
        self._expect_unaware(before)
        lost = sorted({place for browser in before.browsers for place in self._inside.marks_lost(browser)})
        seen = f"lost or not writable: {', '.join(lost) or 'none'}"
        self._report.check("and keep what they wrote to /tmp, /var/tmp, /dev/shm", not lost, seen)

    def upgrade(self) -> None:
        before = self._calls()
        old, manager = self._inside.unit(AGENT), self._inside.unit(MANAGER)
        adopted, handed = self._count("worker_adopted"), self._count("agent_handed_over")
        for command in self._manual[6].commands:
            self._report.line(f"# {command}")
            self._machine.do("sh", "-ec", f"cd {SOURCE}; {command}", timeout_s=120)
        restarted = self._inside.unit(MANAGER)
        good = restarted.active == "active" and restarted.main_pid != manager.main_pid
        self._report.check("the manager was restarted", good, f"pid {manager.main_pid}, then {restarted.main_pid}")
        _, took = self._restarted(AGENT, old.main_pid)
        handed = self._count("agent_handed_over") - handed
        self._report.check("the agent hands over and is started again", handed == 1, f"after {took:.1f} s")
        self._expect_adopted(adopted, len(before.browsers))
        self._expect_unaware(before)

    def reload_manager(self) -> None:
        old = self._inside.unit(MANAGER)
        before = self._calls()
        token = f"pm_{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(token.encode()).hexdigest()
        line = f"[[api.tokens]]\nname = 'later'\nsha256 = '{digest}'\n"
        self._machine.do("sh", "-ec", f"printf %s {shlex.quote(line)} >>/etc/poolmgr/config.toml")
        self._machine.do("systemctl", "reload", MANAGER)
        found = self._inside.call_as(token, "bots/bot-daily/status")
        same = self._inside.unit(MANAGER).main_pid == old.main_pid
        self._report.check(
            "the new token is let in, by the same process", same and bool(found), str(found.get("status"))
        )
        self._expect_unaware(before)

    def stand_still(self) -> None:
        """A process that SIGSTOP stopped does nothing, and only its watchdog notices."""
        for name in (MANAGER, AGENT):
            before = self._calls()
            old = self._inside.unit(name)
            adopted = self._count("worker_adopted")
            self._machine.do("systemctl", "kill", "-s", "STOP", "--kill-whom=main", name)
            new, took = self._restarted(name, old.main_pid, within_s=_WATCHDOG_S + _RESTART_S)
            good = new.restarts == old.restarts + 1
            self._report.check(f"{name}: the watchdog ends it, systemd starts it again", good, f"after {took:.1f} s")
            if name == AGENT:
                self._expect_adopted(adopted, len(before.browsers))
            self._expect_unaware(before)

    def kill_manager(self) -> None:
        before = self._calls()
        old = self._inside.unit(MANAGER)
        self._machine.do("systemctl", "kill", "-s", "KILL", "--kill-whom=main", MANAGER)
        new, took = self._restarted(MANAGER, old.main_pid)
        good = new.restarts == old.restarts + 1
        self._report.check("systemd restarts it", good, f"after {took:.1f} s, {new.restarts} restarts in all")
        self._expect_unaware(before)
        self._inside.push("bot-weekly", f"http://{ROOM}/r/weekly")
        pushed = time.monotonic()
        until(_SETTLE_S, "bot-weekly is in the meeting", lambda: self._in_meeting("bot-weekly"))
        self._bots.append("bot-weekly")
        self._report.check(
            "it leads again: a second job", True, f"in its meeting {time.monotonic() - pushed:.1f} s later"
        )
        until(_SETTLE_S, "the pool is full again", self._is_full)

    def stop_agent(self) -> None:
        stopping = self._count("agent_stopping")
        self._machine.do("systemctl", "stop", "--no-block", AGENT)
        until(_RESTART_S, "agent_stopping", lambda: self._count("agent_stopping") > stopping)
        until(_RESTART_S, "idle browsers are gone", lambda: len(self._inside.browsers()) == len(self._bots))

        def calls_go_on() -> bool:
            return self._inside.unit(AGENT).active == "deactivating" and all(map(self._in_meeting, self._bots))

        good = throughout(_DRAINS_ON_S, calls_go_on)
        self._report.check("idle browsers go, calls go on", good, f"{self._inside.unit(AGENT).active}; {self._calls()}")
        self._machine.do("systemctl", "stop", "host-daily")
        until(_RESTART_S, "bot-daily has ended", lambda: self._reason("bot-daily"))
        good = self._reason("bot-daily") == "meeting_ended" and self._in_meeting("bot-weekly")
        seen = f"bot-daily {self._reason('bot-daily')}; bot-weekly {self._inside.bot('bot-weekly').get('state')}"
        self._report.check("its host ends one meeting, the other goes on", good, seen)
        self._machine.do("systemctl", "kill", "-s", "TERM", "--kill-whom=main", AGENT)
        unit = until(_SETTLE_S, "the agent has ended", lambda: self._ended(AGENT))
        good = (unit.active, unit.result, unit.exit_code) == ("inactive", "success", 0)
        self._report.check("a second SIGTERM ends it in good order", good, f"{unit.active}, result {unit.result}")
        reason = until(_RESTART_S, "bot-weekly has ended", lambda: self._reason("bot-weekly"))
        self._report.check("and the last bot left", reason == "shutdown", f"bot-weekly {reason}")
        tree, folders = self._inside.tree(), self._inside.worker_folders()
        seen = f"{len(tree)} processes, {len(folders)} folders below {STATE_DIR}/workers"
        self._report.check("no Chromium process and no worker folder is left", not tree and not folders, seen)

    def sweep(self) -> None:
        self._machine.do("systemctl", "start", AGENT)
        self._bots.clear()
        until(_SETTLE_S, "the pool is full again", self._is_full)
        self._report.check("after a stop it starts again", True, f"{len(self._inside.browsers())} browsers are warm")
        self._machine.do("systemctl", "kill", "-s", "KILL", "--kill-whom=main", AGENT)
        self._machine.do("systemctl", "stop", AGENT)
        left = self._inside.browsers()
        unit = self._inside.unit(AGENT)
        seen = f"{unit.active}; {len(left)} browsers live on"
        self._report.check("it died and was stopped", unit.active != "active" and len(left) == MIN_IDLE, seen)
        for command in self._manual[7].commands:
            self._report.line(f"# {command}")
            self._machine.do("sh", "-ec", command)
        tree, folders = self._inside.tree(), self._inside.worker_folders()
        seen = f"{len(tree)} processes, {len(folders)} folders below {STATE_DIR}/workers"
        self._report.check("no Chromium process and no worker folder is left", not tree and not folders, seen)

    def stop_manager(self) -> None:
        began = time.monotonic()
        self._machine.do("systemctl", "stop", MANAGER, timeout_s=40)
        unit = self._inside.unit(MANAGER)
        good = (unit.active, unit.result, unit.exit_code) == ("inactive", "success", 0)
        seen = f"{unit.active}, result {unit.result}, after {time.monotonic() - began:.1f} s"
        self._report.check("systemctl stop poolmgr", good, seen)
        self._report.check("and the lease was given back", not self._inside.redis("GET", "poolmgr:leader"), "no leader")

    def exposure(self) -> None:
        for unit in (MANAGER, AGENT, MIRROR):
            analysis = self._machine.do("systemd-analyze", "security", "--no-pager", f"{unit}.service").splitlines()
            overall = next((line for line in analysis if "Overall exposure" in line), "not told")
            exposed = re.search(r": (\d+\.\d+) ", overall)
            good = exposed is not None and float(exposed[1]) <= _EXPOSED_AT_MOST[unit]
            self._report.check(f"{unit}.service, {_EXPOSED_AT_MOST[unit]} at most", good, overall.strip("→ "))

    def last_words(self) -> None:
        """The end of the journal, which may say why something failed."""
        for unit in (MANAGER, AGENT, MIRROR):
            self._report.heading(f"the end of the journal of {unit}")
            for line in self._inside.journal_end(unit):
                self._report.line(line)

    def _enter(self, name: str) -> None:
        """Send a bot into a meeting of its own; both have that name."""
        host = (_PYTHON, f"{SOURCE}/lab/parts/host.py", ROOM, name, "fleet")
        self._machine.do("systemd-run", "--quiet", "--collect", f"--unit=host-{name}", *host)
        self._inside.push(name, f"http://{ROOM}/r/{name}")
        until(_SETTLE_S, f"{name} is in its meeting", lambda: self._in_meeting(name))

    def _serve_room(self) -> None:
        transient = ("systemd-run", "--quiet", "--collect")
        room = (_PYTHON, "-m", "lab.meeting", "--listen", ROOM, "--host-key", "fleet")
        self._machine.do(*transient, "--unit=room", *room)
        until(
            _RESTART_S, "the room listens", lambda: ROOM in self._machine.do("ss", "--listening", "--tcp", "--numeric")
        )
        for meeting in MEETINGS:
            host = (_PYTHON, f"{SOURCE}/lab/parts/host.py", ROOM, meeting, "fleet")
            self._machine.do(*transient, f"--unit=host-{meeting}", *host)

    def _warmed(self) -> list[dict[str, object]] | None:
        warm = self._inside.events(AGENT, "worker_warmed")
        return warm if len(warm) >= MIN_IDLE else None

    def _is_full(self) -> bool:
        """Wait until all browsers are warm: the next agent ends one that is still warming up."""
        warm = {event["worker_id"] for event in self._inside.events(AGENT, "worker_warmed")}
        living = [browser.worker_id for browser in self._inside.browsers()]
        return len(living) == len(self._bots) + MIN_IDLE and warm.issuperset(living)

    def _in_meeting(self, bot_id: str) -> bool:
        return self._inside.bot(bot_id).get("state") == "in_meeting"

    def _status_in_lobby(self, bot_id: str) -> str:
        """The bot's status by the API, once it is in the lobby."""
        waits = self._inside.bot(bot_id).get("state") == "waiting_room"
        return str(self._inside.call(f"bots/{bot_id}/status")["status"]) if waits else ""

    def _reason(self, bot_id: str) -> str:
        return self._inside.bot(bot_id).get("status_reason", "")

    def _count(self, event: str) -> int:
        return len(self._inside.events(AGENT, event))

    def _ended(self, name: str) -> Unit | None:
        unit = self._inside.unit(name)
        return unit if unit.active in ("inactive", "failed") else None

    def _restarted(self, name: str, old_pid: int, *, within_s: float = _RESTART_S) -> tuple[Unit, float]:
        began = time.monotonic()

        def running() -> Unit | None:
            unit = self._inside.unit(name)
            return unit if unit.active == "active" and unit.main_pid not in (0, old_pid) else None

        return until(within_s, f"{name} runs again", running), time.monotonic() - began

    def _calls(self) -> _Calls:
        records = [self._inside.bot(bot_id) for bot_id in self._bots]
        return _Calls(
            self._inside.browsers(),
            [self._inside.attendance(meeting) for meeting in MEETINGS],
            [(record["bot_id"], record["state"], record["attempt"]) for record in records],
        )

    def _expect_adopted(self, before: int, browsers: int) -> None:
        def all_adopted() -> int:
            found = self._count("worker_adopted") - before
            return found if found >= browsers else 0

        found = until(_RESTART_S, f"{browsers} times worker_adopted", all_adopted)
        self._report.check(
            "worker_adopted in the journal", found == browsers, f"{found} times, for {browsers} browsers"
        )

    def _expect_unaware(self, before: _Calls) -> None:
        """Check for some seconds that the calls are not disturbed, because a new program decides after its start."""
        good = throughout(_UNAWARE_S, lambda: self._calls() == before)
        self._report.check("the same browsers go on, the bots are in their meetings", good, str(self._calls()))
