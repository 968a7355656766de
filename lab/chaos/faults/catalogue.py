"""The faults, as data: what each does and to whom, how it is undone, and which ends of bots it may explain.

If the fleet ends a bot and no fault explains that end, it is a violation (lab/chaos/judging/invariants.py).
"""

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from common.wire.vocabulary import Reason
from lab.chaos.faults import poisoned
from lab.chaos.faults.hostile_jobs import flood
from lab.chaos.observers.processes import driver_of
from lab.chaos.system.machine import (
    Need,
    fill,
    fix_files,
    free_files,
    give_descriptors,
    leave_no_descriptor,
    say_little_memory,
    say_true_memory,
    set_clock,
)
from lab.chaos.system.stage import CLAIM_TIMEOUT_S, LEASE_S, LOST_AFTER_S, MEMORY_RESERVE_MB, How, Stage
from lab.parts.proxy import Wire

EXPLAINS_FOR_S: Final = 15.0  # after its end a fault may still show for this long: a hanging page is given up this late
_OUTLASTS_S: Final = 8.0  # a fault may go on for this long after the round's load has ended
_AGAIN_S: Final = 0.05
HOUR_S: Final = 3600.0
LITTLE_MB: Final = MEMORY_RESERVE_MB // 2


class Aim(StrEnum):
    LEADER = "leader"
    MANAGER = "manager"
    AGENT = "agent"
    DRIVER = "driver"
    IDLE_BROWSER = "idle browser"
    MEETING_BROWSER = "browser in a meeting"
    REDIS = "redis"
    PRIMARY = "the primary"


class Target(NamedTuple):
    """What a fault hits. `name`: a part of the stage. `pid`: the process that gets the signal. `label`: for people.
    `job`: the job in that browser.
    """

    name: str
    pid: int
    label: str
    job: str = ""


Inflict = Callable[[Stage, Target], AbstractAsyncContextManager[None]]


class Fault(NamedTuple):
    """A fault. `lasts_s`: shortest and longest. `may_end`: the reasons for which bots on that VM may end because of it.
    `needs`: what it needs of the machine.
    """

    name: str
    aim: Aim
    inflict: Inflict
    lasts_s: tuple[float, float] = (0.0, 0.0)
    may_end: frozenset[Reason] = frozenset()
    needs: Need | None = None

    @property
    def is_a_flood(self) -> bool:
        """Whether it only sends what any client may send."""
        return self.inflict is _flooded

    @property
    def is_a_freeze(self) -> bool:
        """Whether it freezes a process for as long as it lasts."""
        return self.inflict is _frozen

    @property
    def stops_writing(self) -> bool:
        """Whether an agent can write nothing into its state folder, or nobody anything into Redis, while it lasts."""
        of_redis = self.aim in (Aim.REDIS, Aim.PRIMARY)
        return self.inflict in (_disk_full, _read_only) or (of_redis and self.lasts_s[1] > 0)

    @property
    def fits_sentinels(self) -> bool:
        """Whether it makes sense where Redis is several servers: it needs no wire that only one part has, and no other
        than a primary's fault keeps Redis away.
        """
        return self.inflict not in _OF_A_WIRE and (self.aim is not Aim.REDIS or self.inflict in _OF_CLIENTS)

    @property
    def is_of_a_process(self) -> bool:
        """Whether it kills, ends or freezes a process: manager, agent, driver, browser or Redis."""
        return self.inflict in _OF_A_PROCESS


class Planned(NamedTuple):
    """A fault that is planned. `at_s`: when in the round. `pick` (0 to 1) chooses one of the targets that fit then."""

    at_s: float
    fault: Fault
    lasts_s: float
    pick: float


class Excuse(NamedTuple):
    """The ends that a fault may explain: these reasons, on this VM, between these epoch seconds. `pid`: only of the bot
    in that browser.
    """

    vm_id: str
    reasons: frozenset[Reason]
    begin: float
    end: float
    pid: int = 0


