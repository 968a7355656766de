"""The parts that are broken: a Redis that keeps its data, managers and agents, each with a connection of its own and
short timeouts. A part that dies is started again after a moment, as systemd does. In the end nothing is left of the
stage.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, Literal, NamedTuple, Protocol, Self

import aiohttp
import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from common.config.settings import RedisSettings, parse
from common.runtime.redis.client import connect
from common.runtime.redis.roundtrip import carry_out
from common.runtime.steps import VARIABLE
from lab.chaos.observers.processes import Table
from lab.chaos.observers.sidecar import Apart, FarWire
from lab.chaos.observers.starvation import Given
from lab.chaos.stand_in.chromium import write_program
from lab.chaos.system.machine import Need, allows, mount_small_disk, settable_clock, unmount
from lab.parts import StageError
from lab.parts.environment import CHROMIUM, without_settings
from lab.parts.ports import free_ports
from lab.parts.proxy import Wire
from lab.parts.redis_fleet import Server, WatchedRedis
from lab.parts.redis_server import START_DEADLINE_S, on_port, redis_command
from lab.parts.stage import ROOT, log_end
from lab.parts.table import end_bearers
from poolmgr.store.keys import Keys
from poolmgr.store.reading.views import Views
from worker.chromium.process import find_chromium

RESTART_S: Final = (0.05, 0.6)  # systemd waits a moment, too
LOST_AFTER_S: Final = 5.0
CLAIM_TIMEOUT_S: Final = 2.0
LEASE_S: Final = 1.0
SILENT_AFTER_S: Final = 1.5
ANSWER_S: Final = 1.0
ON_ITS_WAY_S: Final = 3.0  # Redis may not yet have what was sent to it this recently
MEMORY_RESERVE_MB: Final = 256
_SMALL_DISK_MB: Final = 16
_LARGE_DISK_MB: Final = 1024  # for the profiles of real browsers
_REPLICAS: Final = 2  # so that one is left after another has taken over
_SILENT_S: Final = 1.0  # after this much silence of the primary a replica takes over
_CONFIRM_WITHIN_S: Final = 0.5
_WELL_WITHIN_S: Final = 90.0

How = Literal["kill", "freeze", "cut"]
"""How a primary goes away: its process dies, stands still, or nobody reaches it."""

_TIMES: Final = {
    "LEASE__TTL_S": LEASE_S,
    "POOL__HEARTBEAT_TIMEOUT_S": SILENT_AFTER_S,
    "POOL__LOST_AFTER_S": LOST_AFTER_S,
    "POOL__IDLE_TTL_S": 4,  # workers that a fault left over have to go before it is quiet
    "POOL__CLAIM_TIMEOUT_S": CLAIM_TIMEOUT_S,
    "POOL__WARMUP_TIMEOUT_S": 20,
    "POOL__BACKOFF_S": 0.2,
    "POOL__BACKOFF_MAX_S": 1,
    "POOL__RESERVE_AHEAD_S": 1,
    "POOL__MAX_ATTEMPTS": 10,
    "REDIS__TIMEOUT_S": 3,
    "WORKER__HEARTBEAT_S": 0.25,
    "WORKER__LAUNCH_TIMEOUT_S": 15,
    "WORKER__LEAVE_TIMEOUT_S": 4,
    "WORKER__DRAIN_TIMEOUT_S": 2,
    "WORKER__MEMORY_RESERVE_MB": MEMORY_RESERVE_MB,
    "LOG__FORMAT": "json",
}


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`sentinels`: Redis is a primary and two replicas, watched by three sentinels. `wait_replicas`: as
    redis.wait_replicas, for the clients, too.
    """

    managers: int = 2
    agents: int = 3
    max_workers: int = 6
    min_idle: int = 2
    real_browsers: bool = False
    sentinels: bool = False
    wait_replicas: int = 0


