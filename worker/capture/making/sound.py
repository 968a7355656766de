"""The one file of a recording's sound. Packets are copied, not encoded anew. Where the recorder left out some, or its
clock fell behind because the machine was busy, silence stands in, so that the file keeps to the clock of the wall. Then
the whole file is decoded, as a player would: what is told of it was heard, not believed.
"""

import errno
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

import av
import av.error
from av.filter import Graph

from worker.capture.making.work import Heard, Stream

RATE: Final = 48_000
WAVERS_S: Final = 0.002
"""By so much for each packet in between, what a later one tells counts less."""
SILENCE: Final = b"\xfc\xff\xfe"
"""20 ms: RFC 6716, 3.1. Full band CELT in stereo, one frame, nothing in it."""
SILENCE_SAMPLES: Final = 960
DELIVERY_S: Final = 0.16
"""How long after it was heard the latest packet of a chunk comes at the earliest: 60 ms as long as one plays, and what
the browser takes. Measured against what a meeting's page played itself, on machines with loads of 17 to 32 on 2 cores.
"""
MOST_FILLED: Final = 24 * 3600 * RATE
QUIETEST_LUFS: Final = -70.0
"""What EBU R128 says of silence: its absolute gate."""
_FRAME_SAMPLES: Final = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4
"""By the configuration in the first byte: RFC 6716, table 2."""


def samples_of(packet: bytes) -> int:
    """How long an Opus packet plays, at 48 kHz. 0 for one that is none."""
    if not packet:
        return 0
    frame, code = _FRAME_SAMPLES[packet[0] >> 3], packet[0] & 3
    if code == 3:
        return frame * (packet[1] & 0x3F) if len(packet) > 1 else 0
    return frame * (1, 2, 2)[code]


