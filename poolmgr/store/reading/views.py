"""Reads bots, VMs, rejected jobs and the status stream for people and programs, and hands in their jobs and requests.

Rarely used modules are imported where they are used, so that the command line starts quickly.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from redis.asyncio import Redis

from common.jobs.record import Record
from common.wire.vocabulary import VmState, WorkerState
from poolmgr.core.load import JobKind
from poolmgr.core.model import Vm
from poolmgr.core.requests import (
    DrainRequested,
    LeaveRequested,
    PauseRequested,
    Request,
    RescheduleRequested,
    SayRequested,
)
from poolmgr.store import answers
from poolmgr.store.keys import Keys

if TYPE_CHECKING:
    from common.config.settings import Settings
    from poolmgr.scaling.steps import Shown
    from poolmgr.store import story
    from poolmgr.store.actions import Actions, By
    from poolmgr.store.reading import audit
    from poolmgr.store.reading.evidence import Evidence
    from poolmgr.store.reading.webhooks import Webhooks

_REQUESTS: Final[dict[str, type[Request]]] = {
    "leave": LeaveRequested,
    "say": SayRequested,
    "pause": PauseRequested,
    "reschedule": RescheduleRequested,
    "drain": DrainRequested,
}
_NAMES: Final = {kind: name for name, kind in _REQUESTS.items()}


class VmView(msgspec.Struct, frozen=True):
    """A VM as operators see it. `workers`: how many by state. `draining`: an operator drains it, whatever its
    state is. `processors`: how many it has; 0: unknown. `carried`: its bots by kind of job, those to come included.
    `labels`, `canary`: by the settings of its agent. `out`: why the manager drains it by itself; empty: it does not.
    `makes_displays`: by the settings of its agent it has workers with a display; `displays`: how many, by state.
    """

    vm_id: str
    state: VmState
    workers: dict[str, int]
    bots: list[str]
    draining: bool = False
    processors: float = 0.0
    carried: dict[str, int] = {}
    labels: dict[str, str] = {}
    canary: bool = False
    out: str = ""
    makes_displays: bool = False
    displays: dict[str, int] = {}

    def idle_against(self, min_idle: int, min_idle_display: int) -> list[tuple[int, int]]:
        """How many stand idle, and how many are to: of those without a display, and where there are such of those with
        one.
        """
        with_display = self.displays.get(WorkerState.IDLE, 0)
        without = (self.workers[WorkerState.IDLE] - with_display, min_idle)
        if not (self.makes_displays or with_display):
            return [without]
        return [without, (with_display, min_idle_display if self.makes_displays else 0)]

    def has(self, labels: Mapping[str, str]) -> bool:
        """Whether it has all of these labels, and is not lost."""
        return self.state is not VmState.LOST and labels.items() <= self.labels.items()

    @property
    def kinds(self) -> Counter[JobKind]:
        """`carried`, as far as this release knows the kinds."""
        return Counter({kind: self.carried.get(kind, 0) for kind in JobKind})


class Standing(msgspec.Struct, frozen=True):
    """The numbers of the whole fleet. `leader`: the name of the leading manager; empty: none leads."""

    leader: str
    epoch: int
    jobs_waiting: int
    bots_live: int


class DeadJob(msgspec.Struct, frozen=True):
    entry_id: str
    at: str
    reason: str
    detail: str
    bot_id: str
    payload: str


class StatusChange(NamedTuple):
    entry_id: str
    fields: dict[str, str]


def encode_request(request: Request) -> dict[str, bytes]:
    return {"request": _NAMES[type(request)].encode(), "body": msgspec.json.encode(request)}


def decode_request(fields: dict[bytes, bytes]) -> Request:
    """The request in an entry. Raises: KeyError, msgspec.DecodeError, UnicodeDecodeError."""
    try:
        return msgspec.json.decode(fields[b"body"], type=_REQUESTS[fields[b"request"].decode()])
    except RecursionError as error:
        raise msgspec.DecodeError("nested too deep") from error


class Views:
    """Reads and hands in under one prefix. It has no state."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis  # redis-py types answers as unions of all shapes
        self._keys = keys

    @cached_property
    def webhooks(self) -> "Webhooks":
        from poolmgr.store.reading.webhooks import Webhooks

        return Webhooks(self._redis, self._keys)

    @cached_property
    def evidence(self) -> "Evidence":
        from poolmgr.store.reading.evidence import Evidence

        return Evidence(self._redis, self._keys)

    @cached_property
    def actions(self) -> "Actions":
        from poolmgr.store.actions import Actions

        return Actions(self._redis, self._keys)

    async def submit(self, payload: bytes, *, bot_id: str = "", by: "By | None" = None) -> None:
        """Put a job on the list, and write into the log of actions `by` whom, and for which bot."""
        from poolmgr.store import scripts
        from poolmgr.store.actions import Verb, fields_of

        action = fields_of(by, Verb.SUBMIT, bot_id)
        keys = self._keys
        await scripts.push(jobs=keys.jobs, actions=keys.actions, payload=payload, action=action).run(self._redis)

    async def take_back(self, payload: bytes) -> bool:
        """Take a job off the list. Returns False when a manager has taken it: then there is, or will be, a bot."""
        return bool(await self._redis.lrem(self._keys.jobs, 1, payload))

    async def request(self, request: Request, by: "By | None" = None) -> None:
        """Hand in a request. It is durable when this returns, as is `by` whom it was, and carried out when the leader
        reads it.
        """
        from poolmgr.store import scripts
        from poolmgr.store.actions import fields_of_request

        call = scripts.request(
            control=self._keys.control,
            actions=self._keys.actions,
            fields=encode_request(request),
            action=fields_of_request(by, request),
        )
        await call.run(self._redis)

    async def bot(self, bot_id: str) -> Record | None:
        """The session record of a bot; None: there is none."""
        raw: dict[bytes, bytes] = await self._redis.hgetall(self._keys.bot(bot_id))
        return Record.from_hash(answers.text_fields(raw)) if raw else None

    async def story(self, bot_id: str, after: int = 0) -> "list[story.Entry]":  # pyrefly: ignore[not-a-type]
        """The bot's story, without its first `after` entries."""
        from poolmgr.store import story

        return await story.read(self._redis, self._keys, bot_id, after)

    async def bots(self, *, most: int, live_only: bool = False) -> list[Record]:
        """The newest session records: live bots, newest first, then ended ones, latest first."""
        ids: list[bytes] = await self._redis.zrange(self._keys.live, 0, most - 1, desc=True)
        if not live_only and len(ids) < most:
            left = most - len(ids) - 1
            ids += await self._redis.zrange(self._keys.ended, 0, left, desc=True)
        pipeline = self._redis.pipeline(transaction=False)
        for bot_id in ids:
            pipeline.hgetall(self._keys.bot(bot_id.decode()))
        found: list[dict[bytes, bytes]] = await pipeline.execute()
        return [Record.from_hash(answers.text_fields(raw)) for raw in found if raw]

    async def fleet(self) -> list[VmView]:
        return await self.vms(sorted(raw.decode() for raw in await self._redis.smembers(self._keys.vms)))

    async def vm(self, vm_id: str) -> VmView | None:
        """The VM, or None if no manager knows it."""
        exists = await self._redis.sismember(self._keys.vms, vm_id)
        return (await self.vms([vm_id]))[0] if exists else None

    async def standing(self) -> Standing:
        pipeline = self._redis.pipeline(transaction=False)
        ask_standing(pipeline, self._keys)
        return standing_of(await pipeline.execute())

    async def scaling(self) -> "Shown | None":
        """How many VMs the leader wants. None: it asks nobody for VMs."""
        raw = await self._redis.hget(self._keys.scaling, "shown")
        if not raw:
            return None
        from poolmgr.scaling.steps import Shown

        return msgspec.json.decode(raw, type=Shown)

    async def vms(self, ids: Sequence[str]) -> list[VmView]:
        """The VMs of these ids, all of which have to exist."""
        pipeline = self._redis.pipeline(transaction=False)
        for vm_id in ids:
            pipeline.hgetall(self._keys.vm(vm_id)).hgetall(self._keys.workers(vm_id)).exists(self._keys.alive(vm_id))
        found: list[Any] = await pipeline.execute()
        triples = zip(found[0::3], found[1::3], found[2::3], strict=True)
        return [_vm_view(vm_id, *triple) for vm_id, triple in zip(ids, triples, strict=True)]

    async def dead(self, *, most: int) -> list[DeadJob]:
        """Rejected jobs, latest first."""
        entries: Any = await self._redis.xrevrange(self._keys.dead, count=most)
        return [_dead_job(entry_id, fields) for entry_id, fields in entries]

    async def put_back(self, entry_id: str, by: "By | None" = None) -> DeadJob | None:
        """Move a rejected job from the dead stream to the list, unchanged. Returns None if it is not there."""
        from poolmgr.store import scripts
        from poolmgr.store.actions import Verb, fields_of

        action = fields_of(by, Verb.PUT_BACK, entry_id)
        keys = self._keys
        call = scripts.put_back(dead=keys.dead, jobs=keys.jobs, actions=keys.actions, entry_id=entry_id, action=action)
        fields = await call.run(self._redis)
        if fields is None:
            return None
        return _dead_job(entry_id.encode(), dict(zip(fields[0::2], fields[1::2], strict=True)))

    async def put_all_back(self, by: "By | None" = None) -> list[str]:
        """Move all current jobs of the dead stream to the list, oldest first. Returns their entry ids."""
        newest: Any = await self._redis.xrevrange(self._keys.dead, count=1)
        done: list[str] = []
        after = "-"
        while newest and (page := await self._redis.xrange(self._keys.dead, after, newest[0][0], count=20)):
            ids = [entry_id.decode() for entry_id, _ in page]
            done += [entry_id for entry_id in ids if await self.put_back(entry_id, by)]
            after = f"({page[-1][0].decode()}"
        return done

    async def last_status_id(self) -> str:
        """The id of the last entry of the status stream, for `follow`."""
        newest: Any = await self._redis.xrevrange(self._keys.status, count=1)
        return newest[0][0].decode() if newest else "0-0"

    async def follow(self, after: str, *, bot_id: str = "") -> AsyncGenerator[StatusChange]:
        """Status changes as they happen, of one bot or of all. Runs until its caller stops it."""
        while True:
            answer: Any = await self._redis.xread({self._keys.status: after}, count=500, block=1000)
            changes = [
                StatusChange(entry.entry_id.decode(), answers.text_fields(entry.fields))
                for entry in answers.entries_of(answer)
            ]
            for change in [change for change in changes if bot_id in ("", change.fields["bot_id"])]:
                yield change
            after = changes[-1].entry_id if changes else after

    async def audit(self, settings: "Settings", now: float) -> "list[audit.Finding]":  # pyrefly: ignore[not-a-type]
        """The findings of one audit. `now`: wall clock, epoch seconds."""
        from poolmgr.store.reading import audit

        seen = await audit.look(self._redis, self._keys)
        return audit.findings(seen, self._keys, settings, now)

    async def leads(self) -> bool:
        """Whether a manager leads at the moment."""
        return bool(await self._redis.exists(self._keys.leader))


