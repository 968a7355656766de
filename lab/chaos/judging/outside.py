"""Collects what can be seen from outside: Redis, the witness, the process table, the agents' folders, and the backstops
in the logs. It judges nothing.

It reads only what is new, so several looks a second at a long run cost little.
"""

import asyncio
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise, zip_longest
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec

from common.wire.codec import FIELD, UndecodableError, decode_event
from common.wire.messages import Heartbeat
from common.wire.vocabulary import BotState, Reason, WorkerState
from lab.chaos.faults import poisoned
from lab.chaos.faults.catalogue import EXPLAINS_FOR_S, LOST, Aim, Excuse, Still
from lab.chaos.observers.backstops import Backstop, Backstops
from lab.chaos.observers.processes import Running, stems_from, worker_named_by
from lab.chaos.observers.starvation import REPORTED_FROM_S
from lab.chaos.observers.witness import Mark
from lab.chaos.system.load import BadPush, Push
from lab.chaos.system.stage import ANSWER_S, LOST_AFTER_S, Rollback, Stage
from lab.parts.table import bearing
from poolmgr.store.answers import text_fields
from worker import audit as worker_audit

_PAGE: Final = 1000
_TAG: Final = re.compile(r"tag=([^&]+)&")
_BAD: Final = re.compile(r"bad-[\w.-]+")
_CLOCKS_DIFFER_S: Final = 600.0
"""A difference of clocks that is plainly wrong: longer than any report takes, and less than any fault moves a clock."""


class Change(NamedTuple):
    """An entry of the status stream."""

    entry_id: str
    bot_id: str
    state: str
    reason: str
    attempt: int
    vm_id: str
    at: str

    @property
    def written_at(self) -> float:
        """When Redis got it: epoch seconds by Redis' clock, which no fault moves."""
        return int(self.entry_id.partition("-")[0]) / 1000

    @property
    def seen_at(self) -> float:
        """When its sender saw it, in epoch seconds; if the sender's clock is plainly wrong, when Redis got it."""
        at = datetime.fromisoformat(self.at).timestamp()
        return at if abs(at - self.written_at) < _CLOCKS_DIFFER_S else self.written_at


class Dead(NamedTuple):
    """A job on the dead stream. `tag`: the job's tag, if it had one. `mark`: of a job that had to be rejected."""

    reason: str
    bot_id: str
    tag: str = ""
    mark: str = ""


class Poison(NamedTuple):
    """A job that ends managers. `taken`: Redis confirmed that it has it. `ends`: how many managers it ended. `reasons`:
    its reasons on the dead stream.
    """

    bot_id: str
    taken: bool
    ends: int
    reasons: Sequence[str]


class VmSeen(NamedTuple):
    """One VM from all sides: the states of its workers by Redis and by the agent's last heartbeat, the ids of workers
    with a folder, and of those with a living process. `most`: the most browsers it ever had at once.
    """

    vm_id: str
    kept: Mapping[str, str]
    reported: Mapping[str, str]
    folders: frozenset[str]
    browsers: frozenset[str]
    most: int


class World(NamedTuple):
    """Everything that is judged. `keys`: name -> seconds to live, -1 for none. `attempts_before`: bots and attempts of
    a time that Redis has forgotten. `epochs`: for each time that Redis was set back, the epoch before, and the first
    new one after it; 0: there is none yet. `flooded`: the epochs before and after each round whose only faults were
    floods of jobs.
    """

    min_idle: int
    max_workers: int
    pushes: Sequence[Push] = ()
    bad: Sequence[BadPush] = ()
    asked: frozenset[str] = frozenset()
    records: Mapping[str, dict[str, str]] = MappingProxyType({})
    changes: Sequence[Change] = ()
    dead: Sequence[Dead] = ()
    marks: Sequence[Mark] = ()
    excuses: Sequence[Excuse] = ()
    vms: Sequence[VmSeen] = ()
    waiting: int = 0
    taken: int = 0
    live: frozenset[str] = frozenset()
    keys: Mapping[str, int] = MappingProxyType({})
    strays: Sequence[str] = ()
    audited: Sequence[str] = ()
    backstops: Sequence[Backstop] = ()
    rollbacks: Sequence[Rollback] = ()
    attempts_before: frozenset[tuple[str, int]] = frozenset()
    epochs: Sequence[tuple[int, int]] = ()
    flooded: Sequence[tuple[int, int]] = ()
    poisons: Sequence[Poison] = ()
    still: Sequence[Still] = ()