class Rollback(NamedTuple):
    """Redis came back at `restored_at` with its state of `copied_at`, both epoch seconds. Everything in between is
    lost. `by_failover`: it may be, because nothing waited for replicas.
    """

    copied_at: float
    restored_at: float
    by_failover: bool = False

    def may_lack(self, at: float) -> bool:
        """Whether Redis may have lost what it was asked at that time."""
        return self.copied_at - ON_ITS_WAY_S <= at <= self.restored_at


class Process(Protocol):
    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    async def wait(self) -> int: ...


Spawn = Callable[[tuple[str, ...], Mapping[str, str], IO[bytes]], Awaitable[Process]]
"""Starts a command with that environment and that log."""


async def spawn(command: tuple[str, ...], environment: Mapping[str, str], log: IO[bytes]) -> Process:
    # A session of its own, so that Ctrl-C goes to the suite, which then ends its parts.
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


class Part:
    """A process that is started again whenever it ends. Without `may_run` it stays down."""

    def __init__(
        self, name: str, command: tuple[str, ...], environment: Mapping[str, str], log: Path, spawn: Spawn
    ) -> None:
        self.name = name
        self.command = command
        self.environment = dict(environment)
        self.log = log
        self.process: Process | None = None
        self.codes: list[int] = []  # the exit code, each time
        self.begins: list[float] = []  # when it started, each time, epoch seconds
        self.ends: list[float] = []  # when it ended, each time, epoch seconds
        self.may_run = asyncio.Event()
        self.may_run.set()
        self._spawn = spawn

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await self._spawn(self.command, self.environment, log)
        self.begins.append(time.time())

    def signal(self, number: signal.Signals) -> bool:
        """Send it a signal. Returns False if it does not run."""
        if self.pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return True


