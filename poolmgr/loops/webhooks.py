"""Moves status changes from the outbox to each bot's queue of webhooks, and sends the first of a queue when it is due.
A transcript with a receiver of its own has a queue of its own.

All webhooks are in Redis at every moment. Memory has only which bot is next, and is built again in every term.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from common.config.settings import WebhookSettings
from common.jobs.outgoing import Delivery, OutgoingRules, host_of
from common.jobs.record import Record, iso
from common.runtime import steps
from common.runtime.clock import Clock
from common.runtime.loop.turns import Turned, unwatched
from common.runtime.steps import WebhookStep
from common.runtime.waiting import pause
from common.webhooks.courier import GONE, Bury, Courier, Retry, judge
from common.webhooks.envelope import render
from common.webhooks.outcome import Outcome
from common.webhooks.sender import Sender, user_agent
from common.webhooks.signature import headers
from poolmgr.observe.metrics import WebhookMetrics
from poolmgr.observe.traces import Traces
from poolmgr.store.answers import Entry, text_fields
from poolmgr.store.leader.deliveries import Deliveries
from poolmgr.store.leader.inbox import Stream
from poolmgr.store.reading.webhooks import Attempt, Waiting

_log = structlog.stdlib.get_logger()
_MOST_AT_ONCE = 100
_WAIT_S = 1.0
_LOOK_S = 5.0
"""How often the gauges are read from Redis, in seconds."""

_LONGEST_REST_S = 60.0
"""No wait is longer than this, because the wall clock may jump."""


class Webhooks:
    """The webhooks of one term. `secrets`: gives the current secrets. `run` ends when it is cancelled, or raises what
    Redis raises.
    """

    def __init__(
        self,
        outbox: Stream,
        deliveries: Deliveries,
        settings: WebhookSettings,
        clock: Clock,
        metrics: WebhookMetrics,
        secrets: Callable[[], Sequence[str]],
        traces: Traces,
        turned: Turned = unwatched,
    ) -> None:
        self._outbox = outbox
        self._deliveries = deliveries
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._secrets = secrets
        self._traces = traces
        self._turned = turned
        self._courier = Courier(settings.at_once, settings.at_once_per_host)
        self._sender = Sender(OutgoingRules.of(settings), settings.timeout_s, user_agent())
        self._woken = asyncio.Event()
        self._said_unsigned = False

    async def run(self) -> None:
        await self._put(await self._deliveries.due())
        try:
            async with self._sender, asyncio.TaskGroup() as group:
                group.create_task(self._take_in(), name="webhooks outbox")
                group.create_task(self._watch(), name="webhooks gauges")
                await self._send_what_is_due(group)
        finally:
            self._metrics.forget()

    async def _take_in(self) -> None:
        while True:
            self._turned()
            if entries := await self._outbox.read(_MOST_AT_ONCE, _WAIT_S):
                await self._put_in_line([(entry, text_fields(entry.fields)) for entry in entries])

    async def _put_in_line(self, changes: Sequence[tuple[Entry, Mapping[str, str]]]) -> None:
        records = await self._deliveries.records(
            change["bot_id"] for _, change in changes if change.get("bot_id") and "state" in change
        )
        now = self._clock.wall()
        made = [(entry.entry_id, change, _made_of(entry, change, records)) for entry, change in changes]
        lines = [
            (entry_id, found[0].line if found else change.get("bot_id", ""), found) for entry_id, change, found in made
        ]
        await self._deliveries.put(lines, now)
        steps.done(WebhookStep.WEBHOOKS_PUT)
        for _, line_id, found in lines:
            if found:
                self._courier.put(line_id, host_of(found[0].url), now)
        again = [change for _, change in changes if "again" in change and "bot_id" in change]
        await self._put({change.get("line") or change["bot_id"]: now for change in again})
        self._woken.set()
        if not self._said_unsigned and not self._secrets() and any(found for *_, found in lines):
            self._said_unsigned = True
            _log.warning("webhooks_unsigned", detail="receivers cannot tell who sent them: set webhooks.secrets")

    async def _put(self, due: Mapping[str, float]) -> None:
        """Take over the queues that are in Redis already."""
        for line_id, head in (await self._deliveries.heads(list(due))).items():
            if head:
                self._courier.put(line_id, host_of(head.delivery.url), due[line_id])
            else:
                await self._deliveries.clear(line_id)

    async def _send_what_is_due(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._woken.clear()
            now = self._clock.wall()
            for line_id in self._courier.next(now):
                group.create_task(self._attempt(line_id), name=f"webhook {line_id}")
            wake_at = self._courier.wake_at()
            rest_s = _LONGEST_REST_S if wake_at is None else min(_LONGEST_REST_S, max(0.0, wake_at - now))
            await pause(self._woken, rest_s)

    async def _attempt(self, line_id: str) -> None:
        """Send the first webhook in a queue once, and carry out what follows."""
        head = (await self._deliveries.heads([line_id]))[line_id]
        if head is None:
            more = await self._deliveries.clear(line_id)
            self._over(line_id, answers=None, due_at=self._clock.wall() if more else None)
            return
        delivery = head.delivery
        settings = self._settings
        signed = headers(delivery, self._secrets(), self._clock.wall(), settings.timestamp)
        number, traces = head.attempts + 1, self._traces
        trace = traces.webhook(delivery, number)
        if trace:
            signed["traceparent"] = trace.traceparent
        outcome = await self._sender.send(delivery.url, delivery.body.encode(), signed)
        traces.attempted(delivery, trace, outcome, number, self._clock.wall())
        steps.done(WebhookStep.WEBHOOK_SENT)
        due_at = await self._follow_up(head, outcome)
        steps.done(WebhookStep.WEBHOOK_NOTED)
        self._over(line_id, answers=outcome.delivered or outcome.status == GONE, due_at=due_at)

    def _over(self, line_id: str, *, answers: bool | None, due_at: float | None) -> None:
        self._courier.over(line_id, answers=answers, due_at=due_at)
        self._woken.set()

    async def _follow_up(self, head: Waiting, outcome: Outcome) -> float | None:
        """Write the outcome of an attempt. Returns when the next one in its queue is due."""
        delivery, now = head.delivery, self._clock.wall()
        host, number = host_of(delivery.url), head.attempts + 1
        attempt = Attempt(delivery.id, delivery.event, number, iso(now), round(outcome.took_s, 3), outcome.word, host)
        log = _log.bind(
            bot_id=delivery.bot_id, webhook_event=delivery.event, host=host, outcome=outcome.word, attempt=number
        )
        self._metrics.attempted(outcome.kind, outcome.took_s)
        # A random delay, so that receivers which failed together are not called together. It needs no secure generator.
        match judge(outcome, number, head.since, now, self._settings, random.random()):  # noqa: S311
            case Retry(at=at):
                await self._deliveries.failed(head, attempt, at)
                log.info("webhook_failed", again_in_s=round(at - now, 3))
                return at
            case Bury(reason=reason):
                more = await self._deliveries.bury(head, attempt, reason, now)
                log.warning("webhook_buried", reason=reason)
                self._metrics.buried.labels(reason).inc()
            case _:
                more = await self._deliveries.done(head, attempt, now)
                log.debug("webhook_delivered", took_s=round(outcome.took_s, 3))
                self._metrics.delivered.labels(delivery.event).inc()
        return now if more else None

    async def _watch(self) -> None:
        while True:
            count, earliest = await self._deliveries.oldest()
            self._metrics.pending.set(count)
            self._metrics.oldest_due.set(max(0.0, self._clock.wall() - earliest) if earliest is not None else 0.0)
            await asyncio.sleep(_LOOK_S)


def _made_of(entry: Entry, change: Mapping[str, str], records: Mapping[str, Record]) -> list[Delivery]:
    """The webhooks of one outbox entry; empty if the entry is unreadable, or its bot has no record any more."""
    try:
        if ready := entry.fields.get(b"delivery"):
            made = [msgspec.json.decode(ready, type=Delivery)]
        elif "again" in change:
            made = []
        else:
            made = render(entry.entry_id.decode(), change, records[change["bot_id"]])
        if any(delivery.bot_id != change["bot_id"] for delivery in made):
            raise ValueError("it is of another bot than it says")
        return [delivery for delivery in made if host_of(delivery.url)]
    except (KeyError, ValueError) as error:
        _log.warning("outbox_unreadable", entry_id=entry.entry_id.decode(), error=type(error).__name__)
        return []
