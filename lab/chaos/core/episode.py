"""One episode of faults against the core and the scripts. Jobs come, faults happen, then all faults end. What is left
is judged as a round of the fault suite is (judging/invariants.py), and by `poolmgr audit`.

A seed chooses everything, also the order of what happens. So every episode can be repeated.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from common.config.settings import Settings, parse
from common.jobs.record import epoch
from common.wire import codec
from common.wire.messages import Heartbeat
from common.wire.vocabulary import GoneCause, Reason, RefusalCause, WorkerState
from lab.chaos.core.agent import Agent, Browser, is_final
from lab.chaos.core.environment import Ground
from lab.chaos.core.manager import LEASE_S, Manager
from lab.chaos.judging.invariants import story, violations
from lab.chaos.judging.outside import Change, VmSeen, World, dead_job
from lab.chaos.system.load import BadPush, Push
from poolmgr.core.requests import DrainRequested, LeaveRequested, RescheduleRequested
from poolmgr.store.answers import text_fields
from poolmgr.store.reading import audit
from poolmgr.store.reading.views import encode_request

TURNS: Final = 30
HEALED_WITHIN_S: Final = 3000.0
"""Longer than all limits together: a bot may wait for a worker, and wait again under the next leader."""

_HEALING_TURN_S: Final = 4.0
_CALM_AFTER_S: Final = 60.0
_LOOK_EVERY: Final = 5  # turns
_VMS: Final = ("vm-1", "vm-2", "vm-3")
_MIN_IDLE: Final = 2
_MAX_WORKERS: Final = 5

SETTINGS: Final[Settings] = parse("", {"POOLMGR_WORKER__SESSION_LIMIT_S": "600"} | {
    f"POOLMGR_POOL__{name}": str(value) for name, value in {
        "MIN_IDLE": _MIN_IDLE, "MAX_WORKERS": _MAX_WORKERS, "IDLE_TTL_S": 30, "MAX_AGE_S": 100_000,
        "WARMUPS_AT_ONCE": 2, "WARMUP_TIMEOUT_S": 20, "BACKOFF_S": 2, "BACKOFF_MAX_S": 16, "CLAIM_TIMEOUT_S": 10,
        "HEARTBEAT_TIMEOUT_S": 12, "LOST_AFTER_S": 40, "QUEUE_TIMEOUT_S": 200, "RESERVE_AHEAD_S": 20, "MAX_ATTEMPTS": 4,
        "LEAVE_WITHIN_S": 40, "OVERDUE_AFTER_S": 8000,  # an hour back and an hour forward are less
    }.items()
})  # fmt: skip


class Broken(NamedTuple):
    """A violation. `kind`: which invariant. `bot_id`: the bot whose story is told with it."""

    kind: str
    sentence: str
    story: Sequence[str] = ()


class EpisodeResult(NamedTuple):
    """The result of an episode."""

    faults: Counter[str]
    bots: int
    again: int
    reasons: Counter[str]
    broken: Sequence[Broken]
    stale_turns: int


class Episode:
    """`redis`: a client whose connection never breaks, of a server for this episode alone. `chance` is made from the
    seed.
    """

    def __init__(self, url: str, redis: Any, seed: str) -> None:
        self.chance = random.Random(seed)
        self.ground = Ground(url, redis, SETTINGS, self.chance)
        self.managers = [Manager(self.ground, name) for name in ("manager-1", "manager-2")]
        self.agents = [Agent(self.ground, vm_id) for vm_id in _VMS]
        self.faults: Counter[str] = Counter()
        self._ends: list[tuple[float, Callable[[], None]]] = []
        self._pushes: list[Push] = []
        self._bad: list[BadPush] = []
        self.asked: set[str] = set()

    async def run(self) -> EpisodeResult:
        try:
            await self.ground.redis.flushall()
            for _ in range(3):
                await self._turn(2.0)
            for _ in range(TURNS):
                await self._clients()
                for _ in range(self.chance.choice((0, 1, 1, 2))):
                    await self._inflict()
                await self._turn(self.chance.choice((0.5, 2.0, 4.0, 4.0, 9.0)))
            broken = await self._heal()
            records = await self._records()
            return EpisodeResult(
                self.faults,
                len(records),
                sum(int(record["attempt"]) > 1 for record in records.values()),
                Counter(record["status_reason"] for record in records.values()),
                broken,
                self.ground.refused_writes,
            )
        finally:
            for side in (*self.managers, *self.agents):
                await side.close()

    # Time

    async def _turn(self, seconds: float) -> None:
        ground = self.ground
        ground.now += seconds
        for at, end in [end for end in self._ends if end[0] <= ground.now]:
            end()
            self._ends.remove((at, end))
        await self._let_lease_run_out()
        if ground.heals:
            ground.counting = await self._attempts()
        sides = [*self.managers, *self.agents]
        self.chance.shuffle(sides)
        for side in sides:
            await side.turn()

    async def _attempts(self) -> dict[str, int]:
        redis, keys = self.ground.redis, self.ground.keys
        live = [bot_id.decode() for bot_id in await redis.zrange(keys.live, 0, -1)]
        return {bot_id: int(await redis.hget(keys.bot(bot_id), "attempt") or 0) for bot_id in live}

    async def _let_lease_run_out(self) -> None:
        holder = await self.ground.redis.get(self.ground.keys.leader)
        for manager in self.managers:
            if holder and holder.decode().startswith(manager.name):
                silent = holder.decode() != manager.holder or self.ground.now > manager.renewed_at + LEASE_S
                if silent and self.ground.now > manager.renewed_at + LEASE_S:
                    await self.ground.redis.delete(self.ground.keys.leader)

    def lasts(self, least_s: float, most_s: float, end: Callable[[], None]) -> None:
        self._ends.append((self.ground.now + self.chance.uniform(least_s, most_s), end))

    # Clients

    async def _clients(self) -> None:
        for _ in range(self.chance.choice((0, 1, 1, 2, 3))):
            await self._push()
        if self._pushes and self.chance.random() < 0.2:
            await self._request()

    async def _push(self) -> None:
        tag, form = (
            f"t{len(self._pushes) + len(self._bad)}",
            self.chance.choice(("plain", "with bot_id", "twice", "bad")),
        )
        if form == "bad":
            self._bad.append(BadPush(f"bad-{tag}"))
            await self._lpush(b'{"meeting_link": "bad-' + tag.encode())
            return
        job: dict[str, Any] = {
            "meeting_link": f"http://127.0.0.1:8090/r/chaos?tag={tag}&lobby_s=0",
            "bot_name": "Notetaker",
        }
        bot_id = "" if form == "plain" else f"bot-{tag}"
        if bot_id:
            job["bot_id"] = bot_id
        if self.chance.random() < 0.2:
            at = self.ground.now + self.chance.choice((-5.0, 10.0, 30.0, 70.0))
            job["join_at"] = datetime.fromtimestamp(at, UTC).isoformat()
        rejoins = self.chance.random() < 0.3
        if rejoins:
            job["on_worker_lost"] = "rejoin"
        if self.chance.random() < 0.1:
            job["deduplication_key"] = tag
        times = 2 if form == "twice" else 1
        self._pushes.append(Push(tag, form, bot_id, times=times, ends_as=frozenset(Reason), rejoins=rejoins))
        for _ in range(times):
            await self._lpush(json.dumps(job).encode())

    async def _lpush(self, payload: bytes) -> None:
        await self.ground.redis.lpush(self.ground.keys.jobs, payload)

    async def _request(self) -> None:
        bot_id = self.chance.choice(self._pushes).bot_id or "minted-1-1"
        match self.chance.choice(("leave", "leave", "move")):
            case "leave":
                self.asked.add(bot_id)
                await self.ask(LeaveRequested(bot_id))
            case _:
                await self.ask(RescheduleRequested(bot_id, self.ground.now + self.chance.choice((-1.0, 20.0))))

    async def ask(self, request: LeaveRequested | RescheduleRequested | DrainRequested) -> None:
        fields: Any = encode_request(request)
        await self.ground.redis.xadd(self.ground.keys.control, fields)

    # Faults

    async def _inflict(self) -> None:
        """Inflict a fault that finds a target."""
        names = list(FAULTS)
        for name in self.chance.sample(names, len(names)):
            if await FAULTS[name](self):
                self.faults[name] += 1
                return

    def leader(self) -> Manager | None:
        leading = [manager for manager in self.managers if manager.leads and not manager.frozen]
        return self.chance.choice(leading) if leading else None

    def agent(self) -> Agent | None:
        running = [agent for agent in self.agents if agent.runs]
        return self.chance.choice(running) if running else None

    def browser(self, *states: WorkerState) -> tuple[Agent, Browser] | None:
        found = [(a, b) for a in self.agents for b in a.disk.browsers.values() if b.state in states and b.alive]
        return self.chance.choice(found) if found else None

    # The end

    async def _heal(self) -> list[Broken]:
        ground = self.ground
        ground.heals, ground.calm_from = True, ground.now + _CALM_AFTER_S
        for _, end in self._ends:
            end()
        self._ends.clear()
        for vm_id in _VMS:
            await self.ask(DrainRequested(vm_id, draining=False))
        until, turns = ground.now + HEALED_WITHIN_S, 0
        found: list[Broken] = []
        while ground.now < until:
            await self._turn(_HEALING_TURN_S)
            turns += 1
            if turns % _LOOK_EVERY == 0 and await self._is_quiet():
                found, heals = await self._judge()
                if not heals:
                    break
        else:
            found, _ = await self._judge()
        return found + [Broken(kind, sentence) for kind, sentence in ground.wrong]

    async def _is_quiet(self) -> bool:
        keys, redis = self.ground.keys, self.ground.redis
        return not (await redis.zcard(keys.live) or await redis.llen(keys.jobs) or await redis.llen(keys.taken))

    async def _judge(self) -> tuple[list[Broken], bool]:
        """The violations, and whether each may heal."""
        ground = self.ground
        first = await audit.look(ground.redis, ground.keys)
        audited = [
            f"{kind} {of}: {what}" for kind, of, what in audit.findings(first, ground.keys, SETTINGS, ground.wall)
        ]
        world = await self._world(first.lives, audited)
        found = [
            violation
            for violation in violations(world)
            if violation.kind != "overdue" or not self.faults["a bot is deaf"]
        ]
        broken = [
            Broken(violation.kind, violation.sentence, story(world, violation.bot_id) if violation.bot_id else ())
            for violation in found
        ]
        broken += self._untrue_ends(world)
        left = sorted(f"{tag} {visit}" for tag, visits in ground.inside.items() for visit in visits)
        if left:
            broken.append(Broken("left in a meeting", f"nobody sent them, and they are in: {left}"))
        heals = any(violation.heals for violation in found) or bool(left)
        for stream in (ground.keys.events, ground.keys.control):
            if count := (await ground.redis.xpending(stream, "manager"))["pending"]:
                broken.append(Broken("event left", f"{count} of {stream} were read and never acknowledged"))
        counts = Counter(f["id"] for _, f in await self._entries(ground.keys.events) if "id" in f)
        if twice := [event_id for event_id, times in counts.items() if times > 1]:
            broken.append(Broken("event doubled", f"in the stream more than once: {twice[:5]}"))
        return broken, heals

    def _untrue_ends(self, world: World) -> list[Broken]:
        """Bots that ended otherwise than their agent had reported before, in the attempt that counted.

        A turn lasts seconds. So a deadline may come in it before the manager has read what is there since the last one,
        which it would have read within milliseconds: that is no untruth.
        """
        broken: list[Broken] = []
        for bot_id, record in world.records.items():
            attempt = bot_id, int(record["attempt"])
            reported = self.ground.reported_ends.get(attempt)
            if reported is None or reported.reason is Reason.SUPERSEDED or not is_final(reported.reason):
                continue
            said, reason = reported.reason, record["status_reason"]
            if reason in (said, "", Reason.USER_REQUESTED):
                continue
            if reported.now >= self.ground.given_up.get(attempt, math.inf):
                continue
            if epoch(record["stopped_at"]) > reported.wall:
                sentence = f"bot {bot_id} ended as {reason} ({record['reason_detail']}), and its agent said {said}"
                broken.append(Broken("end untrue", sentence, story(world, bot_id)))
        return broken

    async def _world(self, lives: Mapping[str, int], audited: Sequence[str]) -> World:
        redis, keys, ground = self.ground.redis, self.ground.keys, self.ground
        changes = [
            Change(entry_id, f["bot_id"], f["state"], f["reason"], int(f["attempt"]), f["vm_id"], f["at"])
            for entry_id, f in await self._entries(keys.status)
        ]
        dead = [job for _, fields in await self._entries(keys.dead) if (job := dead_job(fields))]
        return World(
            min_idle=_MIN_IDLE,
            max_workers=_MAX_WORKERS,
            pushes=tuple(self._pushes),
            bad=tuple(self._bad),
            asked=frozenset(self.asked),
            records=await self._records(),
            changes=changes,
            dead=dead,
            marks=tuple(ground.marks),
            vms=[await self._vm(agent) for agent in self.agents],
            waiting=await redis.llen(keys.jobs),
            taken=await redis.llen(keys.taken),
            live=frozenset(bot_id.decode() for bot_id in await redis.zrange(keys.live, 0, -1)),
            keys=lives,
            audited=audited,
        )

    async def _entries(self, stream: str) -> list[tuple[str, dict[str, str]]]:
        entries = await self.ground.redis.xrange(stream)
        return [(entry_id.decode(), text_fields(fields)) for entry_id, fields in entries]

    async def _records(self) -> dict[str, dict[str, str]]:
        bot_ids = [bot_id.decode() for bot_id in await self.ground.redis.zrange(self.ground.keys.all_bots, 0, -1)]
        raw = [await self.ground.redis.hgetall(self.ground.keys.bot(bot_id)) for bot_id in bot_ids]
        return {bot_id: text_fields(fields) for bot_id, fields in zip(bot_ids, raw, strict=True)}

    async def _vm(self, agent: Agent) -> VmSeen:
        raw = await self.ground.redis.hgetall(self.ground.keys.workers(agent.vm_id))
        kept = {name.decode(): str(msgspec.json.decode(value)["state"]) for name, value in raw.items()}
        reported = {worker_id: str(browser.state) for worker_id, browser in agent.disk.browsers.items()}
        there = frozenset(reported)
        return VmSeen(agent.vm_id, kept, reported, there, there, self.ground.most[agent.vm_id])


# The faults. Each returns whether it found a target.


Fault = Callable[[Episode], Awaitable[bool]]


def _of_leader(*, kills: bool) -> Fault:
    async def inflict(episode: Episode) -> bool:
        if manager := episode.leader():
            manager.fuse.light(episode.chance.choice((0, 1, 2, 3, 4, 5, 6, 8, 12, 20)), kills=kills)
        return manager is not None

    return inflict


async def _freeze_leader(episode: Episode) -> bool:
    """Freeze the leader, perhaps for longer than its lease. Afterwards it goes on before it checks its lease."""
    if manager := episode.leader():
        manager.frozen = True
        episode.lasts(1.0, 3 * LEASE_S, manager.wake)
    return manager is not None


async def _resign_leader(episode: Episode) -> bool:
    if manager := episode.leader():
        await manager.resign()
    return manager is not None


def _of_agent(*, kills: bool) -> Fault:
    async def inflict(episode: Episode) -> bool:
        if agent := episode.agent():
            agent.fuse.light(episode.chance.randrange(6), kills=kills)
        return agent is not None

    return inflict


def _with_agent(inflict: Callable[[Episode, Agent], None]) -> Fault:
    async def fault(episode: Episode) -> bool:
        if agent := episode.agent():
            inflict(episode, agent)
        return agent is not None

    return fault


def _for_a_while(name: str, value: Any, least_s: float, most_s: float) -> Fault:
    """Set this attribute of an agent for a while, then set it back."""

    def inflict(episode: Episode, agent: Agent) -> None:
        before = type(value)() if isinstance(value, bool) else None
        setattr(agent, name, value)
        episode.lasts(least_s, most_s, lambda: setattr(agent, name, before))

    return _with_agent(inflict)


def _lose_vm(episode: Episode, agent: Agent) -> None:
    agent.kill(episode.chance.choice((5.0, 100.0)))
    agent.lose_browsers()


def _slow_claims(episode: Episode, agent: Agent) -> None:
    agent.claims_from = episode.ground.now + episode.chance.uniform(5.0, 15.0)


async def _crash_idle(episode: Episode) -> bool:
    if found := episode.browser(WorkerState.IDLE):
        found[0].die(found[1])
    return found is not None


async def _crash_busy(episode: Episode) -> bool:
    if found := episode.browser(WorkerState.BUSY):
        found[0].die(found[1])
    return found is not None


async def _deafen(episode: Episode) -> bool:
    """Make a browser ignore requests to leave: it has to be ended by force."""
    found = episode.browser(WorkerState.BUSY)
    if found and found[1].join:
        found[1].deaf = found[1].begun
        await episode.ask(LeaveRequested(found[1].join.bot_id))
        episode.asked.add(found[1].join.bot_id)
        return True
    return False


async def _tell_twice(episode: Episode) -> bool:
    """Send an old event again, which the agent's own script would have left out. A heartbeat is left as it is."""
    news = [event for event in episode.ground.news if not isinstance(event, Heartbeat)]
    if news:
        event = episode.chance.choice(news)
        await episode.ground.redis.xadd(episode.ground.keys.events, {codec.FIELD: codec.encode(event)})
    return bool(news)