class Still(NamedTuple):
    """A process that was frozen or down between these epoch seconds. `name`: the part; for a browser or a driver, the
    part of its VM.
    """

    aim: Aim
    name: str
    pid: int
    begin: float
    end: float


def _signalled(number: signal.Signals) -> Inflict:
    """Send a signal once. There is nothing to undo: a process that dies of it is started again."""

    @asynccontextmanager
    async def inflict(_stage: Stage, target: Target) -> AsyncGenerator[None]:
        _send(target.pid, number)
        yield

    return inflict


@asynccontextmanager
async def _frozen(_stage: Stage, target: Target) -> AsyncGenerator[None]:
    _send(target.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(target.pid, signal.SIGCONT)


@asynccontextmanager
async def _kept_down(stage: Stage, target: Target) -> AsyncGenerator[None]:
    stage.part(target.name).may_run.clear()
    _send(target.pid, signal.SIGKILL)
    try:
        yield
    finally:
        stage.part(target.name).may_run.set()


@asynccontextmanager
async def _killed_with_driver(_stage: Stage, target: Target) -> AsyncGenerator[None]:
    """Kill an agent and its driver at once."""
    driver = driver_of(target.pid)
    for pid in (target.pid, *((driver,) if driver else ())):
        _send(pid, signal.SIGKILL)
    yield


@asynccontextmanager
async def _vm_gone(stage: Stage, target: Target) -> AsyncGenerator[None]:
    """Kill everything on the VM at once: the agent and its browsers."""
    stage.part(target.name).may_run.clear()
    _send(target.pid, signal.SIGKILL)
    for browser in stage.table.browsers():
        if browser.vm_id == target.name:
            _send(browser.pid, signal.SIGKILL)
    try:
        yield
    finally:
        stage.part(target.name).may_run.set()


_OF_A_WIRE: Final = list[Inflict]()


def _wired(wire: Wire, delay_s: float = 0.0) -> Inflict:
    @asynccontextmanager
    async def inflict(stage: Stage, target: Target) -> AsyncGenerator[None]:
        await stage.wires[target.name].set(wire, delay_s)
        try:
            yield
        finally:
            await stage.wires[target.name].set(Wire.OPEN)

    _OF_A_WIRE.append(inflict)
    return inflict


def _away(how: How) -> Inflict:
    @asynccontextmanager
    async def inflict(stage: Stage, _target: Target) -> AsyncGenerator[None]:
        async with stage.losing_primary(how):
            yield

    return inflict


def _command(do: tuple[str, ...], undo: tuple[str, ...] = ()) -> Inflict:
    """Send Redis a command, and later the command that takes it back."""

    @asynccontextmanager
    async def inflict(stage: Stage, _target: Target) -> AsyncGenerator[None]:
        with suppress(RedisError, OSError):  # Redis is frozen or away, so this fault does not happen
            await stage.redis.execute_command(*do)
        try:
            yield
        finally:
            while undo:
                try:
                    await stage.redis.execute_command(*undo)
                    break
                except (RedisError, OSError):
                    await asyncio.sleep(_AGAIN_S)

    return inflict


@asynccontextmanager
async def _disk_full(stage: Stage, target: Target) -> AsyncGenerator[None]:
    """Fill the disk, also the room that the agent frees."""
    filler = stage.state_dir(target.name) / "filler"
    async with asyncio.TaskGroup() as group:
        filling = group.create_task(_keep_full(filler), name="keep the disk full")
        try:
            yield
        finally:
            filling.cancel()
            filler.unlink(missing_ok=True)


async def _keep_full(filler: Path) -> None:
    while True:
        fill(filler)
        await asyncio.sleep(_AGAIN_S)


@asynccontextmanager
async def _read_only(stage: Stage, target: Target) -> AsyncGenerator[None]:
    folder = stage.state_dir(target.name)
    try:
        await asyncio.to_thread(fix_files, folder)
        yield
    finally:
        await asyncio.to_thread(free_files, folder)


@asynccontextmanager
async def _out_of_descriptors(_stage: Stage, target: Target) -> AsyncGenerator[None]:
    try:
        before = leave_no_descriptor(target.pid)
    except (OSError, ValueError):  # the process has just ended
        yield
        return
    try:
        yield
    finally:
        give_descriptors(target.pid, before)


@asynccontextmanager
async def _little_memory(stage: Stage, target: Target) -> AsyncGenerator[None]:
    try:
        await asyncio.to_thread(say_little_memory, target.pid, LITTLE_MB, stage.folder)
        yield
    finally:
        await asyncio.to_thread(say_true_memory, target.pid)


def _clock_set(by_s: float) -> Inflict:
    @asynccontextmanager
    async def inflict(stage: Stage, target: Target) -> AsyncGenerator[None]:
        set_clock(stage.clock(target.name), by_s)
        try:
            yield
        finally:
            set_clock(stage.clock(target.name), 0.0)

    return inflict


@asynccontextmanager
async def _started_twice(stage: Stage, target: Target) -> AsyncGenerator[None]:
    """Start a second agent, which should find the state folder locked. If the first one was killed just then, the
    second one gets the lock, and is the agent until it is killed.
    """
    second = await stage.start_beside(target.name)
    try:
        yield
    finally:
        if second.returncode is None:
            _send(second.pid, signal.SIGKILL)
        await second.wait()


@asynccontextmanager
async def _old_copy(stage: Stage, _target: Target) -> AsyncGenerator[None]:
    copied_at = await asyncio.to_thread(stage.copy_redis)
    try:
        yield
    finally:
        await stage.restore_redis(copied_at)


@asynccontextmanager
async def _flooded(stage: Stage, _target: Target) -> AsyncGenerator[None]:
    payloads = await asyncio.to_thread(flood)
    with suppress(RedisError, OSError):  # Redis is frozen or away, so this fault does not happen
        await stage.redis.lpush(stage.keys.jobs, *payloads)
    yield


@asynccontextmanager
async def _poisoned(stage: Stage, _target: Target) -> AsyncGenerator[None]:
    bot_id = f"{poisoned.MARK}{len(stage.poisons) + 1}"
    job = {"bot_id": bot_id, "meeting_link": f"http://{stage.witness.address}/r/chaos"}
    stage.poisons[bot_id] = False
    with suppress(RedisError, OSError):  # Redis is frozen or away, so this fault does not happen
        await stage.redis.lpush(stage.keys.jobs, json.dumps(job))
        stage.poisons[bot_id] = True
    yield


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


_killed, _terminated = _signalled(signal.SIGKILL), _signalled(signal.SIGTERM)
_primary_killed, _primary_frozen, _primary_cut = _away("kill"), _away("freeze"), _away("cut")
_OF_CLIENTS: Final = (_flooded, _poisoned)
_OF_A_PROCESS: Final = (
    *(_killed, _terminated, _frozen, _kept_down, _vm_gone, _killed_with_driver, _old_copy),
    *(_primary_killed, _primary_frozen),
)
_SHORT: Final = (0.3, 2.0)  # the agent, which retries less and less often, is heard from before it counts as lost
_UNCLAIMED: Final = (CLAIM_TIMEOUT_S + 0.5, CLAIM_TIMEOUT_S + 1.5)  # long enough that its assignments are taken back
_LONG: Final = (LOST_AFTER_S + 1.0, LOST_AFTER_S + 4.0)
LOST: Final = frozenset({Reason.WORKER_LOST, Reason.HEARTBEAT_TIMEOUT, Reason.CUT_OFF})
CRASHED: Final = frozenset({Reason.BROWSER_CRASHED})
_HUNG: Final = frozenset({Reason.BROWSER_HUNG})
_PROMOTES: Final = (4.0, 9.0)  # a replica takes over after two to three seconds
_CONFIG: Final = ("CONFIG", "SET")

FAULTS: Final = (
    Fault("leader killed", Aim.LEADER, _killed),
    Fault("leader frozen", Aim.LEADER, _frozen, (LEASE_S * 1.5, LEASE_S * 4)),
    Fault("leader terminated", Aim.LEADER, _terminated),
    Fault("manager killed", Aim.MANAGER, _killed),
    Fault("manager cut off", Aim.MANAGER, _wired(Wire.CUT), (0.3, 6.0)),
    Fault("manager in a black hole", Aim.MANAGER, _wired(Wire.HOLE), (0.3, 8.0)),
    Fault("manager's answers cut in half", Aim.MANAGER, _wired(Wire.HALF)),
    Fault("manager's wire slow", Aim.MANAGER, _wired(Wire.DELAY, 0.15), (1.0, 4.0)),
    Fault("agent killed", Aim.AGENT, _killed),
    Fault("agent and driver killed", Aim.AGENT, _killed_with_driver),
    Fault("agent killed and down for a moment", Aim.AGENT, _kept_down, _SHORT),
    Fault("agent killed and kept down", Aim.AGENT, _kept_down, _LONG, LOST),
    Fault("agent terminated", Aim.AGENT, _terminated, may_end=frozenset({Reason.SHUTDOWN})),
    Fault("agent frozen", Aim.AGENT, _frozen, _SHORT),
    Fault("agent frozen past a claim's time", Aim.AGENT, _frozen, _UNCLAIMED),
    Fault("agent frozen for long", Aim.AGENT, _frozen, _LONG, LOST),
    Fault("agent cut off", Aim.AGENT, _wired(Wire.CUT), _SHORT),
    Fault("agent cut off for long", Aim.AGENT, _wired(Wire.CUT), _LONG, LOST),
    Fault("agent in a black hole", Aim.AGENT, _wired(Wire.HOLE), _SHORT),
    Fault("agent in a black hole for long", Aim.AGENT, _wired(Wire.HOLE), _LONG, LOST),
    Fault("agent's answers cut in half", Aim.AGENT, _wired(Wire.HALF)),
    Fault("agent's wire slow", Aim.AGENT, _wired(Wire.DELAY, 0.15), (1.0, 4.0)),
    Fault("agent's state folder full", Aim.AGENT, _disk_full, (1.0, 5.0), needs=Need.SMALL_DISK),
    Fault("agent's state folder read-only", Aim.AGENT, _read_only, (1.0, 4.0), needs=Need.FIXED_FILES),
    Fault("agent out of file descriptors", Aim.AGENT, _out_of_descriptors, (1.0, 4.0)),
    Fault("agent sees little memory", Aim.AGENT, _little_memory, (1.0, 6.0), needs=Need.OWN_MEMINFO),
    Fault("agent's clock an hour ahead", Aim.AGENT, _clock_set(HOUR_S), (1.0, 8.0), needs=Need.OWN_CLOCK),
    Fault("agent's clock an hour behind", Aim.AGENT, _clock_set(-HOUR_S), (1.0, 8.0), needs=Need.OWN_CLOCK),
    Fault("manager's clock an hour ahead", Aim.MANAGER, _clock_set(HOUR_S), (1.0, 8.0), needs=Need.OWN_CLOCK),
    Fault("manager's clock an hour behind", Aim.MANAGER, _clock_set(-HOUR_S), (1.0, 8.0), needs=Need.OWN_CLOCK),
    Fault("agent started twice", Aim.AGENT, _started_twice, (2.0, 3.0)),
    Fault("vm restarted", Aim.AGENT, _vm_gone, (0.0, 2.0), LOST | CRASHED),
    Fault("vm gone", Aim.AGENT, _vm_gone, _LONG, LOST | CRASHED),
    Fault("driver killed", Aim.DRIVER, _killed),
    Fault("driver frozen", Aim.DRIVER, _frozen, (18.0, 22.0)),
    # For the witness, a bot is idle also when its meeting is over and its agent has not looked yet.
    Fault("idle browser killed", Aim.IDLE_BROWSER, _killed, may_end=CRASHED),
    Fault("idle browser frozen", Aim.IDLE_BROWSER, _frozen, (2.0, 5.0), _HUNG),
    Fault("browser in a meeting killed", Aim.MEETING_BROWSER, _killed, may_end=CRASHED),
    Fault("browser in a meeting frozen", Aim.MEETING_BROWSER, _frozen, (1.0, 4.0)),
    Fault("browser in a meeting frozen for long", Aim.MEETING_BROWSER, _frozen, (17.0, 20.0), _HUNG),
    Fault("flood of hostile jobs", Aim.REDIS, _flooded),
    Fault("job over which managers end", Aim.REDIS, _poisoned),
    Fault("redis killed", Aim.REDIS, _killed),
    Fault("redis frozen", Aim.REDIS, _frozen, (0.3, 5.0)),
    Fault("redis full", Aim.REDIS, _command((*_CONFIG, "maxmemory", "1"), (*_CONFIG, "maxmemory", "0")), (0.5, 4.0)),
    Fault(
        "redis read-only", Aim.REDIS,
        _command(("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")), (0.5, 4.0),
    ),
    Fault(
        "redis without its replicas", Aim.REDIS,
        _command((*_CONFIG, "min-replicas-to-write", "1"), (*_CONFIG, "min-replicas-to-write", "0")), (0.5, 4.0),
    ),
    Fault("redis forgets its scripts", Aim.REDIS, _command(("SCRIPT", "FLUSH"))),
    Fault("redis drops its clients", Aim.REDIS, _command(("CLIENT", "KILL", "TYPE", "normal"))),
)  # fmt: skip
OLD_COPY: Final = Fault("redis back with an old copy", Aim.REDIS, _old_copy, (5.0, 60.0))
"""It may lose any accepted job, so a round has it only on request."""
OF_SENTINELS: Final = (
    Fault("primary killed", Aim.PRIMARY, _primary_killed, _PROMOTES),
    Fault("primary frozen", Aim.PRIMARY, _primary_frozen, _PROMOTES),
    Fault("primary cut off", Aim.PRIMARY, _primary_cut, _PROMOTES),
)
"""Only where sentinels watch it, and then several times as often as others."""
_AS_OFTEN: Final = 4
BY_NAME: Final = {fault.name: fault for fault in (*FAULTS, *OF_SENTINELS, OLD_COPY)}


def chosen(
    only: str = "", longest_s: float = 30.0, met: Collection[Need] = tuple(Need), *, sentinels: bool = False
) -> list[Fault]:
    """The faults whose name contains `only`, that last no longer than `longest_s`, and whose needs are `met`.
    `sentinels`: where these watch a primary.
    """
    possible = FAULTS
    if sentinels:
        possible = (*(fault for fault in FAULTS if fault.fits_sentinels), *OF_SENTINELS * _AS_OFTEN)
    faults = [fault for fault in possible if only in fault.name and fault.lasts_s[1] <= longest_s]
    return [fault for fault in faults if fault.needs is None or fault.needs in met]


def plan(chance: random.Random, seconds: float, per_s: float, faults: Sequence[Fault]) -> list[Planned]:
    """The faults of a round of `round_s` seconds. Long ones begin early, so that the quiet after the round does not
    wait for them.
    """
    planned: list[Planned] = []
    at_s = chance.uniform(0.2, 1.0)
    while at_s < seconds:
        in_time = [fault for fault in faults if at_s + fault.lasts_s[1] <= seconds + _OUTLASTS_S]
        fault = chance.choice(in_time or faults)
        planned.append(Planned(round(at_s, 3), fault, round(chance.uniform(*fault.lasts_s), 3), chance.random()))
        at_s += chance.expovariate(per_s)
    return planned
