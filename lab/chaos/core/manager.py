"""Managers without a process or a clock of their own: the real Pool, Ledger, Lease and inbox. The environment hands in
the time. A manager that is ended loses what it had in memory.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from common.jobs.job import BadJobError, JobRules, parse_job
from common.runtime.redis.client import UNAVAILABLE
from lab.chaos.core.connection import Fuse, KilledError, fragile
from lab.chaos.core.environment import Ground
from poolmgr.core.decisions import Decision, End
from poolmgr.core.events import CoreEvent, JobAccepted, ProcessResumed, SayRequested, Tick
from poolmgr.core.invariants import broken_invariants
from poolmgr.core.pool import Pool
from poolmgr.loops.events import read_events
from poolmgr.store.leader.inbox import Jobs, Stream
from poolmgr.store.leader.lease import Lease
from poolmgr.store.leader.ledger import DisagreementError, Ledger, Rejected, StaleEpochError
from poolmgr.store.leader.snapshot import load_bots, load_vms
from poolmgr.store.leader.upkeep import Upkeep
from poolmgr.store.reading.views import decode_request
from poolmgr.store.scripts import load_scripts

LEASE_S: Final = 8.0
REAP_S: Final = 60.0

_DAY_S: Final = 86_400


class LeaseLostError(Exception):
    """This manager has lost its lease, and ends."""


class Manager:
    """Successive processes of one manager. A process leads or stands by. `frozen`: it does nothing, and does not notice
    it afterwards. `down`: it does not run.
    """

    def __init__(self, ground: Ground, name: str) -> None:
        self.name = name
        self.fuse = Fuse()
        self.frozen = False
        self.down_until = 0.0
        self.renewed_at = 0.0
        self.terms = 0
        self._ground = ground
        self._redis = fragile(ground.url, self.fuse)
        self._processes = 0
        self._begin()

    def _begin(self) -> None:
        """Start another process."""
        self._processes += 1
        self.holder = f"{self.name}-{self._processes}"
        self._lease = Lease(
            self._redis, self._ground.keys, self.holder, ttl_s=_DAY_S
        )  # runs out by the environment's time
        self._term: Term | None = None
        self._anchor = self._ground.stepped
        self.fuse.left = None

    @property
    def leads(self) -> bool:
        return self._term is not None

    def kill(self) -> None:
        self._begin()
        self.down_until = self._ground.now + self._ground.chance.uniform(0.5, 12.0)

    def wake(self) -> None:
        self.frozen = False

    async def resign(self) -> None:
        self.fuse.left = None
        await self._lease.resign()
        self.kill()

    async def close(self) -> None:
        await self._redis.aclose()

    async def turn(self) -> None:
        if self.frozen or self._ground.now < self.down_until:
            return
        try:
            if self._term is None:
                await self._take_over()
            else:
                await self._go_on(self._term)
        except DisagreementError as error:
            if "lost its scripts" not in str(error):
                self._ground.broken("disagreement", f"the pool and Redis do not agree: {error}")
            self._term = None
        except (*UNAVAILABLE, ResponseError):
            self._term = None
            await self._redis.connection_pool.disconnect()
        except (StaleEpochError, LeaseLostError):
            self.kill()
        except KilledError:
            await self._redis.connection_pool.disconnect()
            self.kill()

    async def _take_over(self) -> None:
        if epoch := await self._lease.take():
            self.renewed_at = self._ground.now
            self.terms += 1
            term = Term(self._ground, self._redis, epoch, self._anchor)
            await term.begin()
            self._term = term

    async def _go_on(self, term: "Term") -> None:
        ground = self._ground
        holder = await ground.redis.get(ground.keys.leader)
        if holder not in (
            None,
            self.holder.encode(),
        ):  # it was frozen for longer than its lease, and may act before it checks
            ignored = [ground.keys.jobs, ground.keys.taken, ground.keys.events, ground.keys.control]
            before = await ground.dump(args=ignored)
            try:
                if ground.chance.random() < 0.7:
                    await term.turn()
            finally:
                ground.refused_writes += 1
                if await ground.dump(args=ignored) != before:
                    ground.broken("stale write", f"{self.holder} wrote although it had been replaced")
        elif self.renewed_at + LEASE_S / 3 > ground.now:
            await term.turn()
            return
        if not await self._lease.renew():
            raise LeaseLostError
        self.renewed_at = ground.now
        await term.turn()


class Term:
    """One term of a leader: the pool and the loops around it. Chance chooses the order of what they do."""

    def __init__(self, ground: Ground, redis: Any, epoch: int, anchor: float) -> None:
        keys, settings = ground.keys, ground.settings
        self._ground = ground
        self._redis = redis
        self._anchor = anchor
        self._pool = Pool(settings.pool, epoch=epoch, forget_vm_s=settings.retention.vm_s)
        self._ledger = Ledger(redis, keys, settings.retention, epoch)
        self._jobs = Jobs(redis, keys)
        self._rules = JobRules.of(settings)
        self._events, self._control = (Stream(redis, keys, name, epoch) for name in (keys.events, keys.control))
        self._epoch = epoch
        self._accepted = 0
        self._looked_at = self._steady
        self._left_over = True
        self._read_at = ground.now
        self._waiting: list[Decision] = []
        self._upkeep = Upkeep(redis, keys, settings.retention)
        self._reaped_at = float("-inf")

    @property
    def _steady(self) -> float:
        return self._ground.now + self._anchor

    async def begin(self) -> None:
        await load_scripts(self._redis)
        await self._events.open()
        await self._control.open()
        bots, vms = await load_bots(self._redis, self._ground.keys), await load_vms(self._redis, self._ground.keys)
        self._waiting += self._pool.restore(bots, vms, self._steady)
        self._check()

    async def turn(self) -> None:
        """Run each loop once. Whatever is acknowledged is durable by then."""
        loops = [self._follow_events, self._follow_requests, self._take_jobs, self._watch_deadlines, self._reap]
        acknowledge: list[Callable[[], Awaitable[None]]] = []
        for loop in self._ground.chance.sample(loops, len(loops)):
            acknowledge += await loop()
            if self._ground.chance.random() < 0.3:
                await self._write()
        await self._write()
        for done in acknowledge:
            await done()

    async def _write(self) -> None:
        while self._waiting:
            most = self._ground.chance.choice((1, 3, 2000))
            batch, self._waiting = self._waiting[:most], self._waiting[most:]
            for event in await self._ledger.apply(batch, self._ground.wall):
                self._put(event)

    def _put(self, event: CoreEvent) -> None:
        decisions = self._pool.handle(event, self._steady)
        self._waiting += decisions
        if isinstance(event, Tick):
            for each in decisions:
                if isinstance(each, End):
                    self._ground.given_up[each.bot_id, each.attempt] = self._read_at
        self._check()

    def _check(self) -> None:
        for sentence in broken_invariants(self._pool):
            self._ground.broken("invariant", sentence)

    async def _follow_events(self) -> Sequence[Callable[[], Awaitable[None]]]:
        entries, events = await read_events(self._events, 500, 0)
        self._read_at = self._ground.now
        for event in events:
            self._put(event)
        return [lambda: self._events.done(entries)]

    async def _follow_requests(self) -> Sequence[Callable[[], Awaitable[None]]]:
        entries = await self._control.read(100, 0)
        for entry in entries:
            request = decode_request(entry.fields)
            if isinstance(request, SayRequested):
                await self._control.done([entry], forget=True)
            self._put(request)
        return [lambda: self._control.done(entries, forget=True)]

    async def _take_jobs(self) -> Sequence[Callable[[], Awaitable[None]]]:
        if self._left_over or self._ground.chance.random() < 0.2:
            await self._write()  # from here on the list contains no job of this term
            payloads, self._left_over = await self._jobs.left_over(), False
        else:
            payloads = await self._jobs.take(3, 0.1) if await self._jobs.backlog() else []
        rejected: list[Rejected] = []
        for payload in payloads:
            if fault := await self._accept(payload):
                rejected.append(fault)
        if rejected:
            await self._write()
            await self._ledger.reject(rejected, self._ground.wall)
        elif payloads:
            await self._write()
        return ()

    async def _accept(self, payload: bytes) -> Rejected | None:
        try:
            job = parse_job(payload, self._ground.wall, self._rules)
        except BadJobError as error:
            return Rejected(payload, error.reason, str(error), error.bot_id)
        await self._write()  # the fault below may double what was written just before
        if conflicts := await self._jobs.conflicts([job]):
            return Rejected(payload, "duplicate", f"known already: {sorted(conflicts)}", job.bot_id)
        self._accepted += 1
        bot_id = job.bot_id or f"minted-{self._epoch}-{self._accepted}"
        self._put(JobAccepted(bot_id, job, self._ground.wall))
        return None

    async def _watch_deadlines(self) -> Sequence[Callable[[], Awaitable[None]]]:
        now, wall = self._steady, self._ground.wall
        if now - self._looked_at > self._ground.settings.pool.heartbeat_timeout_s / 2:
            self._put(ProcessResumed())
        self._looked_at = now
        if self._pool.is_due(now, wall):
            self._put(Tick(wall))
        return ()

    async def _reap(self) -> Sequence[Callable[[], Awaitable[None]]]:
        if self._steady >= self._reaped_at + REAP_S:
            self._reaped_at = self._steady
            await self._upkeep.renew(vm.vm_id for vm in self._pool.fleet if not vm.lost)
            await self._upkeep.forget_orphans(self._pool.bots)
        return ()
