"""Deepgram's live protocol: a WebSocket that takes sound, and answers with interim words and with final words.

https://developers.deepgram.com/reference/speech-to-text/listen-streaming

The client sends sound as binary frames; `KeepAlive` while there is no sound, because Deepgram closes after ten seconds;
`Finalize` to get what it still holds back; `CloseStream` at the end.

A lost connection is made again. Sound waits meanwhile, for some seconds; then the oldest is dropped, and counted.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from typing import Final

import aiohttp
import msgspec

from common.config.settings import TranscriptionSettings
from common.jobs.outgoing import OutgoingRules
from common.runtime.waiting import backoff, pause
from common.speech import calls
from common.speech.deepgram import LISTEN, Channel, headers_of, query_of
from common.speech.provider import RATE, Fares, Hears, SpeechError
from common.webhooks.sender import SEND_ERRORS, open_session, user_agent

AGAIN_S: Final = (0.5, 30.0)
STEADY_S: Final = 10.0
"""After a connection that lasted this long, the next wait is short again."""
KEEP_ALIVE_S: Final = 4.0
SEND_S: Final = 10.0
LAST_S: Final = 3.0
"""How long to wait for the last words."""
_JUMP_S: Final = 0.5
"""If the wall clock and the stream's clock differ by more than this, sound was missing in between."""
_MOST_JUMPS: Final = 1000
_LONGEST: Final = 1 << 20
_SAMPLE_BYTES: Final = 2

OPTIONS: Final = {
    "encoding": "linear16",
    "sample_rate": str(RATE),
    "channels": "1",
    "interim_results": "true",
    "endpointing": "300",
    "utterance_end_ms": "1000",
    "vad_events": "true",
}


class _Kind(msgspec.Struct):
    """The field that all messages have. The types of their other fields depend on it."""

    type: str = ""


class _Results(msgspec.Struct):
    channel: Channel
    is_final: bool = False
    speech_final: bool = False
    from_finalize: bool = False


class Timeline:
    """Converts a second of the stream into a time of the wall clock."""

    def __init__(self) -> None:
        self.sent_s = 0.0
        self._streamed: list[float] = []
        self._at: list[float] = []

    def note(self, at: float, lasts_s: float) -> None:
        """Note that sound that was heard at this time is sent now."""
        if not self._at or abs(self._at[-1] + self.sent_s - self._streamed[-1] - at) > _JUMP_S:
            self._streamed.append(self.sent_s)
            self._at.append(at)
            del self._streamed[:-_MOST_JUMPS], self._at[:-_MOST_JUMPS]
        self.sent_s += lasts_s

    def at(self, second: float) -> float:
        place = max(bisect_right(self._streamed, second) - 1, 0)
        return self._at[place] + second - self._streamed[place] if self._at else second