class Outside:
    """Looks at one stage. The caller gives it what the clients pushed and what faults explain."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._changes: list[Change] = []
        self._dead: list[Dead] = []
        self._set_aside: list[Dead] = []
        self._after = {stage.keys.status: "-", stage.keys.dead: "-", stage.keys.events: "-"}
        self._beats: dict[str, Heartbeat] = {}
        self._beaten_at: defaultdict[str, list[float]] = defaultdict(list)
        self._ended: dict[str, dict[str, str]] = {}
        self._backstops = Backstops()
        self._rolled_back = 0
        self._attempts_before: set[tuple[str, int]] = set()

    async def look(
        self,
        pushes: Sequence[Push],
        bad: Sequence[BadPush],
        asked: set[str],
        excuses: Sequence[Excuse],
        still: Sequence[Still] = (),
        *,
        at_all: bool = True,
    ) -> World:
        """Look once. `at_all` False leaves out what takes long: all keys, stray processes, and the audits. Raises:
        RedisError, OSError.
        """
        stage, redis, k = self._stage, self._stage.redis, self._stage.keys
        self._forget_what_redis_forgot()
        await self._hear_changes()
        for fields, _ in await self._news(k.dead):
            if dead := dead_job(fields):
                self._dead.append(dead)
            elif fields.get("bot_id", "").startswith(poisoned.MARK):
                self._set_aside.append(Dead(fields["reason"], fields["bot_id"]))
        await self._hear_heartbeats()
        records = await self._records()
        # The records are read first: an event that they already show may come into the stream later.
        await self._hear_changes()
        browsers = await asyncio.to_thread(stage.table.browsers)
        return World(
            stage.scale.min_idle,
            stage.scale.max_workers,
            tuple(pushes),
            tuple(bad),
            frozenset(asked),
            records,
            tuple(self._changes),
            tuple(self._dead),
            stage.witness.story(),
            (*excuses, *self._away(), *self._unknown_ends()),
            [await self._vm(vm_id, browsers) for vm_id in stage.agents],
            await redis.llen(k.jobs),
            await redis.llen(k.taken),
            frozenset(bot_id.decode() for bot_id in await redis.zrange(k.live, 0, -1)),
            await self._keys() if at_all else {},
            await asyncio.to_thread(self._strays, browsers) if at_all else (),
            await self._audited() if at_all else (),
            self._look_at_logs(),
            tuple(stage.rollbacks),
            frozenset(self._attempts_before),
            tuple(stage.epochs),
            poisons=self._poisons(),
            still=(*still, *self._down()),
        )

    async def _hear_changes(self) -> None:
        for fields, entry_id in await self._news(self._stage.keys.status):
            self._changes.append(_change(entry_id, fields))

    def _forget_what_redis_forgot(self) -> None:
        """Read everything after the copy again, but keep the assignments that were made in between."""
        if len(self._stage.rollbacks) == self._rolled_back:
            return
        self._rolled_back = len(self._stage.rollbacks)
        since = self._stage.rollbacks[-1].copied_at
        lost = [change for change in self._changes if change.written_at > since]
        self._attempts_before |= {
            (change.bot_id, change.attempt) for change in lost if change.state == BotState.ASSIGNED
        }
        self._changes.clear()
        self._dead.clear()
        self._set_aside.clear()
        self._ended.clear()
        self._beaten_at.clear()
        self._after = dict.fromkeys(self._after, "-")

    def _poisons(self) -> list[Poison]:
        ends, dead = Counter(poisoned.ends(self._stage.folder)), self._set_aside
        return [
            Poison(bot_id, taken, ends[bot_id], [job.reason for job in dead if job.bot_id == bot_id])
            for bot_id, taken in self._stage.poisons.items()
        ]

    def _look_at_logs(self) -> list[Backstop]:
        for name in (*self._stage.managers, *self._stage.agents):
            self._backstops.look(self._stage.part(name).log)
        return list(self._backstops.found)

    async def _audited(self) -> list[str]:
        """What the operators' audits say, of Redis and of each VM."""
        settings = self._stage.settings
        found = [_said(finding) for finding in await self._stage.views.audit(settings, time.time())]
        for vm_id in self._stage.agents:
            try:
                seen = await asyncio.to_thread(worker_audit.look, self._stage.state_dir(vm_id))
            except worker_audit.CannotAuditError as error:
                found.append(f"{vm_id}: {error}")
            else:
                found += [f"{vm_id}: {_said(finding)}" for finding in worker_audit.findings(seen, settings.worker)]
        return found

    async def _news(self, stream: str) -> list[tuple[dict[str, str], str]]:
        found: list[tuple[dict[str, str], str]] = []
        while entries := await self._stage.redis.xrange(stream, self._after[stream], count=_PAGE):
            found += [(text_fields(fields), entry_id.decode()) for entry_id, fields in entries]
            self._after[stream] = f"({found[-1][1]}"
        return found

    async def _hear_heartbeats(self) -> None:
        for fields, entry_id in await self._news(self._stage.keys.events):
            try:
                event = decode_event(fields.get(FIELD, "").encode())
            except UndecodableError:
                continue
            if isinstance(event, Heartbeat):
                self._beats[event.vm_id] = event
                self._beaten_at[event.vm_id].append(int(entry_id.split("-")[0]) / 1000)

    def _away(self) -> Iterator[Excuse]:
        for vm_id in self._stage.agents:
            beats, given = self._beaten_at[vm_id], self._stage.given
            yield from long_away(vm_id, self._stage.part(vm_id).ends, beats, time.time())
            yield from long_starved(vm_id, beats, given.starved_between_s)

    def _down(self) -> Iterator[Still]:
        """Times in which agents did not run at all."""
        for vm_id in self._stage.agents:
            part = self._stage.part(vm_id)
            for end, begin in zip_longest(part.ends, part.begins[1:], fillvalue=time.time()):
                yield Still(Aim.AGENT, vm_id, 0, end, begin)

    def _unknown_ends(self) -> Iterator[Excuse]:
        """Excuses for the time that Redis lost when it was set back: a bot on any VM that ended or began in it may be
        lost.
        """
        for copied_at, restored_at, _ in self._stage.rollbacks:
            for vm_id in self._stage.agents:
                yield Excuse(vm_id, LOST | {Reason.BROWSER_CRASHED}, copied_at, restored_at + EXPLAINS_FOR_S)

    async def _records(self) -> dict[str, dict[str, str]]:
        """The records by bot_id. Ended records are not read again: if one changes, the status stream shows it."""
        bot_ids = {change.bot_id for change in self._changes if change.state != "rejected"}
        for bot_id in sorted(bot_ids - set(self._ended)):
            if record := await self._stage.views.bot(bot_id):
                self._ended[bot_id] = record.texts()
        records = dict(self._ended)
        self._ended = {b: record for b, record in records.items() if record["state"] == BotState.STOPPED}
        return records

    async def _vm(self, vm_id: str, browsers: list[Running]) -> VmSeen:
        stage = self._stage
        raw: dict[bytes, bytes] = await stage.redis.hgetall(stage.keys.workers(vm_id))
        kept = {name.decode(): str(msgspec.json.decode(value)["state"]) for name, value in raw.items()}
        beat = self._beats.get(vm_id)
        reported = {name: str(report.state) for name, report in beat.workers.items()} if beat else {}
        workers = stage.state_dir(vm_id) / "workers"
        folders = frozenset(path.name for path in workers.iterdir()) if workers.exists() else frozenset[str]()
        alive = frozenset(browser.worker_id for browser in browsers if browser.vm_id == vm_id)
        return VmSeen(vm_id, kept, reported, folders, alive, stage.most_browsers[vm_id])

    async def _keys(self) -> dict[str, int]:
        names: list[bytes] = [name async for name in self._stage.redis.scan_iter(count=_PAGE)]
        pipeline = self._stage.redis.pipeline(transaction=False)
        for name in names:
            pipeline.ttl(name)
        lives: list[int] = await pipeline.execute()
        # -2: the key expired between the two questions
        return {name.decode(): life for name, life in zip(names, lives, strict=True) if life != -2}

    def _strays(self, browsers: list[Running]) -> list[str]:
        """Processes whose command line names our folder, but that belong neither to a part nor to a living browser."""
        expected = {part.pid for part in self._stage.parts.values() if part.pid} | {browser.pid for browser in browsers}
        expected |= {server.pid for server in self._stage.servers if server.pid}
        workers = {browser.worker_id for browser in browsers}
        found = [pid for pid in bearing(str(self._stage.folder)) if not stems_from(pid, expected)]
        return [f"process {pid}" for pid in found if worker_named_by(pid) not in workers]