def ask_standing(pipeline: Any, keys: Keys) -> None:
    """Add the commands to a pipeline whose answers `standing_of` reads."""
    pipeline.get(keys.leader).get(keys.epoch).llen(keys.jobs).zcard(keys.live)


def standing_of(answered: Sequence[Any]) -> Standing:
    leader, epoch, waiting, live = answered
    return Standing((leader or b"").decode(errors="replace"), int(epoch or 0), waiting, live)


def _vm_view(vm_id: str, raw: dict[bytes, bytes], workers: dict[bytes, bytes], alive: int) -> VmView:
    fields = answers.text_fields(raw)
    counts = dict.fromkeys((state.value for state in WorkerState), 0)
    bots: list[str] = []
    carried: dict[str, int] = dict.fromkeys((kind.value for kind in JobKind), 0)
    displays: Counter[str] = Counter()
    for raw_worker in workers.values():
        worker = answers.worker_record(raw_worker)
        counts[worker.state] += 1
        if worker.display:
            displays[worker.state] += 1
        if worker.bot_id:
            bots.append(worker.bot_id)
            carried[worker.kind] = carried.get(worker.kind, 0) + 1
    draining, stopping, lost, shunned = (
        fields.get(name) == "1" for name in ("draining", "stopping", "lost", "resting")
    )
    vm = Vm(vm_id, "", 0.0, draining, stopping, silent=not alive, lost=lost, shunned=shunned)
    processors = answers.number(fields.get("processors", ""))
    known = (draining, processors, carried, answers.labels(fields.get("labels", "")), fields.get("canary") == "1")
    makes_displays = fields.get("makes_displays") == "1"
    own = (fields.get("out", ""), makes_displays, dict(displays))
    return VmView(vm_id, vm.state, counts, sorted(bots), *known, *own)


def _dead_job(entry_id: bytes, raw: dict[bytes, bytes]) -> DeadJob:
    fields = answers.text_fields(raw)
    return DeadJob(
        entry_id.decode(),
        fields.get("at", ""),
        fields.get("reason", ""),
        fields.get("detail", ""),
        fields.get("bot_id", ""),
        fields.get("payload", ""),
    )
