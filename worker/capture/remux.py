"""One file of a recording's parts, in a process of its own: `python -m worker.capture.remux`, a Work on its standard
input, a Made on its standard output. What a recording holds may be damaged or hostile: whatever it does to this
process, the agent goes on, and so does the machine, for its memory has a limit.

Packets are copied, not encoded anew. Where the recorder left out some, or its clock fell behind because the machine
was busy, silence stands in, so that the file keeps to the clock of the wall. Then the whole file is decoded, as a
player would: what is told of it was heard, not believed.
"""

import errno
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import av
import av.error
import av.logging
import msgspec
from av.filter import Graph

from worker.capture.work import Made, Work

RATE: Final = 48_000
JITTER: Final = 4_800
"""Samples. Times of packets are whole ms and waver; what has drifted apart farther is missing."""
SILENCE: Final = b"\xfc\xff\xfe"
"""20 ms: RFC 6716, 3.1. Full band CELT in stereo, one frame, nothing in it."""
SILENCE_SAMPLES: Final = 960
BEHIND_S: Final = 0.25
"""A recorder's clock that is less than that behind the wall's keeps to it: chunks come late by as much."""
MOST_FILLED: Final = 24 * 3600 * RATE
QUIETEST_LUFS: Final = -70.0
"""What EBU R128 says of silence: its absolute gate."""
_FRAME_SAMPLES: Final = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4
"""By the configuration in the first byte: RFC 6716, table 2."""
_NICENESS: Final = 10


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
        """Silence, where more is missing than packets waver."""
        if until - self.position > JITTER:
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


def join(work: Work) -> tuple[Writer, list[int]]:
    writer = Writer(work.out)
    unreadable: list[int] = []
    for place, stream in enumerate(work.streams):
        try:
            behind = behind_by(stream.anchors)
            for begins_s, data in _packets(stream.path, writer):
                lag_s = next((lag for since_s, lag in reversed(behind) if since_s <= begins_s), 0.0)
                writer.fill(round((stream.media_s + begins_s + lag_s) * RATE))
                writer.put(data)
            writer.fill(round((stream.media_s + stream.ends_s) * RATE))
        except (av.error.FFmpegError, IndexError, ValueError) as error:
            if getattr(error, "errno", None) == errno.ENOMEM:  # which says nothing of the part
                raise
            unreadable.append(place)
    writer.close()
    return writer, unreadable


def behind_by(anchors: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """From where on the recorder's clock was behind the wall's, and by how much: never less than before.

    A chunk that came late tells too much, so that at each place the least counts that is told there or later.
    """
    found: list[tuple[float, float]] = []
    least = float("inf")
    for media_s, wall_s in reversed(anchors):
        least = min(least, wall_s - media_s)
        found.append((media_s, least if least > BEHIND_S else 0.0))
    return found[::-1]


def _packets(path: str, writer: Writer) -> Iterator[tuple[float, bytes]]:
    with av.open(path) as file:
        stream = file.streams.audio[0]
        writer.begin(stream)
        for packet in file.demux(stream):
            data = bytes(packet)
            if packet.pts is not None and packet.time_base and samples_of(data):
                yield float(packet.pts * packet.time_base), data


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


def main() -> None:
    work = msgspec.json.decode(sys.stdin.buffer.read(), type=Work)
    limit = work.memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    os.nice(_NICENESS)
    os.umask(0o077)
    av.logging.set_level(None)
    writer, unreadable = join(work)
    if not writer.position:
        Path(work.out).unlink(missing_ok=True)
        made = Made(0.0, 0.0, unreadable, None, [])
    else:
        duration_s, loudness, sides = listen(work.out)
        made = Made(round(duration_s, 3), round(writer.filled / RATE, 3), unreadable, loudness, sides)
    sys.stdout.buffer.write(msgspec.json.encode(made))


if __name__ == "__main__":
    main()
