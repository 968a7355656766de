"""Decodes the recorder's chunks into one channel of sound. It has a thread of its own, because the decoding
library blocks while it waits for bytes.
"""

import math
import queue
import re
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import av
import av.error
import structlog

from worker.live.frames import FRAME_S, RATE, SAMPLE_BYTES

log: structlog.stdlib.BoundLogger = structlog.get_logger()

MOST_WAITING: Final = 256
"""Chunks that wait for decoding: a minute of sound. Further chunks are dropped. Decoding takes a hundredth of the
playing time, so only an overloaded machine gets there.
"""
CHUNK_S: Final = 0.25
"""The recorder's chunks are that long where somebody listens."""
_OPTIONS: Final = {"probesize": "32", "analyzeduration": "0", "fflags": "nobuffer"}
_BEGINS: Final = b"\x1aE\xdf\xa3"
_CLUSTER: Final = bytes.fromhex("1f43b675")
_BLOCK: Final = b"\xa3"
_LACKS_BLOCK: Final = re.compile(rb"([\x80-\xff]|[\x40-\x7f].)\x81", re.DOTALL)  # its size, and track 1


def _element(name: str, content: bytes) -> bytes:
    return bytes.fromhex(name) + bytes([0x80 | len(content)]) + content


_UNKNOWN_SIZE: Final = b"\x01" + b"\xff" * 7
_OPUS_HEAD: Final = b"OpusHead\x01\x02\x00\x00\x80\xbb\x00\x00\x00\x00\x00"
_TRACK: Final = b"".join(
    (
        _element("d7", b"\x01"),
        _element("73c5", b"\x01"),
        _element("83", b"\x02"),
        _element("86", b"A_OPUS"),
        _element("63a2", _OPUS_HEAD),
        _element("e1", _element("b5", b"\x47\x3b\x80\x00") + _element("9f", b"\x02")),
    )
)
BEGINNING: Final = b"".join(
    (
        _element("1a45dfa3", _element("4282", b"webm") + _element("4287", b"\x04") + _element("4285", b"\x02")),
        bytes.fromhex("18538067") + _UNKNOWN_SIZE,
        _element("1654ae6b", _element("ae", _TRACK)),
        _CLUSTER + _UNKNOWN_SIZE,
        _element("e7", b"\x00"),
    )
)
"""The beginning of a WebM file (RFC 9559) as the recorder makes it, up to the first packet. It is put before a stream
whose own beginning an earlier agent fetched, and before what follows a chunk that cannot be decoded.
"""
MOST_UNHEARD: Final = 4
"""After so many chunks without sound a stream is begun anew: from what it cannot read the library looks for the next
cluster, and few chunks have one.
"""
LOG_EVERY_S: Final = 60.0


class Undecoded:
    """Logs what cannot be decoded: the first of it at once, later ones together, once in LOG_EVERY_S."""

    def __init__(self) -> None:
        self._times = 0
        self._logged_at = -LOG_EVERY_S

    def note(self, why: str) -> None:
        self._times += 1
        if (now := time.monotonic()) - self._logged_at >= LOG_EVERY_S:
            log.warning("live_sound_undecoded", error=why, times=self._times)
            self._times, self._logged_at = 0, now


class Decoder:
    """Call `begin` once, then `put` for each chunk, then `end`. None of them waits.

    `take` is called on the decoder's thread with a tenth of a second of sound at a time, and with nothing at the end.
    `rate`: samples a second.
    """

    def __init__(self, take: Callable[[bytes], None], rate: int = RATE) -> None:
        self._take = take
        self._rate = rate
        self._chunks: queue.Queue[bytes | None] = queue.Queue()
        self._rest = b""  # of the chunk that is being read
        self._has_begun = False  # the stream: its beginning was read
        self._is_at_end = False  # of a stream; the library may still read on
        self._unheard = 0  # chunks since the last sound
        self._is_over = False
        self._part = -1
        self._undecoded = Undecoded()
        self._dropped = 0  # chunks

    @property
    def dropped(self) -> int:
        """How many frames were not decoded because too many chunks waited."""
        return math.ceil(self._dropped * CHUNK_S / FRAME_S)

    def begin(self) -> None:
        threading.Thread(target=self._run, name="decode live sound", daemon=True).start()

    def put(self, part: int, chunk: bytes) -> None:
        """Decode a chunk. A chunk of another part begins another stream."""
        if part != self._part:
            if self._part >= 0:
                self._chunks.put(_CUT)
            self._part = part
        if self._chunks.qsize() > MOST_WAITING:
            self._dropped += 1
        else:
            self._chunks.put(chunk)

    def end(self) -> None:
        self._chunks.put(None)

    def _run(self) -> None:
        while not self._is_over:
            self._rest, self._has_begun, self._is_at_end, self._unheard = b"", False, False, 0
            try:
                self._decode()
            except (av.error.FFmpegError, IndexError, ValueError) as error:
                if self._has_begun:
                    self._undecoded.note(type(error).__name__)
            else:
                if not self._is_at_end:
                    self._undecoded.note("no sound in it")
        self._take(b"")

    def _decode(self) -> None:
        """Decode one stream to its end, or to the first chunk that cannot be decoded: the next one begins another."""
        resampler = av.AudioResampler(format="s16", layout="mono", rate=self._rate)
        size, pcm = round(FRAME_S * self._rate) * SAMPLE_BYTES, b""
        file: Any = av.open(_File(self.read), format="webm", options=_OPTIONS)
        with file as stream:
            for frame in stream.decode(audio=0):
                self._unheard = 0
                for part in resampler.resample(frame):
                    pcm += bytes(part.planes[0])[: part.samples * SAMPLE_BYTES]
                while len(pcm) >= size:
                    self._take(pcm[:size])
                    pcm = pcm[size:]
        if pcm:
            self._take(pcm)

    def read(self, most: int) -> bytes:
        """Wait for bytes and return at most `most`. Empty: the stream is over, or is given up."""
        while not self._rest and not self._is_at_end and self._unheard < MOST_UNHEARD:
            chunk = self._chunks.get()
            self._unheard += 1
            if chunk is None or chunk is _CUT:
                self._is_over, self._is_at_end = chunk is None, True
            else:
                has_beginning = self._has_begun or chunk.startswith(_BEGINS)
                self._rest = chunk if has_beginning else BEGINNING + _missing(chunk) + chunk
                self._has_begun = True
        taken, self._rest = self._rest[:most], self._rest[most:]
        return taken


def _missing(chunk: bytes) -> bytes:
    """The byte before this chunk, if the recorder cut inside an element's name: that byte is in the chunk before."""
    if chunk.startswith(_CLUSTER[1:]):
        return _CLUSTER[:1]
    return _BLOCK if _LACKS_BLOCK.match(chunk) else b""


_CUT: Final = b"cut"  # a mark in the queue, compared by identity


class _File:
    """The part of a file that the decoding library uses."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read: Any = read
