"""The fleet: three machines with Redis and a sentinel each, two of them with a manager, and two machines with an agent
and browsers. Beside them a meeting room, and VMs without browsers.
"""

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from common.config.settings import RedisSettings
from common.wire.vocabulary import VmState
from lab.systemd import tree
from lab.systemd.fleet import network
from lab.systemd.fleet.beside import Beside
from lab.systemd.fleet.computer import Computer
from lab.systemd.inside import AGENT, MANAGER, until
from lab.systemd.machine import CHECKOUT
from lab.systemd.report import FleetError, Report

CORES: Final = {"core-1": "10.77.0.11", "core-2": "10.77.0.12", "core-3": "10.77.0.13"}
MANAGERS: Final = ("core-1", "core-2")
AGENTS: Final = {"agent-1": "10.77.0.21", "agent-2": "10.77.0.22"}
FIRST_PRIMARY: Final = "core-3"
MIN_IDLE: Final = 2
BROWSERS: Final = {"kind": "browser"}
ROOM: Final = "127.0.0.1:8090"
"""As the browsers see it, which give a page microphone and camera only on their own machine or by TLS."""

_SERVICE: Final = "poolmgr"
_SENTINEL: Final = 26379
_SILENT_MS: Final = 2000
_ROOM_HERE: Final = f"{network.HERE}:8090"
_PATIENCE_S: Final = "30"
"""Between the room's pings: a call outlives a cut of some seconds, and not one of a minute."""
_SETTLE_S: Final = 90.0
_ASK_S: Final = 2.0
_WIDE: Final = 400

_SENTINEL_UNIT: Final = """[Unit]
After=network.target
[Service]
Type=notify
User=redis
Group=redis
ExecStart=/usr/bin/redis-server /etc/redis/sentinel.conf --sentinel --supervised systemd --daemonize no
Restart=always
[Install]
WantedBy=multi-user.target
"""
_ROOM_SOCKET: Final = f"[Socket]\nListenStream={ROOM}\n[Install]\nWantedBy=sockets.target\n"
_ROOM_SERVICE: Final = f"[Service]\nExecStart=/lib/systemd/systemd-socket-proxyd {_ROOM_HERE}\n"


