"""What the process is asked for that makes the files of a recording (process.py), and what it answers. Only shapes: the
agent does not load what that process does.
"""

import msgspec


class Stream(msgspec.Struct, frozen=True):
    """A part: the file that it is in, and where in the recording it begins. `anchors`: up to which byte of the file had
    come, and when by the wall's clock, in order; seconds from its beginning. `ends_s`: how long it is by that clock.
    """

    path: str
    media_s: float
    anchors: list[tuple[int, float]] = []
    ends_s: float = 0.0


class Work(msgspec.Struct, frozen=True):
    """`sound` and `picture`: what there is to make `audio` and `video` of, which are paths; an empty one is not made.
    The video has the sound of `audio`.
    """

    sound: list[Stream]
    picture: list[Stream]
    audio: str
    video: str
    memory_mb: int


class Heard(msgspec.Struct, frozen=True):
    """Of the finished sound. `dbfs`: of left and right; None for silence."""

    duration_s: float
    filled_s: float
    loudness_lufs: float | None
    dbfs: list[float | None]


class Watched(msgspec.Struct, frozen=True):
    """Of the finished video. `recorded_s`: how much of it is covered by parts. `damaged`: pictures that cannot be
    decoded."""

    duration_s: float
    recorded_s: float
    codec: str
    width: int
    height: int
    pictures: int
    damaged: int


class Made(msgspec.Struct, frozen=True):
    """None of what there was nothing to make of. `unheard`, `unseen`: places in `sound` and `picture` that could not be
    read to their end.
    """

    audio: Heard | None
    video: Watched | None
    unheard: list[int]
    unseen: list[int]
