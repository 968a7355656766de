"""Redis that fails over, for stages and tests: a primary and replicas that sentinels watch, or a cluster.

Every server is a process on 127.0.0.1 that can be killed, paused and started again with its data. It may announce
another port to the others, such as that of a wire that can be cut. Each server calls from its own address, by which
such a wire recognises it.
"""

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

from redis import Redis
from redis.exceptions import RedisError

from lab.parts import StageError
from lab.parts.ports import free_ports
from lab.parts.redis_server import START_DEADLINE_S, Keeps, on_port, redis_command

SERVICE: Final = "poolmgr"
HOST: Final = "127.0.0.1"
_LOOK_S: Final = 0.02
_OPEN: Final = ("--protected-mode", "no")
"""Protected mode would accept only 127.0.0.1, and each server calls from another loopback address."""
_PRIMARIES: Final = 3
_SLOTS: Final = 16384


class Server:
    """A redis-server or a sentinel. `source`: the address that it calls from; `announced`: the port that the others are
    given; `authority`: the certificate that signed its own, if it uses TLS.
    """

    def __init__(
        self,
        port: int,
        command: Sequence[str],
        log: Path,
        source: str,
        announced: int = 0,
        password: str = "",
        authority: Path | None = None,
    ) -> None:
        self.port = port
        self.source = source
        self.announced = announced or port
        self.command = tuple(command)
        self.log = log
        self._password = password
        self._authority = authority
        self._process: subprocess.Popen[bytes] | None = None
        self._is_paused = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Raises: StageError."""
        try:
            with self.log.open("ab") as log:
                # A session of its own: Ctrl-C goes to the program that started it, which then ends it.
                self._process = subprocess.Popen(
                    self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except FileNotFoundError as error:
            raise StageError("cannot start redis: redis-server is not installed; ./dev setup does it") from error

    def kill(self) -> None:
        """Kill it, as a failing machine would. Idempotent."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        if self._process and not self._is_paused:
            os.kill(self._process.pid, signal.SIGSTOP)
            self._is_paused = True

    def resume(self) -> None:
        if self._process and self._is_paused:
            os.kill(self._process.pid, signal.SIGCONT)
        self._is_paused = False

    def client(self) -> Any:
        """A client that uses no wire. Its answers are typed as unions of every shape."""
        tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(self._authority)} if self._authority else {}
        return Redis(host=HOST, port=self.port, password=self._password or None, socket_timeout=5.0, **tls)

    def say(self, *command: str | int) -> Any:
        """The server's answer."""
        with self.client() as client:
            return client.execute_command(*command)

    def answers(self) -> bool:
        try:
            return bool(self.say("PING"))
        except (RedisError, OSError):
            return False


class _Servers(ABC):
    """A context manager."""

    def __init__(self) -> None:
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.begin()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @abstractmethod
    def begin(self) -> None:
        """Start all of them, and wait until they answer and know one another. Raises: StageError."""

    def end(self) -> None:
        self._exits.close()

    def _start(self, server: Server) -> None:
        self._exits.callback(server.kill)
        server.start()

    @property
    @abstractmethod
    def servers(self) -> list[Server]: ...