class Writer:
    """Writes packets one after the other. `position`: of the next, in samples."""

    def __init__(self, path: str) -> None:
        self._file: Any = av.open(path, "w", format="ogg", options={"fflags": "bitexact"})  # the same of the same
        self._stream: Any = None
        self.position = 0
        self.filled = 0

    def begin(self, template: Any) -> None:
        if self._stream is None:
            self._stream = self._file.add_stream_from_template(template)

    def fill(self, until: int) -> None:
        """Silence, as far as whole packets of it reach."""
        if until > self.position:
            for _ in range(min((until - self.position) // SILENCE_SAMPLES, MOST_FILLED // SILENCE_SAMPLES)):
                self.put(SILENCE)
                self.filled += SILENCE_SAMPLES

    def put(self, data: bytes) -> None:
        packet = av.Packet(data)
        packet.stream = self._stream
        packet.time_base = Fraction(1, RATE)
        packet.pts = packet.dts = self.position
        packet.duration = samples_of(data)
        self.position += packet.duration
        self._file.mux_one(packet)

    def close(self) -> None:
        self._file.close()


def make(streams: Sequence[Stream], out: str) -> tuple[Heard | None, list[int]]:
    """The file is at `out`, if there is anything to hear; and places in `streams` that could not be read to their end.

    Raises: av.error.FFmpegError.
    """
    writer = Writer(out)
    unreadable: list[int] = []
    for place, stream in enumerate(streams):
        try:
            _copy(stream, writer)
        except (av.error.FFmpegError, IndexError, ValueError) as error:
            if getattr(error, "errno", None) == errno.ENOMEM:  # which says nothing of the part
                raise
            unreadable.append(place)
    writer.close()
    if not writer.position:
        return None, unreadable
    duration_s, loudness, sides = listen(out)
    return Heard(round(duration_s, 3), round(writer.filled / RATE, 3), loudness, sides), unreadable


def _copy(stream: Stream, writer: Writer) -> None:
    for begins_s, data in zip(_places(stream), _packets(stream.path, writer), strict=True):
        writer.fill(round((stream.media_s + begins_s) * RATE))
        writer.put(data)
    writer.fill(round((stream.media_s + stream.ends_s) * RATE))


def _places(stream: Stream) -> list[float]:
    """Where in the part each packet belongs by the wall's clock, one after the other.

    Times of packets waver: what is missing before one is the least that it or one soon after it tells.
    """
    anchors: list[tuple[float, float]] = []
    found: list[tuple[float, float]] = []
    waiting = deque(stream.anchors)
    heard_s = 0.0
    with av.open(stream.path) as file:
        for packet in file.demux(audio=0):
            if packet.pts is None or not (samples := samples_of(bytes(packet))):
                continue
            while waiting and (packet.pos or 0) >= waiting[0][0]:
                anchors.append((heard_s, waiting.popleft()[1]))
            begins_s = float(packet.pts * packet.time_base)
            heard_s = begins_s + samples / RATE
            found.append((begins_s, samples / RATE))
    behind = behind_by([*anchors, *((heard_s, wall_s) for _, wall_s in waiting)])
    return spread(found, behind)


def spread(packets: Sequence[tuple[float, float]], behind: Sequence[tuple[float, float]]) -> list[float]:
    """Where each begins. `packets`: when each begins by the recorder's clock, and how long it plays. `behind`: from
    where on that clock was behind, and by how much.
    """
    lags = deque(behind)
    lag_s = lags[0][1] if lags else 0.0
    missing: list[float] = []
    played_s = 0.0
    for begins_s, length_s in packets:
        while lags and lags[0][0] <= begins_s:
            lag_s = lags.popleft()[1]
        missing.append(begins_s + lag_s - played_s)
        played_s += length_s
    least = float("inf")
    for place in reversed(range(len(missing))):
        least = missing[place] = min(missing[place], least + WAVERS_S)
    places: list[float] = []
    played_s = before_s = 0.0
    for (_, length_s), missing_s in zip(packets, missing, strict=True):
        before_s = max(before_s, missing_s)
        places.append(played_s + before_s)
        played_s += length_s
    return places


def behind_by(anchors: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """From where on the recorder's clock was behind the wall's, and by how much: never less than before.

    What came late tells too much, so that at each place the least counts that is told there or later. A clock that
    begins late is behind from the beginning.
    """
    found: list[tuple[float, float]] = []
    least = float("inf")
    for media_s, wall_s in reversed(anchors):
        least = min(least, wall_s - media_s - DELIVERY_S)
        found.append((media_s, max(least, 0.0)))
    return found[::-1]


def _packets(path: str, writer: Writer) -> Iterator[bytes]:
    with av.open(path) as file:
        stream = file.streams.audio[0]
        writer.begin(stream)
        for packet in file.demux(stream):
            data = bytes(packet)
            if packet.pts is not None and samples_of(data):
                yield data


def listen(path: str) -> tuple[float, float | None, list[float | None]]:
    """How long it plays in s, how loud it is (LUFS), and both its sides (dBFS). Raises: av.error.FFmpegError."""
    samples = 0
    told: dict[str, str] = {}
    with av.open(path) as file:
        stream = file.streams.audio[0]
        graph: Any = Graph()
        steps = [
            graph.add_abuffer(template=stream),
            graph.add("ebur128", "metadata=1"),
            graph.add("astats", "metadata=1:reset=0"),
            graph.add("abuffersink"),
        ]
        for one, following in pairwise(steps):
            one.link_to(following)
        graph.configure()
        for frame in file.decode(stream):
            samples += frame.samples
            graph.push(frame)
            _pull(graph, told)
        graph.push(None)
        _pull(graph, told)
    loudness = _number(told.get("lavfi.r128.I"))
    sides = [_number(told.get(f"lavfi.astats.{side}.RMS_level")) for side in (1, 2)]
    return samples / RATE, None if loudness is None or loudness <= QUIETEST_LUFS else loudness, sides


def _pull(graph: Any, told: dict[str, str]) -> None:
    """What the filters say by now: not each frame has a word of each of them."""
    while True:
        try:
            told.update(graph.pull().metadata)
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _number(text: str | None) -> float | None:
    return None if text is None or text in ("-inf", "inf", "nan", "-nan") else round(float(text), 2)
