"""The agent's spans. `warm` is a worker's warm-up. `join` is from the order until the bot is in its meeting or out.
There is one for each screen that its page showed: below `join` while the bot joins, and below the bot's own span
afterwards.

They are made only from orders and events. There are none of what an earlier agent began.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from common.runtime.spans import Span, Spans
from common.wire.messages import BotEnded, BotMoved, BotSaw, Command, Event, Join, JoinRefused, OfAttempt, WorkerWarm
from common.wire.trace import Trace
from common.wire.vocabulary import Attribution, BotState

_MOST: Final = 1_000
"""Attempts at a time."""


@dataclass(slots=True)
class _Attempt:
    job: Trace
    join: Trace
    began: float
    about: Mapping[str, str | int]
    screen: str = ""
    rule: str = ""
    since: float = 0.0
    screens: int = 0
    is_in: bool = False


class AgentTraces:
    """`spans`: where they go."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._attempts: dict[tuple[str, int], _Attempt] = {}

    def ordered(self, command: Command) -> None:
        if not self._spans.on or not isinstance(command, Join):
            return
        if len(self._attempts) >= _MOST:
            del self._attempts[next(iter(self._attempts))]
        job = Trace.of_bot(command.bot_id, command.traceparent)
        about = {"bot_id": command.bot_id, "attempt": command.attempt, "worker_id": command.worker_id}
        self._attempts[command.bot_id, command.attempt] = _Attempt(
            job, job.below("join", command.attempt), time.time(), about | {"platform": command.platform}
        )

    def warmed(self, event: WorkerWarm, steps: Mapping[str, float]) -> None:
        """`steps`: seconds of each step, in order."""
        trace = Trace.of_worker(event.worker_id)
        began = at = event.at - event.took_s
        for step, took_s in steps.items():
            self._spans.put(Span(step, trace.below(step), at, at + took_s))
            at += took_s
        self._spans.put(Span("warm", trace, began, event.at, {"vm_id": event.vm_id, "worker_id": event.worker_id}))

    def reported(self, *events: Event) -> None:
        for event in events:
            if isinstance(event, OfAttempt) and (attempt := self._attempts.get((event.bot_id, event.attempt))):
                self._reported(attempt, event)

    def _reported(self, attempt: _Attempt, event: OfAttempt) -> None:
        match event:
            case BotSaw(did=""):
                self._leave_screen(attempt, event.at)
                attempt.screen, attempt.rule, attempt.since = event.screen, event.rule, event.at
            case BotMoved(state=BotState.IN_MEETING):  # the meeting's own screen was reported before
                self._joined(attempt, event.at)
            case JoinRefused(cause=cause):
                self._over(attempt, event, error=str(cause))
            case BotEnded(reason=reason):
                ours = reason.end.attribution is Attribution.US
                self._over(attempt, event, reason=str(reason), error=str(reason) if ours else "")
            case _:
                pass

    def _leave_screen(self, attempt: _Attempt, at: float) -> None:
        if attempt.screen:
            attempt.screens += 1
            above = attempt.job if attempt.is_in else attempt.join
            trace = above.below("screen", attempt.join.span_id, attempt.screens)
            about = {**attempt.about, "screen": attempt.screen, "rule": attempt.rule}
            self._spans.put(Span(f"screen {attempt.screen}", trace, attempt.since, at, about))
            attempt.screen = ""

    def _joined(self, attempt: _Attempt, at: float, reason: str = "", error: str = "") -> None:
        if not attempt.is_in:
            attempt.is_in = True
            about = {**attempt.about, **({"reason": reason} if reason else {})}
            self._spans.put(Span("join", attempt.join, attempt.began, at, about, error))

    def _over(self, attempt: _Attempt, event: OfAttempt, reason: str = "", error: str = "") -> None:
        self._leave_screen(attempt, event.at)
        self._joined(attempt, event.at, reason, error)
        del self._attempts[event.bot_id, event.attempt]
