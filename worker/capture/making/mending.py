"""Sound for where the recorder has none, mixed of the tracks, whose packets came all the same: while the recorder was
away, and where a busy machine left holes of whole packets in what the page played.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any, Final

import av
import av.error
from av.filter import Graph

from worker.capture.making.sound import RATE, SILENCE, SILENCE_SAMPLES
from worker.capture.making.tracks import Heard
from worker.transcript.whose_track import STEP_S, VOICE

PLAYED_AFTER: Final = RATE // 10
"""How long after its packets came a page plays them, in samples: 0.1 s, more or less (docs/recording.md)."""
_LEAD: Final = 4
"""Packets that are encoded before those that are used: neither decoders nor encoder begin with what is right."""
_LOOKAHEAD: Final = 312
"""The encoder's packets are late by so many samples: libopus, as it is by default."""
_AROUND: Final = 3 * RATE // 10
"""A page may play sound by so many samples sooner or later than PLAYED_AFTER says."""
_AT_ONCE: Final = 10 * 50
"""Packets that are made at once: ten seconds."""
MOST_MIXED: Final = 16
"""Tracks, the loudest: each takes 4 MB meanwhile."""
MOST_MENDED: Final = 3600 * RATE
"""Samples of a recording."""
_BIT_RATE: Final = 96_000


class Mender:
    def __init__(self, tracks: Sequence[Heard]) -> None:
        self._tracks = tracks
        self._left = MOST_MENDED

    def is_spoken_through(self, begins: int, end: int) -> bool:
        """Whether somebody is heard in all of that time, and well before and after it. Times are samples of the
        recording.
        """
        first, last = _step(begins - _AROUND), _step(end + _AROUND)
        return any(
            first >= 0 and last < len(each.levels) and min(each.levels[first : last + 1]) >= VOICE
            for each in self._tracks
        )

    def packets(self, begins: int, count: int) -> Iterator[bytes]:
        """So many Opus packets of 20 ms from the sample `begins` on: silence where nobody is heard."""
        for first in range(0, count, _AT_ONCE):
            many = min(_AT_ONCE, count - first)
            made = self._made(begins + first * SILENCE_SAMPLES, many)
            yield from made
            yield from repeat(SILENCE, many - len(made))

    def _made(self, begins: int, count: int) -> list[bytes]:
        samples = count * SILENCE_SAMPLES
        first, last = max(0, _step(begins)), _step(begins + samples - 1)
        levels = {each.path: max(each.levels[first : last + 1], default=0) for each in self._tracks}
        loudest = sorted(levels, key=lambda path: levels[path], reverse=True)[:MOST_MIXED]
        heard = [path for path in loudest if levels[path] >= VOICE]
        if not heard or samples > self._left:
            return []
        self._left -= samples
        since = begins - PLAYED_AFTER - _LEAD * SILENCE_SAMPLES + _LOOKAHEAD
        try:
            packets = _encoded(_mixed(heard, since, (count + _LEAD + 1) * SILENCE_SAMPLES))
        except (av.error.FFmpegError, MemoryError):  # silence will do
            return []
        return packets[_LEAD : _LEAD + count]


def _step(at: int) -> int:
    """Of the levels of tracks, the one that is played at that sample of the recording."""
    return math.floor((at - PLAYED_AFTER) / RATE / STEP_S)


def _mixed(paths: Sequence[Path], since: int, samples: int) -> Iterator[Any]:
    """So many samples of all of them together, from `since` on, in frames of a packet. Raises: av.error.FFmpegError."""
    graph: Any = Graph()
    sources = [
        graph.add_abuffer(sample_rate=RATE, format="fltp", layout="stereo", time_base=Fraction(1, RATE)) for _ in paths
    ]
    mix = graph.add("amix", f"inputs={len(paths)}:normalize=0:duration=longest")
    for place, source in enumerate(sources):
        begin = graph.add("aresample", "async=1:first_pts=0")  # cuts off what comes sooner; what is missing is silence
        source.link_to(begin)
        begin.link_to(mix, 0, place)
    steps = [
        mix,
        graph.add("apad", f"whole_len={samples}"),
        graph.add("atrim", f"end_sample={samples}"),
        graph.add("asetnsamples", f"{SILENCE_SAMPLES}"),
        graph.add("abuffersink"),
    ]
    for step, following in pairwise(steps):
        step.link_to(following)
    graph.configure()
    for path, source in zip(paths, sources, strict=True):
        for frame in _decoded(path, since, samples):
            source.push(frame)
        source.push(None)
    with suppress(av.error.BlockingIOError, av.error.EOFError):
        while True:
            yield graph.pull()


def _decoded(path: Path, since: int, samples: int) -> Iterator[Any]:
    """The frames of those samples, with times that begin at `since`. Raises: av.error.FFmpegError."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        file.seek(max(0, since), stream=stream)
        for frame in file.decode(stream):
            assert frame.pts is not None
            begins = frame.pts - since
            if begins >= samples:
                return
            if begins + frame.samples > 0:
                frame.pts = begins
                yield frame


def _encoded(frames: Iterator[Any]) -> list[bytes]:
    """Raises: av.error.FFmpegError."""
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.format, encoder.layout, encoder.bit_rate = RATE, "flt", "stereo", _BIT_RATE
    resampler = av.AudioResampler(format="flt", layout="stereo", rate=RATE)
    packets: list[bytes] = []
    for place, frame in enumerate(frames):
        for part in resampler.resample(frame):
            part.pts = place * SILENCE_SAMPLES
            packets += [bytes(packet) for packet in encoder.encode(part)]
    return packets + [bytes(packet) for packet in encoder.encode(None)]
