"""Input and output of the process that makes the files of a recording (process.py). Only shapes, so that the agent does
not load the libraries of that process.
"""

import errno
from typing import Final

import msgspec

from common.wire.minutes import Turn

LATE_S: Final = 1.0
"""A packet may have a time that is later than its part's end by this."""
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
"""What a full disk answers. That passes, and says nothing of the recording."""


class Stream(msgspec.Struct, frozen=True):
    """One part. `path`: its file. `media_s`: where in the recording it begins. `anchors`: how many bytes of the file
    had arrived at which time, in order. `ends_s`: how long it is. Both times are by the wall clock, in seconds from the
    part's beginning. `keeps_time`: the times in the file are those of the wall clock, so that nothing else is needed.
    """

    path: str
    media_s: float
    anchors: list[tuple[int, float]] = []
    ends_s: float = 0.0
    keeps_time: bool = False

    def is_over(self, at_s: float) -> bool:
        """Whether the part was over by then: its wall clock was set forward, and what has such a time came before."""
        return self.keeps_time and bool(self.ends_s) and at_s > self.ends_s + LATE_S


class Work(msgspec.Struct, frozen=True):
    """`sound` and `picture`: the parts. `audio` and `video`: the paths of the files to make of them; an empty one is
    not made. The video gets the sound of `audio`. `packets`: the parts of the tracks, of each of which a file is made
    in `folder`. `began_at`: when the recording began, in epoch seconds. `turns`: whom the page marked as speaking when.
    """

    sound: list[Stream]
    picture: list[Stream]
    audio: str
    video: str
    memory_mb: int
    packets: list[Stream] = []
    folder: str = ""
    began_at: float = 0.0
    turns: list[Turn] = []


class AudioReport(msgspec.Struct, frozen=True):
    """Measured on the finished audio file. `filled_s`: how much silence was filled in; `mended_s`: how much sound of
    the tracks. `dbfs`: of left and right; None for silence.
    """

    duration_s: float
    filled_s: float
    loudness_lufs: float | None
    dbfs: list[float | None]
    mended_s: float = 0.0


class VideoReport(msgspec.Struct, frozen=True):
    """Measured on the finished video file. `recorded_s`: how much of it is covered by parts. `damaged`: how many
    pictures cannot be decoded.
    """

    duration_s: float
    recorded_s: float
    codec: str
    width: int
    height: int
    pictures: int
    damaged: int


class TrackReport(msgspec.Struct, frozen=True):
    """One sound track, in a file of that `name`. `began_at`: when its first packet came. `duration_s`: of what was
    decoded of the finished file. The rest: common.wire.manifest.SoundTrack.
    """

    name: str
    id: str
    began_at: float
    duration_s: float
    packets: int
    voice_s: float = 0.0
    speaker_id: str = ""
    speaker: str = ""
    share: float = 0.0
    turns: list[Turn] = []


class WaveformReport(msgspec.Struct, frozen=True):
    """`name`: of the file, which has so many columns. `column_s`: how much of the recording each is of."""

    name: str
    columns: int
    column_s: float


class ThumbnailsReport(msgspec.Struct, frozen=True):
    """`name`: of the file. `width`, `height`: of one of them. `every_s`: how far apart they are in the recording."""

    name: str
    count: int
    width: int
    height: int
    every_s: float


class ScreenshotReport(msgspec.Struct, frozen=True):
    """`name`: of the file. `at_s`: of which time in the recording it is."""

    name: str
    at_s: float
    width: int
    height: int


class WorkResult(msgspec.Struct, frozen=True):
    """None: there was nothing to make the file of. `unread_audio`, `unread_video`, `unread_tracks`: the indexes in
    `sound`, `picture` and `packets` of parts that could not be read to their end.
    """

    audio: AudioReport | None
    video: VideoReport | None
    unread_audio: list[int]
    unread_video: list[int]
    tracks: list[TrackReport] = []
    unread_tracks: list[int] = []
    waveform: WaveformReport | None = None
    thumbnails: ThumbnailsReport | None = None
    screenshots: list[ScreenshotReport] = []
