"""Sends a live transcript to a client's webhook: one message at a time, in order, signed like other webhooks.

A message that the client does not take is sent again for some minutes. Then it is dropped and counted, and the next one
is tried. This may go on after the bot has left.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from common.config.settings import LiveSettings, WebhookSettings
from common.jobs.outgoing import OutgoingRules
from common.runtime.waiting import backoff
from common.webhooks.outcome import Outcome
from common.webhooks.sender import Sender, user_agent
from common.webhooks.signature import headers
from common.wire.vocabulary import FeedStatus
from worker.live.transcript_messages import MessageQueue, TranscriptMessage

RETRY_DELAYS_S: Final = (0.5, 10.0)
MOST_WAITING: Final = 1000
GONE: Final = 410

OnStatus = Callable[[FeedStatus, str], None]


class TranscriptWebhook:
    """`run` it once. `sent`: how many messages the client took; `has_final`: whether a final one was among them."""

    def __init__(self, settings: LiveSettings, webhooks: WebhookSettings, on_status: OnStatus) -> None:
        self._settings = settings
        self._webhooks = webhooks
        self._on_status = on_status
        self._waiting = MessageQueue(MOST_WAITING)
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._status: FeedStatus | None = None
        self._given_up = 0
        self.sent = 0
        self.has_final = False

    @property
    def dropped(self) -> int:
        return self._given_up + self._waiting.dropped

    def put(self, messages: Sequence[TranscriptMessage]) -> None:
        if self._status is FeedStatus.REFUSED:
            return
        for message in messages:
            self._waiting.put(message)
        self._wake.set()

    def end(self) -> None:
        """No more messages are put. Idempotent."""
        self._ended.set()
        self._wake.set()

    async def run(self) -> None:
        """Send until `end` was called and nothing waits, or the receiver may not be called, or it wants no more. Never
        raises because of the receiver.
        """
        rules, delays = OutgoingRules.of(self._webhooks), backoff(*RETRY_DELAYS_S)
        async with Sender(rules, self._settings.timeout_s, user_agent()) as sender:
            while (message := await self._next()) is not None:
                outcome = await self._send(sender, message)
                if outcome.delivered:
                    self.sent += 1
                    is_first_final = message.is_final and not self.has_final
                    self.has_final |= message.is_final
                    self._tell(FeedStatus.CONNECTED, again=is_first_final)
                    delays = backoff(*RETRY_DELAYS_S)
                elif outcome.fault == "address_not_allowed" or outcome.status == GONE:
                    self._given_up += 1 + self._waiting.clear()
                    self._tell(FeedStatus.REFUSED, outcome.word)
                    return
                else:
                    self._tell(FeedStatus.WAITING, outcome.word)
                    self._keep(message)
                    await asyncio.sleep(max(next(delays), min(outcome.retry_after_s, RETRY_DELAYS_S[1])))
        self._tell(FeedStatus.ENDED)

    async def _next(self) -> TranscriptMessage | None:
        while True:
            self._wake.clear()
            if message := self._waiting.take():
                return message
            if self._ended.is_set():
                return None
            await self._wake.wait()

    async def _send(self, sender: Sender, message: TranscriptMessage) -> Outcome:
        delivery, now = message.delivery, time.time()
        signed = headers(delivery, self._webhooks.secrets, now, self._webhooks.timestamp)
        return await sender.send(delivery.url, delivery.body.encode(), signed)

    def _keep(self, message: TranscriptMessage) -> None:
        """Keep the message for another try, unless it is too old."""
        if time.time() - message.delivery.at > self._settings.deliver_for_s:
            self._given_up += 1
        else:
            self._waiting.put_back(message)

    def _tell(self, status: FeedStatus, detail: str = "", *, again: bool = False) -> None:
        if status is not self._status or again:
            self._status = status
            self._on_status(status, detail)
