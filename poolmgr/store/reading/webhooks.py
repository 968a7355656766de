"""Reads webhooks for people: a bot's queue, the log of attempts, dead letters; and sends dead letters again."""

from collections.abc import Mapping
from typing import Any

import msgspec
from redis.asyncio import Redis

from common.config.settings import Settings
from common.jobs.outgoing import Delivery, line_of
from poolmgr.store import answers, scripts
from poolmgr.store.actions import By, Verb, fields_of
from poolmgr.store.keys import Keys
from poolmgr.store.scripts import MOST_TRANSCRIPTS


class Waiting(msgspec.Struct, frozen=True):
    """A webhook in its queue. `attempts`: so far. `since`: when its time began, epoch seconds."""

    delivery: Delivery
    attempts: int
    since: float


class Attempt(msgspec.Struct, frozen=True):
    """The result of one attempt. `at`: ISO 8601. `attempt`: from 1 on. `outcome`: a status or a word. `host`: of the
    receiver.
    """

    id: str
    event: str
    attempt: int
    at: str
    took_s: float
    outcome: str
    host: str


class DeadLetter(msgspec.Struct, frozen=True):
    """A webhook that was given up. `outcome`: of the last attempt."""

    entry_id: str
    at: str
    reason: str
    outcome: str
    attempts: int
    delivery: Delivery


class Webhooks:
    """Reads under one prefix, and puts dead letters back. It has no state."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis  # redis-py types answers as unions of all shapes
        self._keys = keys

    async def waiting(self, bot_id: str) -> tuple[list[Waiting], float | None]:
        """A bot's queue, then those of transcripts with receivers of their own; and when the first of all these
        webhooks is due (epoch seconds).
        """
        lines = [line_of(bot_id, number) for number in (0, *range(2, MOST_TRANSCRIPTS + 1))]
        pipeline = self._redis.pipeline(transaction=False)
        for line_id in lines:
            pipeline.lrange(self._keys.deliveries(line_id), 0, -1)
        found: list[list[bytes]]
        times: list[float | None]
        *found, times = await pipeline.zmscore(self._keys.webhooks_due, lines).execute()
        due_at = min((at for at in times if at is not None), default=None)
        return [waiting_of(raw) for line in found for raw in line], due_at

    async def log(self, bot_id: str) -> list[Attempt]:
        """The results of the latest attempts, latest first."""
        entries: list[bytes] = await self._redis.lrange(self._keys.delivery_log(bot_id), 0, -1)
        return [msgspec.json.decode(raw, type=Attempt) for raw in entries]

    async def dead(self, *, most: int) -> list[DeadLetter]:
        """Dead letters, latest first."""
        entries: Any = await self._redis.xrevrange(self._keys.webhooks_dead, count=most)
        return [_letter(entry_id, fields) for entry_id, fields in entries]

    async def send_again(self, entry_id: str, now: float, life_s: int, by: By | None = None) -> bool:
        """Put a dead letter at the end of its queue, as if it were new. Returns False if it does not exist."""
        k = self._keys
        found: Any = await self._redis.xrange(k.webhooks_dead, entry_id, entry_id)
        if not found:
            return False
        raw: bytes = found[0][1][b"delivery"]
        delivery = msgspec.json.decode(raw, type=Delivery)
        call = scripts.deliver_again(
            dead=k.webhooks_dead,
            line=k.deliveries(delivery.line),
            due=k.webhooks_due,
            outbox=k.outbox,
            actions=k.actions,
            entry_id=entry_id,
            bot_id=delivery.bot_id,
            line_id=delivery.line,
            delivery=raw,
            now=now,
            life_s=life_s,
            action=fields_of(by, Verb.SEND_AGAIN, entry_id, f"of bot {delivery.bot_id}"),
        )
        return await call.run(self._redis)

    async def send_all_again(self, now: float, life_s: int, by: By | None = None) -> list[str]:
        """Send all current dead letters again, oldest first. Returns their entry ids."""
        entries: Any = await self._redis.xrange(self._keys.webhooks_dead)
        ids = [entry_id.decode() for entry_id, _ in entries]
        return [entry_id for entry_id in ids if await self.send_again(entry_id, now, life_s, by)]


def line_life_s(settings: Settings) -> int:
    """How long a queue is kept that does not change, in seconds."""
    return int(settings.webhooks.retry_for_s + settings.retention.bot_s)


def waiting_of(raw: bytes) -> Waiting:
    """The webhook in an entry of a queue."""
    attempts, since, delivery = raw.split(b" ", 2)
    return Waiting(msgspec.json.decode(delivery, type=Delivery), int(attempts), float(since))


def _letter(entry_id: bytes, raw: Mapping[bytes, bytes]) -> DeadLetter:
    fields = answers.text_fields(raw)
    delivery = msgspec.json.decode(raw[b"delivery"], type=Delivery)
    facts = (fields["at"], fields["reason"], fields["outcome"], int(fields["attempts"]))
    return DeadLetter(entry_id.decode(), *facts, delivery)
