"""Makes the audio file of a recording. Packets are copied, not encoded again. Each has the time at which it was
captured, and silence is filled in where the recorder has none, so the file keeps to the wall clock. Where there are
tracks, it is filled with what they have (mending.py).

Then the whole file is decoded, as a player would: what is reported about it is measured.
"""

import errno
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise, repeat
from typing import Any, Final, Protocol

import av
import av.error
from av.filter import Graph

from worker.capture.making.in_step import Packet, in_step
from worker.capture.making.work import NO_ROOM, AudioReport, Stream

RATE: Final = 48_000
JITTER_S: Final = 0.002
"""A packet's time may be early by this much for each packet since the one that is placed."""
SILENCE: Final = b"\xfc\xff\xfe"
"""An Opus packet of 20 ms (RFC 6716, 3.1): full band CELT in stereo, one empty frame."""
SILENCE_SAMPLES: Final = 960
SILENT_BYTES: Final = 24
"""An Opus packet of silence has 3 to 8 bytes, as Chromium and ffmpeg encode it; one with sound has hundreds."""
ARRIVAL_S: Final = 0.07
"""The least time between the moment at which the page has played a packet to its end and the arrival of the chunk that
ends with it. Measured against what a page played itself: 70 to 74 ms, also with a load of 12 to 20 on 2 cores.
"""
MOST_FILLED: Final = 24 * 3600 * RATE
QUIETEST_LUFS: Final = -70.0
"""The absolute gate of EBU R128: silence has this loudness."""
_FRAME_SAMPLES: Final = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4
"""By the configuration in the first byte: RFC 6716, table 2."""


def samples_of(packet: bytes) -> int:
    """How long an Opus packet plays, in samples at 48 kHz. 0 if it is not one."""
    if not packet:
        return 0
    frame, code = _FRAME_SAMPLES[packet[0] >> 3], packet[0] & 3
    if code == 3:
        return frame * (packet[1] & 0x3F) if len(packet) > 1 else 0
    return frame * (1, 2, 2)[code]


class Patches(Protocol):
    """What stands in for sound that the recorder has not. Times are samples of the recording."""

    def is_spoken_through(self, begins: int, end: int) -> bool:
        """Whether silence of the recorder is damage there."""
        ...

    def packets(self, begins: int, count: int) -> Iterator[bytes]:
        """So many packets of 20 ms from `begins` on."""
        ...


class Silence:
    """There is nothing else."""

    def is_spoken_through(self, begins: int, end: int) -> bool:
        del begins, end
        return False

    def packets(self, begins: int, count: int) -> Iterator[bytes]:
        del begins
        return repeat(SILENCE, count)


_SILENCE: Final = Silence()


