"""The webhooks in Redis, for the leader: a queue for each bot, when each is due, the log of attempts, dead letters."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from common.config.settings import Settings
from common.jobs.outgoing import Delivery
from common.jobs.record import Record, iso
from common.runtime.redis.lua import Call
from poolmgr.store import scripts
from poolmgr.store.keys import Keys
from poolmgr.store.leader.inbox import GROUP
from poolmgr.store.leader.ledger import run_fenced
from poolmgr.store.reading.webhooks import Attempt, Waiting, line_life_s, waiting_of

_PAGE: Final = 500
_RENDERED_FROM: Final = (
    "callback_url", "custom_attributes", "queue_timeout", "join_at", "reason_detail", "attribution", "user_id",
    "calendar_event_id", "payload", "platform", "traceparent", "manifest_status",
    "transcript_status", "video",
)  # fmt: skip
_NOTED: Final = {
    "audio.processed": "audio_webhook_received",
    "transcription.processed": "transcript_webhook_received",
}


class Deliveries:
    """Reads and writes for one leader. Methods that write raise StaleEpochError when that leader has been replaced."""

    def __init__(self, redis: Redis, keys: Keys, settings: Settings, epoch: int) -> None:
        self._redis: Any = redis  # redis-py types answers as unions of all shapes
        self._keys = keys
        self._keep = settings.retention.dead_entries
        self._keep_noted = settings.retention.stream_entries
        self._life_s = line_life_s(settings)
        self._epoch = epoch

    async def records(self, bot_ids: Iterable[str]) -> dict[str, Record]:
        """For each bot, the record's fields that webhooks need; empty if it has no record."""
        wanted = list(dict.fromkeys(bot_ids))
        pipeline = self._redis.pipeline(transaction=False)
        for bot_id in wanted:
            pipeline.hmget(self._keys.bot(bot_id), *_RENDERED_FROM)
        found: list[list[bytes | None]] = await pipeline.execute() if wanted else []
        return {
            bot_id: Record.from_hash(
                {name: raw.decode() for name, raw in zip(_RENDERED_FROM, values, strict=True) if raw is not None}
            )
            for bot_id, values in zip(wanted, found, strict=True)
        }

    async def put(self, entries: Sequence[tuple[bytes, str, Sequence[Delivery]]], now: float) -> None:
        """Put the webhooks of each outbox entry (its id, their line, webhooks) into their queue, and delete the entry.
        Idempotent.
        """
        k = self._keys
        calls: list[Call[bool]] = []
        for entry_id, line_id, deliveries in entries:
            call = scripts.deliver_put(
                outbox=k.outbox,
                line=k.deliveries(line_id),
                due=k.webhooks_due,
                group=GROUP,
                entry_id=entry_id,
                line_id=line_id,
                now=now,
                life_s=self._life_s,
                items=[f"0 {webhook.at:.6f} ".encode() + msgspec.json.encode(webhook) for webhook in deliveries],
            )
            calls.append(call)
        if calls:
            await self._run(calls)

    async def due(self) -> dict[str, float]:
        """Every queue, and when its first webhook is due (epoch seconds)."""
        found: dict[str, float] = {}
        start = 0
        while page := await self._redis.zrange(self._keys.webhooks_due, start, start + _PAGE - 1, withscores=True):
            found.update({line_id.decode(): score for line_id, score in page})
            start += _PAGE
        return found

    async def oldest(self) -> tuple[int, float | None]:
        """How many queues there are, and the earliest time at which a webhook is or was due."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zcard(self._keys.webhooks_due).zrange(self._keys.webhooks_due, 0, 0, withscores=True)
        count, first = await pipeline.execute()
        return count, first[0][1] if first else None

    async def heads(self, line_ids: Sequence[str]) -> dict[str, Waiting | None]:
        """The first webhook of each queue; None: the queue is empty."""
        found: dict[str, Waiting | None] = {}
        for start in range(0, len(line_ids), _PAGE):
            page = line_ids[start : start + _PAGE]
            pipeline = self._redis.pipeline(transaction=False)
            for line_id in page:
                pipeline.lindex(self._keys.deliveries(line_id), 0)
            answers: list[bytes | None] = await pipeline.execute()
            found.update({line: waiting_of(raw) if raw else None for line, raw in zip(page, answers, strict=True)})
        return found

    async def done(self, waiting: Waiting, attempt: Attempt, now: float) -> bool:
        """The webhook was delivered. Returns whether another one waits in its queue. Idempotent, like the others."""
        delivery = waiting.delivery
        noted_as = "" if delivery.number else _NOTED.get(delivery.event, "")
        return await self._done(delivery.line, delivery.bot_id, delivery.id, now, _json(attempt), noted_as)

    async def clear(self, line_id: str) -> bool:
        """Remove an empty queue from the due ones. Returns whether the queue is not empty after all."""
        return await self._done(line_id, "", "", 0, b"", "")

    async def failed(self, waiting: Waiting, attempt: Attempt, next_at: float) -> None:
        """The attempt failed; the next one is at `next_at` (epoch seconds)."""
        delivery, k = waiting.delivery, self._keys
        call = scripts.deliver_failed(
            line=k.deliveries(delivery.line),
            due=k.webhooks_due,
            log=k.delivery_log(delivery.bot_id),
            line_id=delivery.line,
            id=delivery.id,
            attempts=attempt.attempt,
            next_at=next_at,
            life_s=self._life_s,
            entry=_json(attempt),
        )
        await self._run([call])

    async def bury(self, waiting: Waiting, attempt: Attempt, reason: str, now: float) -> bool:
        """The webhook is given up for `reason`. Returns whether another one waits in its queue."""
        delivery, k = waiting.delivery, self._keys
        call = scripts.deliver_bury(
            line=k.deliveries(delivery.line),
            due=k.webhooks_due,
            log=k.delivery_log(delivery.bot_id),
            dead=k.webhooks_dead,
            line_id=delivery.line,
            id=delivery.id,
            now=now,
            life_s=self._life_s,
            entry=_json(attempt),
            keep_dead=self._keep,
            letter={"reason": reason, "outcome": attempt.outcome, "attempts": attempt.attempt, "at": iso(now)},
        )
        (has_next,) = await self._run([call])
        return has_next

    async def _done(self, line_id: str, bot_id: str, id: str, now: float, entry: bytes, noted_as: str) -> bool:
        k = self._keys
        call = scripts.deliver_done(
            line=k.deliveries(line_id),
            due=k.webhooks_due,
            log=k.delivery_log(bot_id),
            bot=k.bot(bot_id),
            noted=k.noted,
            keep=self._keep_noted,
            bot_id=bot_id,
            line_id=line_id,
            id=id,
            now=now,
            life_s=self._life_s,
            entry=entry,
            noted_as=noted_as,
        )
        (has_next,) = await self._run([call])
        return has_next

    async def _run(self, calls: Sequence[Call[bool]]) -> list[bool]:
        return await run_fenced(self._redis, self._keys.epoch, self._epoch, calls)


def _json(attempt: Attempt) -> bytes:
    return msgspec.json.encode(attempt)