class WatchedRedis(_Servers):
    """One primary, `replicas`, and sentinels that have another take over after `down_after_s` of silence.

    `announced`: for each server of Redis, primary first, the port at which others are to find it. `options`: of each.
    `certificate`: a file with a key and its certificate for 127.0.0.1, by which all speak TLS.
    """

    def __init__(
        self,
        folder: Path,
        *,
        replicas: int = 1,
        sentinels: int = 3,
        down_after_s: float = 0.5,
        keeps: Keeps = "always",
        ports: Sequence[int] = (),
        announced: Sequence[int] = (),
        password: str = "",
        sentinel_password: str = "",
        options: Sequence[str] = (),
        certificate: Path | None = None,
    ) -> None:
        super().__init__()
        self._certificate = certificate
        self._down_after_s = down_after_s
        self._password = password
        self._sentinel_password = sentinel_password
        chosen = list(ports) or free_ports(1 + replicas)
        others = list(announced) or chosen
        secret = ("--requirepass", password, "--masterauth", password) if password else ()
        self.redises: list[Server] = []
        for number, (port, announced_port) in enumerate(zip(chosen, others, strict=True)):
            home = folder / f"redis-{number + 1}"
            home.mkdir()
            follows = ("--replicaof", f"{HOST} {others[0]}") if number else ()
            there = ("--replica-announce-ip", HOST, "--replica-announce-port", str(announced_port))
            quick = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--repl-timeout", "5")
            source = f"127.0.1.{number + 1}"
            where = (*self._listens(port), *_OPEN, "--bind-source-addr", source, *there)
            command = redis_command(home, keeps, *where, *quick, *secret, *follows, *options)
            log = folder / f"redis-{number + 1}.log"
            self.redises.append(Server(port, command, log, source, announced_port, password, certificate))
        self.sentinels: list[Server] = []
        for number, port in enumerate(free_ports(sentinels)):
            home = folder / f"sentinel-{number + 1}"
            home.mkdir()
            config = home / "sentinel.conf"
            config.write_text(self._sentinel_config(port, others[0], sentinels // 2 + 1))
            source = f"127.0.2.{number + 1}"
            command = ("redis-server", str(config), "--sentinel", "--bind-source-addr", source)
            log = folder / f"sentinel-{number + 1}.log"
            self.sentinels.append(Server(port, command, log, source, password=sentinel_password, authority=certificate))
        login = f":{quote(password, safe='')}@" if password else ""
        url_options = {"sentinel_password": sentinel_password, "ssl_ca_certs": str(certificate or "")}
        said = urlencode({name: value for name, value in url_options.items() if value})
        names = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        scheme = "rediss" if certificate else "redis"
        self.url = f"{scheme}+sentinel://{login}{names}/{SERVICE}/0{'?' if said else ''}{said}"

    def _listens(self, port: int) -> tuple[str, ...]:
        if self._certificate is None:
            return on_port(port)
        file = str(self._certificate)
        files = ("--tls-cert-file", file, "--tls-key-file", file, "--tls-ca-cert-file", file)
        how = ("--tls-replication", "yes", "--tls-auth-clients", "no")
        return (*on_port(0), "--tls-port", str(port), *files, *how)

    def _sentinel_config(self, port: int, primary: int, quorum: int) -> str:
        silent_ms = int(self._down_after_s * 1000)
        listens = self._listens(port)
        lines = [f"{name.removeprefix('--')} {value}" for name, value in zip(listens[::2], listens[1::2], strict=True)]
        lines += [
            "protected-mode no", "set-proc-title no", "loglevel notice",
            f"sentinel announce-ip {HOST}", f"sentinel monitor {SERVICE} {HOST} {primary} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {silent_ms}",
            f"sentinel failover-timeout {SERVICE} {silent_ms * 6}",
        ]  # fmt: skip
        if self._password:
            lines.append(f"sentinel auth-pass {SERVICE} {self._password}")
        if self._sentinel_password:
            lines += [f"requirepass {self._sentinel_password}", f"sentinel sentinel-pass {self._sentinel_password}"]
        return "\n".join(lines) + "\n"

    @property
    def servers(self) -> list[Server]:
        return [*self.redises, *self.sentinels]

    def begin(self) -> None:
        for server in self.redises:
            self._start(server)
        _until("all of Redis answer", lambda: all(server.answers() for server in self.redises))
        _until("the replicas follow", self._is_followed)
        for sentinel in self.sentinels:
            self._start(sentinel)
        _until("the sentinels know one another and the replicas", self.is_watched)

    def _is_followed(self) -> bool:
        return self.redises[0].say("INFO", "replication")["connected_slaves"] == len(self.redises) - 1 and all(
            server.say("INFO", "replication")["master_link_status"] == "up" for server in self.redises[1:]
        )

    def is_watched(self) -> bool:
        """Whether all sentinels see all the others, every replica well, and the same primary, which is well."""
        try:
            return len({self._seen_by(sentinel) for sentinel in self.sentinels}) == 1
        except (RedisError, OSError, StageError):
            return False

    def _seen_by(self, sentinel: Server) -> int:
        with sentinel.client() as client:
            client.execute_command("SENTINEL", "CKQUORUM", SERVICE)
            state: Any = client.sentinel_master(SERVICE)
            replicas: Any = client.sentinel_slaves(SERVICE)
        up = [
            replica
            for replica in replicas
            if replica["master-link-status"] == "ok" and "down" not in str(replica["flags"])
        ]
        is_well = "down" not in str(state["flags"]) and state["num-other-sentinels"] == len(self.sentinels) - 1
        if not is_well or len(up) != len(self.redises) - 1:
            raise StageError("not yet")
        return int(state["port"])

    def set_down_after(self, seconds: float) -> None:
        """From now on another one takes over after this silence."""
        silent_ms = int(seconds * 1000)
        for sentinel in self.sentinels:
            sentinel.say("SENTINEL", "SET", SERVICE, "down-after-milliseconds", silent_ms)
            sentinel.say("SENTINEL", "SET", SERVICE, "failover-timeout", silent_ms * 6)

    def primary(self) -> Server:
        """The primary that most sentinels name. Raises: StageError when none of them answers."""
        said: list[int] = []
        for sentinel in self.sentinels:
            with suppress(RedisError, OSError):
                _, port = sentinel.say("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                said.append(int(port))
        if not said:
            raise StageError("no sentinel answers")
        port = max(said, key=said.count)
        return next(server for server in self.redises if server.announced == port)


class ClusterRedis(_Servers):
    """Three primaries, each with a third of the slots and a replica.

    `ports`: two of each node, primaries first: for clients, and for the cluster's bus. `announced`: at which two others
    are to find it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        node_timeout_s: float = 1.0,
        keeps: Keeps = "always",
        ports: Sequence[tuple[int, int]] = (),
        announced: Sequence[tuple[int, int]] = (),
        options: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.redises: list[Server] = []
        chosen = list(ports) or node_ports()
        others = list(announced) or chosen
        for number, ((port, bus), (found_at, bus_at)) in enumerate(zip(chosen, others, strict=True)):
            home = folder / f"node-{number + 1}"
            home.mkdir()
            source, timeout_ms = f"127.0.3.{number + 1}", str(int(node_timeout_s * 1000))
            where = (*on_port(port), *_OPEN, "--bind-source-addr", source)
            cluster = ("--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", timeout_ms)
            there = ("--cluster-announce-port", str(found_at), "--cluster-announce-bus-port", str(bus_at))
            at = ("--cluster-announce-ip", HOST)
            quick = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
            command = redis_command(home, keeps, *where, *cluster, *at, *there, *quick, *options)
            self.redises.append(Server(port, command, folder / f"node-{number + 1}.log", source, found_at))
        self._buses = [bus for _, bus in others]
        names = ",".join(f"{HOST}:{server.announced}" for server in self.redises[:_PRIMARIES])
        self.url = f"redis+cluster://{names}"

    @property
    def servers(self) -> list[Server]:
        return self.redises

    def begin(self) -> None:
        for server in self.redises:
            self._start(server)
        _until("all nodes answer", lambda: all(server.answers() for server in self.redises))
        share = _SLOTS // _PRIMARIES
        for number, server in enumerate(self.redises):
            server.say("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < _PRIMARIES:
                last = _SLOTS - 1 if number == _PRIMARIES - 1 else (number + 1) * share - 1
                server.say("CLUSTER", "ADDSLOTSRANGE", number * share, last)
            if number:
                server.say("CLUSTER", "MEET", HOST, self.redises[0].announced, self._buses[0])
        _until("the nodes know one another", lambda: all(_known(server) == 6 for server in self.redises))
        ids = [server.say("CLUSTER", "MYID").decode() for server in self.redises]
        for number, server in enumerate(self.redises[_PRIMARIES:]):
            server.say("CLUSTER", "REPLICATE", ids[number])
        _until("the cluster is whole", self.is_whole)

    def set_node_timeout(self, seconds: float) -> None:
        """From now on a replica takes over after this silence."""
        for server in self.redises:
            server.say("CONFIG", "SET", "cluster-node-timeout", int(seconds * 1000))

    def is_whole(self) -> bool:
        """Whether all nodes call the state ok, each primary has a replica, and all agree on who is one."""
        try:
            views = {frozenset(self._primaries_seen_by(server)) for server in self.redises}
            links = [server.say("INFO", "replication") for server in self.redises]
        except (RedisError, OSError, StageError):
            return False
        up = sum(link.get("master_link_status") == "up" for link in links)
        return len(views) == 1 and up == _PRIMARIES

    def _primaries_seen_by(self, server: Server) -> list[int]:
        with server.client() as client:
            state: Any = client.cluster("INFO")
            nodes: Any = client.cluster("NODES")
        if state["cluster_state"] != "ok" or any("fail" in node["flags"] for node in nodes.values()):
            raise StageError("not yet")
        return [int(address.rpartition(":")[2]) for address, node in nodes.items() if node["slots"]]

    def primary(self, prefix: str) -> Server:
        """The primary for that prefix, according to the first node that answers. Raises: StageError."""
        for server in self.redises:
            with suppress(RedisError, OSError):
                if server.pid is None:
                    continue
                slot = server.say("CLUSTER", "KEYSLOT", prefix)
                with server.client() as client:
                    nodes: Any = client.cluster("NODES")
                for address, node in nodes.items():
                    if any(int(ends[0]) <= slot <= int(ends[-1]) for ends in node["slots"]):
                        port = int(address.rpartition(":")[2])
                        return next(other for other in self.redises if other.announced == port)
        raise StageError("no node answers")


def node_ports() -> list[tuple[int, int]]:
    """For each node a port for clients and a port for the cluster's bus."""
    ports = free_ports(4 * _PRIMARIES)
    return list(zip(ports[::2], ports[1::2], strict=True))


def _known(server: Server) -> int:
    with server.client() as client:
        return int(client.cluster("INFO")["cluster_known_nodes"])


def _until(what: str, is_so: Callable[[], bool]) -> None:
    """Raises: StageError."""
    deadline = time.monotonic() + START_DEADLINE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise StageError(f"cannot start redis: not within {START_DEADLINE_S:g} s: {what}")
        time.sleep(_LOOK_S)
