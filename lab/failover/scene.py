"""Redis with its sentinels or as a cluster, every server behind a wire, two managers, and agents without browsers."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import IO, Any, Final, Literal, Protocol, Self

from redis.exceptions import RedisError

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect
from lab.parts import StageError
from lab.parts.bare_agent import BareAgent, Meetings
from lab.parts.environment import without_settings
from lab.parts.ports import free_ports
from lab.parts.proxy import Proxy, Wire
from lab.parts.redis_fleet import ClusterRedis, Server, WatchedRedis, node_ports
from lab.parts.stage import ROOT, log_end
from poolmgr.store.keys import Keys
from poolmgr.store.reading.views import Views

Kind = Literal["sentinel", "cluster"]
How = Literal["kill", "pause", "cut", "split"]

PREFIX: Final = "{poolmgr}"
TIMEOUT_S: Final = 3.0
_VMS: Final = 4
_REPLICAS: Final = 2  # so that one is left after another has taken over
_TIMES: Final = {
    "POOL__MIN_IDLE": 4,
    "POOL__MAX_WORKERS": 16,
    "POOL__HEARTBEAT_TIMEOUT_S": 2,
    "POOL__LOST_AFTER_S": 30,
    "POOL__CLAIM_TIMEOUT_S": 5,
    "WORKER__HEARTBEAT_S": 0.25,
    "LEASE__TTL_S": 1,
    "LOG__FORMAT": "json",
}
_LOOK_S: Final = 0.02


class Program(Protocol):
    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def kill(self) -> None: ...
    def wait(self) -> int: ...


Launch = Callable[[Mapping[str, str], IO[bytes]], Program]
"""Starts a manager with that environment and that log."""


def launch(environment: Mapping[str, str], log: IO[bytes]) -> Program:
    command = (sys.executable, "-m", "poolmgr", "serve")
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        # Ctrl-C goes to this program, which then ends the parts.
        start_new_session=True,
    )


class Scene:
    """A context in which the parts run. `silent_s`: after this much silence another server takes over."""

    def __init__(
        self, kind: Kind, *, wait_replicas: int, silent_s: float, launch: Launch = launch, seed: int = 1
    ) -> None:
        self.kind: Final = kind
        self.meetings = Meetings()
        self.keys = Keys(PREFIX)
        self._exits = AsyncExitStack()
        self.folder = Path(self._exits.enter_context(tempfile.TemporaryDirectory(prefix="poolmgr-failover-")))
        self._silent_s = silent_s
        self._launch = launch
        self._chance = Random(seed)
        self._wait_replicas = wait_replicas
        self._programs: dict[str, Program] = {}
        self._wires: dict[int, list[Proxy]] = {}  # by the port of the server behind them
        self.servers: WatchedRedis | ClusterRedis
        self.settings: RedisSettings
        self.redis: Any
        self.views: Views

    async def __aenter__(self) -> Self:
        try:
            await self._begin()
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    async def _begin(self) -> None:
        enter = self._exits.enter_async_context
        if self.kind == "sentinel":
            ports = free_ports(1 + _REPLICAS)
            wires = [await enter(Proxy(port)) for port in ports]
            self._wires = {port: [wire] for port, wire in zip(ports, wires, strict=True)}
            found_at = [wire.port for wire in wires]
            self.servers = WatchedRedis(
                self.folder, replicas=_REPLICAS, ports=ports, announced=found_at, down_after_s=self._silent_s
            )
        else:
            both = node_ports()
            pairs = [(await enter(Proxy(port)), await enter(Proxy(bus))) for port, bus in both]
            self._wires = {port: list(pair) for (port, _), pair in zip(both, pairs, strict=True)}
            announced = [(client.port, bus.port) for client, bus in pairs]
            self.servers = ClusterRedis(self.folder, ports=both, announced=announced, node_timeout_s=self._silent_s)
        self._exits.callback(self.servers.end)
        await asyncio.to_thread(self.servers.begin)
        self.settings = RedisSettings(
            url=self.servers.url, prefix=PREFIX, timeout_s=TIMEOUT_S, wait_replicas=self._wait_replicas, wait_s=0.5
        )
        self.redis = connect(self.settings)
        self._exits.push_async_callback(self.redis.aclose)
        self.views = Views(self.redis, self.keys)
        group = await enter(asyncio.TaskGroup())
        tasks = [group.create_task(self._keep(name), name=name) for name in ("manager-1", "manager-2")]
        for number in range(_VMS):
            agent = BareAgent(self.settings, f"vm-{number + 1}", self.folder, self.meetings, self._chance)
            tasks.append(group.create_task(agent.run(), name=agent.vm_id))
        self._exits.callback(lambda: [task.cancel() for task in tasks])

    async def _keep(self, name: str) -> None:
        """Start the process again whenever it ends, as systemd does."""
        port, other = free_ports(2)
        mine = {
            **_TIMES,
            "REDIS__URL": self.settings.url,
            "REDIS__PREFIX": self.settings.prefix,
            "REDIS__TIMEOUT_S": self.settings.timeout_s,
            "REDIS__WAIT_REPLICAS": self.settings.wait_replicas,
            "REDIS__WAIT_S": self.settings.wait_s,
            "API__LISTEN": f"127.0.0.1:{port}",
            "METRICS__LISTEN": f"127.0.0.1:{other}",
        }
        environment = {**without_settings(), **{f"POOLMGR_{key}": str(value) for key, value in mine.items()}}
        program: Program | None = None
        try:
            while True:
                with (self.folder / f"{name}.log").open("ab") as log:
                    program = self._launch(environment, log)
                while program.poll() is None:  # noqa: ASYNC110  # nothing says that a process has ended
                    await asyncio.sleep(_LOOK_S)
        finally:
            if program and program.poll() is None:
                program.kill()
                program.wait()

    # Faults

    def primary(self) -> Server:
        """The primary of our keys. Raises: StageError."""
        return self.servers.primary() if isinstance(self.servers, WatchedRedis) else self.servers.primary(PREFIX)

    async def strike(self, server: Server, how: How) -> None:
        match how:
            case "kill":
                server.kill()
            case "pause":
                server.pause()
            case "cut":
                for wire in self._wires[server.port]:
                    await wire.set(Wire.HOLE)
                self._part(server)
            case "split":
                self._part(server)

    def _part(self, server: Server) -> None:
        """Cut it off from the other servers and from the sentinels."""
        others = [other.source for other in self.servers.servers if other is not server]
        for port, wires in self._wires.items():
            for wire in wires:
                wire.shut_out(others if port == server.port else [server.source])

    async def heal(self, server: Server, how: How) -> None:
        if how == "kill":
            server.start()
        server.resume()
        for wires in self._wires.values():
            for wire in wires:
                wire.shut_out(())
                await wire.set(Wire.OPEN)

    @property
    def has_replica_left(self) -> bool:
        """Whether a replica is left when another one has taken over. In a cluster of six, each primary has one."""
        return self.kind == "sentinel"

    # Looks from outside, not through the wires

    async def promoted(self, before: Server) -> Server:
        """Another server that is a primary of our keys by now."""
        others = [server for server in self.servers.redises if server is not before]
        known = {server.port for server in others if await asyncio.to_thread(_is_primary, server)}

        async def found() -> Server | None:
            for server in others:
                if server.port not in known and await asyncio.to_thread(_is_primary, server):
                    return server
            return None

        return await until("another server takes over", found, 60.0)

    async def epoch_on(self, server: Server) -> int:
        """The epoch of the latest leader, according to that server."""

        def look() -> int:
            with suppress(RedisError, OSError):
                return int(server.say("GET", self.keys.epoch) or 0)
            return 0

        return await asyncio.to_thread(look)

    def logs(self, lines: int = 6) -> str:
        return "\n".join(f"{log.name}: {log_end(log, lines)}" for log in sorted(self.folder.glob("*.log")))


def _is_primary(server: Server) -> bool:
    with suppress(RedisError, OSError):
        return server.pid is not None and server.say("ROLE")[0] == b"master"
    return False


async def until(what: str, done: Callable[[], Any], within_s: float) -> Any:
    """Wait for a true answer of `done`, and return it. Raises: StageError."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if answer := await done():
                return answer
        except (RedisError, OSError):
            pass  # it is about to fail over
        if time.monotonic() > deadline:
            raise StageError(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(_LOOK_S)
