"""Sends the webhooks of a bot that runs without a manager: the same ones, in order, signed, and each repeated until it
is delivered. They are only in memory, so they are lost when this process ends.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec
import structlog

from common.config.settings import WebhookSettings
from common.jobs.outgoing import Delivery, OutgoingRules
from common.jobs.record import Job, Record, iso
from common.runtime.waiting import pause
from common.webhooks.courier import Bury, Retry, judge
from common.webhooks.envelope import render
from common.webhooks.sender import Sender
from common.webhooks.signature import headers
from common.wire.messages import BotEnded, BotMoved, BotRecorded, Event, PermissionSeen
from common.wire.vocabulary import BotState, outward_status

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_STARTED: Final = f"{time.time_ns():x}"


class Receiver:
    """Call `run` once, `tell` with each event, and `close` after the last. `tell` never waits. `job` has its bot_id.
    `untold`: how many webhooks were given up.
    """

    def __init__(self, job: Job, settings: WebhookSettings, user_agent: str) -> None:
        self._settings = settings
        self._user_agent = user_agent
        job_fields = msgspec.structs.asdict(job)
        created = iso(time.time())
        self._record = Record(**job_fields, state=BotState.QUEUED, status="Joining", created_at=created, attempt=1)
        self._waiting: deque[tuple[float, Delivery]] = deque()
        self._changes = 0
        self._news = asyncio.Event()
        self._closed = False
        self._unmade = ""
        self.untold = 0
        if job.callback_url and not settings.secrets:
            log.warning("webhooks_unsigned", detail="receivers cannot tell who sent them: set webhooks.secrets")

    def tell(self, event: Event) -> None:
        """Make webhooks of events of which a manager makes some. Other events make none."""
        match event:
            case BotMoved(state=state, at=at) if state is not BotState.STOPPED:
                self._change(at, state=state, status=outward_status(state))
            case BotEnded(reason=reason, detail=detail, at=at):
                end = reason.end
                self._change(
                    at,
                    state=BotState.STOPPED,
                    status=end.status,
                    status_reason=reason,
                    reason_detail=detail[:500],
                    attribution=end.attribution,
                )
            case PermissionSeen(allowed=allowed, at=at):
                self._change(at, {"permission": "allowed" if allowed else "denied"})
            case BotRecorded(unmade=why) if why:
                self._unmade = why
            case BotRecorded(finished=True) if self._record.manifest_status == "completed":
                pass  # it is told once more where its spool could not be removed
            case BotRecorded(finished=finished, at=at):
                what = "completed" if finished else "recording"
                self._recorded(at, what, event.status_of("audio"), event.status_of("video"))
            case _:
                pass

    def close(self) -> None:
        """No more events come. A recording without files by now counts as skipped."""
        said = self._record
        if said.state is BotState.STOPPED and said.manifest_status == "recording":
            audio, video = ("skipped" if status else "" for status in (said.audio_status, said.video_status))
            self._recorded(time.time(), "skipped", audio, video, self._unmade)
        self._closed = True
        self._news.set()

    def _recorded(self, at: float, what: str, audio: str, video: str, why: str = "") -> None:
        before = self._record.manifest_status
        recording = {"recorded": what, "audio": audio, "video": video, "before": before, "why": why}
        self._change(at, recording, manifest_status=what, audio_status=audio, video_status=video)

    def _change(self, at: float, more: Mapping[str, str] = MappingProxyType({}), **fields: str) -> None:
        """`more`: what happened to the recording, with the fields of the manager's outbox."""
        self._changes += 1
        was_done = self._is_done
        record = self._record = msgspec.structs.replace(self._record, **fields)
        change = {
            "bot_id": record.bot_id,
            "state": record.state,
            "status": record.status,
            "reason": record.status_reason,
            "attempt": str(record.attempt),
            "at": iso(at),
            "manifest": record.manifest_status,
            "done": "1" if self._is_done and not was_done else "",
            **more,
        }
        now = time.time()
        made = render(f"{_STARTED}-{self._changes}", change, record)
        self._waiting.extend((now, delivery) for delivery in made)
        self._news.set()

    @property
    def _is_done(self) -> bool:
        """Whether it has ended and no files are waited for. A transcript there is none of."""
        return self._record.state is BotState.STOPPED and self._record.manifest_status != "recording"

    async def run(self, give_up: asyncio.Event) -> None:
        """Send until all is delivered after `close`, or given up. When `give_up` is set, the rest is given up."""
        rules = OutgoingRules.of(self._settings)
        async with Sender(rules, self._settings.timeout_s, self._user_agent) as sender:
            while self._waiting or not self._closed:
                if not self._waiting:
                    await self._news.wait()
                    self._news.clear()
                    continue
                since, delivery = self._waiting[0]
                await self._deliver(sender, delivery, since, give_up)
                self._waiting.popleft()

    async def _deliver(self, sender: Sender, delivery: Delivery, since: float, give_up: asyncio.Event) -> None:
        attempts, settings = 0, self._settings
        bound = log.bind(bot_id=delivery.bot_id, webhook_event=delivery.event)
        while not give_up.is_set():
            signed = headers(delivery, settings.secrets, time.time(), settings.timestamp)
            outcome = await sender.send(delivery.url, delivery.body.encode(), signed)
            attempts += 1
            now = time.time()
            # Chance spreads the calls of many bots over time. It is no secret.
            match judge(outcome, attempts, since, now, settings, random.random()):  # noqa: S311
                case Retry(at=at):
                    bound.info("webhook_failed", outcome=outcome.word, attempt=attempts, again_in_s=round(at - now, 3))
                    await pause(give_up, at - now)
                case Bury(reason=reason):
                    bound.warning("webhook_buried", outcome=outcome.word, attempt=attempts, reason=reason)
                    self.untold += 1
                    return
                case _:
                    bound.debug("webhook_delivered", took_s=round(outcome.took_s, 3))
                    return
        bound.warning("webhook_buried", attempt=attempts, reason="given_up")
        self.untold += 1