def long_away(vm_id: str, ends: Iterable[float], beats: Sequence[float], now: float) -> Iterator[Excuse]:
    """Excuses for the bots of an agent that ended and was not heard again in time, as on a machine with too much to do.
    `ends`, `beats`: the times when it ended and when it was heard, in order, in epoch seconds like `now`.
    """
    for end in ends:
        heard = max((beat for beat in beats if beat <= end), default=end)
        back = min((beat for beat in beats if beat > end), default=now)
        if back - heard > LOST_AFTER_S - ANSWER_S:  # the manager may take this long to hear it
            yield Excuse(vm_id, LOST, heard, back + EXPLAINS_FOR_S)


def long_starved(
    vm_id: str, beats: Sequence[float], starved_between_s: Callable[[float, float], float]
) -> Iterator[Excuse]:
    """Excuses for the bots of an agent that was not heard in time because the machine did not let the parts run.
    `beats`: the times when it was heard, in order, in epoch seconds.
    """
    for heard, back in pairwise(beats):
        if back - heard > LOST_AFTER_S - ANSWER_S and starved_between_s(heard, back) >= REPORTED_FROM_S:
            yield Excuse(vm_id, LOST, heard, back + EXPLAINS_FOR_S)


def dead_job(fields: Mapping[str, str]) -> Dead | None:
    """The job in an entry of the dead stream; None for a job of a flood, which is not checked."""
    tag, mark = _TAG.search(fields["payload"]), _BAD.search(fields["payload"])
    if not tag and not mark:
        return None
    return Dead(fields["reason"], fields.get("bot_id", ""), tag[1] if tag else "", mark[0] if mark else "")


def _change(entry_id: str, fields: dict[str, str]) -> Change:
    return Change(
        entry_id,
        fields["bot_id"],
        fields["state"],
        fields["reason"],
        int(fields["attempt"]),
        fields["vm_id"],
        fields["at"],
    )


def tag_of(record: dict[str, str]) -> str:
    """The job's tag, which is in its link."""
    return parse_qs(urlsplit(record["meeting_url"]).query).get("tag", [""])[-1]


def _said(finding: tuple[str, str, str]) -> str:
    kind, of, sentence = finding
    return f"{kind} {of}: {sentence}"


def is_idle(state: str) -> bool:
    return state == WorkerState.IDLE