async def _lose_orders(episode: Episode) -> bool:
    agent = episode.agent()
    return bool(agent and await episode.ground.redis.delete(episode.ground.keys.commands(agent.vm_id)))


async def _drain(episode: Episode) -> bool:
    vm_id = episode.chance.choice(_VMS)
    await episode.ask(DrainRequested(vm_id, draining=episode.chance.random() < 0.5))
    return True


async def _forget_scripts(episode: Episode) -> bool:
    await episode.ground.redis.script_flush()
    return True


async def _step_wall_clock(episode: Episode) -> bool:
    """Move the wall clock by an hour, forward or back, and later back again. A process that starts meanwhile uses the
    moved clock.
    """
    ground = episode.ground
    if ground.stepped:
        return False
    ground.stepped = episode.chance.choice((-3600.0, 3600.0))
    episode.lasts(1.0, 60.0, lambda: setattr(ground, "stepped", 0.0))
    return True


FAULTS: Final[dict[str, Fault]] = {
    "leader killed within a batch": _of_leader(kills=True),
    "leader's answers lost": _of_leader(kills=False),
    "leader frozen": _freeze_leader,
    "leader terminated": _resign_leader,
    "agent killed between two commands": _of_agent(kills=True),
    "agent's answers lost": _of_agent(kills=False),
    "agent killed, and kept down": _with_agent(lambda e, agent: agent.kill(e.chance.uniform(10.0, 80.0))),
    "agent cut off": _for_a_while("cut_off", True, 2.0, 20.0),
    "agent cut off until it is lost": _for_a_while("cut_off", True, 45.0, 100.0),
    "agent frozen": _for_a_while("frozen", True, 2.0, 60.0),
    "agent terminated": _with_agent(lambda _, agent: agent.stop()),
    "agent loses its folder": _with_agent(lambda _, agent: agent.lose_folder()),
    "VM gone": _with_agent(_lose_vm),
    "claims slow": _with_agent(_slow_claims),
    "assignments refused: dead": _for_a_while("refuses", RefusalCause.BROWSER_DEAD, 1.0, 10.0),
    "assignments refused: memory": _for_a_while("refuses", RefusalCause.LOW_MEMORY, 1.0, 10.0),
    "warm-ups fail": _for_a_while("fails", GoneCause.WARMUP_FAILED, 1.0, 15.0),
    "idle browser crashes": _crash_idle,
    "browser crashes with a bot": _crash_busy,
    "a bot is deaf": _deafen,
    "news told twice": _tell_twice,
    "orders lost": _lose_orders,
    "VM drained, or not": _drain,
    "scripts forgotten": _forget_scripts,
    "wall clock stepped by an hour": _step_wall_clock,
}