class Writer:
    """Writes packets one after the other. `position`: where the next one begins; `filled` and `mended`: how much
    silence and how much sound `patches` filled in. All in samples.
    """

    def __init__(self, path: str, patches: Patches = _SILENCE) -> None:
        self._file: Any = av.open(
            path, "w", format="ogg", options={"fflags": "bitexact"}
        )  # the same input gives the same file
        self._stream: Any = None
        self._patches = patches
        self.position = 0
        self.filled = 0
        self.mended = 0

    def begin(self, template: Any) -> None:
        if self._stream is None:
            self._stream = self._file.add_stream_from_template(template)

    def begin_anew(self) -> None:
        """For packets that come without a file."""
        self._stream = self._file.add_stream("libopus", rate=RATE, layout="stereo")

    def fill(self, until: int) -> None:
        """Write packets in place of what was not recorded, as many as fit before `until`."""
        count = min((until - self.position) // SILENCE_SAMPLES, MOST_FILLED // SILENCE_SAMPLES)
        for data in self._patches.packets(self.position, count) if count > 0 else ():
            self.put(data)
            if len(data) > SILENT_BYTES:
                self.mended += SILENCE_SAMPLES
            else:
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


def _nobody(_frame: Any) -> None:
    pass


def make(
    streams: Sequence[Stream], out: str, hear: Callable[[Any], None] = _nobody, patches: Patches = _SILENCE
) -> tuple[AudioReport | None, list[int]]:
    """Write the file `out`, if there is any sound. Also returns the indexes of streams that could not be read to their
    end. `hear`: gets each decoded frame of the file, and then None. `patches`: stands in where nothing was recorded.

    Raises: av.error.FFmpegError.
    """
    writer = Writer(out, patches)
    unreadable: list[int] = []
    for place, stream in enumerate(streams):
        try:
            _copy(stream, writer, patches)
        except (av.error.FFmpegError, IndexError, ValueError) as error:
            if getattr(error, "errno", None) in (errno.ENOMEM, *NO_ROOM):  # the stream itself may be undamaged
                raise
            unreadable.append(place)
    writer.close()
    if not writer.position:
        return None, unreadable
    duration_s, loudness, sides = listen(out, hear)
    filled_s, mended_s = (round(samples / RATE, 3) for samples in (writer.filled, writer.mended))
    return AudioReport(round(duration_s, 3), filled_s, loudness, sides, mended_s), unreadable


def _copy(stream: Stream, writer: Writer, patches: Patches) -> None:
    for begins_s, data in zip(_places(stream), _packets(stream.path, writer), strict=True):
        if begins_s is None or stream.is_over(begins_s):
            continue
        played_s = stream.media_s + begins_s
        if played_s < 0:  # earlier sounds were heard before the recording began, and are left out
            continue
        begins = round(played_s * RATE)
        if len(data) <= SILENT_BYTES and patches.is_spoken_through(begins, begins + samples_of(data)):
            continue  # a hole, which is filled before the next packet
        writer.fill(begins)
        writer.put(data)
    writer.fill(round((stream.media_s + stream.ends_s) * RATE))


def _places(stream: Stream) -> list[float] | list[float | None]:
    """Where in the part each packet begins by the wall clock, in seconds. None: it is left out (in_step.py).

    The times of packets jitter. So the gap before a packet that a tab recorded is the smallest one that its own time,
    or the time of a packet soon after it, shows.
    """
    anchors: list[tuple[float, float]] = []
    found: list[Packet] = []
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
            found.append(Packet(begins_s, samples / RATE, packet.size))
    if stream.keeps_time:
        return in_step(found)
    began_s = began_by([*anchors, *((heard_s, wall_s) for _, wall_s in waiting)])
    return [began_s + begins_s for begins_s in spread([packet[:2] for packet in found])]


def began_by(anchors: Sequence[tuple[float, float]]) -> float:
    """When the recorder's clock began by the wall clock, in seconds from the part's beginning. `anchors`: how much had
    been recorded, and when that arrived. The one that came soonest counts: others were late on a busy machine. None
    comes before it was played, unless the wall clock was set back.
    """
    return max(0.0, min((wall_s - media_s for media_s, wall_s in anchors), default=ARRIVAL_S)) - ARRIVAL_S


def spread(packets: Sequence[tuple[float, float]]) -> list[float]:
    """Where each packet begins. `packets`: when each begins by the recorder's clock, and how long it plays."""
    missing: list[float] = []
    played_s = 0.0
    for begins_s, length_s in packets:
        missing.append(begins_s - played_s)
        played_s += length_s
    least = float("inf")
    for place in reversed(range(len(missing))):
        least = missing[place] = min(missing[place], least + JITTER_S)
    places: list[float] = []
    played_s = before_s = 0.0
    for (_, length_s), missing_s in zip(packets, missing, strict=True):
        before_s = max(before_s, missing_s)
        places.append(played_s + before_s)
        played_s += length_s
    return places


def _packets(path: str, writer: Writer) -> Iterator[bytes]:
    with av.open(path) as file:
        stream = file.streams.audio[0]
        writer.begin(stream)
        for packet in file.demux(stream):
            data = bytes(packet)
            if packet.pts is not None and samples_of(data):
                yield data


def listen(path: str, hear: Callable[[Any], None] = _nobody) -> tuple[float, float | None, list[float | None]]:
    """Decode the file. Returns its length in s, its loudness (LUFS), and the levels of left and right (dBFS).

    Raises: av.error.FFmpegError.
    """
    samples = 0
    levels: dict[str, str] = {}
    with av.open(path) as file:
        stream = file.streams.audio[0]
        graph: Any = Graph()
        steps = [
            graph.add_abuffer(template=stream),
            graph.add("ebur128", "metadata=1"),
            graph.add("astats", "metadata=1:reset=0"),
            graph.add("abuffersink"),
        ]
        for step, following in pairwise(steps):
            step.link_to(following)
        graph.configure()
        for frame in file.decode(stream):
            samples += frame.samples
            graph.push(frame)
            _pull(graph, levels)
            hear(frame)
        graph.push(None)
        _pull(graph, levels)
        hear(None)
    loudness = _number(levels.get("lavfi.r128.I"))
    sides = [_number(levels.get(f"lavfi.astats.{side}.RMS_level")) for side in (1, 2)]
    return samples / RATE, None if loudness is None or loudness <= QUIETEST_LUFS else loudness, sides


def _pull(graph: Any, levels: dict[str, str]) -> None:
    """Collect what the filters measured so far. Not every frame has a value of each of them."""
    while True:
        try:
            levels.update(graph.pull().metadata)
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _number(text: str | None) -> float | None:
    return None if text is None or text in ("-inf", "inf", "nan", "-nan") else round(float(text), 2)
