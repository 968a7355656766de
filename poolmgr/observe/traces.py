"""The trace of each live bot: its id in the log, and the manager's spans.

Spans are made once a decision is durable: `dispatch` is a bot's wait for its worker, `job` its whole life, `webhook`
one attempt to deliver one. Their ids are derived from the bot, so that every leader uses the same.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from common.jobs.outgoing import Delivery
from common.runtime.spans import Span, Spans
from common.webhooks.outcome import Outcome
from common.wire.trace import Trace
from common.wire.vocabulary import Attribution
from poolmgr.core.decisions import Accept, Assign, Decision, End, Enqueue, Move
from poolmgr.core.model import Bot


class _Traced(NamedTuple):
    trace: Trace
    created_at: float
    platform: str


class Traces:
    """`spans`: where they go. If they go nowhere, nothing is kept of bots without a `traceparent`."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._bots: dict[str, _Traced] = {}

    def begin(self, bots: Iterable[Bot]) -> None:
        """A term begins, with these bots."""
        self._bots.clear()
        for bot in bots:
            self._note(bot.bot_id, bot.job.traceparent, bot.created_at, bot.job.platform)

    def decided(self, decision: Decision, now: float) -> Mapping[str, str]:
        """The decision is durable. Returns the fields of its bot's trace for the log. `now`: wall clock, epoch
        seconds.
        """
        match decision:
            case Accept(bot_id=bot_id, job=job):
                self._note(bot_id, job.traceparent, decision.at, job.platform)
            case Assign(join=join):
                bot_id = join.bot_id
            case Move(bot_id=bot_id) | Enqueue(bot_id=bot_id) | End(bot_id=bot_id):
                pass
            case _:
                return {}
        if (traced := self._bots.get(bot_id)) is None:
            return {}
        self._span(decision, traced, now)
        return {"trace_id": traced.trace.trace_id}

    def fields_of(self, bot_id: str) -> Mapping[str, str]:
        """The fields of that bot's trace for the log."""
        traced = self._bots.get(bot_id)
        return {"trace_id": traced.trace.trace_id} if traced else {}

    def _span(self, decision: Accept | Assign | Move | Enqueue | End, traced: _Traced, now: float) -> None:
        match decision:
            case Assign(join=join):
                about = {"bot_id": join.bot_id, "attempt": join.attempt, "vm_id": decision.vm_id}
                more = {"worker_id": join.worker_id, "warm": decision.warm}
                trace = traced.trace.below("dispatch", join.attempt)
                self._spans.put(Span("dispatch", trace, now - decision.waited_s, now, about | more))
            case End():
                del self._bots[decision.bot_id]
                end = decision.reason.end
                about = {"bot_id": decision.bot_id, "platform": traced.platform, "attempts": decision.attempt}
                more = {"reason": str(decision.reason), "status": str(end.status), "whose": str(end.attribution)}
                error = str(decision.reason) if end.attribution is Attribution.US else ""
                ended_at = decision.at or now
                self._spans.put(Span("job", traced.trace, traced.created_at, ended_at, about | more, error))
            case _:
                pass

    def webhook(self, delivery: Delivery, attempt: int) -> Trace | None:
        """The span of an attempt to deliver a webhook; None: spans are not exported."""
        if not self._spans.on:
            return None
        return Trace.of_bot(delivery.bot_id, delivery.traceparent).below("webhook", delivery.id, attempt)

    def attempted(self, delivery: Delivery, trace: Trace | None, outcome: Outcome, attempt: int, now: float) -> None:
        if trace:
            about = {"bot_id": delivery.bot_id, "event": delivery.event, "attempt": attempt, "outcome": outcome.word}
            error = "" if outcome.delivered else outcome.word
            self._spans.put(Span("webhook", trace, now - outcome.took_s, now, about, error))

    def _note(self, bot_id: str, traceparent: str, created_at: float, platform: str) -> None:
        if traceparent or self._spans.on:
            self._bots[bot_id] = _Traced(Trace.of_bot(bot_id, traceparent), created_at, platform)
