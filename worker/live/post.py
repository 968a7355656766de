"""Tells a client's webhook what is said: one letter at a time, in order, signed as webhooks are.

One that is not taken is sent again for some minutes; then it is dropped, and counted, and the next one is tried. The
post outlives its bot for as long.
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
from worker.live.letters import Letter, Waiting

AGAIN_S: Final = (0.5, 10.0)
MOST_WAITING: Final = 1000
GONE: Final = 410

Told = Callable[[FeedStatus, str], None]


class Post:
    """`run` it once. `sent`: letters that were taken; `has_final`: one of them was final."""

    def __init__(self, settings: LiveSettings, webhooks: WebhookSettings, told: Told) -> None:
        self._settings = settings
        self._webhooks = webhooks
        self._told = told
        self._waiting = Waiting(MOST_WAITING)
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._status: FeedStatus | None = None
        self._given_up = 0
        self.sent = 0
        self.has_final = False

    @property
    def dropped(self) -> int:
        return self._given_up + self._waiting.dropped

    def put(self, letters: Sequence[Letter]) -> None:
        if self._status is FeedStatus.REFUSED:
            return
        for one in letters:
            self._waiting.put(one)
        self._news.set()

    def end(self) -> None:
        """Nothing more comes. Idempotent."""
        self._ended.set()
        self._news.set()

    async def run(self) -> None:
        """Until it has ended and nothing waits, or its receiver is one that may not be called, or wants no more. Never
        raises for what a receiver does.
        """
        rules, delays = OutgoingRules.of(self._webhooks), backoff(*AGAIN_S)
        async with Sender(rules, self._settings.timeout_s, user_agent()) as sender:
            while (one := await self._next()) is not None:
                outcome = await self._send(sender, one)
                if outcome.delivered:
                    self.sent += 1
                    first, self.has_final = one.is_final and not self.has_final, self.has_final or one.is_final
                    self._tell(FeedStatus.CONNECTED, again=first)
                    delays = backoff(*AGAIN_S)
                elif outcome.fault == "address_not_allowed" or outcome.status == GONE:
                    self._given_up += 1 + self._waiting.clear()
                    self._tell(FeedStatus.REFUSED, outcome.word)
                    return
                else:
                    self._tell(FeedStatus.WAITING, outcome.word)
                    self._keep(one)
                    await asyncio.sleep(max(next(delays), min(outcome.retry_after_s, AGAIN_S[1])))
        self._tell(FeedStatus.ENDED)

    async def _next(self) -> Letter | None:
        while True:
            self._news.clear()
            if one := self._waiting.take():
                return one
            if self._ended.is_set():
                return None
            await self._news.wait()

    async def _send(self, sender: Sender, one: Letter) -> Outcome:
        delivery, now = one.delivery, time.time()
        signed = headers(delivery, self._webhooks.secrets, now, self._webhooks.timestamp)
        return await sender.send(delivery.url, delivery.body.encode(), signed)

    def _keep(self, one: Letter) -> None:
        """For another try. Of an utterance that goes on, more is known by then."""
        if time.time() - one.delivery.at > self._settings.deliver_for_s:
            self._given_up += 1
        else:
            self._waiting.put_back(one)

    def _tell(self, status: FeedStatus, detail: str = "", *, again: bool = False) -> None:
        if status is not self._status or again:
            self._status = status
            self._told(status, detail)