class Fleet:
    def __init__(self, net: network.Network, password: str, folder: Path, report: Report) -> None:
        self.net = net
        self.report = report
        self.computers: dict[str, Computer] = {}
        sentinels = ",".join(f"{address}:{_SENTINEL}" for address in CORES.values())
        self.url: Final = f"redis+sentinel://:{password}@{sentinels}/{_SERVICE}/0"
        self.beside = Beside(RedisSettings(url=self.url, wait_replicas=1), folder)
        self._folder = folder
        self._password = password
        self._hosts: dict[str, subprocess.Popen[bytes]] = {}
        self._exits = ExitStack()

    # Looks

    def ask(self, computer: str, *command: Any) -> Any:
        """Redis of that machine; None when it does not answer."""
        return self._ask(computer, 6379, self._password, *command)

    def primary(self) -> str:
        """The machine that most sentinels name; empty when they disagree."""
        words = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", _SERVICE)
        told = [self._ask(name, _SENTINEL, "", *words) for name in CORES]
        named = [answer[0] for answer in told if answer]
        return next((name for name, address in CORES.items() if named.count(address) > len(CORES) / 2), "")

    def _ask(self, computer: str, port: int, password: str, *command: Any) -> Any:
        if not self.computers[computer].is_on or computer in self.net.out:
            return None  # asking would cost the time that is measured
        client: Any = Redis(
            CORES[computer],
            port,
            password=password or None,
            decode_responses=True,
            socket_timeout=_ASK_S,
            socket_connect_timeout=_ASK_S,
        )
        with suppress(RedisError, OSError), client as redis:
            return redis.execute_command(*command)
        return None

    def fail_over(self) -> bool:
        """Have the sentinels make another Redis the primary. Does not wait for it. Returns whether they begin to: just
        after the boot they may know no replica yet.
        """
        return bool(self._ask(FIRST_PRIMARY, _SENTINEL, "", "SENTINEL", "FAILOVER", _SERVICE))

    def leader(self) -> str:
        """The machine whose manager leads; empty: none does."""
        primary = self.primary()
        holder = str(self.ask(primary, "GET", self.beside.keys.leader) or "") if primary else ""
        return next((name for name in MANAGERS if holder.startswith(f"{name}-")), "")

    def epoch(self, computer: str) -> int:
        """The epoch of the latest leader, as Redis of that machine has it."""
        return int(self.ask(computer, "GET", self.beside.keys.epoch) or 0)

    def bot(self, bot_id: str) -> dict[str, str]:
        primary = self.primary()
        found = self.ask(primary, "HGETALL", self.beside.keys.bot(bot_id)) if primary else None
        return found or {}

    def story(self, bot_id: str) -> str:
        """Its entries, as Redis has them."""
        primary = self.primary()
        return "\n".join(self.ask(primary, "LRANGE", self.beside.keys.story(bot_id), 0, -1) or ()) if primary else ""

    def state(self, bot_id: str) -> str:
        return self.bot(bot_id).get("state", "")

    def attendance(self, meeting: str) -> list[str]:
        """Who came and went, as the meeting room told its host."""
        lines = (self._folder / f"host-{meeting}.log").read_text().splitlines()
        return [line for line in lines if line.startswith(("came: ", "went: ")) and line != "came: Host"]

    def ailments_of_redis(self) -> list[str]:
        if not (primary := self.primary()):
            return ["the sentinels agree on no primary"]
        replication: dict[str, Any] = self.ask(primary, "INFO", "replication") or {}
        online = [value for key, value in replication.items() if key.startswith("slave") and "online" in str(value)]
        return [] if len(online) == len(CORES) - 1 else [f"{primary} has {len(online)} replicas"]

    def ailments(self) -> list[str]:
        """What keeps the fleet from being whole; empty: it is."""
        if found := [f"{name} is off" for name, computer in self.computers.items() if not computer.is_on]:
            return found
        found += self.ailments_of_redis()
        words = {name: self.computers[name].inside.status(MANAGER) for name in MANAGERS}
        if sorted(text.split(",")[0] for text in words.values()) != ["leads", "stands by"]:
            found.append(f"managers: {words}")
        if not found:
            vms = {vm.vm_id: vm for vm in self.beside.vms()}
            for name in AGENTS:
                vm = vms.get(name)
                if vm is None or vm.state != VmState.UP or vm.workers.get("idle", 0) < MIN_IDLE:
                    found.append(f"{name}: {vm.state if vm else 'unknown'}, {vm.workers if vm else {}}")
        return found

    def await_whole(self, within_s: float = _SETTLE_S) -> None:
        """Raises: FleetError, which says what is missing."""
        last: list[str] = []

        def whole() -> bool:
            last[:] = self.ailments()
            return not last

        try:
            until(within_s, "the fleet is whole", whole)
        except FleetError as error:
            raise FleetError(f"{error}: {'; '.join(last)}") from error

    # Bots in meetings, with a host each

    def enter(self, name: str, agent: str = "", **more: Any) -> None:
        """Send a bot into a meeting of its own; both have that name. `agent`: the machine from which. Does not wait."""
        self.open_meeting(name)
        requires = BROWSERS | ({"machine": agent} if agent else {})
        self.beside.push(name, f"http://{ROOM}/r/{name}", requires=requires, **more)

    def await_entered(self, *names: str, within_s: float = _SETTLE_S) -> None:
        for name in names:
            until(within_s, f"{name} is in its meeting", lambda name=name: self.state(name) == "in_meeting")

    def open_meeting(self, name: str) -> None:
        script = str(CHECKOUT / "lab" / "parts" / "host.py")
        self._hosts[name] = self._begin(f"host-{name}", sys.executable, script, _ROOM_HERE, name, "fleet")

    def end_meeting(self, name: str) -> None:
        host = self._hosts.pop(name)
        host.terminate()
        try:
            host.wait(_SETTLE_S)
        except subprocess.TimeoutExpired as error:
            host.kill()
            raise FleetError(f"the host of {name} does not end") from error

    def end_meetings(self) -> None:
        for name in list(self._hosts):
            self.end_meeting(name)

    def _begin(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{name}.log").open("wb") as lines:
            process = subprocess.Popen(
                ("setpriv", "--pdeathsig", "KILL", *command),
                cwd=CHECKOUT,
                env=os.environ,
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=subprocess.STDOUT,
            )
        self._exits.callback(process.wait)
        self._exits.callback(process.kill)
        return process

    # Begin and end

    @contextmanager
    def running(self, root: Path, cache: Path, binds: Mapping[str, str]) -> Generator[None]:
        """`root`: what every machine's disk is a layer over. Raises: FleetError."""
        with self._exits:
            room = ("-m", "lab.meeting", "--listen", _ROOM_HERE, "--host-key", "fleet", "--heartbeat-s", _PATIENCE_S)
            self._begin("room", sys.executable, *room)
            for name, address in (CORES | AGENTS).items():
                folder, disk = self._exits.enter_context(tree.layer(cache, root))
                self._prepare(name, disk)
                there = self.net.plug(name, address)
                self.computers[name] = Computer(name, address, there, disk, folder / "boot.log", binds)
            self._exits.callback(self._switch_all_off)
            for computer in self.computers.values():
                computer.switch_on()
            for computer in self.computers.values():
                computer.await_up()
            with self.beside.living():
                self.await_whole()
                yield

    def last_words(self) -> None:
        """The ends of the journals, which may say why something failed."""
        for name, computer in self.computers.items():
            for unit in (MANAGER, AGENT) if computer.is_on else ():
                try:
                    lines = computer.inside.journal_end(unit)
                except FleetError as error:
                    lines = ["", str(error)]
                if len(lines) > 1:
                    self.report.heading(f"{name}: the end of the journal of {unit}")
                for line in lines if len(lines) > 1 else ():
                    self.report.line(line[:_WIDE])
            if name in CORES and computer.is_on:
                self.report.heading(f"{name}: the end of the log of Redis")
                for line in computer.machine.ask("tail", "/var/log/redis/redis-server.log").stdout.splitlines():
                    self.report.line(line[:_WIDE])

    def _switch_all_off(self) -> None:
        for computer in self.computers.values():
            computer.cut_power()

    def heal(self) -> None:
        """All machines on, all cables in, and the fleet whole. Raises: FleetError."""
        for computer in self.computers.values():
            self.net.mend(computer.name)
            if not computer.is_on:
                computer.switch_on()
                computer.await_up()
        self.await_whole()

    def _prepare(self, name: str, disk: Path) -> None:
        (disk / "etc/hostname").write_text(f"{name}\n")
        (disk / "etc/credstore/poolmgr.redis_url").write_text(f"{self.url}\n")
        (disk / "etc/poolmgr/config.toml").write_text(
            "[redis]\nwait_replicas = 1\n"
            f"[pool]\nmin_idle = {MIN_IDLE}\nmax_workers = 60\n"
            f"[worker]\nlabels = {{ kind = '{BROWSERS['kind']}', machine = '{name}' }}\n"
        )
        (disk / "var/log/journal").mkdir(exist_ok=True)  # it outlives a boot
        units = disk / "etc/systemd/system"
        if name in AGENTS:
            _mask(units, "redis-server.service")
            (units / "room.socket").write_text(_ROOM_SOCKET)
            (units / "room.service").write_text(_ROOM_SERVICE)
            _enable(units, "room.socket", "sockets.target")
            # The call's way to its meeting is to outlast the agent, which waits for the call's end.
            (units / f"{AGENT}.service.d").mkdir()
            (units / f"{AGENT}.service.d/room.conf").write_text("[Unit]\nAfter=room.socket room.service\n")
            _enable(units, f"{AGENT}.service")
        else:
            self._prepare_redis(disk, units, name)
        if name in MANAGERS:
            _enable(units, f"{MANAGER}.service")

    def _prepare_redis(self, disk: Path, units: Path, name: str) -> None:
        with (disk / "etc/redis/redis.conf").open("a") as redis:
            redis.write(
                f"\nbind 0.0.0.0\nprotected-mode no\nrequirepass {self._password}\nmasterauth {self._password}\n"
                "appendonly yes\nmaxmemory-policy noeviction\nrepl-diskless-sync-delay 0\n"
            )
            if name != FIRST_PRIMARY:
                redis.write(f"replicaof {CORES[FIRST_PRIMARY]} 6379\n")
        sentinel = disk / "etc/redis/sentinel.conf"
        sentinel.write_text(
            f"port {_SENTINEL}\nbind 0.0.0.0\nprotected-mode no\ndir /var/lib/redis\n"
            f"sentinel monitor {_SERVICE} {CORES[FIRST_PRIMARY]} 6379 2\n"
            f"sentinel auth-pass {_SERVICE} {self._password}\n"
            f"sentinel down-after-milliseconds {_SERVICE} {_SILENT_MS}\n"
            f"sentinel failover-timeout {_SERVICE} {_SILENT_MS * 6}\n"
            f"sentinel parallel-syncs {_SERVICE} 2\n"
        )
        of_redis = (disk / "etc/redis/redis.conf").stat()
        os.chown(sentinel, of_redis.st_uid, of_redis.st_gid)
        (units / "redis-sentinel.service").write_text(_SENTINEL_UNIT)
        _enable(units, "redis-sentinel.service")


def _enable(units: Path, unit: str, target: str = "multi-user.target") -> None:
    wants = units / f"{target}.wants"
    wants.mkdir(exist_ok=True)
    (wants / unit).symlink_to(f"/etc/systemd/system/{unit}")


def _mask(units: Path, unit: str) -> None:
    (units / unit).unlink(missing_ok=True)
    (units / unit).symlink_to("/dev/null")


@contextmanager
def fleet(
    root: Path, cache: Path, folder: Path, binds: Mapping[str, str], password: str, report: Report
) -> Generator[Fleet]:
    """A fleet that is whole. Raises: FleetError."""
    with network.laid() as net:
        found = Fleet(net, password, folder, report)
        with found.running(root, cache, binds):
            yield found
