"""A bot's live sound: decodes the recorder's chunks, labels them with who speaks, and sends them to the client."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from worker.live.audio_socket import AudioSocket
from worker.live.decoding import Decoder
from worker.live.frames import Speaker, frame


class AudioFeed:
    """Call `on_sound` with each chunk; repeated ones are ignored. `speaker`: who speaks now."""

    def __init__(self, socket: AudioSocket, speaker: Callable[[], Speaker]) -> None:
        self.socket = socket
        self._speaker = speaker
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder(self._take)
        self._decoder.begin()
        self._next_seq = 0

    def on_sound(self, seq: int, part: int, chunk: bytes) -> None:
        if seq >= self._next_seq:
            self._next_seq = seq + 1
            self._decoder.put(part, chunk)

    def end(self) -> None:
        """No more chunks come. The rest is still sent."""
        self._decoder.end()

    def _take(self, pcm: bytes) -> None:
        """Called on the decoder's thread. Empty: the sound is over."""
        with suppress(RuntimeError):  # the loop is closed: the agent has ended
            self._loop.call_soon_threadsafe(self._send, pcm)

    def _send(self, pcm: bytes) -> None:
        if pcm:
            self.socket.put(frame(self._speaker(), pcm))
        else:
            self.socket.end()
