"""A bot's live transcript: reads the captions of the meeting's page, or has a provider listen to its sound where there
are none, and sends each utterance as it grows.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from playwright.async_api import Page

from common.wire.messages import Join
from common.wire.vocabulary import FeedStatus
from worker.decide.state import State
from worker.live.speech_feed import SpeechFeed
from worker.live.transcript_messages import transcript_message
from worker.live.transcript_webhook import OnStatus, TranscriptWebhook
from worker.platforms import adapter_for
from worker.platforms.rules import Captions
from worker.transcript.captions_reader import CaptionsReader
from worker.transcript.utterances import UtteranceUpdate


class TranscriptFeed:
    """`webhook`: the client's, if it wants a live transcript. `keep`: writes utterances to the minutes. `task`: runs
    `read`, once it was started. `speech`: the provider that listens where there are no captions, if any; without
    `reads_captions` it listens from the beginning. `unheard`: the provider that the job names, and why it
    does not listen.
    """

    def __init__(
        self,
        join: Join,
        page: Callable[[], Page | None],
        state: Callable[[], State | None],
        webhook: TranscriptWebhook | None,
        on_status: OnStatus,
        keep: Callable[[Sequence[UtteranceUpdate]], None],
        speech: SpeechFeed | None = None,
        *,
        reads_captions: bool = True,
        unheard: str = "",
    ) -> None:
        self.speech = speech
        if speech:
            speech.send = self._send
        self._reads_captions = reads_captions
        self._unheard = unheard
        self._began_at = 0.0
        self._join = join
        self._on_status = on_status
        self._keep = keep
        self._step = 0
        self._reader = CaptionsReader(self._rules, page, state, self._send, self._note_shown)
        self._is_over = False
        self.webhook = webhook
        self.task: asyncio.Task[None] | None = None

    async def read(self) -> None:
        self._began_at = time.time()
        if self._unheard:
            self._on_status(FeedStatus.UNTRANSCRIBED, self._unheard)
        if self._reads_captions:
            await self._reader.run()
        elif self.speech:
            self.speech.begin()

    def end(self) -> None:
        """The bot is out: no more is read or heard. The last words of a provider may still come. Idempotent."""
        if not self._is_over:
            self._is_over = True
            if self.task:
                self.task.cancel()
            self._reader.end()
            if self.speech:
                self.speech.stop()

    def _rules(self) -> Captions | None:
        adapter = adapter_for(self._join.platform)
        return adapter.rules.captions if adapter else None

    def _send(self, updates: Sequence[UtteranceUpdate]) -> None:
        self._keep(updates)
        join, feeds = self._join, self._join.feeds
        for update in updates if self.webhook else ():
            self._step += 1
            began_at = datetime.fromtimestamp(update.began_at, UTC)
            began_iso = began_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            whose = (join.bot_id, join.attempt, feeds.transcription_url, feeds.attributes)
            assert self.webhook
            self.webhook.put([transcript_message(update, self._step, *whose, began_iso, self._began_at)])

    def _note_shown(self, are_shown: bool) -> None:
        if self.speech and are_shown:
            self.speech.stop(is_replaced=True)
        if self.speech and not are_shown:
            self.speech.begin()
        elif not are_shown:
            self._on_status(FeedStatus.CAPTIONS_UNAVAILABLE, "")
        elif self.webhook is None or not self.webhook.sent:
            self._on_status(FeedStatus.LISTENING, "")