class Stage:
    """A context in which the parts run. `seed` chooses how long a part stays down. `armed`: for a part, the step after
    which it ends (common/runtime/steps.py). `spawn` starts the parts. `needs`: what faults may use of the machine.
    `fit`: for each of these, the parts that have it.
    """

    def __init__(
        self,
        apart: Apart,
        scale: Scale,
        seed: int,
        folder: Path | None = None,
        armed: Mapping[str, str] | None = None,
        spawn: Spawn = spawn,
        needs: Collection[Need] = (),
    ) -> None:
        self.apart = apart
        self.witness = apart.witness
        self.scale = scale
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-")) if folder is None else folder
        self.keys = Keys("poolmgr")
        self.redis_port, *ports = free_ports(1 + scale.managers)
        # Not over a wire, and without automatic repeats: a push that happened twice has to be known.
        once = Retry(NoBackoff(), 0)
        self.redis: Any = Redis(
            host="127.0.0.1",
            port=self.redis_port,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=once,
        )
        self.watched: WatchedRedis | None = None
        self.settings = parse("", {f"POOLMGR_{key}": str(value) for key, value in _TIMES.items()})
        self.table = Table(self.folder)
        self.wires: dict[str, FarWire] = {}
        self.parts: dict[str, Part] = {}
        self.managers = {
            f"manager-{number + 1}": port for number, port in enumerate(ports)
        }  # name -> the port of its API
        self.agents = [f"vm-{number + 1}" for number in range(scale.agents)]
        self.rollbacks: list[Rollback] = []
        self.poisons: dict[str, bool] = {}  # bot_id of a job over which managers end -> whether Redis confirmed it
        self.epochs: list[
            tuple[int, int]
        ] = []  # for each time Redis was set back: the epoch before, and the first new one; 0: none yet
        self.fit: dict[Need, frozenset[str]] = {}
        self.given = Given(self._pids, lambda: apart.late_s)
        self.most_browsers: dict[str, int] = dict.fromkeys(self.agents, 0)
        self._chance = random.Random()
        self.seed(seed)
        self._armed = armed or {}
        self._needs = needs
        self._spawn = spawn
        self._exits = AsyncExitStack()
        self._keepers: asyncio.TaskGroup | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            self._keepers = await self._exits.enter_async_context(asyncio.TaskGroup())
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    def _pids(self) -> list[int]:
        return [part.pid for part in self.parts.values() if part.pid]

    def seed(self, seed: int) -> None:
        """Choose new times for how long parts stay down."""
        self._chance.seed(f"{seed} restarts")

    async def push(self, payload: str) -> None:
        """As a client does. It is confirmed when this returns. Raises: Redis' errors."""
        if self.watched:
            await carry_out(self.redis, "LPUSH", self.keys.jobs, payload)
        else:
            await self.redis.lpush(self.keys.jobs, payload)

    @property
    def views(self) -> Views:
        return Views(self.redis, self.keys)

    # Which part is which

    def part(self, name: str) -> Part:
        return self.parts[name]

    def state_dir(self, vm_id: str) -> Path:
        return self.folder / vm_id

    async def leader(self) -> str | None:
        """The manager that says that it leads."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as http:
            for name, port in self.managers.items():
                with suppress(aiohttp.ClientError, TimeoutError, ValueError):
                    async with http.get(f"http://127.0.0.1:{port}/readyz") as answer:
                        if (await answer.json()).get("role") == "leader":
                            return name
        return None

    async def is_full(self) -> bool:
        """Whether each VM has its idle browsers and no others."""
        try:
            fleet = await self.views.fleet()
        except (RedisError, OSError):
            return False
        full = {"idle": self.scale.min_idle}
        counts = {vm.vm_id: {state: n for state, n in vm.workers.items() if n} for vm in fleet if vm.state.has_target}
        return all(counts.get(vm_id) == full for vm_id in self.agents)

    def has(self, need: Need, name: str) -> bool:
        """Whether that part has what a fault needs of the machine."""
        return name in self.fit.get(need, ())

    def _fit(self, need: Need) -> frozenset[str]:
        """Choose which agents get it. Files on a small disk cannot be made immutable, so the agents take turns."""
        match need:
            case Need.SMALL_DISK:
                return frozenset(self.agents[::2])
            case Need.FIXED_FILES:
                return frozenset(self.agents) - self.fit.get(Need.SMALL_DISK, frozenset())
            case Need.OWN_MEMINFO:
                return frozenset(self.agents)
            case Need.OWN_CLOCK:
                return frozenset({*self.agents, *self.managers})

    def clock(self, name: str) -> Path:
        """The file that sets that part's wall clock, if it has one of its own."""
        return self.folder / f"{name}.clock"

    @property
    def servers(self) -> list[Server]:
        """The servers and sentinels of Redis, where it is more than one."""
        return self.watched.servers if self.watched else []

    # A primary that goes away

    async def primary(self) -> Server | None:
        """The primary, if the sentinels see all of Redis well: then one of its replicas may take over."""
        watched = self.watched
        if watched is None or not await asyncio.to_thread(watched.is_watched):
            return None
        return await asyncio.to_thread(watched.primary)

    @asynccontextmanager
    async def losing_primary(self, how: How) -> AsyncGenerator[None]:
        """While the context is open, the primary is killed, frozen or cut off; at the end all of Redis is well again.

        Without confirmation, what Redis was asked meanwhile may be lost, and before the clients noticed.
        """
        watched, server = self.watched, await self.primary()
        if watched is None or server is None:  # it is only just back
            yield
            return
        begin, before = time.time(), await self.epoch()
        wire = self.wires[f"redis {server.announced}"]
        match how:
            case "kill":
                server.kill()
            case "freeze":
                server.pause()
            case "cut":
                await wire.set(Wire.HOLE)
        try:
            yield
        finally:
            if how == "kill":
                server.start()
            server.resume()
            await wire.set(Wire.OPEN)

            async def is_well() -> bool:
                return await asyncio.to_thread(watched.is_watched)

            await self.until("all of Redis is well", is_well, _WELL_WITHIN_S)
            if not self.scale.wait_replicas:
                self.rollbacks.append(Rollback(begin, time.time(), by_failover=True))
            if (after := await self.epoch()) != before:
                self.epochs.append((before, after))

    def copy_redis(self) -> float:
        """Keep a copy of Redis' files. Returns the time of the copy."""
        copy = self.folder / "redis.copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.folder / "redis", copy)
        return time.time()

    async def restore_redis(self, copied_at: float) -> None:
        """End Redis as by kill -9, and start it with the files of the copy."""
        part, before = self.parts["redis"], await self.epoch()
        part.may_run.clear()
        part.signal(signal.SIGKILL)
        if part.process:
            await part.process.wait()
        shutil.rmtree(self.folder / "redis")
        (self.folder / "redis.copy").rename(self.folder / "redis")
        self.rollbacks.append(Rollback(copied_at, time.time()))
        part.may_run.set()
        await self.until("redis answers", self._redis_answers)
        self.epochs.append((before, 0))
        restored = await self.epoch()
        assert self._keepers
        self._tasks.append(self._keepers.create_task(self._see_next_epoch(before, restored), name="see the next epoch"))

    async def _see_next_epoch(self, before: int, restored: int) -> None:
        while True:
            if (now := await self.epoch()) != restored:
                self.epochs[-1] = (before, now)
                return
            await asyncio.sleep(0.05)

    async def epoch(self) -> int:
        """The epoch of the latest leader. Raises: StageError when Redis does not answer."""
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                return int(await self.redis.get(self.keys.epoch) or 0)
            except (RedisError, OSError) as error:
                if time.monotonic() > deadline:
                    raise StageError(f"redis does not answer: {error}") from error
                await asyncio.sleep(0.05)

    async def start_beside(self, name: str) -> Process:
        """Start a second process like that part."""
        part = self.parts[name]
        with part.log.open("ab") as log:
            return await self._spawn(part.command, part.environment, log)

    def log_end(self, name: str, lines: int = 12) -> str:
        return log_end(self.parts[name].log, lines)

    # Start and end

    async def _start(self) -> None:
        if self.scale.sentinels:
            await self._start_watched()
        else:
            folder = self.folder / "redis"
            folder.mkdir()
            self._add("redis", *redis_command(folder, "always", *on_port(self.redis_port)))
            await self._keep("redis")
        await self.until("redis answers", self._redis_answers)
        chromium = self._browser_program()
        for need in self._needs:
            if allows(need, self.folder):
                self.fit[need] = self._fit(need)
        for name, port in self.managers.items():
            listen = {"API__LISTEN": f"127.0.0.1:{port}", "METRICS__LISTEN": f"127.0.0.1:{port}"}
            await self._add_program(name, "lab.chaos.faults.poisoned", "serve", listen)
        for vm_id in self.agents:
            self.state_dir(vm_id).mkdir()
            if self.has(Need.SMALL_DISK, vm_id):
                mount_small_disk(self.state_dir(vm_id), _LARGE_DISK_MB if self.scale.real_browsers else _SMALL_DISK_MB)
            mine = {"WORKER__VM_ID": vm_id, "WORKER__STATE_DIR": str(self.state_dir(vm_id))}
            await self._add_program(vm_id, "worker", "run", {**mine, "WORKER__CHROMIUM": str(chromium)})
        for name in (*self.managers, *self.agents):
            await self._keep(name)
        assert self._keepers
        self._tasks.append(self._keepers.create_task(self._watch_limits(), name="watch the limits"))
        self._tasks.append(self._keepers.create_task(self.given.watch(), name="watch what the machine gives"))

    async def _start_watched(self) -> None:
        folder = self.folder / "redis"
        folder.mkdir()
        ports = free_ports(1 + _REPLICAS)
        wires = [await self.apart.lay(port) for port in ports]
        found_at = [wire.port for wire in wires]
        for wire in wires:
            self.wires[f"redis {wire.port}"] = wire
        watched = self.watched = WatchedRedis(
            folder, replicas=_REPLICAS, ports=ports, announced=found_at, down_after_s=_SILENT_S
        )
        self._exits.callback(watched.end)
        await asyncio.to_thread(watched.begin)
        await self.redis.aclose()
        self.redis = connect(
            RedisSettings(
                url=watched.url, timeout_s=ANSWER_S, wait_replicas=self.scale.wait_replicas, wait_s=_CONFIRM_WITHIN_S
            )
        )

    def _browser_program(self) -> Path:
        if self.scale.real_browsers:
            return find_chromium(os.environ.get(CHROMIUM, ""))
        return write_program(self.folder / "stand-in", self.witness.address)

    async def _add_program(self, name: str, module: str, command: str, settings: Mapping[str, Any]) -> None:
        if self.watched:
            url = self.watched.url
        else:
            wire = self.wires[name] = await self.apart.lay(self.redis_port)
            url = wire.url
        all_settings = {
            **_TIMES,
            "POOL__MIN_IDLE": self.scale.min_idle,
            "POOL__MAX_WORKERS": self.scale.max_workers,
            "MEETINGS__ROOM_HOSTS": json.dumps([self.witness.address]),
            "REDIS__URL": url,
            "REDIS__WAIT_REPLICAS": self.scale.wait_replicas,
            "REDIS__WAIT_S": _CONFIRM_WITHIN_S,
            **settings,
        }
        environment = {f"POOLMGR_{key}": str(value) for key, value in all_settings.items()}
        if self.has(Need.OWN_CLOCK, name):
            environment |= settable_clock(self.clock(name))
        alone = ("unshare", "-m") if self.has(Need.OWN_MEMINFO, name) else ()
        self._add(name, *alone, sys.executable, "-m", module, command, **environment)
        if step := self._armed.get(name):
            self.parts[name].environment[VARIABLE] = step

    def _add(self, name: str, *command: str, **environment: str) -> None:
        mark = {"CHAOS_FOLDER": str(self.folder)}
        self.parts[name] = Part(
            name, command, {**without_settings(), **mark, **environment}, self.folder / f"{name}.log", self._spawn
        )

    async def _keep(self, name: str) -> None:
        assert self._keepers
        part = self.parts[name]
        try:
            await part.start()
        except FileNotFoundError as error:
            raise StageError(f"cannot start {name}: {part.command[0]} is not installed; ./dev setup does it") from error
        self._tasks.append(self._keepers.create_task(self._start_again(part), name=f"keep {name}"))

    async def _start_again(self, part: Part) -> None:
        """Start the part again whenever it ends, while the stage stands. An armed step counts only for the first
        process.
        """
        while True:
            assert part.process
            part.codes.append(await part.process.wait())
            part.ends.append(time.time())
            part.environment.pop(VARIABLE, None)
            await asyncio.sleep(self._chance.uniform(*RESTART_S))
            await part.may_run.wait()
            await part.start()

    async def _watch_limits(self) -> None:
        while True:
            counts = dict.fromkeys(self.agents, 0)
            for browser in await asyncio.to_thread(self.table.browsers_at_once):
                counts[browser.vm_id] += 1
            for vm_id, count in counts.items():
                self.most_browsers[vm_id] = max(self.most_browsers[vm_id], count)
            await asyncio.sleep(0.2)

    async def _redis_answers(self) -> bool:
        try:
            return bool(await self.redis.ping())
        except (RedisError, OSError):
            return False

    async def until(self, what: str, done: Any, within_s: float = START_DEADLINE_S) -> None:
        """Wait until it holds. Raises: StageError at the deadline."""
        deadline = time.monotonic() + within_s
        while not await done():
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {name}\n{self.log_end(name, 4)}" for name in self.parts)
                raise StageError(f"{what}: not within {within_s:g} s\n{logs}")
            await asyncio.sleep(0.05)

    async def _end(self) -> None:
        """Kill all parts by their ids, then every process that names the folder, until none is left; then close the
        wires.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for part in self.parts.values():
            if part.process and part.process.returncode is None:
                part.signal(signal.SIGKILL)
                await part.process.wait()
        await asyncio.to_thread(end_bearers, str(self.folder), START_DEADLINE_S)
        for vm_id in self.fit.get(Need.SMALL_DISK, ()):
            unmount(self.state_dir(vm_id))
        await self.redis.aclose()
        await self._exits.aclose()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
