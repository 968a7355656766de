"""A bot's sound on its way to a client: what the recorder gives, decoded, labelled with who speaks, to the outlet."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from worker.live.decoding import Decoder
from worker.live.frames import Speaker, frame
from worker.live.outlet import Outlet


class Sound:
    """`hear` is given each chunk, also more than once. `speaker`: who speaks now."""

    def __init__(self, outlet: Outlet, speaker: Callable[[], Speaker]) -> None:
        self.outlet = outlet
        self._speaker = speaker
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder(self._take)
        self._decoder.begin()
        self._next_seq = 0

    def hear(self, seq: int, part: int, chunk: bytes) -> None:
        if seq >= self._next_seq:
            self._next_seq = seq + 1
            self._decoder.put(part, chunk)

    def end(self) -> None:
        """Nothing more comes; what is there is still sent."""
        self._decoder.end()

    def _take(self, pcm: bytes) -> None:
        """On the decoder's thread. Empty: that was all."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._send, pcm)

    def _send(self, pcm: bytes) -> None:
        if pcm:
            self.outlet.put(frame(self._speaker(), pcm))
        else:
            self.outlet.end()
