"""Takes single pictures out of a recording while its video file is decoded: a strip of thumbnails, and screenshots. A
still shows what a player shows at its time.
"""

from collections import deque
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import av
import av.error
from av.filter import Graph

from worker.capture.making.work import ScreenshotReport, ThumbnailsReport

MOST_THUMBNAILS: Final = 20
THUMBNAIL_EVERY_S: Final = 3.0
"""At least; further apart in a recording of more than a minute."""
THUMBNAIL_WIDTH: Final = 160
STRIP_BYTES: Final = 200_000
MOST_SCREENSHOTS: Final = 30
SCREENSHOT_EVERY_S: Final = 60.0
"""At least; further apart in a recording of more than half an hour."""
SCREENSHOT_WIDTH: Final = 640
SCREENSHOT_BYTES: Final = 150_000
_QUALITIES: Final = (4, 8, 16, 31)
"""Of JPEG as FFmpeg counts, the best first."""
_JPEG: Final = "yuvj420p"


class Stills:
    """Gives the picture that is shown at each of some times to `take`, in order. An error there ends it."""

    def __init__(self, times_s: list[float], take: Callable[[Any, float], None]) -> None:
        self._times_s = deque(times_s)
        self._take = take
        self._shown: Any = None

    def see(self, frame: Any) -> None:
        while self._times_s and frame.time is not None and self._times_s[0] < frame.time:
            self._take_at(self._times_s.popleft(), self._shown or frame)
        self._shown = frame

    def end(self) -> None:
        while self._shown and self._times_s:
            self._take_at(self._times_s.popleft(), self._shown)

    def _take_at(self, at_s: float, frame: Any) -> None:
        try:
            self._take(frame, at_s)
        except (av.error.FFmpegError, ValueError, OSError):
            self._times_s.clear()


class Strip:
    """Thumbnails side by side, in one JPEG. Each is of the middle of its share of the recording."""

    def __init__(self, duration_s: float) -> None:
        self._count = _how_many(duration_s, THUMBNAIL_EVERY_S, MOST_THUMBNAILS)
        self._every_s = duration_s / self._count
        self._thumbnails: list[Any] = []
        self.stills = Stills(_middles(duration_s, self._count), self._take)

    def _take(self, frame: Any, _at_s: float) -> None:
        self._thumbnails.append(_scaled(frame, THUMBNAIL_WIDTH))

    def save(self, path: Path) -> ThumbnailsReport | None:
        """None: no picture could be taken, or not all of them. Raises: OSError."""
        if len(self._thumbnails) != self._count:
            return None
        try:
            path.write_bytes(_jpeg(_side_by_side(self._thumbnails), STRIP_BYTES))
        except (av.error.FFmpegError, ValueError):
            return None
        one = self._thumbnails[0]
        return ThumbnailsReport(path.name, self._count, one.width, one.height, round(self._every_s, 3))


class Screenshots:
    """JPEGs in `folder`, each of the middle of its share of the recording. `taken`: those that are there."""

    def __init__(self, duration_s: float, folder: Path) -> None:
        self._folder = folder
        self.taken: list[ScreenshotReport] = []
        count = _how_many(duration_s, SCREENSHOT_EVERY_S, MOST_SCREENSHOTS)
        self.stills = Stills(_middles(duration_s, count), self._take)

    def _take(self, frame: Any, at_s: float) -> None:
        """Raises: av.error.FFmpegError, ValueError, OSError."""
        scaled = _scaled(frame, SCREENSHOT_WIDTH)
        name = f"screenshot-{len(self.taken):03d}.jpg"
        (self._folder / name).write_bytes(_jpeg(scaled, SCREENSHOT_BYTES))
        self.taken.append(ScreenshotReport(name, round(at_s, 3), scaled.width, scaled.height))


def _how_many(duration_s: float, every_s: float, most: int) -> int:
    return max(1, min(most, int(duration_s / every_s)))


def _middles(duration_s: float, count: int) -> list[float]:
    """The middle of each of `count` equal shares."""
    return [(n + 0.5) * duration_s / count for n in range(count)]


def _scaled(frame: Any, width: int) -> Any:
    """In its proportions, and no higher than it is wide. Raises: av.error.FFmpegError, ValueError."""
    height = max(2, min(width, round(width * frame.height / frame.width / 2) * 2))
    return frame.reformat(width=width, height=height, format=_JPEG)


def _side_by_side(frames: list[Any]) -> Any:
    """Raises: av.error.FFmpegError, ValueError."""
    one, graph = frames[0], Graph()
    rate = Fraction(1, 1)
    steps: list[Any] = [
        graph.add_buffer(width=one.width, height=one.height, format=one.format, time_base=rate),
        graph.add("tile", f"layout={len(frames)}x1"),
        graph.add("buffersink"),
    ]
    for step, following in pairwise(steps):
        step.link_to(following)
    graph.configure()
    for place, frame in enumerate(frames):
        frame.pts, frame.time_base = place, rate
        graph.push(frame)
    return graph.pull()


def _jpeg(frame: Any, most_bytes: int) -> bytes:
    """As good as fits. Raises: av.error.FFmpegError; ValueError if nothing does."""
    for quality in _QUALITIES:
        coder: Any = av.CodecContext.create("mjpeg", "w")
        coder.width, coder.height, coder.pix_fmt, coder.time_base = frame.width, frame.height, _JPEG, Fraction(1, 1)
        coder.qmin = coder.qmax = quality
        coder.thread_count = 1
        frame.pts = 0
        made = b"".join(bytes(packet) for packet in (*coder.encode(frame), *coder.encode(None)))
        if len(made) <= most_bytes:
            return made
    raise ValueError("no quality of JPEG is small enough")
