"""Reads for viewers of the whole fleet: in portions, and only what is new.

Each call is one round trip and takes milliseconds for any size of the fleet, so viewers delay nobody.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from redis.asyncio import Redis

from common.jobs.record import BLANK
from common.runtime.redis.roundtrip import read
from common.wire.messages import VmVitals
from poolmgr.store import answers, scripts, story
from poolmgr.store.keys import Keys
from poolmgr.store.reading.views import Standing, StatusChange, Views, VmView, ask_standing, standing_of

FIELDS: Final = (
    "bot_id", "bot_name", "platform", "state", "status", "status_reason", "attribution", "attempt", "vm_id", "screen",
    "created_at", "join_at", "assigned_at", "joining_at", "waiting_room_at", "inmeeting_at", "leaving_at", "stopped_at",
)  # fmt: skip
"""The fields of a bot that are read: no link, no payload, no chat."""


class News(NamedTuple):
    """What is new. `changes`: of bots' status, in order."""

    standing: Standing
    changes: list[StatusChange]


class WorkerView(msgspec.Struct, frozen=True):
    """A worker. Times: epoch seconds."""

    worker_id: str
    state: str
    since: float
    born: float
    bot_id: str


class Sight:
    """Reads under one prefix. It has no state."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis  # redis-py types answers as unions of all shapes
        self._keys = keys
        self._views = Views(redis, keys)

    async def news(self, after: str, most: int) -> News:
        pipeline = self._redis.pipeline(transaction=False)
        ask_standing(pipeline, self._keys)
        pipeline.xread({self._keys.status: after}, count=most)
        *standing, entries = await pipeline.execute()
        changes = [
            StatusChange(entry.entry_id.decode(), answers.text_fields(entry.fields))
            for entry in answers.entries_of(entries)
        ]
        return News(standing_of(standing), changes)

    async def last_change(self) -> str:
        """The id of the last entry of the status stream, for `news`."""
        return await self._views.last_status_id()

    async def changes_before(self, before: str, since_ms: int, most: int) -> list[StatusChange]:
        """Status changes before the entry `before` (+: all) and since `since_ms` (epoch), latest first."""
        last = before if before == "+" else f"({before}"
        entries: Any = await self._redis.xrevrange(self._keys.status, last, f"{since_ms}-0", count=most)
        return [StatusChange(entry_id.decode(), answers.text_fields(fields)) for entry_id, fields in entries]

    async def vm_ids(self) -> set[str]:
        return {raw.decode() for raw in await self._redis.smembers(self._keys.vms)}

    async def marks(self, ids: Sequence[str]) -> list[bytes]:
        """A mark for each of these VMs. While it stays the same, so does all that `vms` says of that VM."""
        keys = self._keys
        call = scripts.marks(
            vms=list(map(keys.vm, ids)), workers=list(map(keys.workers, ids)), alive=list(map(keys.alive, ids))
        )
        return await call.read(self._redis)

    async def vms(self, ids: Sequence[str]) -> list[VmView]:
        return await self._views.vms(ids)

    async def workers(self, vm_id: str) -> list[WorkerView]:
        """The VM's workers; first those that have been longest in their state."""
        raws: dict[bytes, bytes] = await self._redis.hgetall(self._keys.workers(vm_id))
        found: list[WorkerView] = []
        for raw_id, raw in raws.items():
            worker = answers.worker_record(raw)
            found.append(WorkerView(raw_id.decode(), worker.state, worker.since, worker.born, worker.bot_id))
        return sorted(found, key=lambda worker: (worker.since, worker.worker_id))

    async def vitals(self, vm_id: str) -> VmVitals | None:
        """The VM's latest vitals; None if there are no recent ones, or they are unreadable."""
        raw: bytes | None = await self._redis.get(self._keys.vitals(vm_id))
        try:
            return msgspec.json.decode(raw, type=VmVitals) if raw else None
        except msgspec.DecodeError:
            return None

    async def newest(self, most: int) -> list[str]:
        """The ids of the newest bots, newest first."""
        return [raw.decode() for raw in await self._redis.zrange(self._keys.all_bots, 0, most - 1, desc=True)]

    async def live(self) -> list[str]:
        return [raw.decode() for raw in await self._redis.zrange(self._keys.live, 0, -1)]

    async def bots(self, ids: Sequence[str]) -> list[dict[str, str]]:
        """FIELDS of these bots, without those that have no record."""
        commands = [("HMGET", self._keys.bot(bot_id), *FIELDS) for bot_id in ids]
        found: list[list[bytes | None]] = await read(self._redis, *commands)
        return [
            {
                name: str(BLANK.get(name, "")) if value is None else value.decode(errors="replace")
                for name, value in zip(FIELDS, values, strict=True)
            }
            for values in found
            if values[0] is not None
        ]

    async def stood_idle(self, ids: Sequence[str]) -> dict[str, bool]:
        """For each bot that got a worker: whether its first worker was idle, so that the bot did not wait."""
        commands = [("LRANGE", self._keys.story(bot_id), 0, 3) for bot_id in ids]
        raws: list[list[bytes]] = await read(self._redis, *commands)
        first = {
            bot_id: next((entry for entry in story.decoded(entries) if entry.what is story.What.ASSIGNED), None)
            for bot_id, entries in zip(ids, raws, strict=True)
        }
        return {bot_id: entry.warm for bot_id, entry in first.items() if entry}
