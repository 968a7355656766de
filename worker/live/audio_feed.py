"""A bot's live sound: decodes what the recorder gives, labels it with who speaks, and sends it to the client.

It is the sound of each track by itself where the packets of all tracks are taken, and else the whole meeting's.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from common.wire.packets import Line
from worker.live.audio_socket import AudioSocket
from worker.live.decoding import Decoder
from worker.live.frames import Speaker, frame
from worker.live.track_decoding import TrackDecoder, TrackFrame
from worker.transcript.turns import LatestTurns

_T = TypeVar("_T")


class AudioFeed:
    """Call `on_sound` with each chunk; repeated ones are ignored. Call `on_packets` with what came of the tracks, and
    with None when not all of them are taken. `speaker`: who speaks now.
    """

    def __init__(self, socket: AudioSocket, speaker: Callable[[], Speaker]) -> None:
        self.socket = socket
        self._speaker = speaker
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder(self._on_loop(self._send))
        self._decoder.begin()
        self._track_decoder: TrackDecoder | None = None
        self._is_by_track = False
        self._turns = LatestTurns()
        self._next_seq = 0

    @property
    def sent(self) -> int:
        """How many frames the client took."""
        return self.socket.sent

    @property
    def dropped(self) -> int:
        """How many frames were not decoded, or not sent, in time."""
        of_tracks = self._track_decoder.dropped if self._track_decoder else 0
        return self.socket.dropped + self._decoder.dropped + of_tracks

    def note_speaker(self, now: float, speaker: Speaker) -> None:
        """Whom the page marks as speaking now."""
        self._turns.look(now, *speaker)

    def on_sound(self, seq: int, part: int, chunk: bytes) -> None:
        if seq >= self._next_seq:
            self._next_seq = seq + 1
            self._decoder.put(part, chunk)

    def on_packets(self, line: Line | None) -> None:
        self._is_by_track = line is not None
        if line is None:
            return
        if self._track_decoder is None:
            self._track_decoder = TrackDecoder(self._on_loop(self._send_track))
            self._track_decoder.begin()
        self._track_decoder.put(line, self._turns.turns)

    def end(self) -> None:
        """Nothing more comes. The rest is still sent."""
        self._decoder.end()

    def _on_loop(self, send: Callable[[_T], None]) -> Callable[[_T], None]:
        """To be called on a decoder's thread."""

        def take(decoded: _T) -> None:
            with suppress(RuntimeError):  # the loop is closed: the agent has ended
                self._loop.call_soon_threadsafe(send, decoded)

        return take

    def _send(self, pcm: bytes) -> None:
        """Empty: the sound is over."""
        if pcm and not self._is_by_track:
            self.socket.put(frame(self._speaker(), pcm))
        elif not pcm and self._track_decoder:
            self._track_decoder.end()
        elif not pcm:
            self.socket.end()

    def _send_track(self, decoded: TrackFrame | None) -> None:
        """None: the tracks are over."""
        assert self._track_decoder
        if decoded is None:
            self.socket.end()
            return
        now = self._speaker()
        self.socket.put(frame(now if now.name in decoded.shared else decoded.speaker, decoded.pcm))
