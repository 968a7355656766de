"""The agent's connection to Redis: events out in order, commands in, claims. Only looks.py uses Redis besides.

Events wait in one queue for one writer. While Redis is away they stay in the queue, and in the journal in case the
agent ends. Each event gets into the stream once. Of waiting heartbeats only the newest is kept.

An error of Redis never ends an agent: it is logged, and the call is repeated.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, cast

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.config.settings import RedisSettings
from common.errors import AgentError
from common.runtime import steps
from common.runtime.loop.turns import Turned, unwatched
from common.runtime.redis.client import UNAVAILABLE, address, connect
from common.runtime.redis.roundtrip import carry_out
from common.runtime.redis.scripts import resign
from common.runtime.steps import AgentStep
from common.runtime.waiting import backoff, pause
from common.wire import codec
from common.wire.keys import WireKeys
from common.wire.messages import Command, Event, Heartbeat, Join, JoinRefused, Say, VmVitals
from common.wire.vocabulary import RefusalCause
from worker.link import scripts
from worker.link.journal import Entry, Journal
from worker.link.scripts import ALIVE_S

log: structlog.stdlib.BoundLogger = structlog.get_logger()

QUEUE_LIMIT: Final = 100_000
BATCH: Final = 500
CONTEST_S: Final = 20.0  # longer than ALIVE_S: a presence key that still exists then is renewed by a living agent
CONTEST_POLL_S: Final = 1.0
HEARTBEATS_UNREAD: Final = 50_000  # entries in the stream; above it no heartbeat is added while nobody reads
VITALS_LIVE_S: Final = 60
BLOCK_S: Final = 2.0
LOCK_DEADLINE_S: Final = 1.0  # for the lock of an account; after it the bot joins as a guest
RETRY_S: Final = (0.1, 5.0)
CLAIM_RETRY_S: Final = (0.05, 1.0)

_TROUBLE: Final = (*UNAVAILABLE, RedisError)

_Entries = list[tuple[bytes, dict[bytes, bytes]]]
_Answer = list[tuple[bytes, _Entries]] | dict[bytes, _Entries]  # a list in RESP 2, a dict in RESP 3


class ContestedError(AgentError):
    """Another agent uses this vm_id; the message says which, and what to do."""


class LinkError(AgentError):
    """Redis did not answer that it took something. It may have taken it all the same."""


class _Presence(msgspec.Struct, frozen=True):
    """Which agent uses a vm_id."""

    session: str
    host: str
    state_dir: str


class Link:
    """To be opened before its loops run, and closed at the end. `send` may be called at any time and never waits."""

    def __init__(self, settings: RedisSettings, vm_id: str, journal: Journal, state_dir: Path) -> None:
        self._redis: Redis = connect(settings)
        self._keys = WireKeys(settings.prefix)
        self._address = address(settings)
        self._block_ms = int(min(BLOCK_S, settings.timeout_s / 2) * 1000)
        self._vm_id = vm_id
        self._journal = journal
        self._presence = _Presence(journal.session, socket.gethostname(), str(state_dir.absolute()))
        self._waiting: dict[int, tuple[int, Event]] = {}  # oldest first: (number in the journal, or 0; event)
        self._last_place = 0
        self._waiting_heartbeat = 0
        self._news = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()
        self._heard_at = journal.heard_at(time.monotonic())
        self.is_open = False
        for number, event in journal.events():
            self._queue(number, event)

    async def open(self, stop: asyncio.Event) -> bool:
        """Take the vm_id, which no other agent may use. If the journal is new, refuse the joins that were ordered from
        an earlier agent.

        Waits until Redis answers. Returns False when `stop` was set before that. Raises: ContestedError.
        """
        for delay_s in backoff(*RETRY_S):
            try:
                if await self._take_vm_id(stop):
                    if self._journal.is_new:
                        await self._answer_backlog()
                    self.is_open = True
                    return True
                return False
            except _TROUBLE as error:
                log.warning("redis_unavailable", address=self._address, error=_why(error), again_in_s=delay_s)
            if await pause(stop, delay_s):
                break
        return False

    async def close(self) -> None:
        """Free the vm_id, so that another host may use it at once, and close the connections."""
        try:
            await resign(name=self._keys.alive(self._vm_id), holder=msgspec.json.encode(self._presence)).run(
                self._redis
            )
        except _TROUBLE as error:
            log.warning("presence_left", error=_why(error), ends_in_s=ALIVE_S)
        await self._redis.aclose()

    # Events

    def send(self, *events: Event, entry: Entry | None = None) -> None:
        """Write the events and `entry` into the journal, and queue the events. Order is kept."""
        kept = [event for event in events if not isinstance(event, Heartbeat)]
        numbers = iter(self._journal.write(kept, entry) if kept or entry else ())
        for event in events:
            self._queue(0 if isinstance(event, Heartbeat) else next(numbers), event)

    async def tell_vitals(self, vitals: VmVitals) -> None:
        """Write what people see of this VM. Without Redis nothing is written, and nothing is logged."""
        with suppress(*_TROUBLE):
            await self._redis.set(self._keys.vitals(self._vm_id), msgspec.json.encode(vitals), ex=VITALS_LIVE_S)

    async def clock_offset_s(self) -> float | None:
        """How far this machine's clock is ahead of that of Redis, in seconds, with an error of half a round trip. None:
        Redis does not answer.
        """
        began = time.time()
        try:
            seconds, microseconds = await self._redis.time()  # pyright: ignore[reportUnknownMemberType]
        except _TROUBLE:
            return None
        return (began + time.time()) / 2 - (seconds + microseconds / 1e6)

    @property
    def unwritten(self) -> int:
        """How many events in the journal Redis has not taken yet."""
        return sum(number > 0 for number, _ in self._waiting.values())

    @property
    def silent_s(self) -> float:
        """How long ago Redis last took something from this agent, in seconds."""
        return time.monotonic() - self._heard_at

    def _queue(self, number: int, event: Event) -> None:
        self._last_place += 1
        if isinstance(event, Heartbeat):
            self._waiting.pop(self._waiting_heartbeat, None)
            self._waiting_heartbeat = self._last_place
        elif len(self._waiting) >= QUEUE_LIMIT:
            dropped, _ = self._waiting.pop(next(iter(self._waiting)))
            self._journal.forget_events([dropped])
            log.error("event_dropped", number=dropped, why="the queue is full")
        self._waiting[self._last_place] = (number, event)
        self._written.clear()
        self._news.set()

    async def write_events(self, turned: Turned = unwatched) -> None:
        """Write what is queued, for as long as the agent lives."""
        delays = backoff(*RETRY_S)
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                while self._waiting:
                    turned()
                    await self._write_batch()
                self._written.set()
            except _TROUBLE as error:
                delay_s = next(delays)
                log.warning("events_unwritten", error=_why(error), waiting=len(self._waiting), again_in_s=delay_s)
                await asyncio.sleep(delay_s)
                self._news.set()
            else:
                delays = backoff(*RETRY_S)

    async def flush(self, deadline_s: float) -> None:
        """Wait until all events are written. After `deadline_s` log how many are left to the next agent."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._written.wait()
        except TimeoutError:
            if left := sum(number > 0 for number, _ in self._waiting.values()):
                log.error("events_left", count=left, why="Redis did not take them before the end")

    async def _write_batch(self) -> None:
        """Write the oldest events, all or none: if some were refused, later events would overtake them."""
        batch = list(islice(self._waiting.items(), BATCH))
        entries: list[int | bytes] = []
        for _, (number, event) in batch:
            entries += (number, codec.encode(event))
        k, vm_id = self._keys, self._vm_id
        call = scripts.write(
            events=k.events,
            written=k.written(vm_id),
            alive=k.alive(vm_id),
            commands=k.commands(vm_id),
            session=self._journal.session,
            presence=msgspec.json.encode(self._presence),
            most_unread=HEARTBEATS_UNREAD,
            entries=entries,
        )
        before = await call.run(self._redis)
        self._heard_at = time.monotonic()
        steps.done(AgentStep.EVENTS_WRITTEN)
        # This agent was silent for longer than ALIVE_S, and another one took its vm_id. Both may have bots in meetings,
        # so this one goes on.
        if rival := self._rival_in(before):
            log.error("vm_id_contested", host=rival.host, state_dir=rival.state_dir)
        for place, _ in batch:
            self._waiting.pop(place, None)
        self._journal.forget_events((number for _, (number, _) in batch if number), heard_at=self._heard_at)

    # Commands

    async def commands(self, turned: Turned = unwatched) -> AsyncIterator[Command]:
        """Every command in order, for as long as the agent lives. A command is deleted from the stream after the caller
        has taken it. If the agent is killed before that, the next one gets it again; only a Say is deleted before it
        is carried out, so that nothing is said twice.
        """
        key = self._keys.commands(self._vm_id)
        delays = backoff(*RETRY_S)
        after = b"0"
        done: list[bytes] = []
        while True:
            turned()
            try:
                if done:
                    await self._redis.xdel(key, *done)
                    steps.done(AgentStep.COMMANDS_DELETED)
                    done.clear()
                entries = [(place, _decode(fields)) for place, fields in await self._read(key, after, self._block_ms)]
                if to_say := [place for place, command in entries if isinstance(command, Say)]:
                    await carry_out(self._redis, "XDEL", key, *to_say)
                delays = backoff(*RETRY_S)
            except _TROUBLE as error:
                delay_s = next(delays)
                log.warning("commands_unreadable", error=_why(error), again_in_s=delay_s)
                await asyncio.sleep(delay_s)
                # After a failover the ids of a new Redis may be lower, so read from the start. What was read before is
                # deleted first: see above.
                after = b"0"
                continue
            if entries:
                steps.done(AgentStep.COMMANDS_READ)
            for entry_id, command in entries:
                if command:
                    yield command
                after = entry_id
                done.append(entry_id)

    async def claim(self, join: Join) -> bool:
        """Claim the bot for this attempt. Returns whether the attempt still counts. Asks until Redis answers;
        idempotent.
        """
        delays = backoff(*CLAIM_RETRY_S)
        while True:
            try:
                call = scripts.claim(
                    bot=self._keys.bot(join.bot_id),
                    attempt=join.attempt,
                    worker_id=join.worker_id,
                    at=datetime.now(UTC).isoformat(),
                )
                is_ours = await call.run(self._redis)
            except _TROUBLE as error:
                delay_s = next(delays)
                log.warning("claim_unanswered", bot_id=join.bot_id, error=_why(error), again_in_s=delay_s)
                await asyncio.sleep(delay_s)
            else:
                return is_ours

    # Evidence

    async def keep_evidence(self, bot_id: str, attempt: int, bundle: bytes, life_s: float, most_bytes: int) -> bool:
        """Store a bundle of evidence in Redis. Idempotent. Returns False when it cannot be kept: its bot has no record
        any more, or the bundle alone is larger than `most_bytes`, which all bundles share.

        Raises: LinkError when Redis is away, full, or refuses.
        """
        k = self._keys
        call = scripts.keep_evidence(
            bot=k.bot(bot_id),
            bundle=k.evidence(bot_id, attempt),
            index=k.evidence_index,
            sizes=k.evidence_sizes,
            data=bundle,
            life_s=max(1, int(life_s)),
            most_bytes=most_bytes,
        )
        try:
            return await call.run(self._redis)
        except _TROUBLE as error:
            raise LinkError(_why(error)) from error

    async def hold(self, name: str, holder: str, life_s: float) -> bool | None:
        """Take or renew the lock of an account for `life_s` from now. Returns whether the holder has it; None: Redis
        does not answer.
        """
        try:
            async with asyncio.timeout(LOCK_DEADLINE_S):
                call = scripts.hold(name=self._keys.account(name), holder=holder, life_ms=int(life_s * 1000))
                return await call.run(self._redis)
        except (*_TROUBLE, TimeoutError) as error:
            log.warning("account_unanswered", account=name, error=_why(error))
            return None

    async def let_go(self, name: str, holder: str) -> None:
        """Give the lock of an account back. Without an answer of Redis the lock ends when its life is over."""
        try:
            async with asyncio.timeout(LOCK_DEADLINE_S):
                await resign(name=self._keys.account(name), holder=holder).run(self._redis)
        except (*_TROUBLE, TimeoutError) as error:
            log.warning("account_unanswered", account=name, error=_why(error))

    async def _read(self, key: str, after: bytes, block_ms: int | None) -> _Entries:
        answer = cast("_Answer", await self._redis.xread({key: after}, count=BATCH, block=block_ms))
        streams = answer.values() if isinstance(answer, dict) else (entries for _, entries in answer)
        return [entry for entries in streams for entry in entries]

    # Start

    async def _take_vm_id(self, stop: asyncio.Event) -> bool:
        """Take the vm_id once no other agent uses it. Returns False when `stop` was set before that.

        Raises: ContestedError.
        """
        deadline = time.monotonic() + CONTEST_S
        while rival := await self._take_unless_used():
            if time.monotonic() > deadline:
                raise ContestedError(
                    f"cannot be {self._vm_id!r}: the agent on host {rival.host!r} with the state folder"
                    f" {rival.state_dir!r} is; give every agent a worker.vm_id of its own"
                )
            log.warning("vm_id_contested", host=rival.host, state_dir=rival.state_dir)
            if await pause(stop, CONTEST_POLL_S):
                return False
        return True

    async def _take_unless_used(self) -> _Presence | None:
        """Take the vm_id, or return the other agent that uses it."""
        alive, presence = self._keys.alive(self._vm_id), msgspec.json.encode(self._presence)
        while True:
            before = cast("bytes | None", await self._redis.get(alive))
            if rival := self._rival_in(before):
                return rival
            if await scripts.take_vm_id(alive=alive, before=before or b"", presence=presence).run(self._redis):
                return None

    def _rival_in(self, raw: bytes | None) -> _Presence | None:
        """The other agent that uses this vm_id, if any. An earlier agent in this state folder does not count: it is
        dead, since this agent holds the folder's lock.
        """
        try:
            holder = msgspec.json.decode(raw, type=_Presence) if raw else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        ours = (self._presence.host, self._presence.state_dir)
        return None if holder is None or (holder.host, holder.state_dir) == ours else holder

    async def _answer_backlog(self) -> None:
        """Drop what was ordered from an earlier agent whose journal is lost. Its workers are gone, so its bots are
        refused.
        """
        key = self._keys.commands(self._vm_id)
        while entries := await self._read(key, b"0", None):
            for _, fields in entries:
                command = _decode(fields)
                if isinstance(command, Join):
                    self.send(
                        JoinRefused(
                            self._vm_id,
                            command.worker_id,
                            command.bot_id,
                            command.attempt,
                            time.time(),
                            RefusalCause.NO_SUCH_WORKER,
                        )
                    )
            await self._redis.xdel(key, *(entry_id for entry_id, _ in entries))
            log.info("backlog_dropped", commands=len(entries))


def _decode(fields: dict[bytes, bytes]) -> Command | None:
    """The command in these fields; None, and the log says why, if this release cannot read it."""
    try:
        return codec.decode_command(fields.get(codec.FIELD.encode(), b""))
    except codec.UndecodableError as error:
        log.error("command_unreadable", error=str(error))
        return None


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
