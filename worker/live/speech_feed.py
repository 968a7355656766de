"""Sends a bot's sound to a provider of speech to text, and makes utterances of the words that come back."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from common.config.settings import TranscriptionSettings
from common.speech.deepgram_live import DeepgramLive
from common.speech.provider import RATE, Listener
from common.wire.minutes import Word
from common.wire.vocabulary import FeedStatus
from worker.live.decoding import Decoder
from worker.live.frames import FRAME_S, SAMPLE_BYTES
from worker.transcript.dictation import Dictation
from worker.transcript.utterances import UtteranceUpdate

BUFFER_S: Final = 30.0
"""Sound that waits while the provider is away; then the oldest is dropped."""

Start = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
Send = Callable[[Sequence[UtteranceUpdate]], None]


class SpeechFeed:
    """Call `begin` when the provider is to listen and `stop` when it is not, any number of times. Meanwhile sound is
    ignored. `start`: starts a task. `send`: gets the utterances.
    """

    def __init__(
        self,
        provider: str,
        settings: TranscriptionSettings,
        language: str,
        bot_id: str,
        start: Start,
        on_status: Callable[[FeedStatus, str], None],
    ) -> None:
        self._provider = provider
        self._settings = settings
        self._language = language or settings.language
        self._bot_id = bot_id
        self._start = start
        self._on_status = on_status
        self._loop = asyncio.get_running_loop()
        self._dictation = Dictation(provider)
        self._decoder: Decoder | None = None
        self._task: asyncio.Task[None] | None = None
        self._next_seq = 0
        self._listening: list[tuple[Listener, Decoder]] = []
        self._dropped = 0  # by those that listen no more
        self._fares: tuple[bool, str] | None = None
        self._told_dropped = 0
        self._is_replaced = False
        self.send: Send = lambda _updates: None

    def on_sound(self, seq: int, part: int, chunk: bytes) -> None:
        """Takes each chunk of the recorder; repeated ones are ignored."""
        if seq >= self._next_seq:
            self._next_seq = seq + 1
            if self._decoder:
                self._decoder.put(part, chunk)

    def note_speaker(self, now: float, speaker: str) -> None:
        self._dictation.note_speaker(now, speaker)

    def begin(self) -> None:
        """Idempotent."""
        if self._decoder:
            return
        self._is_replaced = False
        most = round(BUFFER_S / FRAME_S)
        listener = DeepgramLive(self._settings, self._language, most, self._hear, self._note_listening)
        self._decoder = decoder = Decoder(partial(self._take, listener), RATE)
        self._decoder.begin()
        self._task = self._start(self._listen(listener, decoder), f"make words of the sound of {self._bot_id}")

    def stop(self, *, is_replaced: bool = False) -> None:
        """The rest of the sound is still sent, and its words come. `is_replaced`: there are captions; how the provider
        fares is told no more. Idempotent.
        """
        self._is_replaced = is_replaced
        if self._decoder:
            self._decoder.end()
            self._decoder = None

    async def wait(self, seconds: float) -> None:
        """Wait until the last words have come, but at most `seconds`."""
        if self._task:
            await asyncio.wait([self._task], timeout=seconds)

    async def _listen(self, listener: Listener, decoder: Decoder) -> None:
        self._listening.append((listener, decoder))
        try:
            await listener.run()
        finally:
            self.send(self._dictation.end())
        if self.dropped != self._told_dropped:
            self._tell()
        self._listening.remove((listener, decoder))
        self._dropped += listener.dropped + decoder.dropped

    def _hear(self, words: Sequence[Word], is_final: bool, ends: bool) -> None:
        if updates := self._dictation.hear(words, is_final, ends):
            self.send(updates)

    @property
    def dropped(self) -> int:
        """How many pieces of sound, of FRAME_S each, the provider did not get."""
        return self._dropped + sum(listener.dropped + decoder.dropped for listener, decoder in self._listening)

    def _note_listening(self, listens: bool, why: str) -> None:
        self._fares = listens, why
        self._tell()

    def _tell(self) -> None:
        if self._fares is None or self._is_replaced:
            return
        (listens, why), self._told_dropped = self._fares, self.dropped
        status = FeedStatus.TRANSCRIBING if listens else FeedStatus.UNTRANSCRIBED
        detail = self._provider if listens else f"{self._provider}: {why}"
        dropped = f", {self._told_dropped * FRAME_S:.1f} s of sound dropped" if self._told_dropped else ""
        self._on_status(status, f"{detail}{dropped}")

    def _take(self, listener: Listener, pcm: bytes) -> None:
        """Called on the decoder's thread. Empty: the sound is over."""
        with suppress(RuntimeError):  # the loop is closed: the agent has ended
            self._loop.call_soon_threadsafe(self._put, listener, pcm)

    def _put(self, listener: Listener, pcm: bytes) -> None:
        if pcm:
            listener.put(pcm, time.time() - len(pcm) / SAMPLE_BYTES / RATE)
        else:
            listener.end()