class DeepgramLive:
    """`most`: how many pieces of sound may wait."""

    def __init__(self, settings: TranscriptionSettings, language: str, most: int, hears: Hears, fares: Fares) -> None:
        self._settings = settings
        self._language = language
        self._most = most
        self._hears = hears
        self._fares = fares
        self._sound: deque[tuple[bytes, float]] = deque()
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._lost = asyncio.Event()
        self._timeline = Timeline()
        self._told: tuple[bool, str] | None = None
        self.dropped = 0

    def put(self, pcm: bytes, at: float) -> None:
        self._sound.append((pcm, at))
        self._drop_surplus()
        self._news.set()

    def end(self) -> None:
        """No more sound comes. Idempotent."""
        self._ended.set()
        self._news.set()

    async def run(self) -> None:
        delays, loop = backoff(*AGAIN_S), asyncio.get_running_loop()
        rules = OutgoingRules.of(self._settings)
        async with await open_session(rules, calls.CONNECT_S) as session:
            while True:
                began = loop.time()
                try:
                    async with asyncio.timeout(calls.CONNECT_S):
                        socket = await self._connect(session, rules)
                    self._tell(listens=True)
                    if await self._talk(socket):
                        return
                    fault = SpeechError("hung_up")
                except SpeechError as error:
                    fault = error
                except SEND_ERRORS as error:
                    fault = calls.of_error(error)
                self._tell(listens=False, why=fault.reason)
                if fault.lasts:
                    self._most = 0
                    self._drop_surplus()
                    return
                if loop.time() - began > STEADY_S:
                    delays = backoff(*AGAIN_S)
                if await pause(self._ended, next(delays)):
                    self.dropped += len(self._sound)
                    return

    async def _connect(self, session: aiohttp.ClientSession, rules: OutgoingRules) -> aiohttp.ClientWebSocketResponse:
        """Raises: SpeechError, SEND_ERRORS."""
        settings = self._settings
        query = {**query_of(settings, self._language), **OPTIONS}
        target = calls.target_of(f"{settings.deepgram_url.rstrip('/')}{LISTEN}", rules, query, live=True)
        headers = {**headers_of(settings), "User-Agent": user_agent()}
        return await session.ws_connect(target, headers=headers, max_msg_size=_LONGEST, compress=0)

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Send waiting and new sound, and receive the answers. Returns True when the sound has ended and all answers
        came. Raises: SEND_ERRORS.
        """
        self._lost.clear()
        self._timeline = Timeline()
        is_done, failed = False, None
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen(socket), name="hear what a provider hears")
            try:
                is_done = await self._send_all(socket)
                if is_done:
                    await self._say(socket, "CloseStream")
                    await pause(self._lost, LAST_S)
            except SEND_ERRORS as error:
                failed = error
            listening.cancel()
            await _close(socket)
        if failed and not is_done:
            raise failed
        return is_done

    async def _send_all(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Send sound. Returns True when it has ended and all of it is sent; False when the other side closed. Raises:
        SEND_ERRORS.
        """
        is_quiet = False
        while not self._lost.is_set():
            self._news.clear()
            if self._sound:
                pcm, at = self._sound.popleft()
                self._timeline.note(at, len(pcm) / _SAMPLE_BYTES / RATE)
                try:
                    async with asyncio.timeout(SEND_S):
                        await socket.send_bytes(pcm)
                except SEND_ERRORS:
                    self._sound.appendleft((pcm, at))
                    self._drop_surplus()
                    raise
                is_quiet = False
            elif self._ended.is_set():
                return True
            elif not await pause(self._news, KEEP_ALIVE_S):
                if not is_quiet:
                    is_quiet = True
                    await self._say(socket, "Finalize")
                await self._say(socket, "KeepAlive")
        return False

    def _drop_surplus(self) -> None:
        while len(self._sound) > self._most:
            self._sound.popleft()
            self.dropped += 1

    async def _say(self, socket: aiohttp.ClientWebSocketResponse, what: str) -> None:
        async with asyncio.timeout(SEND_S):
            await socket.send_str(msgspec.json.encode({"type": what}).decode())

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._take(message.data)
        self._lost.set()
        self._news.set()

    def _take(self, text: str) -> None:
        """A message that cannot be read is skipped."""
        try:
            kind = msgspec.json.decode(text, type=_Kind).type
            if kind == "UtteranceEnd":
                self._hears((), True, True)
            if kind != "Results":
                return
            told = msgspec.json.decode(text, type=_Results)
        except (msgspec.DecodeError, UnicodeEncodeError):
            return
        since = self._timeline.at
        known = [heard.within(self._timeline.sent_s) for heard in told.channel.words]
        words = [heard.at(since(heard.begins_s) - heard.begins_s) for heard in known]
        self._hears(words, told.is_final, told.is_final and (told.speech_final or told.from_finalize))

    def _tell(self, *, listens: bool, why: str = "") -> None:
        if (listens, why) != self._told:
            self._told = (listens, why)
            self._fares(listens, why)


async def _close(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Close the connection properly, or after a second without the provider's answer."""
    try:
        async with asyncio.timeout(1.0):
            await socket.close()
    except (TimeoutError, OSError, aiohttp.ClientError):
        pass
